//! A minimal GET over TLS: no redirects, no cookies, no proxy, and a limit on everything.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CACHE_CONTROL, HOST, HeaderMap, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long to wait for a connection to one address before trying the next.
const CONNECT: Duration = Duration::from_secs(3);

/// A fetched document.
#[derive(Debug)]
pub struct Fetched {
    /// The body.
    pub body: Bytes,
    /// How long it is valid, if the answer says so.
    pub max_age: Option<Duration>,
}

/// Fetches a document of at most `most` bytes, taking no longer than `within`. Trusts the system's root certificates.
///
/// # Errors
/// Says why it could not be fetched.
pub async fn get(uri: &Uri, most: usize, within: Duration) -> Result<Fetched, String> {
    timeout(within, fetch(uri, most)).await.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
}

async fn fetch(uri: &Uri, most: usize) -> Result<Fetched, String> {
    let authority = uri.authority().ok_or("it has no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    // Loading the system's roots can mean reading a few hundred files.
    let config = tokio::task::spawn_blocking(client_config).await.map_err(|error| error.to_string())??;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = connect(host, authority.port_u16().unwrap_or(443)).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("headcount/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        let max_age = max_age(response.headers());
        let body = Limited::new(response.into_body(), most).collect().await.map_err(|error| error.to_string())?;
        Ok(Fetched { body: body.to_bytes(), max_age })
    };
    let mut exchange = pin!(exchange);
    tokio::select! {
        fetched = &mut exchange => fetched,
        // What has arrived by then must still be read; if it is incomplete, the exchange fails.
        _ = connection => exchange.await,
    }
}

/// Connects to the first of the host's addresses that accepts a connection.
async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let mut why = format!("{host} has no address");
    for address in lookup_host((host, port)).await.map_err(|error| error.to_string())? {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address}: no connection within {CONNECT:?}"),
        }
    }
    Err(why)
}

fn client_config() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // Unreadable roots are no reason to do without the others.
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err("the system has no root certificate to trust; install ca-certificates".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// How long an answer claims to be valid, by RFC 9111 section 5.2.2.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut all = values.flat_map(|value| value.split(',')).map(|part| part.trim().to_ascii_lowercase());
    let read = |part: String| {
        if part == "no-store" || part == "no-cache" {
            return Some(Duration::ZERO);
        }
        part.strip_prefix("max-age=").and_then(|age| age.trim_matches('"').parse().ok()).map(Duration::from_secs)
    };
    all.find_map(read)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_says_how_long_it_holds() {
        for (value, seconds) in [
            ("max-age=600", Some(600)),
            ("public, Max-Age=\"5\", must-revalidate", Some(5)),
            ("no-store", Some(0)),
            ("public", None),
            ("max-age=soon", None),
            ("max-age=-1", None),
            ("max-age=99999999999999999999999", None),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
            assert_eq!(max_age(&headers), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
