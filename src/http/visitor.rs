//! The id of a client's visitor: `?visitor=…`, or the WebSocket subprotocol `headcount.visitor.…`, which keeps
//! the id out of access logs.

use hyper::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use super::query::Query;
use crate::hub::Identity;

/// The subprotocol that this server speaks.
const HEADCOUNT: &str = "headcount";
/// The prefix of an id that is offered as a subprotocol.
const VISITOR: &str = "headcount.visitor.";
/// The allowed lengths of an id.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=64;

/// Returns the subprotocols that a request offers.
pub fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Chooses the subprotocol for the response: a browser closes a connection whose response names none of those
/// offered.
pub fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let answer = offered(headers).find(|name| *name == HEADCOUNT);
    let answer = answer.or_else(|| offered(headers).find(|name| name.starts_with(VISITOR)));
    answer.and_then(|name| HeaderValue::from_str(name).ok())
}

/// Returns who the client is, if it says.
///
/// # Errors
/// What is wrong with an id, and what is allowed.
pub fn visitor(query: &Query, headers: &HeaderMap) -> Result<Option<Identity>, String> {
    let mut ids: Vec<&str> = offered(headers).filter_map(|name| name.strip_prefix(VISITOR)).collect();
    ids.extend(query.visitor.iter().map(String::as_str));
    let Some(id) = ids.first() else { return Ok(None) };
    if !LENGTH.contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        let (least, most) = LENGTH.into_inner();
        return Err(format!("a visitor's id has {least} to {most} of the characters A-Z a-z 0-9 - _"));
    }
    if ids.iter().any(|other| other != id) {
        return Err("a connection is one visitor's: give one id only".to_owned());
    }
    Ok(Some(Identity::client(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(asked: &[&str], offered: &[&str]) -> Result<(Option<Identity>, Option<String>), String> {
        let query = Query { visitor: asked.iter().map(ToString::to_string).collect(), ..Query::default() };
        let values = offered.iter().map(|value| (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(value).unwrap()));
        let headers: HeaderMap = values.collect();
        let answer = subprotocol(&headers);
        Ok((visitor(&query, &headers)?, answer.map(|answer| answer.to_str().unwrap().to_owned())))
    }

    #[test]
    fn an_id_is_taken_from_the_address_or_the_subprotocol_and_one_of_those_is_answered() {
        let ann = || Some(Identity::client("ann-0123456789_A"));
        let offered = "headcount.visitor.ann-0123456789_A";
        assert_eq!(read(&[], &[]), Ok((None, None)));
        assert_eq!(read(&[], &["graphql-ws"]), Ok((None, None)));
        assert_eq!(read(&[], &["headcount"]), Ok((None, Some("headcount".to_owned()))));
        assert_eq!(read(&["ann-0123456789_A"], &[]), Ok((ann(), None)));
        assert_eq!(read(&[], &[offered]), Ok((ann(), Some(offered.to_owned()))));
        assert_eq!(read(&[], &["x", &format!("{offered} ,headcount")]), Ok((ann(), Some("headcount".to_owned()))));
        assert_eq!(read(&["ann-0123456789_A"; 2], &[offered]).unwrap().0, ann());
    }

    #[test]
    fn an_id_that_is_none_or_two_ids_are_told() {
        for id in ["", "fifteen-letters", &"x".repeat(65), "sixteen letters!", "ännännännännännä", "0123456789abcde\n"]
        {
            assert!(read(&[id], &[]).unwrap_err().contains("16 to 64"), "{id:?}");
        }
        for id in ["", "fifteen-letters", &"x".repeat(65), "a.dot-0123456789"] {
            let offered = format!("headcount, headcount.visitor.{id}");
            assert!(read(&[], &[&offered]).unwrap_err().contains("16 to 64"), "{id:?}");
        }
        assert!(read(&["0123456789abcdef", "0123456789abcdeg"], &[]).unwrap_err().contains("one id"));
        assert!(read(&["0123456789abcdef"], &["headcount.visitor.0123456789abcdeg"]).is_err());
    }
}
