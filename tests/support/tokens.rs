//! Tokens for tests, and the configuration of a node that takes them.

use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use headcount::auth::sign;
use serde_json::{Value, json};

use super::client::Client;
use super::node::{Node, Scratch, Setup};

/// What the tokens are signed with.
pub const SECRET: &str = "a secret of the tests, and of no use anywhere else";

/// Channels that want tokens, and some that do not.
pub const CHANNELS: &str = r#"
channels = [
  { pattern = "lobby", count = "sockets", deliver = "latest", publish = "token" },
  { pattern = "room:*", count = "visitors", deliver = "latest", access = "token", publish = "token" },
  { pattern = "news:*", count = "none", deliver = "every", access = "token", publish = "token" },
  { pattern = "public:*", count = "none", deliver = "every" },
]
"#;

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// A token with these claims, for an hour unless they say otherwise.
pub fn token(claims: Value) -> String {
    let mut all = json!({ "exp": now() + 3600 });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    sign(&all, SECRET.as_bytes())
}

/// A token of somebody who may join, watch and publish on everything that matches.
pub fn token_of(sub: &str, pattern: &str) -> String {
    token(json!({ "sub": sub, "headcount": { "join": [pattern], "publish": [pattern] } }))
}

/// A file with the secret, and the text of a configuration that names it.
pub struct Auth {
    file: Scratch,
}

impl Auth {
    /// Writes the file.
    pub fn new() -> Self {
        let file = Scratch::write("token-secret", &format!("{SECRET}\n"));
        std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { file }
    }

    /// The configuration, with more of `[auth]`.
    pub fn config(&self, more: &str) -> String {
        format!("{CHANNELS}\n[auth]\nsecret_files = [{:?}]\nleeway = \"0s\"\n{more}\n", self.file.0)
    }

    /// A node with that configuration.
    pub fn node(&self, redis_url: &str) -> Setup {
        Node::on(redis_url).config(&self.config(""))
    }
}

/// Opens a socket with a token as a browser does.
pub async fn open(node: &Node, query: &str, token: &str) -> Result<Client, String> {
    let offered = format!("headcount, headcount.token.{token}");
    Client::try_open_with(node.address, query, &[("Sec-WebSocket-Protocol", &offered)]).await
}
