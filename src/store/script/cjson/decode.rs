//! Decodes JSON text to Lua values.

use mlua::{Lua, Table, Value};

use super::config::{Config, DEEPEST, null};
use crate::store::script::library::Builder;
use crate::store::script::session::ScriptState;
use crate::store::strtod::c_number;

/// A token of the text.
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::Text(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Error(what) => what,
        }
    }
}

/// A decoding failure: the script's fault, or the engine's.
enum Failure {
    Text(String),
    Engine(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

struct Parser<'a> {
    lua: &'a Lua,
    config: Config,
    text: &'a [u8],
    at: usize,
    /// Where the last token begins.
    index: usize,
    depth: usize,
    steps: Builder<'a>,
}

/// Decodes a text. The inner error is the text that the script sees.
pub fn decode(lua: &Lua, state: &ScriptState, text: &[u8]) -> mlua::Result<Result<Value, String>> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Ok(Err("JSON parser does not support UTF-16 or UTF-32".to_owned()));
    }
    let config = state.json.get();
    let mut parser = Parser { lua, config, text, at: 0, index: 0, depth: 0, steps: Builder::new(state) };
    match parser.whole() {
        Ok(value) => Ok(Ok(value)),
        Err(Failure::Text(text)) => Ok(Err(text)),
        Err(Failure::Engine(error)) => Err(error),
    }
}

impl Parser<'_> {
    fn whole(&mut self) -> Result<Value, Failure> {
        let first = self.next();
        let value = self.value(first)?;
        match self.next() {
            Token::End => Ok(value),
            other => Err(self.expected("the end", &other)),
        }
    }

    fn expected(&self, what: &str, found: &Token) -> Failure {
        Failure::Text(format!("Expected {what} but found {} at character {}", found.name(), self.index + 1))
    }

    fn value(&mut self, token: Token) -> Result<Value, Failure> {
        self.steps.step(0)?;
        Ok(match token {
            Token::Text(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::ObjectBegin => Value::Table(self.object()?),
            Token::ArrayBegin => Value::Table(self.array()?),
            Token::Null => null(),
            other => return Err(self.expected("value", &other)),
        })
    }

    fn descend(&mut self) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth <= self.config.decode_depth.min(DEEPEST) {
            return Ok(());
        }
        let (depth, at) = (self.depth, self.at);
        Err(Failure::Text(format!("Found too many nested data structures ({depth}) at character {at}")))
    }

    fn object(&mut self) -> Result<Table, Failure> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if matches!(token, Token::ObjectEnd) {
            self.depth -= 1;
            return Ok(table);
        }
        loop {
            let Token::Text(name) = token else { return Err(self.expected("object key string", &token)) };
            let name = self.lua.create_string(name)?;
            let colon = self.next();
            if !matches!(colon, Token::Colon) {
                return Err(self.expected("colon", &colon));
            }
            let first = self.next();
            table.raw_set(name, self.value(first)?)?;
            match self.next() {
                Token::ObjectEnd => break,
                Token::Comma => token = self.next(),
                other => return Err(self.expected("comma or object end", &other)),
            }
        }
        self.depth -= 1;
        Ok(table)
    }

    fn array(&mut self) -> Result<Table, Failure> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if matches!(token, Token::ArrayEnd) {
            self.depth -= 1;
            return Ok(table);
        }
        for index in 1.. {
            table.raw_set(index, self.value(token)?)?;
            match self.next() {
                Token::ArrayEnd => break,
                Token::Comma => token = self.next(),
                other => return Err(self.expected("comma or array end", &other)),
            }
        }
        self.depth -= 1;
        Ok(table)
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn next(&mut self) -> Token {
        while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.index = self.at;
        let single = match self.byte(0) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            0 => return Token::End,
            b'"' => return self.string(),
            _ => return self.word(),
        };
        self.at += 1;
        single
    }

    fn word(&mut self) -> Token {
        let rest = &self.text[self.at..];
        match rest[0] {
            b'-' | b'0'..=b'9' => {
                if !self.config.decode_invalid && is_invalid_number(rest) {
                    return Token::Error("invalid number");
                }
                return self.number();
            }
            b't' | b'f' | b'n' => {
                for (word, token) in
                    [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)]
                {
                    if rest.starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return token;
                    }
                }
            }
            _ => {}
        }
        let may_be = matches!(rest[0], b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+');
        if may_be && self.config.decode_invalid && is_invalid_number(rest) {
            return self.number();
        }
        Token::Error("invalid token")
    }

    fn number(&mut self) -> Token {
        match c_number(&self.text[self.at..]) {
            Some((number, length)) => {
                self.at += length;
                Token::Number(number)
            }
            None => Token::Error("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            match self.byte(0) {
                b'"' => break,
                0 => return self.error("unexpected end of string"),
                b'\\' => {
                    let escaped = match self.byte(1) {
                        byte @ (b'"' | b'\\' | b'/') => byte,
                        b'b' => 8,
                        b'f' => 12,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'u' => match self.unicode(&mut text) {
                            Some(()) => continue,
                            None => return self.error("invalid unicode escape code"),
                        },
                        _ => return self.error("invalid escape code"),
                    };
                    text.push(escaped);
                    self.at += 2;
                }
                other => {
                    text.push(other);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Token::Text(text)
    }

    fn error(&mut self, what: &'static str) -> Token {
        self.index = self.at;
        Token::Error(what)
    }

    /// Decodes a `\u` escape, or two that form one character.
    fn unicode(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let first = self.hex4(2)?;
        let (code, length) = if first & 0xf800 == 0xd800 {
            if first & 0x400 != 0 || self.byte(6) != b'\\' || self.byte(7) != b'u' {
                return None;
            }
            let second = self.hex4(8).filter(|second| second & 0xfc00 == 0xdc00)?;
            (((first & 0x3ff) << 10 | second & 0x3ff) + 0x10000, 12)
        } else {
            (first, 6)
        };
        let mut utf8 = [0; 4];
        text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
        self.at += length;
        Some(())
    }

    fn hex4(&self, ahead: usize) -> Option<u32> {
        (ahead..ahead + 4).try_fold(0, |code, at| Some(code << 4 | char::from(self.byte(at)).to_digit(16)?))
    }
}

/// Whether a text begins with a number that C accepts but JSON does not.
fn is_invalid_number(text: &[u8]) -> bool {
    let text = match text {
        [b'+', ..] => return true,
        [b'-', rest @ ..] => rest,
        all => all,
    };
    match text {
        [b'0', next, ..] => (next | 0x20) == b'x' || next.is_ascii_digit(),
        [b'0'..=b'9', ..] => false,
        _ => text.len() >= 3 && (text[..3].eq_ignore_ascii_case(b"inf") || text[..3].eq_ignore_ascii_case(b"nan")),
    }
}
