//! The program's outer shell: its settings, how its parts are put together, and what developers and operators run.
//!
//! Everything else lives in `api` (requests), `workers` (the fleet), `jobs` (the contract between them) and `domain`.

pub mod admin;
pub mod config;
pub mod dev;
pub mod listen;
pub mod migrate;
pub mod postgres;
pub mod program;
pub mod telemetry;
pub mod turn;
