//! A client that vanished is gone from the count; one that is only asked late is not.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::node::{Node, Setup};
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, stays};

const COUNT: &str = "users:count";

/// A server that asks often.
fn watchful(redis: &Redis) -> Setup {
    Node::on(&redis.url()).set("SESSION__PING", "1s").set("SESSION__PONG", "3s")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_no_ping_is_closed_with_4002_and_out_of_the_count() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = watchful(&redis).start().await;
    node.ready().await;
    let alive = Client::join(&node, &[COUNT]).await;
    let mut vanished = Raw::open(&node, "channel=users:count").await;
    alive.shows(COUNT, 2).await;
    assert_eq!(vanished.close_code(SOON).await, Some(4002));
    alive.shows(COUNT, 1).await;
    stays("who answers stays", Duration::from_secs(3), || async {
        alive.sees(COUNT, 1)?;
        alive.closed().map_or(Ok(()), |closed| Err(format!("{closed:?}")))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wakes_after_a_freeze_closes_nobody() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = watchful(&redis).start().await;
    node.ready().await;
    let clients = [Client::join(&node, &[COUNT]).await, Client::join(&node, &[COUNT]).await];
    clients[0].shows(COUNT, 2).await;
    node.freeze();
    // Until long after every ping and pong was due.
    stays("the key while the lease runs out", Duration::from_secs(6), || async { Ok(()) }).await;
    node.thaw();
    clients[0].shows(COUNT, 2).await;
    stays("everybody stays", Duration::from_secs(4), || async {
        for client in &clients {
            if let Some(closed) = client.closed() {
                return Err(format!("{closed:?}"));
            }
        }
        Ok(())
    })
    .await;
    clients[1].shows(COUNT, 2).await;
}
