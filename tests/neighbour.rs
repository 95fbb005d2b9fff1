//! Another program that counts on the same key, with INCR, DECR and PUBLISH, stays in step with us.

use crate::support::article::Article;
use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually, same};

const COUNT: &str = "users:count";

async fn all_agree(redis: &Redis, article: &mut Article, ours: &[Client], open: i64) {
    eventually("GET and our sockets", SOON, || async {
        same("GET", redis.get(COUNT).await?, Some(open))?;
        ours.iter().try_for_each(|client| client.sees(COUNT, open))
    })
    .await;
    // The neighbour is asked one thing at a time, so that it is asked outside of a shared closure.
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let theirs = article.values().await;
        if theirs.iter().all(|value| *value == Some(open)) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "the neighbour shows {theirs:?}, open are {open}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_articles_program_and_ours_show_the_same_number() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut article = Article::start(&redis).await;
    let node = Node::start(&redis.url()).await;
    let mut ours: Vec<Client> = Vec::new();
    let mut theirs = 0;
    for _ in 0..10 {
        ours.push(Client::join(&node, &[COUNT]).await);
        all_agree(&redis, &mut article, &ours, ours.len() as i64 + theirs).await;
        article.open().await;
        theirs += 1;
        all_agree(&redis, &mut article, &ours, ours.len() as i64 + theirs).await;
    }
    while let Some(client) = ours.pop() {
        drop(client);
        all_agree(&redis, &mut article, &ours, ours.len() as i64 + theirs).await;
        article.close().await;
        theirs -= 1;
        all_agree(&redis, &mut article, &ours, ours.len() as i64 + theirs).await;
    }
    assert_eq!(redis.get(COUNT).await, Ok(Some(0)));
}
