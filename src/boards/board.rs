//! The contents of a sorted set, and the JSON that describes them to clients.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use redis::{FromRedisValue, Value};

/// A member's name: any bytes that a program wrote.
pub type BoardMember = Vec<u8>;

/// The top of a sorted set and its size, as they were at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Board {
    /// The first members with their scores, best first.
    pub top: Vec<(BoardMember, f64)>,
    /// How many members there are in all.
    pub size: u64,
}

/// Where one member stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The rank, which is 0 for the best.
    pub rank: u64,
    /// Its score.
    pub score: f64,
}

/// The result of one read of a board's key.
#[derive(Debug, Clone, PartialEq)]
pub enum BoardReading {
    /// The board, and the places of the requested members in the order of the request; None for a member
    /// that is not on the board.
    Board(Board, Vec<Option<Place>>),
    /// The key holds something else.
    NotAnOrderedSet,
}

impl BoardReading {
    /// Parses the script's reply; None if it cannot be the script's.
    pub fn parse(reply: Value) -> Option<Self> {
        type Reply = (String, i64, Vec<(BoardMember, BoardMember)>, Vec<(Value, Value)>);
        let (word, size, top, places) = Reply::from_redis_value(reply).ok()?;
        if word != "ok" {
            return Some(Self::NotAnOrderedSet);
        }
        let top = top.into_iter().map(|(member, score)| Some((member, number(&score)?))).collect::<Option<_>>()?;
        let places = places.into_iter().map(|(rank, score)| place(rank, &score)).collect::<Option<_>>()?;
        Some(Self::Board(Board { top, size: u64::try_from(size).ok()? }, places))
    }
}

fn number(text: &[u8]) -> Option<f64> {
    // Rust and Redis both write the infinities as `inf` and `-inf`.
    std::str::from_utf8(text).ok()?.parse().ok().filter(|score: &f64| !score.is_nan())
}

/// The outer None means a malformed reply, the inner None an absent member.
fn place(rank: Value, score: &Value) -> Option<Option<Place>> {
    let rank = match rank {
        Value::Int(rank) => u64::try_from(rank).ok()?,
        Value::BulkString(text) if text.is_empty() => return Some(None),
        _ => return None,
    };
    match score {
        Value::BulkString(text) => Some(Some(Place { rank, score: number(text)? })),
        _ => None,
    }
}

impl Board {
    /// `"board":[["ann",120],["bob",7.5]],"size":1523`: the fields of a JSON object that describes the board.
    pub fn json(&self) -> String {
        let mut text = String::from("\"board\":[");
        for (index, (member, score)) in self.top.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}[{},{}]", member_json(member), score_json(*score));
        }
        let _ = write!(text, "],\"size\":{}", self.size);
        text
    }
}

/// `"member":"ann","rank":41,"score":7`, with null for rank and score if the member is not on the board.
pub fn place_json(member: &[u8], place: Option<Place>) -> String {
    let (rank, score) = match place {
        Some(Place { rank, score }) => (rank.to_string(), score_json(score)),
        None => ("null".to_owned(), "null".to_owned()),
    };
    format!("\"member\":{},\"rank\":{rank},\"score\":{score}", member_json(member))
}

/// Writes a member as text, or as `{"base64":…}` if it is not UTF-8.
fn member_json(member: &[u8]) -> String {
    match std::str::from_utf8(member) {
        Ok(text) => serde_json::Value::from(text).to_string(),
        Err(_) => format!("{{\"base64\":\"{}\"}}", STANDARD.encode(member)),
    }
}

/// Writes a score as a number that parses back to the same double. JSON has no infinities, so they become strings.
fn score_json(score: f64) -> String {
    /// From here on, a double cannot represent every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if score.is_infinite() {
        return if score > 0.0 { "\"inf\"" } else { "\"-inf\"" }.to_owned();
    }
    if score.fract() == 0.0 && score.abs() < EXACT && !(score == 0.0 && score.is_sign_negative()) {
        return format!("{score:.0}");
    }
    serde_json::Value::from(score).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn a_board_is_told_with_its_scores_as_plain_numbers() {
        let top = vec![
            (b"ann".to_vec(), 120.0),
            (b"b\"ob".to_vec(), 7.5),
            (vec![0xff], f64::INFINITY),
            (b"z".to_vec(), f64::NEG_INFINITY),
        ];
        let board = Board { top, size: 1523 };
        let expected = r#""board":[["ann",120],["b\"ob",7.5],[{"base64":"/w=="},"inf"],["z","-inf"]],"size":1523"#;
        assert_eq!(board.json(), expected);
        assert_eq!(Board::default().json(), r#""board":[],"size":0"#);
        let place = Place { rank: 41, score: -0.5 };
        assert_eq!(place_json(b"ann", Some(place)), r#""member":"ann","rank":41,"score":-0.5"#);
        assert_eq!(place_json(b"ann", None), r#""member":"ann","rank":null,"score":null"#);
    }

    #[test]
    fn the_scripts_reply_is_read_and_nothing_else_is() {
        let list = |values: &[Value]| Value::Array(values.to_vec());
        let top = list(&[bulk("ann"), bulk("1.5"), bulk("bob"), bulk("-inf")]);
        let places = list(&[Value::Int(1), bulk("-inf"), bulk(""), bulk("")]);
        let reply = list(&[bulk("ok"), Value::Int(2), top, places]);
        let board = Board { top: vec![(b"ann".to_vec(), 1.5), (b"bob".to_vec(), f64::NEG_INFINITY)], size: 2 };
        let bob = Place { rank: 1, score: f64::NEG_INFINITY };
        assert_eq!(BoardReading::parse(reply), Some(BoardReading::Board(board, vec![Some(bob), None])));
        let other = list(&[bulk("other"), Value::Int(0), list(&[]), list(&[])]);
        assert_eq!(BoardReading::parse(other), Some(BoardReading::NotAnOrderedSet));
        let odd = [
            Value::Nil,
            Value::Int(1),
            list(&[bulk("ok"), Value::Int(-1), list(&[]), list(&[])]),
            list(&[bulk("ok"), Value::Int(1), list(&[bulk("ann"), bulk("nan")]), list(&[])]),
            list(&[bulk("ok"), Value::Int(1), list(&[bulk("ann")]), list(&[])]),
            list(&[bulk("ok"), Value::Int(1), list(&[]), list(&[bulk("x"), bulk("1")])]),
        ];
        for reply in odd {
            assert_eq!(BoardReading::parse(reply.clone()), None, "{reply:?}");
        }
    }

    proptest! {
        #[test]
        fn a_score_reads_back_as_the_same_double(bits in any::<u64>()) {
            let score = f64::from_bits(bits);
            prop_assume!(score.is_finite());
            let back: f64 = score_json(score).parse().unwrap();
            prop_assert_eq!(back.to_bits(), score.to_bits());
        }
    }
}
