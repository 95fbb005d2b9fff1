//! The ground that the other promises stand on: a server that can be killed, revived and frozen.

use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_comes_back_empty_on_its_port() {
    let _turn = beside_others().await;
    let mut redis = Redis::start().await;
    redis.must::<()>(&["SET", "key", "1"]).await;
    redis.kill().await;
    let refused = std::net::TcpStream::connect(("127.0.0.1", redis.port()));
    assert_eq!(refused.map(drop).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    redis.revive().await;
    assert_eq!(redis.get("key").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_answers_when_it_goes_on() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    redis.pause().await;
    let ping = tokio::time::timeout(std::time::Duration::from_millis(300), redis.run::<String>(&["PING"]));
    assert!(ping.await.is_err(), "a frozen server answered");
    redis.resume().await;
    eventually("PONG", SOON, || redis.run::<String>(&["PING"])).await;
}
