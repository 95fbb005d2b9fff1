//! The neighbour: a program in another language that counts on the same Redis key with INCR, DECR
//! and PUBLISH, and knows nothing of ours. It stands in `tests/article`.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::SOON;
use super::redis::Redis;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/article");

/// The neighbour's server and a set of its clients.
pub struct Article {
    _server: Program,
    clients: Program,
}

impl Article {
    /// Starts both on this Redis.
    pub async fn start(redis: &Redis) -> Article {
        let mut server = Program::start(&["server.js", "0", &redis.url()]);
        let port = server.line().await;
        Article { _server: server, clients: Program::start(&["client.js", &port]) }
    }

    /// Connects one more client and waits until it is connected.
    pub async fn open(&mut self) {
        self.ask("open").await;
    }

    /// Disconnects the oldest client.
    pub async fn close(&mut self) {
        self.ask("close").await;
    }

    /// The last value that each client was told, oldest client first.
    pub async fn values(&mut self) -> Vec<Option<i64>> {
        let answer = self.ask("values").await;
        let values = answer["values"].as_array().expect("values").iter();
        values.map(|value| value.as_str().and_then(|text| text.parse().ok())).collect()
    }

    async fn ask(&mut self, command: &str) -> Value {
        self.clients.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        let line = self.clients.line().await;
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer["error"].is_null(), "{command}: {line}");
        answer
    }
}

struct Program {
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(arguments: &[&str]) -> Program {
        let mut child = Command::new("node")
            .args(arguments)
            .current_dir(FOLDER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|why| panic!("this test needs node; .ci/setup installs it ({why})"));
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Program { _child: child, stdin, stdout }
    }

    async fn line(&mut self) -> String {
        let line = timeout(SOON, self.stdout.next_line()).await.expect("a line in time").unwrap();
        line.expect("node ended early; .ci/setup installs the packages of tests/article")
    }
}
