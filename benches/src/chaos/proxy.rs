//! A TCP proxy between one process and Postgres, where connections are cut, stalled and lost.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They go through.
    Open,
    /// Connections stay and no byte moves, in either direction; new ones are taken and stay silent too.
    Stalled,
    /// Connections are closed, and new ones too.
    Cut,
}

#[derive(Debug, Clone, Copy)]
struct State {
    way: Way,
    /// Connections from before this number are lost: open at both ends, and silent for ever.
    lost_before: usize,
}

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    /// Where the process connects to.
    pub port: u16,
    state: watch::Sender<State>,
    number: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a free port and leads to `target`.
    pub async fn start(target: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (state, watched) = watch::channel(State { way: Way::Open, lost_before: 0 });
        let number = Arc::new(AtomicUsize::new(0));
        let counter = number.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mine = counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(lead(client, target, watched.clone(), mine));
            }
        });
        Ok(Self { port, state, number })
    }

    /// Changes what becomes of the bytes.
    pub fn set(&self, way: Way) {
        self.state.send_modify(|state| state.way = way);
    }

    /// Whether all bytes go through, as on every day.
    pub fn is_well(&self) -> bool {
        let state = *self.state.borrow();
        state.way == Way::Open && state.lost_before == 0
    }

    /// Loses the connections of this moment: both ends stay open, and no byte ever comes through again. New ones work.
    pub fn lose(&self) {
        let number = self.number.load(Ordering::Relaxed);
        self.state.send_modify(|state| (state.way, state.lost_before) = (Way::Open, number));
    }
}

async fn lead(client: TcpStream, target: u16, mut state: watch::Receiver<State>, mine: usize) {
    // A stalled network takes no connection; here the kernel has, so the server does not hear of it yet.
    if !passes(&mut state, mine).await {
        return;
    }
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], target))).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    let mut cut = state.clone();
    let lost = async {
        let _ = cut.wait_for(|state| state.way == Way::Cut).await;
    };
    tokio::select! {
        () = carry(client_in, server_out, state.clone(), mine) => {}
        () = carry(server_in, client_out, state.clone(), mine) => {}
        () = lost => {}
    }
}

/// Waits while the connection is stalled, for ever if it is lost; `false` when it is cut.
async fn passes(state: &mut watch::Receiver<State>, mine: usize) -> bool {
    let moves = |state: &State| state.way == Way::Cut || (state.way == Way::Open && mine >= state.lost_before);
    match state.wait_for(moves).await {
        Ok(state) => state.way == Way::Open,
        Err(_) => false,
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>, mine: usize) {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        // Also before an end is passed on: a lost connection's end is not heard of.
        if !passes(&mut state, mine).await {
            return;
        }
        let Ok(n @ 1..) = read else { return };
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
