//! One file, four sources, and errors that say what is wrong, where, and what is allowed.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::support::node::{Node, Scratch, headcount};
use crate::support::redis::{Redis, free_port};
use crate::support::{SOON, beside_others};

const DEFAULT_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/headcount.toml");

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = headcount().args(arguments).envs(environment.iter().copied()).output();
    timeout(SOON, output).await.expect("it ends by itself").unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn check_names_all_five_mistakes_of_a_file() {
    let file = Scratch::write(
        "mistakes.toml",
        "[server]\ndrain = \"soon\"\nworkers = \"many\"\n\
         [presence]\nheartbeat = \"0s\"\nhartbeat = \"1s\"\n\
         [[channels]]\npattern = \"a:*\"\ncount = \"sockets\"\ndeliver = \"sometimes\"\n",
    );
    let path = file.0.to_str().unwrap();
    let output = run(&["check", "--config", path], &[]).await;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for needle in ["drain", "soon", "workers", "many", "heartbeat", "0s", "hartbeat", "deliver", "sometimes", "every"] {
        assert!(text.contains(needle), "{needle:?} is not named in:\n{text}");
    }
    assert!(text.contains(path), "the file is not named in:\n{text}");
}

#[tokio::test]
async fn a_start_refuses_what_check_refuses() {
    let file = Scratch::write("mistake.toml", "[server]\ndrain = \"soon\"\n");
    let output = run(&["--config", file.0.to_str().unwrap(), "--port", "0"], &[]).await;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("drain") && text.contains("soon"), "{text}");
    let output = run(&["check", "--config", "/nowhere/at/all.toml"], &[]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all.toml"));
}

#[tokio::test]
async fn a_mistake_in_the_environment_is_named_as_the_variable() {
    let output =
        run(&["check"], &[("HEADCOUNT_PRESENCE__REPAIR", "never"), ("HEADCOUNT_PRESENCE__NONSENSE", "1")]).await;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    for needle in ["environment", "HEADCOUNT_PRESENCE__REPAIR", "never", "HEADCOUNT_PRESENCE__NONSENSE"] {
        assert!(text.contains(needle), "{needle:?} is not named in:\n{text}");
    }
}

#[tokio::test]
async fn the_commented_default_file_changes_nothing() {
    let defaults = stdout(&run(&["check"], &[]).await);
    let with_file = stdout(&run(&["check", "--config", DEFAULT_FILE], &[]).await);
    assert_eq!(defaults, with_file);
    assert!(defaults.contains("redis://127.0.0.1:6379"), "{defaults}");
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = Scratch::write(
        "levels.toml",
        "[log]\nlevel = \"debug\"\n[presence]\nrepair = \"31s\"\n[server]\ndrain = \"7s\"\n",
    );
    let path = file.0.to_str().unwrap();
    let level = |text: &str| text.lines().find(|line| line.starts_with("log.level = ")).expect("a level").to_owned();
    let from_file = stdout(&run(&["check", "--config", path], &[]).await);
    assert!(level(&from_file).contains("debug") && from_file.contains("31s"), "{from_file}");
    let environment = [("HEADCOUNT_LOG__LEVEL", "warn"), ("HEADCOUNT_PRESENCE__REPAIR", "41s")];
    let from_environment = stdout(&run(&["check", "--config", path], &environment).await);
    assert!(level(&from_environment).contains("warn") && from_environment.contains("41s"), "{from_environment}");
    let from_flag = stdout(&run(&["check", "--config", path, "--log-level", "error"], &environment).await);
    assert!(level(&from_flag).contains("error") && from_flag.contains("7s"), "{from_flag}");
}

#[tokio::test]
async fn check_hides_secrets() {
    let text = stdout(&run(&["check"], &[("REDIS_URL", "redis://me:hunter2@store.example:6379")]).await);
    assert!(text.contains("store.example") && !text.contains("hunter2"), "{text}");
    let output = run(&["check"], &[("REDIS_URL", "nonsense://me:hunter2@store.example")]).await;
    assert!(!output.status.success());
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
}

#[tokio::test]
async fn help_and_version_are_there() {
    let help = stdout(&run(&["--help"], &[]).await);
    for word in ["--config", "--port", "--redis-url", "check"] {
        assert!(help.contains(word), "{word} is not in:\n{help}");
    }
    let version = stdout(&run(&["--version"], &[]).await);
    assert_eq!(version.lines().next(), Some(concat!("headcount ", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn port_and_redis_url_work_as_everyone_expects() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let port = free_port();
    let mut child = headcount()
        .envs([("PORT", port.to_string()), ("REDIS_URL", redis.url())])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    timeout(SOON, out.read_line(&mut line)).await.expect("a line in time").unwrap();
    let expected = format!(
        "headcount {}: http://localhost:{port}/ shows users:count, kept in {}\n",
        env!("CARGO_PKG_VERSION"),
        redis.url()
    );
    assert_eq!(line, expected);
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_said_to_be() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = timeout(Duration::from_secs(10), headcount().args(["--listen", &address]).output()).await;
    let output = output.expect("it ends by itself").unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&address), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_json_log_every_line_that_is_printed_is_an_object() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut node = Node::on(&redis.url()).set("LOG__FORMAT", "json").start().await;
    node.ready().await;
    node.signal(rustix::process::Signal::TERM);
    node.exit(SOON).await;
    let (out, log) = (node.line.clone() + &node.rest_of_output().await, node.log.text());
    for line in out.lines().chain(log.lines()) {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|it| it.is_object()), "{line:?}");
    }
    assert!(out.contains("http://localhost") || out.contains("http://127.0.0.1"), "{out}");
}
