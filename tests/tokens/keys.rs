//! Keys from an address, and tokens on the command line.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::support::authority::{Authority, Signed};
use crate::support::client::Client;
use crate::support::node::{Node, Scratch, headcount};
use crate::support::redis::Redis;
use crate::support::tokens::{Auth, CHANNELS, SECRET, now, open, token_of};
use crate::support::{SOON, beside_others, eventually};

/// A key of somebody who signs, by its name.
struct Signer {
    pair: Ed25519KeyPair,
    id: &'static str,
}

impl Signer {
    fn new(seed: u8, id: &'static str) -> Self {
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), id }
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.id, "use": "sig", "alg": "EdDSA" })
    }

    fn token(&self) -> String {
        self.token_for("*")
    }

    fn token_for(&self, pattern: &str) -> String {
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let claims = json!({ "sub": "ann", "exp": now() + 600, "headcount": { "join": [pattern] } });
        let message = format!("{}.{}", part(json!({ "alg": "EdDSA", "kid": self.id })), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// A server of keys over TLS. What it answers can be changed.
struct KeyServer {
    at: SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    async fn start(signed: &Signed) -> Self {
        let chain =
            rustls::pki_types::pem::PemObject::pem_file_iter(&signed.pem.0).unwrap().map(Result::unwrap).collect();
        let key = rustls::pki_types::pem::PemObject::from_pem_file(&signed.key.0).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let (acceptor, listener) =
            (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let server = Self { at: listener.local_addr().unwrap(), answer: Arc::default(), asked: Arc::default() };
        let (answer, asked) = (server.answer.clone(), server.asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, asked) = (acceptor.clone(), answer.clone(), asked.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut request = vec![0; 4096];
                    let _ = stream.read(&mut request).await;
                    asked.fetch_add(1, Ordering::SeqCst);
                    let answer = answer.lock().unwrap().clone();
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        server
    }

    fn answers(&self, status: &str, body: &str) {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nCache-Control: max-age=600\r\n\r\n", body.len());
        *self.answer.lock().unwrap() = head + body;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn config(&self) -> String {
        format!("{CHANNELS}\n[auth]\njwks = \"https://localhost:{}/jwks.json\"\n", self.at.port())
    }
}

fn set(keys: &[&Signer]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

async fn taken(node: &Node, signer: &Signer) -> Result<(), String> {
    open(node, "channel=room:1", &signer.token()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_behind_a_token_is_done_after_it_though_a_public_key_takes_long() {
    let _place = beside_others().await;
    let (redis, authority) = (Redis::start().await, Authority::make());
    let server = KeyServer::start(&authority.sign("localhost")).await;
    let (known, stranger) = (Signer::new(1, "known"), Signer::new(3, "nobody's"));
    server.answers("200 OK", &set(&[&known]));
    let node = Node::on(&redis.url())
        .variable("SSL_CERT_FILE", authority.pem.0.to_str().unwrap())
        .config(&server.config())
        .start()
        .await;
    eventually("the key is known", SOON, || taken(&node, &known)).await;
    let client = Client::open(&node, "channel=lobby").await;
    for object in [
        json!({ "token": known.token_for("room:1"), "subscribe": ["room:1"] }),
        json!({ "subscribe": ["room:2"] }),
        json!({ "token": stranger.token(), "subscribe": ["room:3"] }),
        json!({ "token": known.token_for("room:*"), "subscribe": ["room:4"] }),
        json!({ "unsubscribe": ["room:1"] }),
        json!({ "subscribe": ["room:1"] }),
        json!({ "subscribe": ["public:end"] }),
    ] {
        client.send(object).await;
    }
    // A channel is joined when the store has answered, which takes longer for some than for others.
    for channel in ["room:4", "public:end", "room:1"] {
        client.until(channel, SOON, |all| all.iter().any(|object| object["subscribed"] == channel).then_some(())).await;
    }
    let told = |object: &Value| match object["token"].as_str() {
        Some(accepted) => Some(accepted.to_owned()),
        None => Some(format!("{} {}", object["error"]["code"].as_str()?, object["error"]["channel"])),
    };
    let order: Vec<String> = client.messages().iter().filter_map(told).collect();
    let expected = ["accepted", "forbidden \"room:2\"", "bad_token null", "forbidden \"room:3\"", "accepted"];
    assert_eq!(order, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_from_an_address_and_a_new_one_is_found_by_the_first_token_that_names_it() {
    let _place = beside_others().await;
    let (redis, authority) = (Redis::start().await, Authority::make());
    let server = KeyServer::start(&authority.sign("localhost")).await;
    let [first, second, stranger] = [Signer::new(1, "first"), Signer::new(2, "second"), Signer::new(3, "nobody's")];
    server.answers("200 OK", &set(&[&first]));
    let node = Node::on(&redis.url())
        .variable("SSL_CERT_FILE", authority.pem.0.to_str().unwrap())
        .config(&server.config())
        .start()
        .await;
    eventually("the first key is known", SOON, || taken(&node, &first)).await;
    assert_eq!(server.asked(), 1);
    // Unknown keys set off one fetch in half a minute, not one each.
    for _ in 0..50 {
        assert!(taken(&node, &stranger).await.unwrap_err().contains("401"));
    }
    assert!(server.asked() <= 2, "{}", server.asked());
    // While the server answers nothing of use, what is known goes on, also after the next try.
    server.answers("500 Internal Server Error", "");
    assert_eq!(taken(&node, &first).await, Ok(()));
    // Another address is fetched at once; keys of the one before do not count any more.
    server.answers("200 OK", &set(&[&second]));
    node.reload(&server.config().replace("/jwks.json", "/other.json"));
    eventually("the second key is known", SOON, || taken(&node, &second)).await;
    assert!(taken(&node, &first).await.unwrap_err().contains("401"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_gives_nothing_of_use_never_stops_the_server() {
    let _place = beside_others().await;
    let (redis, authority) = (Redis::start().await, Authority::make());
    let server = KeyServer::start(&authority.sign("localhost")).await;
    let many: Vec<Value> = (0..10_000).map(|n| json!({ "kty": "OKP", "kid": n.to_string() })).collect();
    for (status, body, says) in [
        ("404 Not Found", String::new(), "404"),
        ("302 Found", String::new(), "302"),
        ("200 OK", "hello".into(), "Key Set"),
        ("200 OK", " ".repeat(10 << 20), "limit"),
        ("200 OK", json!({ "keys": many }).to_string(), "limit"),
        ("200 OK", json!({ "keys": many[..200] }).to_string(), "too large"),
        (
            "200 OK",
            r#"{"keys":[{"kty":"oct","k":"c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLXRoaXM"}]}"#.into(),
            "without a key of a supported kind",
        ),
    ] {
        server.answers(status, &body);
        let node = Node::on(&redis.url())
            .variable("SSL_CERT_FILE", authority.pem.0.to_str().unwrap())
            .config(&server.config())
            .start()
            .await;
        let line = node.says(&["cannot fetch auth.jwks", says]).await;
        assert!(line.len() < 400, "{line}");
        node.ready().await;
        assert_eq!(node.metric("headcount_key_fetches_failed_total").await, Ok(1));
    }
    // A certificate of somebody else's authority.
    server.answers("200 OK", &set(&[&Signer::new(1, "first")]));
    let node = Node::on(&redis.url())
        .variable("SSL_CERT_FILE", Authority::make().pem.0.to_str().unwrap())
        .config(&server.config())
        .start()
        .await;
    node.says(&["cannot fetch auth.jwks", "certificate"]).await;
    assert!(taken(&node, &Signer::new(1, "first")).await.is_err());
}

async fn run(arguments: &[&str], input: &str) -> Output {
    let child = headcount().args(arguments).stdin(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    timeout(SOON, child.wait_with_output()).await.expect("it ends").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_and_checked_on_the_command_line_and_taken_by_the_server() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = Node::on(&redis.url()).config(&auth.config("issuer = \"us\"\naudience = \"headcount\"")).start().await;
    let file = Scratch::write("headcount.toml", &auth.config("issuer = \"us\"\naudience = \"headcount\""));
    let file = file.0.to_str().unwrap();
    let made = run(&["token", "--config", file, "--sub", "ann", "--join", "room:*", "--expires", "5m"], "").await;
    assert!(made.status.success(), "{made:?}");
    let token = String::from_utf8(made.stdout).unwrap();
    let client = open(&node, "channel=room:1", token.trim()).await.unwrap();
    client.until("it has joined", SOON, |all| all.iter().find(|one| one["subscribed"] == "room:1").map(drop)).await;
    let checked = run(&["check", "--config", file, "--token"], &token).await;
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && text.contains("sub: ann\n") && text.contains("join: room:*\n"), "{text}");
    for (bad, says) in
        [(token_of("ann", "*"), "iss"), (String::new(), "not a signed"), (token.replacen('.', "", 1), "not a signed")]
    {
        let checked = run(&["check", "--config", file, "--token"], &bad).await;
        let said = String::from_utf8(checked.stderr).unwrap();
        assert!(checked.status.code() == Some(1) && said.contains(says), "{said}");
        assert!(
            checked.stdout.is_empty() && !said.contains(SECRET) && (bad.is_empty() || !said.contains(&bad)),
            "{said}"
        );
    }
    for (arguments, says) in
        [(&["--info", "{"][..], "--info"), (&["--sub", "a\nb"], "would reject"), (&["--expires", "0s"], "expired")]
    {
        let made = run(&[&["token", "--config", file][..], arguments].concat(), "").await;
        let said = String::from_utf8(made.stderr).unwrap();
        assert!(made.status.code() == Some(2) && made.stdout.is_empty() && said.contains(says), "{said}");
    }
    let without = run(&["token", "--sub", "ann"], "").await;
    assert!(String::from_utf8(without.stderr).unwrap().contains("auth.secret_files"));
    let shown = run(&["check", "--config", file], "").await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("auth.secret_files") && !shown.contains(SECRET), "{shown}");
    assert!(!node.log.text().contains(SECRET));
}
