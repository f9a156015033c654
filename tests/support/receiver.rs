//! Real HTTP receivers on loopback for all stories: they record what arrives and answer, or misbehave, by a script.
//!
//! Written on plain TCP, because an HTTP library would refuse to be this rude. A receiver runs on a thread and in a time
//! of its own, so it neither stops with a story's paused clock nor takes the story's only thread when it floods.
//!
//! ```ignore
//! let receiver = Receiver::start(Script::sequence([Reply::status(500), Reply::ok()]));
//! // … an endpoint at receiver.url() …
//! let requests = receiver.wait_for(2).await;
//! assert_eq!(requests[1].header("webhook-id"), requests[0].header("webhook-id"));
//! ```

mod reply;
mod wire;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::watch,
};

pub use self::reply::Reply;

/// How long a story waits for requests before it fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// When its last byte was read, in real time.
    pub at: Instant,
    /// `POST`.
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    /// Names as sent and values, in order.
    pub headers: Vec<(String, String)>,
    /// As many bytes as Content-Length said.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of a name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

type Choose = dyn Fn(usize, &Received) -> Reply + Send + Sync;

/// Which reply a request gets.
#[derive(Clone)]
pub struct Script(Arc<Choose>);

impl Script {
    /// The same reply every time.
    pub fn always(reply: Reply) -> Self {
        Self::by(move |_, _| reply.clone())
    }

    /// One reply after the other; the last stays. Panics if there is none.
    pub fn sequence(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<Reply> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "a sequence of replies needs at least one");
        Self::by(move |number, _| replies[number.min(replies.len() - 1)].clone())
    }

    /// What `choose` says, given the request and how many came before it.
    pub fn by(choose: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        Self(Arc::new(choose))
    }
}

impl From<Reply> for Script {
    fn from(reply: Reply) -> Self {
        Self::always(reply)
    }
}

struct Shared {
    script: Script,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    connections: AtomicUsize,
}

/// A receiver that listens on 127.0.0.1 until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    // An `Option`, because a runtime may only be dropped by value where others are awaited.
    runtime: Option<Runtime>,
}

impl Receiver {
    /// Listens on a free port and answers by `script`; a single [`Reply`] is a script too.
    pub fn start(script: impl Into<Script>) -> Self {
        let shared = Arc::new(Shared {
            script: script.into(),
            received: Mutex::default(),
            count: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("receiver")
            .enable_all()
            .build()
            .expect("a thread for the receiver");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound address");
        listener.set_nonblocking(true).expect("a socket that does not block");
        runtime.spawn(accept(listener, shared.clone()));
        Self { address, shared, runtime: Some(runtime) }
    }

    /// `http://127.0.0.1:<port>/hook`. The receiver takes any path; the script sees which.
    pub fn url(&self) -> String {
        self.url_at("127.0.0.1")
    }

    /// The same under another host, for stories whose resolver knows the way.
    pub fn url_at(&self, host: &str) -> String {
        format!("http://{host}:{}/hook", self.address.port())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far, in the order in which they were complete.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The requests, as soon as there are `n`; fails the story after ten seconds of real time.
    pub async fn wait_for(&self, n: usize) -> Vec<Received> {
        let mut count = self.shared.count.subscribe();
        // Its own runtime's timer, for the story's may stand still.
        let timer = self.runtime.as_ref().expect("runs until dropped").spawn(tokio::time::sleep(PATIENCE));
        tokio::select! {
            seen = count.wait_for(|seen| *seen >= n) => { seen.expect("the receiver lives"); }
            _ = timer => panic!("waited for {n} requests at {}, but only {} came", self.url(), *self.shared.count.borrow()),
        }
        self.received()
    }

    /// How many TCP connections were opened to it.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a runtime that drives sockets");
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(stream, shared.clone()));
    }
}

/// Answers the requests of one connection until a reply ends it or the client goes.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = wire::buffered(stream);
    while let Some(request) = wire::read(&mut stream).await {
        let number = {
            let mut received = shared.received.lock().unwrap();
            received.push(request.clone());
            received.len() - 1
        };
        let reply = (shared.script.0)(number, &request);
        shared.count.send_replace(number + 1);
        // A client that leaves early is what many stories are about.
        match reply.write(&mut stream, &request).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}
