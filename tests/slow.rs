//! Nobody waits for a slow client: it is closed where it must have everything, and gets the newest
//! where that is enough.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::raw::Raw;
use crate::support::redis::{Redis, connect};
use crate::support::wire::{CLOSE, FINAL, TEXT, masked};
use crate::support::{SOON, alone, eventually, same};

const MESSAGES: usize = 16_000;

/// Publishes numbered messages of a kilobyte each: far more than the kernel's buffers and the
/// client's limit hold together. Whoever is `quick` is waited for every now and then.
async fn flood(redis: &Redis, channel: &str, quick: Option<&Client>) {
    let mut connection = connect(&redis.url()).await.unwrap();
    let padding = "x".repeat(1_000);
    for chunk in (0..MESSAGES).collect::<Vec<_>>().chunks(200) {
        let mut pipeline = redis::pipe();
        for number in chunk {
            pipeline.cmd("PUBLISH").arg(channel).arg(format!("[{number},\"{padding}\"]")).ignore();
        }
        pipeline.query_async::<()>(&mut connection).await.unwrap();
        if let Some(quick) = quick {
            let last = chunk[chunk.len() - 1] as u64;
            eventually("the chunk", SOON, || async {
                let number = quick.last(channel).and_then(|payload| payload[0].as_u64());
                same("the last number", number, Some(last))
            })
            .await;
        }
    }
}

