//! A password can come from a file of its own or from systemd, and is never shown.

use std::process::Output;

use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::node::{Node, Scratch, headcount};
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others};

async fn check(environment: &[(&str, &str)]) -> Output {
    let output = headcount().arg("check").envs(environment.iter().copied()).output();
    timeout(SOON, output).await.expect("it ends by itself").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_the_store_is_read_from_its_file() {
    let _turn = beside_others().await;
    let redis = Redis::start_with(&["--requirepass", "tell/no:one@all"]).await;
    let file = Scratch::write("password", "tell/no:one@all\n");
    let node = Node::on(&redis.url()).set("REDIS__PASSWORD_FILE", file.0.to_str().unwrap()).start().await;
    node.ready().await;
    Client::open(&node, "").await.shows("users:count", 1).await;
    assert!(!node.log.text().contains("tell"), "{}", node.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_systemd_is_found_by_its_name() {
    let _turn = beside_others().await;
    let redis = Redis::start_with(&["--requirepass", "hunter2"]).await;
    let file = Scratch::write("password", "hunter2");
    let (folder, name) = (file.0.parent().unwrap(), file.0.file_name().unwrap());
    let node = Node::on(&redis.url())
        .variable("CREDENTIALS_DIRECTORY", folder.to_str().unwrap())
        .set("REDIS__PASSWORD_FILE", name.to_str().unwrap())
        .start()
        .await;
    node.ready().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let output = check(&[("HEADCOUNT_REDIS__PASSWORD_FILE", "/nowhere/password")]).await;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for word in ["REDIS__PASSWORD_FILE", "/nowhere/password", "No such file"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    let empty = Scratch::write("empty", "\n");
    let output = check(&[("HEADCOUNT_REDIS__PASSWORD_FILE", empty.0.to_str().unwrap())]).await;
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("empty"));
}

#[tokio::test]
async fn check_shows_the_file_and_not_what_is_in_it_and_one_password_is_enough() {
    let file = Scratch::write("password", "hunter2");
    let name = file.0.to_str().unwrap();
    let output = check(&[("HEADCOUNT_REDIS__PASSWORD_FILE", name), ("REDIS_URL", "redis://me@h:1")]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(name) && !text.contains("hunter2"), "{text}");
    let output = check(&[("HEADCOUNT_REDIS__PASSWORD_FILE", name), ("REDIS_URL", "redis://:x@h:1")]).await;
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("redis.url has one"));
}
