//! What stories stand on: the real program in process, a database of its own for each, a clock that is moved by hand,
//! receivers that answer by script.

pub mod app;
pub mod database;
pub mod dns;
pub mod killed;
pub mod org;
pub mod receiver;
pub mod scanner;
pub mod stripe;
pub mod webhook;

pub use app::{Reply, TestApp};
pub use org::TestOrg;
pub use receiver::Receiver;
pub use stripe::Stripe;
