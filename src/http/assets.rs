//! The page and the scripts: embedded, compressed once at startup, with tags made from their content.

use std::collections::HashMap;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use rust_embed::Embed;

use super::reply::{Reply, plain};
use crate::config::{Access, Rules};
use crate::text::hex;

/// Allows nothing from other hosts and nothing inline; connections only to the page's own origin. Any site may
/// show the page in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors *";

#[derive(Embed)]
#[folder = "assets/"]
struct Files;

struct Asset {
    kind: &'static str,
    plain: (Bytes, String),
    /// The compressed form and its tag, if it is smaller than the plain one.
    gzip: Option<(Bytes, String)>,
}

/// The embedded files, ready to be sent.
pub struct Assets(HashMap<String, Asset>);

impl Assets {
    /// Compresses each file and gives it a tag.
    pub fn load() -> Self {
        let load = |name: std::borrow::Cow<'static, str>| {
            let file = Files::get(&name)?;
            let hash = hex(&file.metadata.sha256_hash()[..16]);
            let bytes = Bytes::from(file.data.into_owned());
            let gzip = gzip(&bytes).filter(|small| small.len() < bytes.len());
            // Each encoding is a separate representation, and a strong tag names exactly one.
            let asset = Asset {
                kind: content_type(&name),
                plain: (bytes, format!("\"{hash}\"")),
                gzip: gzip.map(|small| (small, format!("\"{hash}-gzip\""))),
            };
            Some((name.into_owned(), asset))
        };
        Self(Files::iter().filter_map(load).collect())
    }

    /// Returns a file, or 304 if the client already has it.
    pub fn serve(&self, name: &str, request: &HeaderMap) -> Reply {
        let Some(asset) = self.0.get(name) else {
            return plain(StatusCode::NOT_FOUND, "this file is not part of this build\n");
        };
        let zipped = asset.gzip.as_ref().filter(|_| takes_gzip(request));
        let (bytes, tag) = zipped.unwrap_or(&asset.plain);
        let known = request.get_all(IF_NONE_MATCH).iter().any(|tags| {
            tags.to_str().is_ok_and(|tags| {
                tags.split(',').any(|one| one.trim() == "*" || one.trim().trim_start_matches("W/") == tag)
            })
        });
        let mut reply = Response::new(if known { Full::default() } else { Full::new(bytes.clone()) });
        if known {
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let html = asset.kind.starts_with("text/html");
        let cache = if html { "no-cache" } else { "public, max-age=300, must-revalidate" };
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                reply.headers_mut().insert(name, value);
            }
        };
        set(ETAG, tag);
        set(CACHE_CONTROL, cache);
        set(VARY, "accept-encoding");
        // Other sites' pages include the script, and browsers fetch it with CORS.
        set(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        set(X_CONTENT_TYPE_OPTIONS, "nosniff");
        if !known {
            set(CONTENT_TYPE, asset.kind);
            if zipped.is_some() {
                set(CONTENT_ENCODING, "gzip");
            }
        }
        if html {
            set(CONTENT_SECURITY_POLICY, POLICY);
            set(REFERRER_POLICY, "no-referrer");
        }
        reply
    }
}

/// Returns a module that tells the scripts the name of the default channel, and of the board of the most
/// visited pages if there is one. A reload may change both, so the module is not cached.
pub fn default_channel(rules: &Rules) -> Reply {
    let name = serde_json::Value::from(rules.default_channel().unwrap_or_default());
    let mut module = format!("export const DEFAULT_CHANNEL = {name};\n");
    if let Some((rule, _)) = rules.kept().find(|(rule, _)| rule.access == Access::Open) {
        let name = serde_json::Value::from(rule.pattern.as_str());
        module.push_str(&format!("export const TRENDING = {name};\n"));
    }
    let mut reply = Response::new(Full::new(Bytes::from(module)));
    for (name, value) in [
        (CONTENT_TYPE, content_type("default.js")),
        (CACHE_CONTROL, "no-cache"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}

fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Returns whether the client accepts gzip (RFC 9110, section 12.5.3).
fn takes_gzip(request: &HeaderMap) -> bool {
    let weight = |coding: &str| {
        request
            .get_all(ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|v| v.split(','))
            .find_map(|part| {
                let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
                let weight =
                    || parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.trim().parse::<f32>().ok());
                name.trim().eq_ignore_ascii_case(coding).then(weight).flatten()
            })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_whoever_takes_it() {
        for (accept, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("*", true),
            ("identity", false),
            ("*;q=0", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            assert_eq!(takes_gzip(&headers), takes, "{accept}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