fn numbers(client: &Client, channel: &str) -> Vec<u64> {
    client.payloads(channel).iter().filter_map(|payload| payload[0].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_on_an_every_channel_is_closed_with_4001_and_the_others_get_everything() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let channel = "public:flood";
    let quick = Client::join(&node, &[channel]).await;
    quick.until("joined", SOON, |m| m.iter().any(|m| m["subscribed"] == channel).then_some(())).await;
    let mut slow = Raw::open_narrow(&node, &format!("channel={channel}")).await;
    slow.frame(SOON).await.unwrap();
    flood(&redis, channel, Some(&quick)).await;
    assert_eq!(numbers(&quick, channel), (0..MESSAGES as u64).collect::<Vec<_>>());
    assert_eq!(slow.close_code(SOON * 3).await, Some(4001));
    let metrics = node.get("/metrics").await.unwrap().text();
    let counted = |line: &&str| line.starts_with("headcount_") && line.contains("slow") && line.ends_with(" 1");
    assert!(metrics.lines().any(|line| counted(&line)), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_on_a_latest_channel_stays_and_ends_at_the_newest() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let config = "channels = [\
        { pattern = \"users:count\", count = \"sockets\", deliver = \"latest\" },\
        { pattern = \"ticker:*\", count = \"none\", deliver = \"latest\" }]\n[limits]\npushes_per_second = 1000\n";
    let node = Node::on(&redis.url()).config(config).start().await;
    node.ready().await;
    let channel = "ticker:flood";
    let mut slow = Raw::open_narrow(&node, &format!("channel={channel}")).await;
    slow.frame(SOON).await.unwrap();
    flood(&redis, channel, None).await;
    let mut last = None;
    while last != Some(MESSAGES as u64 - 1) {
        let frame = slow.frame(SOON).await.unwrap();
        assert_eq!(frame.close_code(), None, "after {last:?}");
        if frame.opcode == TEXT {
            let message: Value = serde_json::from_slice(&frame.payload).unwrap();
            let number = message["data"][0].as_u64();
            assert!(number >= last, "{number:?} after {last:?}");
            last = number;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_goodbye_and_reads_nothing_is_hung_up_on() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let setup = Node::on(&redis.url()).set("SESSION__CLOSE", "500ms").set("LIMITS__CLIENT_BUFFER", "64MiB");
    let node = setup.start().await;
    node.ready().await;
    let channel = "public:flood";
    let mut slow = Raw::open_narrow(&node, &format!("channel={channel}")).await;
    slow.frame(SOON).await.unwrap();
    flood(&redis, channel, None).await;
    eventually("bytes wait for it", SOON, || async {
        let blocked = node.metric("headcount_blocked_total").await?;
        if blocked > 0 { Ok(()) } else { Err(format!("blocked {blocked} times")) }
    })
    .await;
    slow.send(&masked(FINAL | CLOSE, &1000_u16.to_be_bytes())).await;
    eventually("it is gone", SOON, || async { same("sockets", node.metric("headcount_sockets").await?, 0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_redis_cuts_off_is_an_error_a_gap_and_then_right_again() {
    let _turn = alone().await;
    let redis = Redis::start_with(&["--client-output-buffer-limit", "pubsub", "1mb", "0", "0"]).await;
    let node = Node::on(&redis.url()).set("LIMITS__CLIENT_BUFFER", "1GiB").start().await;
    node.ready().await;
    let (channel, count) = ("public:burst", "users:count");
    let reader = Client::join(&node, &[channel, count]).await;
    reader.until("joined", SOON, |m| m.iter().any(|m| m["subscribed"] == channel).then_some(())).await;
    reader.shows(count, 1).await;
    // Stands for a fan-out that is far behind: nothing is read, and the burst fills what the kernel holds.
    node.freeze();
    let payload = "x".repeat(100_000);
    let mut sent = 0_u64;
    while redis.subscribers(&[channel]).await.unwrap() != [0] {
        assert!(sent < 5_000, "half a gigabyte waits for one subscriber");
        redis.must::<i64>(&["PUBLISH", channel, &format!("[{sent},\"{payload}\"]")]).await;
        sent += 1;
    }
    node.thaw();
    let gap = json!({"subscribed": channel, "gap": true});
    reader.until("told of the gap", SOON, |messages| messages.contains(&gap).then_some(())).await;
    let got = numbers(&reader, channel);
    assert!(got.len() < usize::try_from(sent).unwrap(), "nothing was missed");
    assert_eq!(got, (0..got.len() as u64).collect::<Vec<_>>());
    redis.must::<i64>(&["PUBLISH", channel, "[\"after\"]"]).await;
    reader.until("the next", SOON, |_| reader.payloads(channel).contains(&json!(["after"])).then_some(())).await;
    let other = Client::join(&node, &[count]).await;
    reader.shows(count, 2).await;
    other.shows(count, 2).await;
    assert_eq!(redis.get(count).await, Ok(Some(2)));
    let said = node.log.lines_with("client-output-buffer-limit");
    assert!(said.len() == 1 && said[0].contains("ERROR"), "{said:?}");
    assert_eq!(node.metric("headcount_store_cut_total").await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_waits_in_the_store_and_not_in_the_servers_memory() {
    let _turn = alone().await;
    let redis = Redis::start_with(&["--client-output-buffer-limit", "pubsub", "0", "0", "0"]).await;
    let config = "channels = [{ pattern = \"ticker:burst\", count = \"none\", deliver = \"latest\" }]";
    let node = Node::on(&redis.url()).config(config).start().await;
    node.ready().await;
    let channel = "ticker:burst";
    let mut reader = Raw::open(&node, &format!("channel={channel}")).await;
    reader.frame(SOON).await.unwrap();
    let before = node.most_memory();
    let mut connection = connect(&redis.url()).await.unwrap();
    let payload = "x".repeat(900_000);
    for _ in 0..150 {
        redis::cmd("PUBLISH").arg(channel).arg(&payload).query_async::<()>(&mut connection).await.unwrap();
    }
    redis::cmd("PUBLISH").arg(channel).arg("done").query_async::<()>(&mut connection).await.unwrap();
    while !reader.frame(SOON).await.unwrap().payload.ends_with(b"\"done\"}") {}
    let more = node.most_memory() - before;
    assert!(more < 64 << 20, "{} MiB for a burst of 130", more >> 20);
}
