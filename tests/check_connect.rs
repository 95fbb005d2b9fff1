//! `headcount check --connect` says what a server would find at its store, and what is missing there.

use redis::Value;

use crate::support::beside_others;
use crate::support::node::{Node, headcount};
use crate::support::redis::{Redis, free_port};
use crate::support::rogue::Rogue;

/// What it prints to standard output and error, and its exit code.
async fn check(url: &str) -> (String, String, i32) {
    let ran = headcount().args(["check", "--connect", "--redis-url", url]).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&ran.stdout), text(&ran.stderr), ran.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_fit_is_described_and_left_as_it_was() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let before: Vec<String> = redis.must(&["KEYS", "*check*"]).await;
    let (out, err, code) = check(&redis.url()).await;
    assert_eq!(code, 0, "{err}");
    for fact in ["store: ", "role: master", "eviction: noeviction", "round trip: ", "clock: ", "rights: all"] {
        assert!(out.contains(fact), "no {fact:?} in {out}");
    }
    assert_eq!((before, redis.must::<Vec<String>>(&["KEYS", "*check*"]).await), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_that_is_missing_is_named() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let may = "ACL SETUSER one on >secret ~* &* +@read +@write +@pubsub +@scripting +@connection +info +time";
    redis.must::<Value>(&may.split(' ').collect::<Vec<_>>()).await;
    let url = redis.url().replace("redis://", "redis://one:secret@");
    let (out, err, code) = check(&url).await;
    assert_eq!(code, 0, "the rights in the manual are enough: {out}{err}");
    for (change, says) in [
        ("-zadd", "+zadd"),
        ("-evalsha", "+evalsha"),
        ("resetchannels", "allow &users:count"),
        ("resetkeys", "allow ~*"),
    ] {
        redis.must::<Value>(&["ACL", "SETUSER", "one", change]).await;
        let (_, err, code) = check(&url).await;
        assert!(code == 1 && err.contains(says), "{change}: exit {code}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_too_old_is_told_by_its_version() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let rogue = Rogue::before(&redis).await;
    let info = "# Server\r\nredis_version:6.0.16\r\n";
    rogue.answers(&["INFO"], format!("${}\r\n{info}\r\n", info.len()).as_bytes());
    let (_, err, code) = check(&rogue.url()).await;
    assert!(code == 1 && err.contains("Redis 6.0.16") && err.contains("6.2 or newer"), "exit {code}: {err}");
    let node = Node::on(&rogue.url()).start().await;
    node.says(&["ERROR", "too old", "Redis 6.0.16"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_unfit_or_away_is_told_with_the_reason() {
    let _turn = beside_others().await;
    let full = Redis::start_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]).await;
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", "1"]).await;
    let guarded = Redis::start_with(&["--requirepass", "secret"]).await;
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    for (url, says) in
        [(full.url(), "OOM"), (replica.url(), "is a replica"), (guarded.url(), "NOAUTH"), (nobody, "refused")]
    {
        let (_, err, code) = check(&url).await;
        assert!(code == 1 && err.contains(says), "{says}: exit {code}: {err}");
    }
}
