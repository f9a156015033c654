//! The clock follows Postgres's, and nothing that delays an answer makes anything early.

use std::{net::SocketAddr, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use domain::clock::Clock;
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::support::database::Database;

/// How long a question is under way; the answer comes at once.
const SLOW: Duration = Duration::from_millis(300);

/// The address of `url` behind a line on which questions are slow.
async fn slowly(url: &str) -> String {
    let (before, after) = url.rsplit_once("127.0.0.1:").expect("the stories' Postgres is on loopback");
    let (port, rest) = after.split_once('/').expect("a database");
    let server = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a connection");
        let server = TcpStream::connect(server).await.expect("the stories' Postgres answers");
        let ((mut questions, mut back), (mut answers, mut there)) = (client.into_split(), server.into_split());
        let asking = async {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = questions.read(&mut bytes).await {
                tokio::time::sleep(SLOW).await;
                there.write_all(&bytes[..n]).await.expect("the server reads");
            }
        };
        tokio::join!(asking, async { drop(copy(&mut answers, &mut back).await) });
    });
    format!("{before}127.0.0.1:{port}/{rest}")
}

/// How far a clock is ahead of Postgres's, at least.
async fn ahead(clock: &Clock, conn: &mut PgConnection) -> TimeDelta {
    let mine = clock.now();
    let theirs: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(conn).await.unwrap();
    mine - theirs
}

#[tokio::test]
async fn a_question_that_was_slow_on_its_way_does_not_set_the_clock_ahead() {
    let database = Database::new().await;
    let mut near = PgConnection::connect(&database.url).await.unwrap();
    let mut far = PgConnection::connect(&slowly(&database.url).await).await.unwrap();

    let fresh = Clock::system();
    fresh.follow(&mut far).await.unwrap();
    assert!(ahead(&fresh, &mut near).await <= TimeDelta::zero());

    let settled = Clock::system();
    settled.follow(&mut near).await.unwrap();
    settled.follow(&mut far).await.unwrap();
    assert!(ahead(&settled, &mut near).await <= TimeDelta::zero());
    database.remove();
}
