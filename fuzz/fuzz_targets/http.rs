//! What a connection sends before it is a client's: a proxy's header, then requests, through the same
//! parser as the product's. No panic; and whatever is believed of a request was said by who may say it.
#![no_main]
#![allow(dead_code)]

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};

#[path = "../../src/http/client_ip.rs"]
mod client_ip;
#[path = "../../src/http/host.rs"]
mod host;
#[path = "../../src/http/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "../../src/http/query.rs"]
mod query;
#[path = "../../src/http/visitor.rs"]
mod visitor;

/// What the modules know of their neighbours.
mod config {
    pub use headcount::config::*;
}
mod hub {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Identity(pub String);
    impl Identity {
        pub fn client(id: &str) -> Self {
            Self(id.to_owned())
        }
    }
}
#[path = "../../src/session/request.rs"]
mod request;
mod session {
    pub use crate::request::Request;
}

use config::{Forwarded, Trusted};

/// hyper's buffer in the product.
const REQUEST_BUFFER: usize = 8 << 10;
/// What one connection is sent at most, in this program.
const LONGEST: usize = 64 << 10;

fn look(request: &HttpRequest<Incoming>) {
    let (uri, headers) = (request.uri(), request.headers());
    if let Ok(query) = query::parse(uri.query().unwrap_or_default()) {
        if let Ok(Some(identity)) = visitor::visitor(&query, headers) {
            let id = identity.0;
            assert!((16..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        }
        let length = uri.query().unwrap_or_default().len();
        assert!(query.request.subscribe.iter().chain(&query.request.watch).map(String::len).sum::<usize>() <= length);
    }
    let names = ["ours.example".to_owned()];
    if host::check(uri, headers, request.version(), &names).is_ok() {
        assert!(headers.get_all(HOST).iter().count() < 2);
        let called = uri.host().or_else(|| headers.get(HOST)?.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
        assert!(called.starts_with("ours.example"), "{called}");
    }
    if let Some(answer) = visitor::subprotocol(headers) {
        assert!(visitor::offered(headers).any(|name| name.as_bytes() == answer.as_bytes()));
    }
    let [stranger, proxy]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [10, 0, 0, 1].into()];
    let trusted: [Trusted; 1] = ["10.0.0.0/8".parse().unwrap()];
    for written in [Forwarded::Common, Forwarded::Standard] {
        assert_eq!(client_ip::client(Some(stranger), headers, &trusted, written), Some(stranger));
        let _ = client_ip::client(Some(proxy), headers, &trusted, written);
    }
}

async fn connection(bytes: &[u8], proxied: bool) {
    let (mut client, mut server) = duplex(LONGEST);
    let _ = client.write_all(bytes).await;
    let _ = client.shutdown().await;
    if proxied && proxy_protocol::proxied(&mut server).await.is_err() {
        return;
    }
    let seen = Rc::new(RefCell::new(0));
    let service = service_fn(|request: HttpRequest<Incoming>| {
        look(&request);
        *seen.borrow_mut() += 1;
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    let mut http = http1::Builder::new();
    let http = http.max_buf_size(REQUEST_BUFFER).serve_connection(TokioIo::new(server), service);
    // What is answered has to be taken, as the pipe is bounded.
    let read = async {
        let mut answers = Vec::new();
        let _ = client.read_to_end(&mut answers).await;
        answers
    };
    let (_, answers) = tokio::join!(http, read);
    assert!(answers.windows(9).filter(|nine| *nine == b"HTTP/1.1 ").count() <= *seen.borrow() + 2);
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().unwrap();
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    RUNTIME.with(|runtime| runtime.block_on(connection(bytes, kind % 4 == 0)));
    // The query alone too, since a parser of addresses stands before it.
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = query::parse(text);
    }
});
