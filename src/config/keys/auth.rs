//! `[auth]`: whose tokens are taken.

use super::super::model::Config;
use super::row::{DAY, ValueType::*, section};

section! {
    /// Whose tokens (JSON Web Tokens) are taken, for channels with access = "token" or publish = "token".
    /// See docs/PROTOCOL.md for what a token says. All of this can be reloaded: sockets that are open keep
    /// what their token allowed until it expires.
    [auth]

    /// Files that contain a secret of at least 32 bytes each, shared with whoever signs tokens (HS256, HS384,
    /// HS512). Several, so that a new one can take the place of an old one. The line end at the end of a
    /// file is no part of the secret. A relative name is looked up among systemd's credentials first.
    ///   openssl rand -base64 48 > token-secret
    secret_files = []: SecretFiles, live(adopt);

    /// PEM files with public keys: RSA of at least 2048 bits (RS256, PS256), P-256 (ES256), P-384 (ES384) or
    /// Ed25519 (EdDSA).
    public_key_files = []: List, live(adopt);

    /// A JSON Web Key Set: a file, or an https address such as
    /// "https://login.example.com/.well-known/jwks.json". An address is fetched when the server starts, again
    /// when the answer's Cache-Control says so (within 1 minute and 1 day), and when a token names a key that
    /// is not known, at most every 30 seconds. While it cannot be fetched, the keys known so far count.
    jwks = "": Text, live(adopt);

    /// The algorithms that are taken, each only with keys that are for it.
    algorithms = ["HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "ES384", "EdDSA"]: List, live(adopt);

    /// What a token's iss must be. "" means that it does not matter.
    issuer = "": Text, live(adopt);

    /// What a token's aud must be, or contain. "" means that it does not matter.
    /// Warning: set it if whoever signs the tokens signs some for others too.
    audience = "": Text, live(adopt);

    /// How far the clocks of this server and of whoever signs may differ.
    leeway = "10s": Duration(0, 600_000), live(adopt);

    /// How long ago a token may have been made (its iat). "0s" means that it does not matter.
    max_age = "0s": Duration(0, 365 * DAY), live(adopt);

    /// Whether a token may be in the address, as ?token=..., for EventSource, which can send no header.
    /// Warning: proxies log addresses, and with them the token.
    query = false: Bool, live(adopt);
}

fn adopt(running: &mut Config, new: &Config) {
    running.auth.clone_from(&new.auth);
}
