//! DNS: the texts that a name holds, by the machine's own name servers.

use std::net::SocketAddr;

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RData,
};

/// Looks names up. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Dns {
    /// A name server beside the machine's own, for stories.
    server: Option<SocketAddr>,
}

impl Dns {
    /// Asks this name server and no other.
    pub fn at(server: SocketAddr) -> Self {
        Self { server: Some(server) }
    }

    /// The TXT records of a name, each with its parts put together; none where there is no such name. Nothing is
    /// remembered from call to call: who has just changed their DNS wants to know what it says now.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, NetError> {
        let provider = TokioRuntimeProvider::default();
        let resolver = match self.server {
            None => TokioResolver::builder(provider)?,
            Some(server) => {
                let mut udp = ConnectionConfig::udp();
                udp.port = server.port();
                let server = NameServerConfig::new(server.ip(), true, vec![udp]);
                TokioResolver::builder_with_config(ResolverConfig::from_parts(None, vec![], vec![server]), provider)
            }
        };
        // With its last dot, the machine's own domains are not tried behind it.
        let found = match resolver.build()?.txt_lookup(format!("{name}.")).await {
            Ok(found) => found,
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let texts = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        Ok(texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect())
    }
}
