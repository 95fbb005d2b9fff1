//! A store that is a process of ours: a `redis-server` where no container engine answers, or a node
//! that serves the embedded store.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::node::headcount;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// The server, its command line, and its folder. Dropped, all of it is gone.
pub struct Process {
    child: Child,
    program: Program,
    arguments: Vec<String>,
    home: PathBuf,
}

#[derive(Clone, Copy)]
enum Program {
    Redis,
    Headcount,
}

impl Process {
    /// Runs `redis-server` on this port with these arguments.
    pub fn start(port: u16, arguments: &[&str]) -> Process {
        let name = format!("headcount-redis-{}-{port}", std::process::id());
        let home = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&home).unwrap();
        let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        arguments.extend([String::from("--port"), port.to_string()]);
        let child = spawn(Program::Redis, &arguments, &home);
        Process { child, program: Program::Redis, arguments, home }
    }

    /// Runs a node that serves the embedded store on this port.
    pub fn start_embedded(port: u16) -> Process {
        let home = std::env::temp_dir().join(format!("headcount-store-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let url = format!("redis://127.0.0.1:{port}");
        let arguments = ["--listen", "127.0.0.1:0", "--redis-url", &url, "--log-level", "error"];
        let arguments = arguments.map(String::from).to_vec();
        let child = spawn(Program::Headcount, &arguments, &home);
        Process { child, program: Program::Headcount, arguments, home }
    }

    /// Kills the server with SIGKILL and waits for its end.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts the server again, as it was started first.
    pub fn revive(&mut self) {
        self.child = spawn(self.program, &self.arguments, &self.home);
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("the server runs").cast_signed();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        // A thread that runs at this moment stops only a moment later.
        let deadline = Instant::now() + Duration::from_secs(5);
        while signal == Signal::STOP && !stopped(pid) {
            assert!(Instant::now() < deadline, "the server does not stop");
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn spawn(program: Program, arguments: &[String], home: &Path) -> Child {
    let mut command = match program {
        Program::Redis => Command::new("redis-server"),
        Program::Headcount => headcount(),
    };
    command
        .env("HEADCOUNT_STORE__EMBEDDED", "always")
        .args(arguments)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|why| {
            panic!(
                "these tests need real Redis: start Docker or podman, or install redis-server, \
                 or run .ci/setup, which does it for you ({why})"
            )
        })
}

/// Whether every thread of a process is stopped, by what the kernel says of each.
fn stopped(pid: i32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}
