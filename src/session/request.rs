//! What a client asks for, in one JSON object: `{"subscribe":[…],"watch":[…],"unsubscribe":[…]}`.

use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::config::channels::MAX_NAME;

/// A well-formed request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Request {
    /// Channels to leave; this is done first.
    pub unsubscribe: Vec<String>,
    /// Channels to join.
    pub subscribe: Vec<String>,
    /// Channels to receive without being counted.
    pub watch: Vec<String>,
    /// Whether the client was on these channels before, and may have missed something.
    pub reconnect: bool,
    /// A message to publish.
    pub publish: Option<Publish>,
    /// A token to use from now on.
    pub token: Option<Box<str>>,
    /// The member to follow on the boards among these channels.
    pub member: Option<String>,
}

/// A message that a client publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The channel.
    pub channel: String,
    /// The JSON text, exactly as it was sent.
    pub data: Box<str>,
}

const PUBLISH: &str = r#""publish" must be an object such as {"channel":"room:1","data":{"any":"JSON"}}"#;
const SHAPE: &str = r#"send one JSON object such as {"subscribe":["users:count"]}, with subscribe, watch or unsubscribe, each a list of channel names"#;

impl Request {
    /// Returns how many channels it names.
    pub fn names(&self) -> usize {
        self.unsubscribe.len() + self.subscribe.len() + self.watch.len()
    }
}

/// Shortens a name, so that it may be repeated to the client that sent it.
pub fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}

/// Reads a request that names at most this many channels.
///
/// # Errors
/// A text for the client: what is wrong and what is allowed.
pub fn parse(text: &str, most: usize) -> Result<Request, String> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("not understood ({error}); {SHAPE}"))?;
    let mut request = Request::default();
    for (key, value) in object {
        let list = match key.as_str() {
            "subscribe" => &mut request.subscribe,
            "watch" => &mut request.watch,
            "unsubscribe" => &mut request.unsubscribe,
            "reconnect" => {
                request.reconnect = value.as_bool().ok_or("\"reconnect\" must be true or false")?;
                continue;
            }
            "publish" => {
                request.publish = Some(publish(text).ok_or_else(|| format!("{PUBLISH}; {SHAPE}"))?);
                continue;
            }
            "token" => {
                request.token = Some(string(value).ok_or("\"token\" must be a string")?.into());
                continue;
            }
            "member" => {
                request.member =
                    Some(string(value).ok_or("\"member\" must be a string, the name of a board's member")?);
                continue;
            }
            _ => return Err(format!("there is no {}; {SHAPE}", Value::from(key))),
        };
        *list = names(value).ok_or_else(|| format!("\"{key}\" must be a list of channel names; {SHAPE}"))?;
    }
    match request.names() {
        0 if request.token.is_some() || request.publish.is_some() => Ok(request),
        0 => Err(format!("nothing is asked for; {SHAPE}")),
        names if names > most => Err(format!("a message may name at most {most} channels; {names} are in this one")),
        _ => Ok(request),
    }
}

/// Reads what to publish, verbatim: the form of a number or the order of keys may matter to somebody.
fn publish(text: &str) -> Option<Publish> {
    let members = |text| serde_json::from_str::<HashMap<String, &RawValue>>(text).ok();
    let inner = members(members(text)?.get("publish")?.get())?;
    let (channel, data) = (inner.get("channel")?, inner.get("data")?);
    let channel = serde_json::from_str(channel.get()).ok()?;
    (inner.len() == 2).then(|| Publish { channel, data: data.get().into() })
}

fn names(value: Value) -> Option<Vec<String>> {
    let Value::Array(items) = value else { return None };
    items.into_iter().map(string).collect()
}

fn string(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_what_it_wants() {
        let request =
            parse(r#"{"subscribe":["a","b"],"watch":["c"],"unsubscribe":["d"],"reconnect":true}"#, 4).unwrap();
        assert_eq!(request.subscribe, ["a", "b"]);
        assert_eq!((request.watch, request.unsubscribe, request.reconnect), (vec!["c".into()], vec!["d".into()], true));
    }

    #[test]
    fn what_is_published_is_what_was_sent_to_the_letter() {
        let data = r#"{"b":1,"a":1.0,"n":123456789012345678901234567890,"a":[ 1 ]}"#;
        let request =
            parse(&format!(r#"{{"publish":{{"data": {data} ,"channel":"a\u0062"}},"token":"x"}}"#), 4).unwrap();
        let publish = request.publish.unwrap();
        assert_eq!((publish.channel.as_str(), &*publish.data, request.token.as_deref()), ("ab", data, Some("x")));
        for bad in [
            "[]",
            "{}",
            r#"{"channel":"a"}"#,
            r#"{"data":1}"#,
            r#"{"channel":1,"data":1}"#,
            r#"{"channel":"a","data":1,"x":1}"#,
        ] {
            let message = parse(&format!(r#"{{"publish":{bad}}}"#), 4).unwrap_err();
            assert!(message.contains("\"publish\" must be"), "{bad}: {message}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_what_is_allowed() {
        for text in
            ["", "[]", "1", "{}", "{\"subscribe\":\"a\"}", "{\"subscribe\":[1]}", "{\"dance\":[]}", "{\"watch\":[]}"]
        {
            let message = parse(text, 4).unwrap_err();
            assert!(message.contains("subscribe"), "{text}: {message}");
        }
        let message = parse(r#"{"subscribe":["a","b"],"watch":["c"]}"#, 2).unwrap_err();
        assert!(message.contains("at most 2 channels"), "{message}");
    }
}
