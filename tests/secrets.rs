//! A password can come from a file of its own or from systemd, and is never shown.

use std::collections::HashMap;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use headcount::config::keys::{ValueType, all};
use headcount::config::{Overrides, load_from};
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::node::{Node, Scratch, headcount};
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others};

/// The keys that name files.
const FILES: [&str; 11] = [
    "AUTH__JWKS",
    "AUTH__PUBLIC_KEY_FILES",
    "AUTH__SECRET_FILES",
    "REDIS__CA",
    "REDIS__CERTIFICATE",
    "REDIS__KEY",
    "REDIS__PASSWORD_FILE",
    "REDIS__SENTINEL_PASSWORD_FILE",
    "STORE__PASSWORD_FILE",
    "TLS__CERTIFICATE",
    "TLS__KEY",
];

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
async fn a_pipe_a_device_and_a_folder_are_refused_at_once_wherever_a_file_is_named() {
    let pipe = Scratch::write("pipe", "");
    std::fs::remove_file(&pipe.0).unwrap();
    mknodat(CWD, &pipe.0, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let folder = std::env::temp_dir();
    for file in [&pipe.0, Path::new("/dev/zero"), &folder] {
        let file = file.to_str().unwrap();
        for key in FILES {
            let output = check(&[(&format!("HEADCOUNT_{key}"), file)]).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains("not a regular file"), "{key} is {file}: {said}");
        }
        for command in ["check", "--port=0"] {
            let output = timeout(SOON, headcount().args([command, "--config", file]).output()).await;
            let output = output.expect("it ends by itself").unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains("not a regular file"), "{file}: {said}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_longer_than_any_password_or_key_is_refused() {
    let file = Scratch::write("long", &"x".repeat((1 << 20) + 1));
    let output = check(&[("HEADCOUNT_REDIS__PASSWORD_FILE", file.0.to_str().unwrap())]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("longer than 1 MiB"), "{said}");
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

/// Everything that a person is shown of a configuration.
fn shown(overrides: &Overrides, env: HashMap<String, String>) -> String {
    match load_from(overrides, env) {
        Ok(loaded) => format!("{:?}{:?}{:?}", loaded.effective, loaded.warnings, loaded.notes),
        Err(invalid) => format!("{invalid} {invalid:?}"),
    }
}

/// The places of a file in which a secret may stand, by mistake or not, as lines of TOML. What follows
/// from the key may be any text; elsewhere a secret is known by its shape.
fn planted(secret: &str) -> Vec<String> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let shapes = [format!("redis://me:{secret}@h:1"), format!("redis:/:{secret}@h"), format!("h?pass={secret}")];
    let mut files = vec![
        format!("redis.pasword = {}", quoted(secret)),
        format!("redis.password = [{}]", quoted(secret)),
        format!("[redis.password]\nvalue = {}", quoted(secret)),
        format!("pasword = {}", quoted(secret)),
        format!("{} = 1", quoted(&shapes[0])),
        format!("[redis]\nurl = redis://:{secret}@h"),
        format!("[store]\npassword = \"{secret}"),
        format!("[[channels]]\npattern = \"a\"\npasword = {}", quoted(secret)),
        format!("[[store.users]]\nname = \"a\"\nacl = \"on\"\npasword = {}", quoted(secret)),
        format!("[[store.users]]\nname = \"a\"\nacl = \"on\"\npassword = [{}]", quoted(secret)),
        format!("[[store.users]]\nname = \"a\"\nacl = \"on\"\npassword_file = {}", quoted(secret)),
        format!("[[store.users]]\nname = \"a\"\nacl = \"on nopass\"\npassword = {}", quoted(secret)),
        format!("[[store.users]]\nname = \"a\"\nacl = \"on +nosuch\"\npassword = {}", quoted(secret)),
        format!("[[store.users]]\nname = \"a\"\nacl = \"on +@all\"\npassword = {}", quoted(secret)),
        format!("[[store.users]]\nname = {0}\nacl = \"on +nosuch\"\npassword = {0}", quoted(secret)),
        format!("[[store.users]]\nname = \"a\"\nacl = {}", quoted(&format!("on >{secret}"))),
    ];
    for key in all() {
        let mut texts = shapes.to_vec();
        if matches!(key.kind, ValueType::Secret | ValueType::SecretFile | ValueType::SecretFiles | ValueType::Url) {
            texts.extend([secret.to_owned(), format!("redis://:{secret}")]);
        }
        for text in texts.iter().map(|text| quoted(text)) {
            files.push(format!("{} = {text}", key.path));
            files.push(format!("{} = [{text}]", key.path));
            files.push(format!("{} = {{ x = {text} }}", key.path));
        }
    }
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_secret_is_shown_nowhere_wherever_it_was_written(secret in "[a-zA-Z0-9!$%:#?&=+-][a-zA-Z0-9!$%/:#?&=+ -]{2}zq7[a-zA-Z0-9]{4}") {
        let file = Scratch::write("planted.toml", "");
        let check_user = Some(headcount::server::check_user as headcount::config::CheckUser);
        let overrides = Overrides { file: Some(file.0.clone()), check_user, ..Overrides::default() };
        for text in planted(&secret) {
            std::fs::write(&file.0, &text).unwrap();
            let shown = shown(&overrides, HashMap::new());
            // The end alone would give most of it away, too. (What starts with / is taken for a path.)
            prop_assert!(!shown.contains(&secret[3..]), "{text}\n{shown}");
        }
        for name in ["REDIS_URL", "PORT", "HEADCOUNT_STORE__PASWORD", "HEADCOUNT_STORE__PASSWORD__X", "HEADCOUNT_REDIS"] {
            for text in [format!("redis://me:{secret}@h"), format!("redis:/me:{secret}@h"), format!("{secret}@h")] {
                let shown = shown(&Overrides::default(), HashMap::from([(name.to_owned(), text)]));
                prop_assert!(!shown.contains(&secret[3..]), "{name}\n{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_password_on_the_command_line_is_not_repeated_and_warned_of() {
    for arguments in [&["check", "redis://:hunter2@h"][..], &["--port", "redis://:hunter2@h"], &["me:hunter2@h"]] {
        let output = timeout(SOON, headcount().args(arguments).output()).await.expect("it ends").unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"), "{arguments:?}: {output:?}");
    }
    let output = timeout(SOON, headcount().args(["check", "--redis-url", "redis://:hunter2@h"]).output()).await;
    let output = output.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("process list") && !said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_secret_that_others_can_read_is_warned_of() {
    let password = Scratch::write("password", "hunter2");
    let file = Scratch::write("with-password.toml", "[redis]\nurl = \"redis://:hunter2@h:1\"\n");
    for (mode, warned) in [(0o644, true), (0o640, false)] {
        for secret in [&password, &file] {
            std::fs::set_permissions(&secret.0, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let (password, file) = (password.0.to_str().unwrap(), file.0.to_str().unwrap());
        let output =
            headcount().args(["check", "--config", file]).env("HEADCOUNT_STORE__PASSWORD_FILE", password).output();
        let output = timeout(SOON, output).await.expect("it ends").unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("hunter2"), "{said}");
        for name in [password, file] {
            assert_eq!(said.contains(&format!("chmod o-r {name}")), warned, "{said}");
        }
    }
}

#[tokio::test]
async fn check_says_that_an_embedded_store_without_a_password_is_everybodys() {
    for (name, value, open) in [
        ("HEADCOUNT_LOG__LEVEL", "info", true),
        ("HEADCOUNT_STORE__PASSWORD", "hunter2", false),
        ("HEADCOUNT_STORE__EMBEDDED", "never", false),
        ("REDIS_URL", "redis://redis.example:6379", false),
    ] {
        let output = check(&[(name, value)]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("store.password is not set"), open, "{name}: {said}");
    }
}

/// What `headcount check` says of users of the store, and whether it is content.
async fn users(tables: &str) -> (bool, String) {
    let file = Scratch::write("users.toml", tables);
    let output = timeout(SOON, headcount().args(["check", "--config", file.0.to_str().unwrap()]).output()).await;
    let output = output.expect("it ends").unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), said)
}

#[tokio::test]
async fn check_names_the_user_and_the_rule_that_cannot_be_and_shows_no_password() {
    let password = Scratch::write("password", "hunter2\n");
    let from_file = format!("name = \"b\"\npassword_file = {:?}\nacl = \"on ~b:* +@read\"", password.0);
    let good =
        format!("[[store.users]]\nname = \"a\"\npassword = \"hunter2\"\nacl = \"on\"\n[[store.users]]\n{from_file}");
    let (is_good, said) = users(&good).await;
    assert!(is_good && said.contains("~b:* +@read") && !said.contains("hunter2"), "{said}");
    for (table, parts) in [
        ("name = \"app\"\nacl = \"on +nosuch\"\npassword = \"hunter2\"", &["store.users[0]", "\"app\"", "+nosuch"][..]),
        ("name = \"app\"\nacl = \"on >hunter2\"", &["\"app\"", ">***", "password_file"]),
        ("name = \"app\"\nacl = \"on (~a)\"\npassword = \"hunter2\"", &["\"app\"", "selector"]),
        ("name = \"app\"\nacl = \"on\"", &["\"app\"", "no password"]),
        ("name = \"default\"\nacl = \"on\"\npassword = \"hunter2\"", &["default user"]),
        ("acl = \"on\"\npassword = \"hunter2\"", &["name", "is missing"]),
        ("name = \"app\"\nacl = [\"on\"]\npassword = \"hunter2\"", &["acl", "string"]),
        ("name = \"app\"\nacl = \"on\"\npasword = \"hunter2\"", &["pasword", "no such key"]),
        ("name = \"app\"\nacl = \"on\"\npassword_file = \"/nowhere/x\"", &["/nowhere/x"]),
        ("name = \"a\"\nacl = \"off\"\n[[store.users]]\nname = \"a\"\nacl = \"off\"", &["store.users[1]", "another"]),
    ] {
        let (is_good, said) = users(&format!("[[store.users]]\n{table}\n")).await;
        assert!(!is_good && !said.contains("hunter2"), "{table}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{table}: {said}");
    }
}

#[tokio::test]
async fn a_variable_that_is_not_utf_8_is_a_mistake_only_if_it_is_ours() {
    let bytes = || std::ffi::OsString::from_vec(b"\xff\xfe".to_vec());
    let foreign = headcount().arg("check").env("SOMEBODY_ELSES", bytes()).env(bytes(), "x").output();
    assert!(timeout(SOON, foreign).await.expect("it ends").unwrap().status.success());
    for name in ["HEADCOUNT_LOG__LEVEL", "PORT", "REDIS_URL", "CREDENTIALS_DIRECTORY"] {
        let output =
            timeout(SOON, headcount().arg("check").env(name, bytes()).output()).await.expect("it ends").unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("{name}: is not UTF-8")), "{said}");
    }
}
