//! The server side of encrypted connections.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificate and key, ready to accept encrypted connections.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The settings for each new connection.
    pub server: Arc<ServerConfig>,
    /// The certificate chain, which tells whether a reload brought another certificate.
    chain: Vec<CertificateDer<'static>>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Tls {
    /// Makes the settings from a certificate with its chain, and its key.
    ///
    /// # Errors
    /// The key does not belong to the certificate, or one of them is of an unsupported kind.
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
    // The client keeps its session in a ticket, so every client can resume and the server stores nothing.
    server.ticketer = ring::Ticketer::new()?;
    server.send_tls13_tickets = 1;
    Ok(server)
}
