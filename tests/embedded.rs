//! With nothing else installed, a node is its own store, and who serves it is never in doubt.

use std::net::TcpStream;
use std::time::Duration;

use crate::support::client::Client;
use crate::support::node::{Node, Scratch, Setup, headcount};
use crate::support::redis::{Redis, connect, free_port};
use crate::support::{SOON, alone, beside_others, eventually, same, settles, stays};

const COUNT: &str = "users:count";
const WITHIN: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(1);

fn auto(host: &str, port: u16) -> Setup {
    Node::on(&format!("redis://{host}:{port}")).set("STORE__EMBEDDED", "auto")
}

async fn run<T: redis::FromRedisValue>(port: u16, command: &[&str]) -> Result<T, String> {
    let told = |error: redis::RedisError| error.to_string();
    let mut connection = connect(&format!("redis://127.0.0.1:{port}")).await.map_err(told)?;
    redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await.map_err(told)
}

async fn count_is(port: u16, clients: &[&Client], number: i64) {
    settles(&format!("{number} everywhere"), WITHIN, HOLD, || async {
        same("GET", run::<Option<i64>>(port, &["GET", COUNT]).await?, Some(number))?;
        clients.iter().try_for_each(|client| client.sees(COUNT, number))
    })
    .await;
}

/// Whether this node serves the store, by its own word.
async fn serves(node: &Node) -> bool {
    let metrics = node.get("/metrics").await.unwrap().text();
    metrics.lines().any(|line| line == "headcount_store_serving 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_without_a_redis_are_in_sync_and_the_second_takes_over_from_the_first() {
    let _turn = beside_others().await;
    let port = free_port();
    let first = auto("127.0.0.1", port).start().await;
    first.ready().await;
    let second = auto("127.0.0.1", port).start().await;
    second.ready().await;
    assert!(serves(&first).await && !serves(&second).await);
    let leaver = Client::open(&first, "").await;
    let stayer = Client::open(&second, "").await;
    count_is(port, &[&leaver, &stayer], 2).await;

    first.crash().await;
    count_is(port, &[&stayer], 1).await;
    assert!(serves(&second).await);

    let again = auto("127.0.0.1", port).start().await;
    again.ready().await;
    let comer = Client::open(&again, "").await;
    count_is(port, &[&stayer, &comer], 2).await;
    assert!(serves(&second).await && !serves(&again).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_of_the_one_that_serves_hands_the_store_over() {
    let _turn = beside_others().await;
    let port = free_port();
    let mut first = auto("127.0.0.1", port).set("SERVER__DRAIN", "1s").start().await;
    first.ready().await;
    let second = auto("127.0.0.1", port).start().await;
    second.ready().await;
    let stayer = Client::open(&second, "").await;
    count_is(port, &[&stayer], 1).await;
    first.signal(rustix::process::Signal::TERM);
    assert!(first.exit(SOON).await.success());
    count_is(port, &[&stayer], 1).await;
    assert!(serves(&second).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_start_in_the_same_instant_end_with_one_store() {
    let _turn = alone().await;
    for _ in 0..100 {
        let port = free_port();
        let (one, other) = tokio::join!(auto("localhost", port).start(), auto("127.0.0.1", port).start());
        tokio::join!(one.ready(), other.ready());
        assert!(serves(&one).await ^ serves(&other).await, "one of them serves");
        let id = redis::cmd("INFO").arg("server").clone();
        let ids = ["127.0.0.1", "localhost"].map(|host| {
            let client = redis::Client::open(format!("redis://{host}:{port}")).unwrap();
            let info: String = id.query(&mut client.get_connection().unwrap()).unwrap();
            info.lines().find(|line| line.starts_with("run_id:")).unwrap().to_owned()
        });
        assert_eq!(ids[0], ids[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_owner_is_a_stalled_store_and_all_is_right_when_it_goes_on() {
    let _turn = beside_others().await;
    let port = free_port();
    let owner = auto("127.0.0.1", port).start().await;
    owner.ready().await;
    let other = auto("127.0.0.1", port).start().await;
    other.ready().await;
    let clients = [Client::open(&owner, "").await, Client::open(&other, "").await];
    count_is(port, &[&clients[0], &clients[1]], 2).await;
    owner.freeze();
    let degraded = |got: &[serde_json::Value]| got.iter().find(|message| message["state"] == "degraded").cloned();
    clients[1].until("degraded", SOON, degraded).await;
    assert!(!serves(&other).await, "an owner that stalls is still the owner");
    owner.thaw();
    count_is(port, &[&clients[0], &clients[1]], 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_redis_that_restarts_finds_its_port_free_also_after_a_restart_of_the_node() {
    let _turn = beside_others().await;
    let mut redis = Redis::start_real().await;
    let folder = std::env::temp_dir().join(format!("headcount-state-{}", redis.port()));
    std::fs::create_dir_all(&folder).unwrap();
    let start = || auto("127.0.0.1", redis.port()).set("SERVER__STATE_DIR", folder.to_str().unwrap()).start();
    let node = start().await;
    node.ready().await;
    let address = ("127.0.0.1", redis.port());
    redis.kill().await;
    let free = || async { TcpStream::connect(address).err().map(|_| ()).ok_or("somebody took the port".to_owned()) };
    stays("the port is free", HOLD * 2, free).await;
    node.crash().await;
    let node = auto("127.0.0.1", redis.port()).set("SERVER__STATE_DIR", folder.to_str().unwrap()).start().await;
    stays("the port is free for a node that was started anew", HOLD * 2, free).await;
    node.says(&["another store was seen", "other-store", "store.embedded"]).await;
    redis.revive().await;
    node.ready().await;
    let client = Client::open(&node, "").await;
    count_is(redis.port(), &[&client], 1).await;
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn any_program_that_speaks_redis_moves_every_page() {
    let _turn = beside_others().await;
    let port = free_port();
    let node = auto("127.0.0.1", port).start().await;
    node.ready().await;
    let client = Client::open(&node, &format!("channel={COUNT}&channel=public:news")).await;
    count_is(port, &[&client], 1).await;
    eventually("a publish reaches the page", SOON, || async {
        same("receivers", run::<i64>(port, &["PUBLISH", "public:news", "hello"]).await?, 1)
    })
    .await;
    client.until("hello", SOON, |_| client.payloads("public:news").contains(&"hello".into()).then_some(())).await;
    let more: i64 = run(port, &["INCR", COUNT]).await.unwrap();
    run::<i64>(port, &["PUBLISH", COUNT, &more.to_string()]).await.unwrap();
    count_is(port, &[&client], 2).await;
}

#[tokio::test]
async fn a_store_that_others_could_reach_needs_a_password_and_always_means_always() {
    let _turn = beside_others().await;
    let open = "[redis]\nurl = \"redis://192.0.2.1:6379\"\n[store]\nembedded = \"always\"\n";
    let file = Scratch::write("open.toml", open);
    let output = headcount().args(["check", "--config", file.0.to_str().unwrap()]).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("store.embedded") && text.contains("store.password"), "{text}");

    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut command = headcount();
    command.args(["--listen", "127.0.0.1:0", "--redis-url", &format!("redis://127.0.0.1:{port}")]);
    let output = command.env("HEADCOUNT_STORE__EMBEDDED", "always").output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("embedded store"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_of_everybody_and_said_by_every_node() {
    let _turn = beside_others().await;
    let port = free_port();
    // Whichever way it is said: it is one store.
    let file = Scratch::write("password", "open sesame");
    let of_the_store = auto("127.0.0.1", port).set("STORE__PASSWORD", "open sesame");
    let of_the_address = auto("127.0.0.1", port).set("REDIS__PASSWORD_FILE", file.0.to_str().unwrap());
    let nodes = [of_the_address.start().await, of_the_store.start().await];
    nodes[0].ready().await;
    nodes[1].ready().await;
    let refused = run::<String>(port, &["PING"]).await.unwrap_err();
    assert!(refused.contains("NOAUTH"), "{refused}");
    let clients = [Client::open(&nodes[0], "").await, Client::open(&nodes[1], "").await];
    clients[0].shows(COUNT, 2).await;
    clients[1].shows(COUNT, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_configuration_may_do_what_it_says_and_the_server_everything() {
    let _turn = beside_others().await;
    let port = free_port();
    let users = "[[store.users]]\nname = \"app\"\npassword = \"open\"\nacl = \"on ~app:* +get +set +acl|whoami\"\n";
    let node = auto("127.0.0.1", port).set("STORE__PASSWORD", "sesame").config(users).start().await;
    node.ready().await;
    let mut app = connect(&format!("redis://app:open@127.0.0.1:{port}")).await.unwrap();
    let who: String = redis::cmd("ACL").arg("WHOAMI").query_async(&mut app).await.unwrap();
    assert_eq!(who, "app");
    redis::cmd("SET").arg(&["app:key", "1"]).exec_async(&mut app).await.unwrap();
    for (words, what) in [(["SET", COUNT, "7"], "one of the keys"), (["INCRBY", "app:key", "1"], "'incrby'")] {
        let told = redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut app).await.unwrap_err().to_string();
        assert!(told.contains(what), "{told}");
    }
    let joined = Client::open(&node, "").await;
    joined.shows(COUNT, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_with_a_path_is_there_after_a_crash() {
    let _turn = beside_others().await;
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("headcount-kept-{port}"));
    let setup = || {
        let setup = auto("127.0.0.1", port).set("STORE__PATH", folder.to_str().unwrap());
        setup.set("STORE__FSYNC", "always")
    };
    let node = setup().start().await;
    node.ready().await;
    run::<()>(port, &["SET", "mine", "kept"]).await.unwrap();
    node.crash().await;
    let node = setup().start().await;
    node.ready().await;
    assert_eq!(run::<String>(port, &["GET", "mine"]).await.unwrap(), "kept");
    let client = Client::open(&node, "").await;
    count_is(port, &[&client], 1).await;
    drop(node);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operations_page_lists_the_commands_that_there_are() {
    let _turn = beside_others().await;
    let port = free_port();
    let node = auto("127.0.0.1", port).start().await;
    node.ready().await;
    let mut commands: Vec<String> = run(port, &["COMMAND", "LIST"]).await.unwrap();
    commands.retain(|name| !name.contains("|"));
    commands.iter_mut().for_each(|name| name.make_ascii_uppercase());
    commands.sort();
    let operations = include_str!("../docs/OPERATIONS.md");
    let (_, rest) = operations.split_once("<!-- commands -->").unwrap();
    let (list, _) = rest.split_once("<!-- /commands -->").unwrap();
    let is_command = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase() || c == '_') && word.len() > 2;
    let mut listed: Vec<String> = list.split_whitespace().filter(is_command).map(str::to_owned).collect();
    listed.sort();
    assert_eq!(listed, commands);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_cannot_be_locked_out_of_the_store_that_it_serves() {
    let _turn = beside_others().await;
    let port = free_port();
    let node = auto("127.0.0.1", port).start().await;
    node.ready().await;
    let first = Client::open(&node, "").await;
    count_is(port, &[&first], 1).await;
    let mut stranger = connect(&format!("redis://127.0.0.1:{port}")).await.unwrap();
    for command in [&["CONFIG", "SET", "requirepass", "secret"][..], &["CONFIG", "SET", "maxclients", "1"]] {
        redis::cmd(command[0]).arg(&command[1..]).exec_async(&mut stranger).await.unwrap();
    }
    for kind in ["normal", "pubsub"] {
        let kill = redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind, "SKIPME", "yes"]).to_owned();
        kill.exec_async(&mut stranger).await.unwrap();
    }
    let second = Client::open(&node, "").await;
    settles("both are counted", WITHIN, HOLD, || async {
        let count = redis::cmd("GET").arg(COUNT).query_async(&mut stranger.clone()).await.map_err(|e| e.to_string())?;
        same("GET", count, Some(2))?;
        [&first, &second].iter().try_for_each(|client| client.sees(COUNT, 2))
    })
    .await;
}
