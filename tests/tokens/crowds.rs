//! Many sockets of one person and one socket each of many people, on three servers: their tokens end, are
//! renewed and are revoked, and nobody else loses a message. `TOKEN_CROWD` is how many of each.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::tokens::{Auth, now, open, token, token_of};
use crate::support::{SOON, alone, eventually, same};

/// How long a crowd may take, on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// Messages that the others get meanwhile, one every 20 ms or so.
const MESSAGES: u64 = 2_000;

fn token_until(sub: &str, exp: u64) -> String {
    token(json!({ "sub": sub, "exp": exp, "headcount": { "join": ["*"], "publish": ["*"] } }))
}

async fn crowd(nodes: &[Node], names: &[String], exp: u64) -> Vec<Client> {
    let mut all = Vec::new();
    for (some, turn) in names.chunks(50).zip(0..) {
        let opened = some.iter().enumerate().map(async |(at, name)| {
            let node = &nodes[(turn + at) % nodes.len()];
            open(node, "channel=room:1", &token_until(name, exp)).await.unwrap()
        });
        all.extend(join_all(opened).await);
    }
    all
}

fn told(client: &Client) -> bool {
    client.messages().iter().any(|object| object["error"]["code"] == "token_expired")
}

/// Waits until all of these were closed with a code.
async fn are_closed(what: &str, clients: &[Client], code: u16) {
    eventually(what, LONG, || async {
        let open = clients.iter().filter(|client| client.closed().is_none()).count();
        same("sockets that are open", open, 0)
    })
    .await;
    for client in clients {
        assert_eq!(client.closed().unwrap().code, Some(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_many_end_are_renewed_and_revoked_and_nobody_else_loses_a_message() {
    let _turn = alone().await;
    let size = std::env::var("TOKEN_CROWD").ok().and_then(|size| size.parse().ok()).unwrap_or(40_usize);
    let (redis, auth) = (Redis::start().await, Auth::new());
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let node = auth.node(&redis.url()).start().await;
        node.ready().await;
        nodes.push(node);
    }
    let mut others = Vec::new();
    for node in &nodes {
        others.push(open(node, "channel=news:1&channel=lobby", &token_of("bob", "*")).await.unwrap());
    }
    for other in &others {
        other.until("it listens", SOON, |all| all.iter().find(|one| one["subscribed"] == "news:1").map(drop)).await;
    }
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let url = redis.url();
    let published = tokio::spawn(async move {
        let client = redis::Client::open(url).unwrap();
        // The machine is busy with the crowd; that is no reason for the one who publishes to give up.
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(LONG));
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        for n in 0..MESSAGES {
            let _: i64 = redis::cmd("PUBLISH").arg("news:1").arg(n).query_async(&mut connection).await.unwrap();
            if tokio::time::timeout(Duration::from_millis(20), &mut stopped).await.is_ok() {
                return n + 1;
            }
        }
        MESSAGES
    });
    // Time to come in: as long as a thousand take on a busy machine.
    let exp = now() + 5 + size as u64 / 25;
    let one: Vec<String> = vec!["ann".to_owned(); size];
    let many: Vec<String> = (0..size).map(|n| format!("person-{n}")).collect();
    let (mut hers, mut theirs) = (crowd(&nodes, &one, exp).await, crowd(&nodes, &many, exp).await);
    eventually("all are counted", LONG, || async { same("GET", redis.get("room:1").await?, Some(size as i64 + 1)) })
        .await;
    eventually("all are told", LONG, || async {
        let untold = hers.iter().chain(&theirs).filter(|client| !told(client)).count();
        same("clients that were not told", untold, 0)
    })
    .await;
    // Every other one shows a new token.
    for (clients, names) in [(&hers, &one), (&theirs, &many)] {
        for (client, name) in clients.iter().zip(names).step_by(2) {
            client.send(json!({ "token": token_of(name, "*") })).await;
        }
    }
    let split = |all: &mut Vec<Client>| {
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        for (at, client) in all.drain(..).enumerate() {
            if at % 2 == 0 { kept.push(client) } else { lost.push(client) }
        }
        (kept, lost)
    };
    let ((hers, hers_lost), (theirs, theirs_lost)) = (split(&mut hers), split(&mut theirs));
    are_closed("those who did nothing are closed", &hers_lost, 4004).await;
    are_closed("those who did nothing are closed", &theirs_lost, 4004).await;
    assert!(hers.iter().chain(&theirs).all(|client| client.closed().is_none()));
    let until = ((now() + 600) * 1000).to_string();
    for name in many.iter().chain([&"ann".to_owned()]).map(|name| format!("sub:{name}")) {
        redis.must::<i64>(&["ZADD", "headcount:v1:revoked", &until, &name]).await;
        redis.must::<i64>(&["PUBLISH", "headcount:v1:revoked", &name]).await;
    }
    are_closed("who is revoked is closed", &hers, 4005).await;
    are_closed("who is revoked is closed", &theirs, 4005).await;
    eventually("nobody is counted", LONG, || async { same("GET", redis.get("room:1").await?.unwrap_or_default(), 0) })
        .await;
    stop.send(()).ok();
    let published = published.await.unwrap();
    for other in &others {
        let all = other
            .until("all of it", SOON, |_| Some(other.payloads("news:1")).filter(|all| all.len() as u64 >= published))
            .await;
        assert_eq!(all, (0..published).map(Value::from).collect::<Vec<_>>());
        assert_eq!(other.closed(), None);
    }
}
