//! The API: it parses and validates, authorises, and commits rows and jobs. It has no other effect.
//!
//! One file per noun and one per foreign surface. Every failure is a [`failure::Failure`] until the edge, where
//! [`surface`] gives it the shape that the surface documents.

pub mod app;
pub mod auth;
pub mod canva;
pub mod cookie;
pub mod cors;
pub mod cron;
mod csv_file;
mod deleted;
mod development;
pub mod failure;
mod heavy;
pub mod idempotency;
pub mod iloveqr;
pub mod inklink;
pub mod inkode;
pub mod inkr;
pub mod input;
pub mod intake;
pub mod metrics;
pub mod oauth;
pub mod openapi;
pub mod page;
pub mod picture;
pub mod probe;
pub mod public;
mod pulse;
pub mod qrstudio;
pub mod rate;
pub mod redirect;
pub mod server;
pub mod stripe;
pub mod surface;
pub mod text;
pub mod timestamp;
pub mod webhook;

pub use app::App;
pub use server::{openapi_yaml, probe_routes, routes};
