//! One `headcount` process, built by cargo, on a port of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

use super::http::{self, Reply};
use super::{SOON, eventually};

/// The binary that is tested: `TEST_BINARY`, or the one that cargo built for the tests.
fn binary() -> String {
    std::env::var("TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_headcount").into())
}

/// A command line of the binary, free of what the machine's environment says about it.
pub fn headcount() -> Command {
    clean(&binary(), &[])
}

fn clean(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, _) in std::env::vars() {
        if name == "PORT" || name == "REDIS_URL" || name.starts_with("HEADCOUNT_") || name == "NOTIFY_SOCKET" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A file that is gone when the test is over.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Writes `text` to a new file whose name ends in `name`.
    pub fn write(name: &str, text: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("headcount-{}-{}-{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::write(&path, text).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How a node is to be started.
pub struct Setup {
    redis_url: String,
    environment: Vec<(String, String)>,
    config: Option<Scratch>,
    listen: Vec<String>,
    files: Option<u64>,
}

impl Setup {
    /// Sets a key by its environment variable: `set("PRESENCE__REPAIR", "1s")`.
    pub fn set(mut self, key: &str, value: &str) -> Setup {
        self.environment.push((format!("HEADCOUNT_{key}"), value.into()));
        self
    }

    /// Has this machine's addresses limited as a stranger's are.
    pub fn among_strangers(self) -> Setup {
        self.set("LIMITS__EXEMPT_ADDRESSES", "192.0.2.0/24")
    }

    /// Sets an environment variable of any name.
    pub fn variable(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Has the node listen here too; [`Node::line`] then says where.
    pub fn listen(mut self, place: &str) -> Setup {
        self.listen.push(place.into());
        self
    }

    /// Lets the node have this many open files at most.
    pub fn files(mut self, most: u64) -> Setup {
        self.files = Some(most);
        self
    }

    /// Gives the node a config file with this text.
    pub fn config(mut self, text: &str) -> Setup {
        self.config = Some(Scratch::write("node.toml", text));
        self
    }

    /// Starts the node on a free port and waits for the line that says where it listens.
    pub async fn start(self) -> Node {
        self.start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts the node at this address, as one that takes another's place does.
    pub async fn start_at(self, address: SocketAddr) -> Node {
        let mut command = match self.files {
            // The shell makes way for the node, which so has the shell's limit and process number.
            Some(most) => clean("sh", &["-c", "ulimit -n \"$0\" && exec \"$@\"", &most.to_string(), &binary()]),
            None => headcount(),
        };
        command.args(["--listen", &address.to_string(), "--redis-url", &self.redis_url]);
        for place in &self.listen {
            command.args(["--listen", place]);
        }
        if let Some(file) = &self.config {
            command.arg("--config").arg(&file.0);
        }
        let mut child = command.envs(self.environment).spawn().unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let read = timeout(SOON, stdout.read_line(&mut line)).await;
        let Some(address) = address_in(&line) else {
            panic!("no address on the first line of output: {read:?} {line:?}; the log:\n{}", log.text());
        };
        Node { child, address, line, stdout, log, config: self.config }
    }
}

/// The address in `headcount 0.1.0: http://localhost:3000/ shows …`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (authority, _) = line.split_once("http://")?.1.split_once('/')?;
    let port = authority.rsplit_once(':')?.1.parse().ok()?;
    Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// A running server process. Dropped, it is killed; its log is printed when the test fails.
pub struct Node {
    child: Child,
    pub address: SocketAddr,
    /// The first line of its output.
    pub line: String,
    stdout: BufReader<ChildStdout>,
    pub log: Log,
    config: Option<Scratch>,
}

impl Node {
    /// A node to be started on this Redis.
    pub fn on(redis_url: &str) -> Setup {
        // A node that waits for its store, so that the test says when there is one.
        let environment = vec![
            ("HEADCOUNT_STORE__EMBEDDED".into(), "never".into()),
            ("HEADCOUNT_SERVER__METRICS".into(), "public".into()),
        ];
        Setup { redis_url: redis_url.into(), environment, config: None, listen: Vec::new(), files: None }
    }

    /// Starts a node with nothing set but this Redis, and waits until it is ready.
    pub async fn start(redis_url: &str) -> Node {
        let node = Node::on(redis_url).start().await;
        node.ready().await;
        node
    }

    /// Waits until the node says that it is in touch with its store.
    pub async fn ready(&self) {
        eventually("/readyz is 200", SOON, || async {
            let reply = self.get("/readyz").await?;
            super::same("the status of /readyz", reply.status, 200)
        })
        .await;
    }

    pub async fn get(&self, path: &str) -> Result<Reply, String> {
        http::request(self.address, "GET", path, &[]).await
    }

    /// A number that the node counts of itself, by its whole name, labels and all.
    pub async fn metric(&self, name: &str) -> Result<i64, String> {
        let text = self.get("/metrics").await?.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {name} in:\n{text}"))
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("the node runs");
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Writes another text into the node's config file and has it reloaded.
    pub fn reload(&self, text: &str) {
        std::fs::write(&self.config.as_ref().expect("the node has a config file").0, text).unwrap();
        self.signal(Signal::HUP);
    }

    /// Waits for a line of the log that holds each of these.
    pub async fn says(&self, words: &[&str]) -> String {
        eventually(&format!("the log says {words:?}"), SOON, || async {
            let text = self.log.text();
            let found = text.lines().find(|line| words.iter().all(|word| line.contains(word)));
            found.map(String::from).ok_or_else(|| text.clone())
        })
        .await
    }

    /// Kills the process with SIGKILL, as a crash would.
    pub async fn crash(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Stops the process where it stands, as a stalled virtual machine would.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Sets how many open files the process may have from now on.
    pub fn allow_files(&self, most: u64) {
        let pid = Pid::from_raw(self.child.id().expect("the node runs").cast_signed());
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let new = Rlimit { current: Some(most), maximum: limit.maximum };
        rustix::process::prlimit(pid, Resource::Nofile, new).unwrap();
    }

    /// How many files the process has open.
    pub fn open_files(&self) -> usize {
        let pid = self.child.id().expect("the node runs");
        std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    }

    /// For how many open files the kernel's table of the process has room.
    pub fn table_of_files(&self) -> usize {
        let pid = self.child.id().expect("the node runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("a size");
        size.trim().parse().unwrap()
    }

    /// Waits for the process to end by itself.
    pub async fn exit(&mut self, within: Duration) -> ExitStatus {
        match timeout(within, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("still running after {within:?}; the log:\n{}", self.log.text()),
        }
    }

    /// The next line on the standard output.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(SOON, self.stdout.read_line(&mut line)).await.expect("a line in time").unwrap();
        line
    }

    /// Whatever else came on the standard output, up to its end.
    pub async fn rest_of_output(&mut self) -> String {
        let mut rest = String::new();
        timeout(SOON, self.stdout.read_to_string(&mut rest)).await.expect("the output ends").unwrap();
        rest
    }

    /// The most resident memory that the process had so far, in bytes.
    pub fn most_memory(&self) -> u64 {
        let pid = self.child.id().expect("the node runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Looks at the process's threads so many times in a row; an error if one of them is not asleep.
    pub fn sleeps_through(&self, looks: usize) -> Result<(), String> {
        let pid = self.child.id().expect("the node runs");
        for look in 0..looks {
            for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
                // One that has ended meanwhile does nothing either.
                let Ok(stat) = std::fs::read_to_string(thread.unwrap().path().join("stat")) else { continue };
                let (name, rest) = stat.rsplit_once(')').unwrap();
                if !rest.trim_start().starts_with(['S', 'I']) {
                    return Err(format!("at look {look}, {name}) is at work"));
                }
            }
        }
        Ok(())
    }

    /// Whether the process has ended, though nobody has taken note of that yet.
    pub fn has_ended(&self) -> bool {
        self.stat()[0] == "Z"
    }

    /// The CPU time that the process has used, user and system.
    pub fn cpu_time(&self) -> Duration {
        let fields = self.stat();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
    }

    /// How often the process's first thread has gone to sleep, and so been woken up.
    pub fn wakeups(&self) -> u64 {
        let pid = self.child.id().expect("the node runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    }

    /// What the kernel tells of the process, from its state on.
    fn stat(&self) -> Vec<String> {
        let pid = self.child.id().expect("nobody has waited for the node");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of the node at {}:\n{}", self.address, self.log.text());
        }
    }
}

/// What a process wrote to its standard error so far.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// Reads `stderr` to its end in the background.
    pub fn follow(stderr: ChildStderr) -> Log {
        let log = Log::default();
        let copy = log.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut text = copy.0.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        log
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// The lines that hold `needle`.
    pub fn lines_with(&self, needle: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(needle)).map(String::from).collect()
    }
}
