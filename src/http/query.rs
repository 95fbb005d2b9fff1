//! The query of a subscription: `channel=…&watch=…&reconnect=1`, percent-encoded.

use percent_encoding::percent_decode_str;

/// What a query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Channels to join.
    pub channels: Vec<String>,
    /// Channels to watch.
    pub watch: Vec<String>,
    /// The client was here before and may have missed something.
    pub reconnect: bool,
}

/// Reads a query.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn parse(query: &str) -> Result<Query, String> {
    let mut found = Query::default();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let spaced = value.replace('+', " ");
        let value = percent_decode_str(&spaced)
            .decode_utf8()
            .map_err(|_| format!("the value of {key} is not percent-encoded UTF-8"))?
            .into_owned();
        match (key, value.as_str()) {
            ("channel", _) => found.channels.push(value),
            ("watch", _) => found.watch.push(value),
            ("reconnect", "" | "1" | "true") => found.reconnect = true,
            ("reconnect", "0" | "false") => found.reconnect = false,
            ("reconnect", _) => return Err("reconnect takes 1 or 0".to_owned()),
            _ => return Err(format!("there is no parameter {key:?}; there is channel, watch, reconnect")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_percent_decoded() {
        let query = parse("channel=page%3A%2Fa&channel=public:x&watch=%C3%A4&reconnect=1").unwrap();
        assert_eq!(query.channels, ["page:/a", "public:x"]);
        assert_eq!((query.watch, query.reconnect), (vec!["ä".to_owned()], true));
        assert!(parse("channel=%ff").is_err());
        assert!(parse("chanel=a").unwrap_err().contains("channel, watch, reconnect"));
    }
}
