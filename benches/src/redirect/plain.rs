//! The bare handler: poem, and a constant redirect, in a process of its own like the program under test.

use std::time::Duration;

use poem::{
    Endpoint, Request, Response, Server,
    http::{StatusCode, header},
    listener::TcpListener,
};

use super::load::location;
use crate::program::Process;

struct Constant;

impl Endpoint for Constant {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        Ok(Response::builder()
            .status(StatusCode::FOUND)
            .header(header::LOCATION, "https://shop.example/product/1?from=bench")
            .header(header::CACHE_CONTROL, "private, no-store")
            .finish())
    }
}

/// Serves it until the process is ended.
pub async fn run(port: u16) -> anyhow::Result<()> {
    Ok(Server::new(TcpListener::bind(("127.0.0.1", port))).run(Constant).await?)
}

/// Starts it as a process of its own.
pub async fn start(port: u16) -> anyhow::Result<Process> {
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    let child = command.args(["redirects", "plain", &port.to_string()]).kill_on_drop(true).spawn()?;
    for _ in 0..200 {
        if location(port, "any").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(Process(child))
}
