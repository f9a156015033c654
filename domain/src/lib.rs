//! What the product knows: its rules and its rows.
//!
//! No HTTP server, client, mail or queue runner is named here. A function that writes takes `&mut PgConnection`
//! first; whoever opened the transaction closes it. Time and chance are passed in ([`clock`], [`chance`]).

pub mod address;
pub mod agent;
pub mod alert;
pub mod api_key;
pub mod attempt;
pub mod barcode;
pub mod billing;
pub mod caller;
pub mod chance;
pub mod change;
pub mod clock;
pub mod code;
pub mod colour;
pub mod conversion;
pub mod delivery;
pub mod dialect;
pub mod digest;
pub mod downgrade;
pub mod dunning;
pub mod endpoint;
pub mod event;
pub mod http_url;
pub mod id;
pub mod idempotency;
pub mod import;
pub mod json;
pub mod label;
pub mod limit;
pub mod link;
pub mod link_health;
pub mod link_page;
pub mod local_time;
pub mod mail;
pub mod member;
pub mod notification;
pub mod oauth;
pub mod org;
pub mod own_domain;
pub mod partition;
pub mod password;
mod pdf;
pub mod place;
pub mod plan;
pub mod qr;
pub mod quota;
pub mod replay;
pub mod route;
pub mod routing;
pub mod sealed;
pub mod session;
pub mod trial;
pub mod user;
pub mod utm;
pub mod visit;
