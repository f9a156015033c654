//! The fleet: apalis runs the workers, our own `Backend` feeds them from `jobs::queue`, and one file per noun holds the
//! handlers. Outbound HTTP and mail leave from here and from nowhere else.

pub mod alert;
pub mod billing;
pub mod context;
pub mod delivery;
pub mod digest;
pub mod dns;
pub mod dunning;
pub mod endpoint;
pub mod expiry;
pub mod fleet;
pub mod housekeeping;
pub mod http;
mod import;
pub mod link_health;
pub mod mail;
pub mod marketing;
pub mod notification;
mod operator_api;
pub mod own_domain;
pub mod plan;
pub mod registry;
pub mod replay;
pub mod session_key;
pub mod stripe;
pub mod trial;
pub mod visit;
