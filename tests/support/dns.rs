//! A real name server on loopback for stories: it holds TXT records, and knows no other name.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, LazyLock, Mutex},
};

/// Whom programs ask that have no name server of their own: it knows no name.
pub static NOBODY: LazyLock<NameServer> = LazyLock::new(NameServer::start);

/// A name server. It answers until the process ends.
pub struct NameServer {
    /// Where it is asked.
    pub address: SocketAddr,
    records: Arc<Mutex<HashMap<String, Vec<String>>>>,
}

impl NameServer {
    /// One that knows no name.
    pub fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let (address, records) = (socket.local_addr().unwrap(), Arc::<Mutex<HashMap<String, Vec<String>>>>::default());
        let known = records.clone();
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                let answer = answer(&query[..length], &known.lock().unwrap());
                let _ = socket.send_to(&answer, from);
            }
        });
        Self { address, records }
    }

    /// Lets a name hold these texts and no others; each is sent in parts of at most 20 bytes.
    pub fn hold(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        self.records.lock().unwrap().insert(name.to_owned(), texts);
    }
}

/// The answer to a query of one question (RFC 1035, 4.1).
fn answer(query: &[u8], records: &HashMap<String, Vec<String>>) -> Vec<u8> {
    let (mut at, mut labels) = (12, vec![]);
    while query[at] > 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + length]).to_lowercase());
        at += 1 + length;
    }
    let question = &query[12..at + 5];
    let texts = records.get(&labels.join("."));
    let count = u8::try_from(texts.map_or(0, Vec::len)).unwrap();
    let mut answer = query[..2].to_vec();
    // An authoritative answer, or that there is no such name; one question, so many answers, nothing else.
    answer.extend([0x84, if texts.is_some() { 0 } else { 3 }, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for text in texts.into_iter().flatten() {
        let parts: Vec<u8> =
            text.as_bytes().chunks(20).flat_map(|part| [&[u8::try_from(part.len()).unwrap()], part].concat()).collect();
        // The question's name, TXT, IN, no time to live.
        answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0]);
        answer.extend(u16::try_from(parts.len()).unwrap().to_be_bytes());
        answer.extend(parts);
    }
    answer
}
