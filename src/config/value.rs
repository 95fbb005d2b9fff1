//! Converts raw text to values (times, sizes, addresses), and values to the text that is shown.

use std::time::Duration;

use config::{Value, ValueKind};

use super::redact;
use super::store_address::StoreAddress;

/// Parses a time such as "500ms" or "1m 30s".
pub fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// Reads a size in bytes: a whole number, or a text such as "1MiB" or "64kB".
pub fn size(value: &Value) -> Option<u64> {
    match &value.kind {
        ValueKind::String(text) => text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64()),
        _ => int(value).and_then(|n| u64::try_from(n).ok()),
    }
}

/// Reads a whole number; environment variables contain it as text.
pub fn int(value: &Value) -> Option<i64> {
    match &value.kind {
        ValueKind::I64(n) => Some(*n),
        ValueKind::I128(n) => i64::try_from(*n).ok(),
        ValueKind::U64(n) => i64::try_from(*n).ok(),
        ValueKind::U128(n) => i64::try_from(*n).ok(),
        ValueKind::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Reads true or false; environment variables contain it as text.
pub fn boolean(value: &Value) -> Option<bool> {
    match &value.kind {
        ValueKind::Boolean(is) => Some(*is),
        ValueKind::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Reads a list of texts; environment variables and the command line separate them with commas.
pub fn list(value: &Value) -> Option<Vec<String>> {
    match &value.kind {
        ValueKind::Array(items) => items.iter().map(text).collect(),
        ValueKind::String(text) => Some(text.split(',').map(|part| part.trim().to_owned()).collect()),
        _ => None,
    }
}

/// Reads a text, but no other type that could be written as one.
pub fn text(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Returns a value as TOML.
pub fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Boolean(b) => b.to_string(),
        ValueKind::I64(n) => n.to_string(),
        ValueKind::I128(n) => n.to_string(),
        ValueKind::U64(n) => n.to_string(),
        ValueKind::U128(n) => n.to_string(),
        ValueKind::Float(n) => n.to_string(),
        ValueKind::String(text) => quoted(text),
        ValueKind::Array(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        ValueKind::Table(table) => {
            let mut rows: Vec<_> = table.iter().map(|(k, v)| format!("{k} = {}", shown(v))).collect();
            rows.sort();
            format!("{{ {} }}", rows.join(", "))
        }
    }
}

/// Returns a text in TOML's double quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// Returns whether a store's address contains a password.
pub fn has_password(url: &str) -> bool {
    StoreAddress::parse(url).is_some_and(|address| address.info.redis_settings().password().is_some())
}

/// Returns the password in a store's address, if it applies to clients that give no user name.
pub fn password(url: &str) -> Option<String> {
    let address = StoreAddress::parse(url)?;
    let settings = address.info.redis_settings();
    let of_all = settings.username().is_none_or(|user| user.is_empty() || user == "default");
    settings.password().filter(|_| of_all).map(str::to_owned)
}

/// Adds a password to a store's address, unless it already has one.
pub fn with_password(url: String, password: Option<&str>) -> String {
    let (Some(password), Some((scheme, rest)), false) = (password, url.split_once("://"), has_password(&url)) else {
        return url;
    };
    let encoded = percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
    if scheme == "redis+unix" {
        let mark = if rest.contains('?') { '&' } else { '?' };
        return format!("{url}{mark}pass={encoded}");
    }
    match rest.split(['/', '?']).next().unwrap_or_default().rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{user}:{encoded}{}", &rest[user.len()..]),
        None => format!("{scheme}://:{encoded}@{rest}"),
    }
}

/// Returns a store's address without its user and password, built only from parts that cannot be either.
pub fn without_password(url: &str) -> String {
    let (Some(address), Some((scheme, _))) = (StoreAddress::parse(url), url.split_once("://")) else {
        return redact::HIDDEN.to_owned();
    };
    let settings = address.info.redis_settings();
    let user = if settings.username().is_some() || settings.password().is_some() { "***@" } else { "" };
    let primary = address.sentinels.as_ref().map(|sentinels| format!("/{}", sentinels.primary)).unwrap_or_default();
    let database = match settings.db() {
        0 => String::new(),
        number => format!("/{number}"),
    };
    match address.info.addr() {
        redis::ConnectionAddr::Unix(path) => format!("{scheme}://{}", path.display()),
        _ => format!("{scheme}://{user}{}{primary}{database}", address.hosts()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_into_an_address_that_has_none_and_is_never_shown() {
        for (url, with, shown) in [
            ("redis://h:1/2", "redis://:a%2Fb@h:1/2", "redis://***@h:1/2"),
            ("redis://me@h", "redis://me:a%2Fb@h", "redis://***@h:6379"),
            ("redis://me:own@h", "redis://me:own@h", "redis://***@h:6379"),
            ("redis://[::1]:7", "redis://:a%2Fb@[::1]:7", "redis://***@[::1]:7"),
            ("redis://:own@h#:own@h", "redis://:own@h#:own@h", "redis://***@h:6379"),
            ("rediss://me@h:7", "rediss://me:a%2Fb@h:7", "rediss://***@h:7"),
            ("redis+sentinel://h:1,i/m", "redis+sentinel://:a%2Fb@h:1,i/m", "redis+sentinel://***@h:1,i:26379/m"),
            ("redis+cluster://me@h:1,i", "redis+cluster://me:a%2Fb@h:1,i", "redis+cluster://***@h:1,i:6379"),
            ("redis+unix:///run/r.sock", "redis+unix:///run/r.sock?pass=a%2Fb", "redis+unix:///run/r.sock"),
            ("redis+unix:///r?db=1", "redis+unix:///r?db=1&pass=a%2Fb", "redis+unix:///r"),
        ] {
            let full = with_password(url.to_owned(), Some("a/b"));
            assert_eq!(full, with);
            assert_eq!(without_password(&full), shown);
        }
    }
}
