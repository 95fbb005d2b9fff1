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
async fn a_check_that_does_not_see_the_services_credentials_leaves_them_to_the_service() {
    let hidden = ("CREDENTIALS_DIRECTORY", "/nowhere/credentials");
    let keys = ["REDIS__PASSWORD_FILE", "TLS__CERTIFICATE", "TLS__KEY"].map(|key| format!("HEADCOUNT_{key}"));
    let mut environment: Vec<_> = keys.iter().map(|key| (key.as_str(), "credential")).collect();
    environment.extend([hidden, ("HEADCOUNT_SERVER__LISTEN", "tls:127.0.0.1:0")]);
    let output = check(&environment).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for key in ["redis.password_file", "tls.certificate", "tls.key"] {
        assert!(said.contains(&format!("{key}: not checked")), "{key} is not in {said}");
    }
    // The rest is checked all the same, and a file that is no credential too.
    let output = check(&[hidden, ("HEADCOUNT_REDIS__PASSWORD_FILE", "a"), ("HEADCOUNT_SERVER__DRAIN", "soon")]).await;
    assert!(!output.status.success());
    let output = check(&[hidden, ("HEADCOUNT_REDIS__PASSWORD_FILE", "/nowhere/password")]).await;
    assert!(!output.status.success());
    // Whoever starts needs them.
    let start = headcount().args(["--port", "0"]).envs(environment).output();
    let output = timeout(SOON, start).await.expect("it ends by itself").unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be read"));
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
