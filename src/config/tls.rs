//! Our side of an encrypted connection.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What our side of an encrypted connection needs.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For each new connection.
    pub server: Arc<ServerConfig>,
    /// Tells whether another certificate was put in place.
    chain: Vec<CertificateDer<'static>>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Tls {
    /// For this certificate, with its chain, and its key.
    ///
    /// # Errors
    /// The two do not belong together, or are of a kind that is not known.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, rustls::Error> {
        Ok(Self { server: Arc::new(server(chain.clone(), key)?), chain })
    }
}

fn server(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Tickets keep a session with its client; so all may resume, and nothing is kept here.
    server.ticketer = ring::Ticketer::new()?;
    server.send_tls13_tickets = 1;
    Ok(server)
}
