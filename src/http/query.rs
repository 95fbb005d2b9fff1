//! The query of a subscription: `channel=…&watch=…&reconnect=1`, percent-encoded.

use percent_encoding::percent_decode_str;

use crate::session::Request;

/// A parsed query.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The subscription that it asks for.
    pub request: Request,
    /// The visitor ids that the client gives; several are allowed only if they are all equal.
    pub visitor: Vec<String>,
    /// The tokens that the client shows.
    pub token: Vec<String>,
}

/// Parses a query.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn parse(query: &str) -> Result<Query, String> {
    let mut found = Query::default();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = decode(value).ok_or_else(|| format!("the value of {key} is not percent-encoded UTF-8"))?;
        match (key, value.as_str()) {
            ("channel", _) => found.request.subscribe.push(value),
            ("watch", _) => found.request.watch.push(value),
            ("member", _) => found.request.member = Some(value),
            ("token", _) => found.token.push(value),
            ("visitor", _) => found.visitor.push(value),
            ("reconnect", "" | "1" | "true") => found.request.reconnect = true,
            ("reconnect", "0" | "false") => found.request.reconnect = false,
            ("reconnect", _) => return Err("reconnect takes 1 or 0".to_owned()),
            _ => {
                return Err(format!(
                    "there is no parameter {key:?}; there is channel, watch, visitor, reconnect, member"
                ));
            }
        }
    }
    Ok(found)
}

/// Decodes strictly: a percent sign must be followed by two hexadecimal digits.
fn decode(text: &str) -> Option<String> {
    let hex = |bytes: &[u8]| bytes.len() >= 2 && bytes[..2].iter().all(u8::is_ascii_hexdigit);
    let mut escapes = text.as_bytes().split(|byte| *byte == b'%').skip(1);
    if !escapes.all(hex) {
        return None;
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_percent_decoded() {
        let Query { request: query, .. } =
            parse("channel=page%3A%2Fa&channel=public:x&watch=%C3%A4&reconnect=1").unwrap();
        assert_eq!(query.subscribe, ["page:/a", "public:x"]);
        assert_eq!((query.watch, query.reconnect), (vec!["ä".to_owned()], true));
        for bad in ["channel=%ff", "channel=%zz", "channel=a%4", "channel=%"] {
            assert!(parse(bad).unwrap_err().contains("percent-encoded"), "{bad}");
        }
        assert!(parse("chanel=a").unwrap_err().contains("channel, watch, visitor, reconnect, member"));
    }
}
