//! `inkfleet listen`: a receiver for developers that prints what arrives and whether its signature is right.
//!
//! It knows every dialect, tells them apart by their headers, and answers as it was told to. Nothing is stored.

mod received;

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Args;
use domain::clock::Clock;
use poem::{
    Request, Response, Server,
    endpoint::make,
    http::StatusCode,
    listener::{Acceptor, AcceptorExt as _, BoxAcceptor, Listener as _, TcpListener},
};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use received::Received;

/// Far above every dialect's bodies.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// How long requests under way have to end.
const GRACE: Duration = Duration::from_secs(1);

/// The arguments of `inkfleet listen`.
#[derive(Debug, Clone, Args)]
pub struct ListenArgs {
    /// The TCP port; 0 takes any free one.
    #[arg(long, default_value_t = 9000)]
    pub port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// A signing secret of an endpoint, of whatever dialect; give several if several endpoints send here.
    #[arg(long = "secret")]
    pub secrets: Vec<SecretString>,
    /// The status to answer with.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: u16,
    /// How many milliseconds to wait before the answer.
    #[arg(long, default_value_t = 0)]
    pub delay_ms: u64,
    /// Print one JSON object per request and line, for scripts.
    #[arg(long)]
    pub json: bool,
}

/// A receiver that has its port.
pub struct Listener {
    args: ListenArgs,
    acceptor: BoxAcceptor,
    address: SocketAddr,
}

/// Runs the receiver on stdout until `shutdown` resolves or nobody reads the output any more.
pub async fn run(args: ListenArgs, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let listener = Listener::bind(args).await?;
    eprintln!("listening on http://{}; end with Ctrl-C", listener.address());
    listener.serve(Clock::system(), io::stdout(), shutdown).await
}

impl Listener {
    /// Takes the port; the error names the address.
    pub async fn bind(args: ListenArgs) -> io::Result<Self> {
        let wanted = SocketAddr::new(args.bind, args.port);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{wanted} cannot be listened on: {error}"));
        let acceptor = TcpListener::bind(wanted).into_acceptor().await.map_err(named)?.boxed();
        let bound = acceptor.local_addr().first().and_then(|local| local.as_socket_addr().copied());
        Ok(Self { args, acceptor, address: bound.unwrap_or(wanted) })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests and writes each to `out`, until `shutdown` resolves or `out` fails.
    pub async fn serve(
        self,
        clock: Clock,
        out: impl Write + Send + 'static,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let (args, out, unread) = (Arc::new(self.args), Arc::new(Mutex::new(out)), CancellationToken::new());
        let until = unread.clone();
        let answer = make(move |request: Request| {
            let (args, clock, out, unread) = (args.clone(), clock.clone(), out.clone(), unread.clone());
            async move {
                let received = match read(request, &args, &clock).await {
                    Ok(received) => received,
                    Err(status) => return Ok::<_, poem::Error>(Response::builder().status(status).finish()),
                };
                let text = if args.json { received.json() } else { received.text() };
                if write(&out, &text).is_err() {
                    unread.cancel();
                }
                tokio::time::sleep(Duration::from_millis(args.delay_ms)).await;
                let status = StatusCode::from_u16(args.status).unwrap_or(StatusCode::OK);
                Ok(Response::builder().status(status).finish())
            }
        });
        let end = async {
            tokio::select! {
                () = shutdown => {}
                () = until.cancelled() => {}
            }
        };
        Server::new_with_acceptor(self.acceptor).run_with_graceful_shutdown(answer, end, Some(GRACE)).await
    }
}

/// Reads one request whole and judges its signature.
async fn read(request: Request, args: &ListenArgs, clock: &Clock) -> Result<Received, StatusCode> {
    let (parts, body) = request.into_parts();
    let body = body.into_bytes_limit(MAX_BODY_BYTES).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    Ok(Received::judge(parts, body.to_vec(), &args.secrets, clock.now()))
}

/// Each request in one piece: several may arrive at once.
fn write(out: &Mutex<impl Write>, text: &str) -> io::Result<()> {
    let mut out = out.lock().expect("no panic while a request is written");
    out.write_all(text.as_bytes())?;
    out.flush()
}
