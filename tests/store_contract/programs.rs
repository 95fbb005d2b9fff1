//! Programs that were made for Redis and know nothing of this store do the same on both: each prints what
//! an application would see. `.ci/setup` installs what they need.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::servers::{Embedded, Redis};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tests-python/bin/python");

/// What a program prints, which must succeed.
fn printed(program: &str, script: &str, argument: &str) -> String {
    let mut command = Command::new(program);
    command.arg(script).arg(argument).current_dir(FOLDER).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}; .ci/setup installs it"));
    assert!(output.status.success(), "{command:?}: {output:?}; .ci/setup installs what it needs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program on both stores.
fn compare(program: &str, script: &str, argument: fn(SocketAddr) -> String) {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let [ours, theirs] = [ours.address, theirs.address].map(|address| printed(program, script, &argument(address)));
    assert!(!theirs.is_empty());
    assert_eq!(ours, theirs, "{script}");
}

fn url(address: SocketAddr) -> String {
    format!("redis://{address}")
}

#[test]
fn queues_of_bullmq_do_the_same_as_on_redis() {
    compare("node", "bullmq.js", url);
}

#[test]
fn servers_of_socket_io_speak_through_a_stream_as_on_redis() {
    compare("node", "streams-adapter.js", url);
}

#[test]
fn queues_of_bull_do_the_same_as_on_redis() {
    compare("node", "bull.js", url);
}

#[test]
fn servers_of_socket_io_speak_through_channels_as_on_redis() {
    compare("node", "redis-adapter.js", url);
}

#[test]
fn locks_of_redlock_hold_as_on_redis() {
    compare("node", "redlock.js", url);
}

#[test]
fn tasks_of_celery_do_the_same_as_on_redis() {
    compare(PYTHON, "tasks_with_celery.py", |address| address.port().to_string());
}

#[test]
fn caches_and_sessions_of_django_do_the_same_as_on_redis() {
    compare(PYTHON, "cache_with_django.py", |address| address.port().to_string());
}

#[test]
fn jobs_of_rq_do_the_same_as_on_redis() {
    compare(PYTHON, "queue_with_rq.py", |address| address.port().to_string());
}
