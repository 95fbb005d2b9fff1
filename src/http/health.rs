//! `/healthz`, `/readyz`, `/metrics`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::context::App;
use super::reply::{Reply, fresh, plain};
use crate::hub::StoreState;

/// Reports that the process is serving.
pub fn health() -> Reply {
    fresh(plain(StatusCode::OK, "ok\n"))
}

/// Reports whether this node should get clients: the store is reachable and lets it count, and the subscription
/// is live.
pub fn ready(app: &App) -> Reply {
    let (status, text) = match (app.is_leaving(), app.registry.store()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "leaving: the server is stopping\n"),
        (false, Some(StoreState::Live)) => (StatusCode::OK, "ready\n"),
        (false, Some(StoreState::Refused)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "refused: the store does not let this server count; the log says why\n")
        }
        (false, Some(StoreState::Degraded)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "degraded: the store is out of reach\n")
        }
        (false, None) => (StatusCode::SERVICE_UNAVAILABLE, "degraded: the store has not answered yet\n"),
    };
    fresh(plain(status, text))
}

/// Returns the metrics in the OpenMetrics text format, which Prometheus reads.
pub fn metrics(app: &App) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(app.metrics.render())));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    fresh(reply)
}
