//! Problem documents (RFC 9457): errors in a form that programs can read.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use serde_json::json;

use super::reply::Reply;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Turns a refusal into a problem document: it keeps the status, and its line becomes the detail.
pub fn problem(reply: Reply) -> Reply {
    let (mut head, mut body) = reply.into_parts();
    let line = text(&mut body);
    let title = head.status.canonical_reason().unwrap_or("Error");
    let document =
        json!({ "type": "about:blank", "title": title, "status": head.status.as_u16(), "detail": line.trim_end() });
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, PROBLEM);
    Reply::from_parts(head, Full::new(Bytes::from(format!("{document}\n"))))
}

/// Returns the text of a body. A body in memory arrives as one frame, at once.
fn text(body: &mut Full<Bytes>) -> String {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => {
            frame.into_data().map(|data| String::from_utf8_lossy(&data).into_owned()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::super::reply::{later, plain};
    use super::*;

    #[test]
    fn a_refusal_keeps_its_status_and_headers_and_its_line_is_the_detail() {
        let mut reply = problem(later(plain(StatusCode::TOO_MANY_REQUESTS, "too \"often\"\n")));
        let document: serde_json::Value = serde_json::from_str(&text(reply.body_mut())).unwrap();
        let expected = json!({
            "type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "too \"often\"",
        });
        assert_eq!(document, expected);
        assert_eq!(reply.headers()["content-type"], "application/problem+json");
        assert!(reply.headers().contains_key("retry-after"));
    }
}
