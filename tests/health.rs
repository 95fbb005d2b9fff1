//! A supervisor can ask whether the process serves and whether it is in touch, and be told numbers.

use crate::support::beside_others;
use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn healthz_readyz_and_metrics_answer() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::open(&node, "").await;
    client.shows("users:count", 1).await;
    assert_eq!(node.get("/healthz").await.unwrap().status, 200);
    assert_eq!(node.get("/readyz").await.unwrap().status, 200);
    let metrics = node.get("/metrics").await.unwrap();
    assert_eq!(metrics.status, 200);
    let text = metrics.text();
    assert!(text.lines().any(|line| line.starts_with("# TYPE headcount_")), "{text}");
    assert!(text.trim_end().ends_with("# EOF"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_evict_keys_is_warned_of() {
    let _turn = beside_others().await;
    let safe = Redis::start().await;
    let risky = Redis::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let calm = Node::start(&safe.url()).await;
    let warned = Node::start(&risky.url()).await;
    crate::support::eventually("a warning", crate::support::SOON, || async {
        if warned.log.lines_with("evict").is_empty() { Err(warned.log.text()) } else { Ok(()) }
    })
    .await;
    assert_eq!(calm.log.lines_with("evict"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_let_a_server_count_is_told_of_until_it_does() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let may = "+@read +@write +@pubsub +@scripting +@connection +info +time";
    let user: Vec<_> = "ACL SETUSER headcount on >secret ~* &*".split(' ').chain(may.split(' ')).collect();
    redis.must::<()>(&user).await;
    let node = Node::start(&redis.url().replace("redis://", "redis://headcount:secret@")).await;
    let client = Client::open(&node, "").await;
    client.shows("users:count", 1).await;

    redis.must::<()>(&["ACL", "SETUSER", "headcount", "-@scripting"]).await;
    node.says(&["ERROR", "refused: the store answers"]).await;
    let reply = node.get("/readyz").await.unwrap();
    assert_eq!((reply.status, reply.text().starts_with("refused: ")), (503, true), "{}", reply.text());
    assert!(node.metric("headcount_refused_total").await.unwrap() > 0);

    redis.must::<()>(&["ACL", "SETUSER", "headcount", "+@scripting"]).await;
    node.ready().await;
    client.shows("users:count", 1).await;
}
