//! `headcount token` and `headcount check --token`: tokens for a person to try out.

use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::auth::{Grant, now};

/// The claims of a new token.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TokenArgs {
    /// The name of the token's holder.
    #[arg(long, value_name = "NAME")]
    pub sub: Option<String>,
    /// Channels that may be joined: a name, or a pattern with *. May be given more than once.
    #[arg(long, value_name = "PATTERN")]
    pub join: Vec<String>,
    /// Channels that may be watched. May be given more than once.
    #[arg(long, value_name = "PATTERN")]
    pub watch: Vec<String>,
    /// Channels that may be published on. May be given more than once.
    #[arg(long, value_name = "PATTERN")]
    pub publish: Vec<String>,
    /// How long the token is valid.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub expires: Duration,
    /// What others may know about that person, as JSON.
    #[arg(long, value_name = "JSON")]
    pub info: Option<String>,
    /// The token's id, by which it can be revoked.
    #[arg(long, value_name = "ID")]
    pub jti: Option<String>,
}

impl TokenArgs {
    /// Returns the claims of a token that this server accepts.
    ///
    /// # Errors
    /// `--info` is not JSON.
    pub fn json(&self, issuer: Option<&str>, audience: Option<&str>) -> Result<Value, String> {
        let now = now().as_secs();
        let mut all = Map::new();
        for (name, value) in
            [("iss", issuer), ("aud", audience), ("sub", self.sub.as_deref()), ("jti", self.jti.as_deref())]
        {
            value.into_iter().for_each(|value| drop(all.insert(name.into(), value.into())));
        }
        all.insert("iat".into(), now.into());
        all.insert("exp".into(), now.saturating_add(self.expires.as_secs()).into());
        if let Some(info) = &self.info {
            let info = serde_json::from_str::<Value>(info).map_err(|error| format!("--info is not JSON: {error}"))?;
            all.insert("info".into(), info);
        }
        let rights = [("join", &self.join), ("watch", &self.watch), ("publish", &self.publish)];
        let rights: Map<_, _> = rights
            .into_iter()
            .filter(|(_, patterns)| !patterns.is_empty())
            .map(|(right, patterns)| (right.to_owned(), json!(patterns)))
            .collect();
        all.insert("headcount".into(), rights.into());
        Ok(all.into())
    }
}

/// Returns what a token grants, one line per item.
pub fn describe(grant: &Grant) -> String {
    let ends = SystemTime::UNIX_EPOCH + Duration::from_millis(grant.ends.min(253_402_300_799_000));
    let list = |patterns: &[Box<str>]| if patterns.is_empty() { "nothing".to_owned() } else { patterns.join(", ") };
    let rows = [
        ("sub", grant.sub.as_deref().unwrap_or("nobody").to_owned()),
        ("valid until", humantime::format_rfc3339_seconds(ends).to_string()),
        ("join", list(&grant.rights.join)),
        ("watch", list(&grant.rights.watch)),
        ("publish", list(&grant.rights.publish)),
        ("info", grant.info.as_deref().unwrap_or("none").to_owned()),
    ];
    rows.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}
