//! JSON in which no object has two members of the same name.
//!
//! Parsers disagree about which of two such members counts, so two servers could read different claims from one
//! token (RFC 8725, section 2.4).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A JSON value in which no object has two members of the same name.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without two members of one name")
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(Value::Null))
    }

    fn visit_bool<E>(self, is: bool) -> Result<Unique, E> {
        Ok(Unique(is.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Unique, E> {
        Ok(Unique(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Unique, E> {
        Ok(Unique(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Unique, E> {
        Ok(Unique(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Unique, E> {
        Ok(Unique(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Unique(all.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unique, A::Error> {
        let mut all = Map::new();
        while let Some((name, Unique(value))) = members.next_entry::<String, Unique>()? {
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Unique(all.into()))
    }
}

/// Parses one object. Returns `None` if the text is anything else.
pub fn object(json: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(json) {
        Ok(Unique(Value::Object(object))) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_there_twice_makes_it_no_object_at_any_depth() {
        assert_eq!(object(br#"{"a":[1,-2,2.5,null,true,"x"]}"#).unwrap()["a"][2], 2.5);
        for bad in
            [r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"\u0061":2}}"#, r#"[{"a":1}]"#, "{} x", "", "\"a\"", "\u{feff}{}"]
        {
            assert_eq!(object(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(object("[".repeat(100_000).as_bytes()), None);
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
    }

    proptest! {
        #[test]
        fn what_it_reads_is_what_the_library_reads(json in r#"\{("[ab]":([0-9]|"x"|\{"a":1\})(,"[cd]":null)?)?\}"#) {
            let read = object(json.as_bytes()).map(Value::from);
            prop_assert_eq!(read, serde_json::from_str::<Value>(&json).ok());
        }
    }
}
