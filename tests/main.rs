//! The stories: what users, operators and subscribers can rely on, told through the front door on real Postgres and real
//! receivers. One binary, one file per noun.

mod address;
mod api_key;
mod config;
mod dialect;
mod dialect_health;
mod dialect_schedule;
mod dialect_secret;
mod dialect_sign;
mod event;
mod http;
mod http_url;
mod json;
mod listen;
mod mail_transport;
mod postgres;
mod sealed;
mod session;
mod support;
