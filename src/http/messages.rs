//! `POST /api/channels/{channel}/messages`: publishes the body, which is JSON, for a client whose token allows
//! it.
//!
//! The rule: the token is checked before the body is read, and is taken only from the `Authorization` header,
//! which no other site's page can set.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::timeout;

use super::context::ConnectionInfo;
use super::credentials::{bearers, verify};
use super::reply::{Reply, fresh, later, with};
use crate::auth::Grant;
use crate::hub::{PublishError, publishing};

/// The parts of the path before and after the channel.
const BEFORE: &str = "/api/channels/";
const BEHIND: &str = "/messages";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Returns whether a path is one of these.
pub fn is_path(path: &str) -> bool {
    path.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(BEHIND)).is_some_and(|channel| !channel.is_empty())
}

/// Returns the channel in a path.
fn channel(path: &str) -> Option<String> {
    let encoded = path.strip_prefix(BEFORE)?.strip_suffix(BEHIND)?;
    percent_decode_str(encoded).decode_utf8().ok().map(Into::into)
}

/// Publishes a request's body. The response is sent once the store has accepted the message.
pub async fn publish(connection: &ConnectionInfo, request: Request<Incoming>) -> Reply {
    publish_or(connection, request).await.unwrap_or_else(|refusal| *refusal)
}

async fn publish_or(connection: &ConnectionInfo, request: Request<Incoming>) -> Result<Reply, Box<Reply>> {
    let (app, config) = (&connection.app, connection.app.config());
    let refuse = |status, why: &str| Box::new(app.refuse(status, why));
    let grant = grant(connection, &request).await?;
    let Some(channel) = channel(request.uri().path()) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "the channel in the path must be percent-encoded UTF-8"));
    };
    // The channel is checked before the body is read, and the body afterwards.
    publishing::check(&config.channels, Some(&grant), &channel, "{}").map_err(|why| refused(connection, &why))?;
    if !is_json(request.headers().get(CONTENT_TYPE)) {
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json"));
    }
    let body = body(connection, request.into_body()).await?;
    publishing::check(&config.channels, Some(&grant), &channel, &body).map_err(|why| refused(connection, &why))?;
    let answered = app.publisher.publish(Some(&grant), &channel, &body).map_err(|why| refused(connection, &why))?;
    let stopped = || PublishError::Store("the server is stopping".to_owned());
    answered.await.unwrap_or_else(|_| Err(stopped())).map_err(|why| refused(connection, &why))?;
    let mut reply = Response::new(Full::new(Bytes::from(format!("{}\n", json!({ "published": channel })))));
    *reply.status_mut() = StatusCode::ACCEPTED;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(fresh(reply))
}

/// Returns what the token in the header grants.
async fn grant(connection: &ConnectionInfo, request: &Request<Incoming>) -> Result<Grant, Box<Reply>> {
    let mut tokens = bearers(request.headers());
    match (tokens.next(), tokens.next()) {
        (Some(token), None) => {
            let token = token.to_owned();
            drop(tokens);
            verify(connection, request, token).await
        }
        (Some(_), Some(_)) => Err(Box::new(connection.app.refuse(StatusCode::BAD_REQUEST, "show one token only"))),
        (None, _) => {
            let why = "send a token that allows publishing here, as Authorization: Bearer TOKEN";
            Err(Box::new(with(connection.app.refuse(StatusCode::UNAUTHORIZED, why), WWW_AUTHENTICATE, "Bearer")))
        }
    }
}

fn is_json(kind: Option<&HeaderValue>) -> bool {
    let essence =
        kind.and_then(|kind| kind.to_str().ok()).map(|kind| kind.split(';').next().unwrap_or_default().trim());
    essence.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

/// Returns the body if it is JSON, is not too long and arrives in time.
async fn body(connection: &ConnectionInfo, body: Incoming) -> Result<String, Box<Reply>> {
    let (app, limits) = (&connection.app, &connection.app.config().limits);
    let refuse = |status, why: &str| Box::new(app.refuse(status, why));
    let too_long = || refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than limits.message");
    if body.size_hint().lower() > limits.message as u64 {
        return Err(too_long());
    }
    let bytes = match timeout(limits.handshake, Limited::new(body, limits.message).collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_long()),
        Ok(Err(_)) => return Err(refuse(StatusCode::BAD_REQUEST, "the body ended before its end")),
        Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come within limits.handshake")),
    };
    let json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    match String::from_utf8(bytes.into()) {
        Ok(text) if json(&text) => Ok(text),
        _ => Err(refuse(StatusCode::BAD_REQUEST, "the body is not JSON")),
    }
}

fn refused(connection: &ConnectionInfo, why: &PublishError) -> Box<Reply> {
    let status = match why {
        PublishError::BadName(_) | PublishError::Count => StatusCode::BAD_REQUEST,
        PublishError::NoChannel => StatusCode::NOT_FOUND,
        PublishError::Forbidden => StatusCode::FORBIDDEN,
        PublishError::TooOften => StatusCode::TOO_MANY_REQUESTS,
        PublishError::Busy | PublishError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let reply = connection.app.refuse(status, &why.to_string());
    let again = matches!(why, PublishError::TooOften | PublishError::Busy | PublishError::Store(_));
    Box::new(if again { later(reply) } else { reply })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_is_what_stands_between_encoded_or_not() {
        for (path, is) in [
            ("/api/channels/room:1/messages", Some("room:1")),
            ("/api/channels/page%3A%2Fa/messages", Some("page:/a")),
            ("/api/channels/page:/a/messages", Some("page:/a")),
            ("/api/channels/%ff/messages", None),
        ] {
            assert!(is_path(path));
            assert_eq!(channel(path).as_deref(), is, "{path}");
        }
        for none in ["/api/channels/messages", "/api/channels//messages", "/api/channels/a", "/api/", "/messages"] {
            assert!(!is_path(none), "{none}");
        }
    }

    #[test]
    fn json_is_json_with_parameters_too() {
        let is = |kind: &'static str| is_json(Some(&HeaderValue::from_static(kind)));
        assert!(is("application/json") && is("Application/JSON; charset=utf-8"));
        assert!(
            !is("text/plain") && !is("application/x-www-form-urlencoded") && !is("application/jsonp") && !is_json(None)
        );
    }
}
