//! A store that answers nonsense, on real sockets: whatever a reply is, its connection is kept, nothing
//! is counted wrong, and all is right when the replies are.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::rogue::Rogue;
use crate::support::{SOON, alone, eventually, same, settles};

const EXACT: &str = "users:count";
const PATTERN: &str = "page:/a";

/// One reply of each shape that the protocol has, and the extremes of each.
fn shapes() -> Vec<Vec<u8>> {
    let mut shapes: Vec<Vec<u8>> = [
        "+OK\r\n",
        "+\r\n",
        ":0\r\n",
        ":1\r\n",
        ":-1\r\n",
        ":9223372036854775807\r\n",
        ":-9223372036854775808\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "$2\r\nok\r\n",
        "$19\r\n9223372036854775807\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*1\r\n$2\r\nok\r\n",
        "*2\r\n$2\r\nok\r\n$-1\r\n",
        "*3\r\n$2\r\nok\r\n$4\r\nhigh\r\n*0\r\n",
        "*3\r\n$2\r\nok\r\n$19\r\n9223372036854775807\r\n*0\r\n",
        "*3\r\n:1\r\n:2\r\n*1\r\n*1\r\n*0\r\n",
        "*2\r\n$2\r\nok\r\n-ERR in the middle\r\n",
        "_\r\n",
        "#t\r\n",
        "#f\r\n",
        ",1.5\r\n",
        ",inf\r\n",
        ",nan\r\n",
        "(3492890328409238509324850943850943825024385\r\n",
        "=15\r\ntxt:Some string\r\n",
        "%1\r\n+key\r\n+value\r\n",
        "%0\r\n",
        "~2\r\n+a\r\n+b\r\n",
        "-ERR\r\n",
        "-ERR value is not an integer or out of range\r\n",
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        "-NOSCRIPT No matching script. Please use EVAL.\r\n",
        "-MOVED 3999 127.0.0.1:6381\r\n",
        "-\r\n",
        "!21\r\nSYNTAX invalid syntax\r\n",
    ]
    .iter()
    .map(|shape| shape.as_bytes().to_vec())
    .collect();
    // Bytes that are no text, alone and where a script's word, number and list stand.
    for bytes in [&b"\xff\xfe\x00"[..], b"\x1f\x8b\x08", b"\r\n\r"] {
        let bulk = [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        shapes.push(bulk.clone());
        shapes.push([&b"*2\r\n"[..], &bulk, &bulk].concat());
        shapes.push([&b"*3\r\n$2\r\nok\r\n"[..], &bulk, b"*1\r\n", &bulk].concat());
        shapes.push([&b"*4\r\n$2\r\nok\r\n$1\r\n1\r\n"[..], &bulk, &bulk].concat());
    }
    shapes
}

struct Scene {
    redis: Redis,
    rogue: Rogue,
    node: Node,
    clients: Vec<Client>,
}

impl Scene {
    async fn begin() -> Scene {
        let redis = Redis::start().await;
        let rogue = Rogue::before(&redis).await;
        let quick = [("HEARTBEAT", "50ms"), ("LEASE", "1s"), ("REPAIR", "100ms"), ("QUIET", "10ms"), ("BATCH", "10ms")];
        let setup = quick
            .iter()
            .fold(Node::on(&rogue.url()), |node, (key, value)| node.set(&format!("PRESENCE__{key}"), value));
        let node = setup.set("REDIS__RESPONSE_TIMEOUT", "5s").start().await;
        node.ready().await;
        let clients = vec![Client::join(&node, &[EXACT, PATTERN]).await, Client::join(&node, &[EXACT, PATTERN]).await];
        let scene = Scene { redis, rogue, node, clients };
        scene.is_right().await;
        scene
    }

    async fn is_right(&self) {
        let open = self.clients.len() as i64;
        settles(&format!("{open} everywhere"), SOON, Duration::from_millis(500), || async {
            for channel in [EXACT, PATTERN] {
                same("GET", self.redis.get(channel).await?, Some(open))?;
                self.clients.iter().try_for_each(|client| client.sees(channel, open))?;
            }
            same("/readyz", self.node.get("/readyz").await?.status, 200)
        })
        .await;
    }

    /// Has each of these commands answered with each shape, with somebody coming and going meanwhile.
    async fn withstands(&mut self, commands: &[&str], least: usize) {
        let connections = self.rogue.connections();
        for shape in shapes() {
            self.rogue.answers(commands, &shape);
            let late = Client::join(&self.node, &[EXACT, PATTERN]).await;
            let what = format!("{commands:?} answered with {:?}", String::from_utf8_lossy(&shape));
            eventually(&what, SOON, || async {
                let told = self.rogue.told();
                if told < least { Err(format!("{told} times")) } else { Ok(()) }
            })
            .await;
            drop(late);
            assert_eq!(self.rogue.connections(), connections, "{what}: the connection was given up");
            assert!(self.clients.iter().all(|client| client.closed().is_none()), "{what}");
        }
        self.rogue.behaves();
        // Whoever was sent away for a key that seemed to be another's asks again.
        for client in &self.clients {
            client.send(serde_json::json!({"subscribe": [EXACT, PATTERN]})).await;
        }
        self.is_right().await;
        assert_eq!(self.node.metric("headcount_store_lost_total").await, Ok(0));
        assert_eq!(self.rogue.connections(), connections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_may_answer_anything_and_the_connection_is_kept() {
    let _turn = alone().await;
    Scene::begin().await.withstands(&["EVALSHA", "EVAL", "SCRIPT", "FCALL"], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_may_answer_anything_and_the_connection_is_kept() {
    let _turn = alone().await;
    let commands =
        ["GET", "MGET", "EXISTS", "HKEYS", "HGETALL", "HLEN", "HSCAN", "ZMSCORE", "SADD", "SREM", "SMEMBERS"];
    let others = ["SSCAN", "DEL", "UNLINK", "ZREM", "TYPE", "INFO", "PING"];
    Scene::begin().await.withstands(&[&commands[..], &others[..]].concat(), 1).await;
}
