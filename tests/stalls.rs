//! Bytes that are swallowed on their way to the store, in either direction and on either connection, are noticed
//! within `redis.response_timeout` and a second: on one server, behind sentinels, and on one shard of a cluster.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, slot};
use crate::support::link::{Kind, Link, Mode};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::watched::Watched;
use crate::support::{SOON, alone, settles};

const COUNT: &str = "users:count";
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
const NOTICED: Duration = Duration::from_secs(2);

/// Swallows bytes on a node's way to the store. `told` is what its clients are told then.
async fn notices(url: &str, link: &Link, told: &Value) {
    let node = Node::on(url).set("REDIS__RESPONSE_TIMEOUT", "1s").start().await;
    node.ready().await;
    assert_eq!(NOTICED, RESPONSE_TIMEOUT + Duration::from_secs(1));
    let mut clients = vec![Client::join(&node, &[COUNT]).await];
    for kind in [Kind::Commands, Kind::Subscription] {
        for mode in [Mode::Mute, Mode::Deaf] {
            clients.push(Client::join(&node, &[COUNT]).await);
            let open = clients.len() as i64;
            settles("right", SOON, Duration::from_millis(200), || async {
                clients.iter().try_for_each(|client| client.sees(COUNT, open))
            })
            .await;
            let client = &clients[0];
            let times = |messages: &[Value]| messages.iter().filter(|message| *message == told).count();
            let before = times(&client.messages());
            link.set_for(kind, mode);
            let start = Instant::now();
            let what = format!("{kind:?} are {mode:?}, which is noticed");
            client.until(&what, NOTICED, |messages| (times(messages) > before).then_some(())).await;
            println!("{kind:?} {mode:?}: noticed after {:.2?}", start.elapsed());
            link.set(Mode::Open);
        }
    }
    settles("right", SOON, Duration::from_millis(200), || async {
        clients.iter().try_for_each(|client| client.sees(COUNT, clients.len() as i64))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swallowed_bytes_are_noticed_on_one_server() {
    let _turn = alone().await;
    let redis = Redis::start_real().await;
    let link = Link::to(redis.port()).await;
    notices(&link.url(), &link, &json!({"state": "degraded"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swallowed_bytes_are_noticed_behind_sentinels() {
    let _turn = alone().await;
    let store = Watched::start().await;
    let ways = store.ways().await;
    notices(&ways.url(), &ways.servers[0], &json!({"state": "degraded"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swallowed_bytes_are_noticed_on_each_shard_of_a_cluster() {
    let _turn = alone().await;
    let cluster = Cluster::start_linked(3, 0, &[]).await;
    let shard = cluster.owner(slot(COUNT), None).await.unwrap();
    notices(&cluster.url(), &cluster.links[shard].0, &json!({"degraded": COUNT})).await;
}
