//! The ways to reach a store, each with just the rights that the manual names for it: one server, sentinels, a
//! cluster, and a cluster over TLS.

use std::time::Duration;

use redis::Value;

use crate::support::authority::Authority;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::node::{Node, Scratch, headcount};
use crate::support::redis::free_port;
use crate::support::servers::Server;
use crate::support::watched::Watched;
use crate::support::{beside_one_other, same, settles};

const COUNT: &str = "users:count";
const NEWS: &str = "public:news";

/// The rights that the manual names behind this word.
fn rights(mode: &str) -> String {
    let manual = include_str!("../docs/OPERATIONS.md");
    let line = manual.lines().find_map(|line| line.strip_prefix(&format!("    ACL SETUSER {mode} ")));
    line.unwrap_or_else(|| panic!("the manual has no line for {mode}")).to_owned()
}

/// Gives a server the user of this mode, with its rights alone, and takes those of everybody else.
async fn only(server: &Server, mode: &str) {
    let rights = rights(mode).replace(">PASSWORD", ">secret");
    let command: Vec<&str> = ["ACL", "SETUSER", mode].into_iter().chain(rights.split(' ')).collect();
    server.must::<Value>(&command).await;
}

/// A node with this address counts and carries, is told of no right that is missing, and the check finds nothing.
async fn serves(url: &str, set: &[(&str, &str)], told: impl AsyncFn(&str) -> Result<(), String>) {
    let url = match url.starts_with("redis+unix") {
        true => format!("{url}?user=headcount&pass=secret"),
        false => url.replacen("://", "://headcount:secret@", 1),
    };
    let mut setup = Node::on(&url).set("PRESENCE__REPAIR", "1s");
    let mut check = headcount();
    check.args(["check", "--connect", "--redis-url", &url]);
    for (key, value) in set {
        setup = setup.set(key, value);
        check.env(format!("HEADCOUNT_{key}"), value);
    }
    let ran = check.output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{err}");
    println!("{out}");
    let node = setup.start().await;
    node.ready().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients
            .push(Client::open(&node, &format!("channel={COUNT}&channel={NEWS}&channel=board:g&channel=page:/")).await);
    }
    settles("right, for two repairs", Duration::from_secs(6), Duration::from_secs(3), || async {
        clients.iter().try_for_each(|client| client.sees(COUNT, 3))
    })
    .await;
    told(NEWS).await.unwrap();
    for client in &clients {
        client.shows(NEWS, "here").await;
    }
    assert_eq!(node.metric("headcount_refused_total").await, Ok(0), "{}", node.log.text());
    assert_eq!(node.metric("headcount_board_refused_total").await, Ok(0), "{}", node.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_rights_for_one_server_is_enough_there() {
    let _turn = beside_one_other().await;
    let server = Server::start(&[]).await;
    only(&server, "headcount").await;
    let url = format!("redis://127.0.0.1:{}", server.port);
    serves(&url, &[], async |channel| server.ask::<i64>(&["PUBLISH", channel, "here"]).await.map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_reached_by_its_socket() {
    let _turn = beside_one_other().await;
    let socket = Scratch::write("redis.sock", "");
    let path = socket.0.to_str().unwrap();
    std::fs::remove_file(path).unwrap();
    let server = Server::start(&["--unixsocket", path]).await;
    only(&server, "headcount").await;
    let url = format!("redis+unix://{path}");
    serves(&url, &[], async |channel| server.ask::<i64>(&["PUBLISH", channel, "here"]).await.map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_their_primary_are_reached_over_tls() {
    let _turn = beside_one_other().await;
    let authority = Authority::make();
    let theirs = authority.sign("127.0.0.1");
    let files = [&theirs.pem, &theirs.key, &authority.pem].map(|file| file.0.to_str().unwrap());
    let (primary, sentinel) = (free_port(), free_port());
    let port = primary.to_string();
    let arguments = ["--tls-port", &port, "--tls-cert-file", files[0], "--tls-key-file", files[1]];
    let trusts = ["--tls-ca-cert-file", files[2], "--tls-auth-clients", "no", "--tls-replication", "yes"];
    let server = Server::start(&[&arguments[..], &trusts].concat()).await;
    let lines = format!(
        "tls-port {sentinel}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no\n\
         tls-replication yes\n",
        files[0], files[1], files[2]
    );
    let _sentinel = Server::sentinel_with(primary, 1, &lines).await;
    only(&server, "headcount").await;
    let url = format!("rediss+sentinel://127.0.0.1:{sentinel}/main");
    let publish = async |channel: &str| server.ask::<i64>(&["PUBLISH", channel, "here"]).await.map(drop);
    serves(&url, &[("REDIS__CA", files[2])], publish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_rights_for_sentinels_is_enough_behind_them() {
    let _turn = beside_one_other().await;
    let watched = Watched::start().await;
    for server in &watched.servers {
        only(server, "headcount").await;
    }
    for sentinel in &watched.sentinels {
        only(sentinel, "headcount-sentinel").await;
    }
    let password = Scratch::write("password", "secret");
    let set = [
        ("REDIS__SENTINEL_USER", "headcount-sentinel"),
        ("REDIS__SENTINEL_PASSWORD_FILE", password.0.to_str().unwrap()),
    ];
    let publish = async |channel: &str| watched.servers[0].ask::<i64>(&["PUBLISH", channel, "here"]).await.map(drop);
    serves(&watched.url(), &set, publish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_rights_for_a_cluster_is_enough_there_and_each_that_is_missing_is_named() {
    let _turn = beside_one_other().await;
    let cluster = Cluster::start_with(3, 0, &[]).await;
    for server in &cluster.servers {
        only(server, "headcount").await;
    }
    let publish = async |channel: &str| cluster.servers[0].ask::<i64>(&["PUBLISH", channel, "here"]).await.map(drop);
    serves(&cluster.url(), &[], publish).await;
    let url = cluster.url().replacen("://", "://headcount:secret@", 1);
    for (change, says) in
        [("-cluster|slots", "give the user +cluster|slots"), ("-zadd", "+zadd"), ("resetkeys", "allow ~*")]
    {
        cluster.servers[0].must::<Value>(&["ACL", "SETUSER", "headcount", change]).await;
        let ran = headcount().args(["check", "--connect", "--redis-url", &url]).output().await.unwrap();
        let err = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.code() == Some(1) && err.contains(says), "{change}: {err}");
        only(&cluster.servers[0], "headcount").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_reached_over_tls() {
    let _turn = beside_one_other().await;
    let authority = Authority::make();
    let theirs = authority.sign("127.0.0.1");
    let files = [&theirs.pem, &theirs.key, &authority.pem].map(|file| file.0.to_str().unwrap());
    let arguments = ["--tls-cert-file", files[0], "--tls-key-file", files[1], "--tls-ca-cert-file", files[2]];
    let tls = ["--tls-auth-clients", "no", "--tls-cluster", "yes", "--tls-replication", "yes"];
    let cluster = Cluster::start_with(3, 0, &[&arguments[..], &tls].concat()).await;
    let mut seeds = Vec::new();
    for server in &cluster.servers {
        only(server, "headcount").await;
        let (_, port): (String, String) = server.must(&["CONFIG", "GET", "tls-port"]).await;
        seeds.push(format!("127.0.0.1:{port}"));
    }
    let publish = async |channel: &str| cluster.servers[1].ask::<i64>(&["PUBLISH", channel, "here"]).await.map(drop);
    let url = format!("rediss+cluster://{}", seeds[..2].join(","));
    serves(&url, &[("REDIS__CA", files[2])], publish).await;
}

/// What the rights are for is in the line, so that one who reads the manual can see that nothing else is.
#[test]
fn the_rights_in_the_manual_are_few() {
    for mode in ["headcount", "headcount-sentinel"] {
        let rights = rights(mode);
        assert!(!rights.contains("@all") && !rights.contains("@admin") && !rights.contains("@dangerous"), "{rights}");
        same("a user that may come in", rights.starts_with("on >PASSWORD "), true).unwrap();
    }
}
