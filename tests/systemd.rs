//! Under a service manager: it is told when the server is ready, how it is, that it lives, reloads
//! and stops, and may hold the listening socket.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::support::certificate::Certificate;
use crate::support::node::{Node, Scratch, headcount};
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others};

/// A service manager's end of the notification socket.
struct Manager {
    socket: UnixDatagram,
    heard: VecDeque<String>,
    _file: Scratch,
}

impl Manager {
    fn listen() -> Manager {
        let file = Scratch::write("notify.sock", "");
        std::fs::remove_file(&file.0).unwrap();
        Manager { socket: UnixDatagram::bind(&file.0).unwrap(), heard: VecDeque::new(), _file: file }
    }

    fn path(&self) -> PathBuf {
        self._file.0.clone()
    }

    /// Waits for a message that holds this line, and drops those before it.
    async fn hears(&mut self, line: &str) -> String {
        let mut passed = Vec::new();
        let wait = async {
            loop {
                let message = self.next().await;
                if message.lines().any(|one| one.starts_with(line)) {
                    return message;
                }
                passed.push(message);
            }
        };
        timeout(SOON, wait).await.unwrap_or_else(|_| panic!("no {line:?}; instead {passed:?}"))
    }

    async fn next(&mut self) -> String {
        if let Some(message) = self.heard.pop_front() {
            return message;
        }
        let mut buffer = [0; 4096];
        let n = self.socket.recv(&mut buffer).await.unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }
}

async fn node(manager: &Manager, redis_url: &str, watchdog: Option<&str>) -> Node {
    let mut setup = Node::on(redis_url).config("").variable("NOTIFY_SOCKET", manager.path().to_str().unwrap());
    if let Some(period) = watchdog {
        setup = setup.variable("WATCHDOG_USEC", period);
    }
    setup.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_when_it_listens_even_without_a_store_and_tells_how_it_is() {
    let _turn = beside_others().await;
    let mut redis = Redis::start().await;
    redis.kill().await;
    let mut manager = Manager::listen();
    let node = Node::on(&redis.url())
        .set("STORE__EMBEDDED", "never")
        .variable("NOTIFY_SOCKET", manager.path().to_str().unwrap())
        .start()
        .await;
    manager.hears("READY=1").await;
    manager.hears("STATUS=0 clients; the store is out of reach").await;
    redis.revive().await;
    manager.hears("STATUS=0 clients; the store is live").await;
    let _client = crate::support::client::Client::open(&node, "").await;
    manager.hears("STATUS=1 client; the store is live").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_and_a_stop_are_told_as_they_begin_and_end() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut manager = Manager::listen();
    let mut node = node(&manager, &redis.url(), None).await;
    manager.hears("READY=1").await;
    node.reload("[limits]\nmessage = \"1KiB\"\n");
    let message = manager.hears("RELOADING=1").await;
    assert!(message.contains("MONOTONIC_USEC="), "{message}");
    manager.hears("READY=1").await;
    node.reload("nonsense");
    manager.hears("RELOADING=1").await;
    manager.hears("READY=1").await;
    node.signal(Signal::TERM);
    manager.hears("STOPPING=1").await;
    assert_eq!(node.exit(SOON).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_asks_again_and_again_for_the_time_that_it_takes() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut manager = Manager::listen();
    let node = Node::on(&redis.url())
        .set("SERVER__NOTICE", "60s")
        .variable("NOTIFY_SOCKET", manager.path().to_str().unwrap())
        .start()
        .await;
    manager.hears("READY=1").await;
    let _client = crate::support::client::Client::open(&node, "").await;
    manager.hears("STATUS=1 client").await;
    node.signal(Signal::TERM);
    manager.hears("STOPPING=1").await;
    let mut asked = SOON;
    for _ in 0..3 {
        // It comes before the time that was asked for before is over.
        let message = timeout(asked, manager.hears("EXTEND_TIMEOUT_USEC=")).await.expect("it asks in time");
        assert!(message.contains("STATUS=stopping; 1 client left"), "{message}");
        let time = message.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC=")).unwrap();
        asked = Duration::from_micros(time.parse().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_come_in_half_the_time_that_the_watchdog_has_and_end_when_it_is_stuck() {
    let _turn = crate::support::alone().await;
    let redis = Redis::start().await;
    let mut manager = Manager::listen();
    let node = node(&manager, &redis.url(), Some("4000000")).await;
    manager.hears("WATCHDOG=1").await;
    for _ in 0..3 {
        timeout(Duration::from_secs(2), manager.hears("WATCHDOG=1")).await.expect("a sign of life in half the time");
    }
    node.freeze();
    // What was sent before it froze.
    while timeout(Duration::from_millis(10), manager.next()).await.is_ok() {}
    assert!(timeout(Duration::from_secs(2), manager.hears("WATCHDOG=1")).await.is_err(), "a frozen process is no sign");
    node.thaw();
    manager.hears("WATCHDOG=1").await;
}

/// A command for a server that is handed this socket under a name, as the manager does it: the socket is
/// descriptor 3, and the process knows that it is meant.
fn handed(held: &std::net::TcpListener, name: &str) -> tokio::process::Command {
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=$1 exec \"$0\" --port 1";
    let plain = headcount();
    let mut command = tokio::process::Command::new("sh");
    for (name, value) in plain.as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["-c", script, env!("CARGO_BIN_EXE_headcount"), name]);
    command.stdin(std::os::fd::OwnedFd::from(held.try_clone().unwrap()));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_the_manager_holds_is_served_in_place_of_the_configured_address() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let mut child = handed(&held, "web").env("REDIS_URL", redis.url()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    timeout(SOON, stdout.read_line(&mut line)).await.expect("a line in time").unwrap();
    assert!(line.contains(&format!("http://{address}/")), "{line}");
    let reply = crate::support::http::request(address, "GET", "/healthz", &[]).await.unwrap();
    assert_eq!(reply.status, 200);
    // While no server runs, connections wait in the socket.
    child.kill().await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_ok());
}

#[tokio::test]
async fn a_server_that_is_to_speak_tls_does_not_start_on_a_socket_without_it() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let certificate = Certificate::make();
    let mut command = handed(&held, "web");
    command.env("HEADCOUNT_SERVER__LISTEN", "tls:0.0.0.0:443");
    command.env("HEADCOUNT_TLS__CERTIFICATE", &certificate.pem.0).env("HEADCOUNT_TLS__KEY", &certificate.key.0);
    let output = command.stderr(std::process::Stdio::piped()).output();
    let output = timeout(SOON, output).await.expect("it ends by itself").unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("FileDescriptorName=tls"), "{said}");
}

#[tokio::test]
async fn sockets_that_the_environment_describes_wrongly_end_the_start_and_say_why() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = handed(&held, "one:another").stderr(std::process::Stdio::piped()).output();
    let output = timeout(SOON, output).await.expect("it ends by itself").unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("LISTEN_FDNAMES"), "{said}");
}
