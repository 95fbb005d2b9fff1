//! Reads where to listen, whom to let in and whom to believe.

use super::address::{Listen, Place, Trusted};
use super::model::{Forwarded, Overrides};
use super::reader::Reader;
use super::value;

impl Reader {
    pub fn listen(&mut self, overrides: &Overrides) -> Vec<Listen> {
        const PATH: &str = "server.listen";
        let port = self.port.filter(|_| overrides.listen.is_empty() || overrides.port.is_some());
        let texts = self.get(PATH, value::list).unwrap_or_default();
        let mut all = Vec::new();
        for text in &texts {
            match text.parse::<Listen>() {
                Ok(mut listen) => {
                    if let (Place::Tcp(address), Some(port), false) = (&mut listen.place, port, listen.tls) {
                        address.set_port(port);
                    }
                    all.push(listen);
                }
                Err(()) => {
                    self.reject(
                        PATH,
                        "must be addresses with a port, such as [\"0.0.0.0:3000\", \"[::1]:3000\", \"tls:0.0.0.0:443\"], \
                         or paths such as [\"unix:/run/headcount/web.sock\"]",
                    );
                }
            }
        }
        if texts.is_empty() {
            self.reject(PATH, "must be a list with at least one address, such as [\"0.0.0.0:3000\"]");
        }
        self.show_list(PATH, &all);
        all
    }

    pub fn trusted(&mut self, path: &'static str) -> Vec<Trusted> {
        let texts = self.get(path, value::list).unwrap_or_default();
        let ranges: Vec<Trusted> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        if ranges.len() != texts.len() || self.get(path, value::list).is_none() {
            self.reject(
                path,
                "must be a list of addresses, ranges or \"unix:\", such as [\"127.0.0.1\", \"10.0.0.0/8\"]",
            );
        }
        self.show_list(path, &ranges);
        ranges
    }

    pub fn forwarded(&mut self, path: &'static str) -> Forwarded {
        if self.choice(path) == "forwarded" { Forwarded::Standard } else { Forwarded::Common }
    }

    fn show_list(&mut self, path: &'static str, items: &[impl ToString]) {
        let shown: Vec<_> = items.iter().map(|item| value::quoted(&item.to_string())).collect();
        self.effective.insert(path, format!("[{}]", shown.join(", ")));
    }

    pub fn origins(&mut self, path: &'static str) -> Vec<String> {
        let origins = self.get(path, value::list).unwrap_or_default();
        let good = |origin: &String| {
            origin == "*"
                || ["http://", "https://"].iter().any(|scheme| {
                    origin.strip_prefix(scheme).is_some_and(|host| !host.is_empty() && !host.contains('/'))
                })
        };
        if origins.is_empty() || !origins.iter().all(good) {
            self.reject(path, "must be [\"*\"], or origins such as [\"https://example.com\"] without a path");
        }
        self.show_list(path, &origins);
        if origins.iter().any(|origin| origin == "*") {
            return Vec::new();
        }
        origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect()
    }
}
