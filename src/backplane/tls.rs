//! The client side of an encrypted connection to the store.
//!
//! The files are read for each connection, so a new certificate takes effect with the next one.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{StoreTls, read_file};

/// Encrypts a connection to `host`, whose certificate must be for that name.
///
/// # Errors
/// Which certificate is wrong, and why.
pub(super) async fn encrypt(files: &StoreTls, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
    let files = files.clone();
    // Loading the system's roots can mean reading a few hundred files.
    let read = tokio::task::spawn_blocking(move || client_config(&files)).await;
    let config = read.map_err(|error| error.to_string())??;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())
}

fn client_config(files: &StoreTls) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(files.ca.as_deref())?);
    let (Some(certificate), Some(key)) = (&files.certificate, &files.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("redis.certificate", certificate)?;
    let pem = read_file(key).map_err(|error| about("redis.key", key, error))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| about("redis.key", key, error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("redis.certificate and redis.key: {error}"))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = match ca {
        Some(ca) => certificates("redis.ca", ca)?,
        // Unreadable roots are no reason to do without the others.
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (added, _) = roots.add_parsable_certificates(found);
    match added {
        0 => Err("there is no root certificate to trust: set redis.ca".to_owned()),
        _ => Ok(roots),
    }
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_file(file).map_err(|error| about(key, file, error))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = read.map_err(|error| about(key, file, error))?;
    if all.is_empty() { Err(about(key, file, "it contains no PEM certificate")) } else { Ok(all) }
}

fn about(key: &str, file: &Path, error: impl Display) -> String {
    format!("{key}, {}: {error}", file.display())
}
