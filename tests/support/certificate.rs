//! TLS as a client speaks it, that trusts one certificate and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::SOON;
use super::node::Scratch;

/// A certificate of its own making for `localhost`, in files.
pub struct Certificate {
    der: CertificateDer<'static>,
    pub pem: Scratch,
    pub key: Scratch,
}

impl Certificate {
    /// Makes one.
    pub fn make() -> Certificate {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Certificate {
            der: made.cert.der().clone(),
            pem: Scratch::write("cert.pem", &made.cert.pem()),
            key: Scratch::write("key.pem", &made.signing_key.serialize_pem()),
        }
    }

    /// Puts another one in the place of this.
    pub fn replace(&mut self) {
        let other = Certificate::make();
        std::fs::copy(&other.pem.0, &self.pem.0).unwrap();
        std::fs::copy(&other.key.0, &self.key.0).unwrap();
        self.der = other.der.clone();
    }

    /// A connection that trusts this certificate and nothing else.
    pub async fn connect(&self, to: SocketAddr, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(to).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// A WebSocket over such a connection.
    pub async fn socket(&self, to: SocketAddr, query: &str) -> WebSocketStream<TlsStream<TcpStream>> {
        self.try_socket(to, query).await.unwrap()
    }

    /// The same, or the answer that the server gave instead.
    pub async fn try_socket(
        &self,
        to: SocketAddr,
        query: &str,
    ) -> Result<WebSocketStream<TlsStream<TcpStream>>, String> {
        let stream = self.connect(to, b"http/1.1").await.map_err(|why| why.to_string())?;
        let request = format!("wss://localhost/ws?{query}").into_client_request().unwrap();
        match timeout(SOON, client_async(request, stream)).await.expect("a handshake in time") {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(reply)) => {
                let body = reply.body().as_deref().unwrap_or_default();
                Err(format!("{} {}", reply.status().as_u16(), String::from_utf8_lossy(body)))
            }
            Err(why) => Err(why.to_string()),
        }
    }
}
