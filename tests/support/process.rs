//! A `redis-server` process, for a machine where no container engine answers.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// The server, its command line, and its folder. Dropped, all of it is gone.
pub struct Process {
    child: Child,
    arguments: Vec<String>,
    home: PathBuf,
}

impl Process {
    /// Runs `redis-server` on this port with these arguments.
    pub fn start(port: u16, arguments: &[&str]) -> Process {
        let name = format!("headcount-redis-{}-{port}", std::process::id());
        let home = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&home).unwrap();
        let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        arguments.extend([String::from("--port"), port.to_string()]);
        let child = spawn(&arguments, &home);
        Process { child, arguments, home }
    }

    /// Kills the server with SIGKILL and waits for its end.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts the server again, as it was started first.
    pub fn revive(&mut self) {
        self.child = spawn(&self.arguments, &self.home);
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("the server runs").cast_signed();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn spawn(arguments: &[String], home: &Path) -> Child {
    Command::new("redis-server")
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
