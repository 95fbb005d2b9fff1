//! Reads the network settings: addresses to listen on, allowed origins and host names, trusted proxies.

use hyper::http::uri::Authority;

use super::address::{BindAddress, Listen, MetricsAt, Trusted};
use super::keys;
use super::model::{Forwarded, Overrides};
use super::reader::Reader;
use super::value;

pub fn listen(reader: &mut Reader, overrides: &Overrides) -> Vec<Listen> {
    const PATH: &str = "server.listen";
    let port = reader.port.filter(|_| overrides.listen.is_empty() || overrides.port.is_some());
    let texts = reader.get(PATH, value::list).unwrap_or_default();
    let mut all = Vec::new();
    for text in &texts {
        match text.parse::<Listen>() {
            Ok(mut listen) => {
                if let (BindAddress::Tcp(address), Some(port), false) = (&mut listen.place, port, listen.tls) {
                    address.set_port(port);
                }
                all.push(listen);
            }
            Err(()) => {
                reader.reject(
                    PATH,
                    "must be addresses with a port, such as [\"0.0.0.0:3000\", \"[::1]:3000\", \"tls:0.0.0.0:443\"], \
                     or paths such as [\"unix:/run/headcount/web.sock\"]",
                );
            }
        }
    }
    if texts.is_empty() {
        reader.reject(PATH, "must be a list with at least one address, such as [\"0.0.0.0:3000\"]");
    }
    show_list(reader, PATH, &all);
    all
}

pub fn trusted(reader: &mut Reader, path: &'static str) -> Vec<Trusted> {
    let texts = reader.get(path, value::list).unwrap_or_default();
    let ranges: Vec<Trusted> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    if ranges.len() != texts.len() || reader.get(path, value::list).is_none() {
        reader
            .reject(path, "must be a list of addresses, ranges or \"unix:\", such as [\"127.0.0.1\", \"10.0.0.0/8\"]");
    }
    show_list(reader, path, &ranges);
    ranges
}

pub fn forwarded(reader: &mut Reader, path: &'static str) -> Forwarded {
    if reader.choice(path) == "forwarded" { Forwarded::Standard } else { Forwarded::Common }
}

fn show_list(reader: &mut Reader, path: &'static str, items: &[impl ToString]) {
    let shown: Vec<_> = items.iter().map(|item| value::quoted(&item.to_string())).collect();
    reader.effective.insert(path, format!("[{}]", shown.join(", ")));
}

/// Returns host names without a port, in lower case; empty for `["*"]`.
pub fn hosts(reader: &mut Reader, path: &'static str) -> Vec<String> {
    let hosts = reader.get(path, value::list).unwrap_or_default();
    let good = |host: &String| {
        let parsed = host.parse::<Authority>();
        host == "*" || parsed.is_ok_and(|all| all.host() == host && !host.ends_with('.'))
    };
    if hosts.is_empty() || !hosts.iter().all(good) {
        reader.reject(path, "must be [\"*\"], or names such as [\"example.com\", \"[::1]\"] without a port");
    }
    show_list(reader, path, &hosts);
    if hosts.iter().any(|host| host == "*") {
        return Vec::new();
    }
    hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect()
}

pub fn metrics(reader: &mut Reader, path: &'static str) -> MetricsAt {
    let text = reader.get(path, value::text).unwrap_or_default();
    reader.effective.insert(path, value::quoted(&text));
    let is_default = keys::find(path).is_some_and(|key| key.default == value::quoted(&text));
    match (text.as_str(), text.parse::<Listen>()) {
        ("", _) => MetricsAt::Off,
        ("public", _) => MetricsAt::Public,
        (_, Ok(at)) if !at.tls => MetricsAt::Own { at, may_fail: is_default },
        _ => {
            reader.reject(
                path,
                "must be an address with a port, a path such as \"unix:/run/x.sock\", \"public\" or \"\"",
            );
            MetricsAt::Off
        }
    }
}

pub fn origins(reader: &mut Reader, path: &'static str) -> Vec<String> {
    let origins = reader.get(path, value::list).unwrap_or_default();
    let good = |origin: &String| {
        origin == "*"
            || ["http://", "https://"]
                .iter()
                .any(|scheme| origin.strip_prefix(scheme).is_some_and(|host| !host.is_empty() && !host.contains('/')))
    };
    if origins.is_empty() || !origins.iter().all(good) {
        reader.reject(path, "must be [\"*\"], or origins such as [\"https://example.com\"] without a path");
    }
    show_list(reader, path, &origins);
    if origins.iter().any(|origin| origin == "*") {
        return Vec::new();
    }
    origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect()
}
