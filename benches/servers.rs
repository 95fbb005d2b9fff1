//! Starts what is measured: ours, the floor, Redis and the peers, each on its core.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::machine::{Core, cpu, idle_role, resident, spawn_on, terminate, user_and_kernel};

/// What a server may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that is measured. Dropping it ends it.
pub struct Server {
    child: Child,
    pub port: u16,
    /// Files that go with it.
    folder: Option<PathBuf>,
}

impl Server {
    pub fn of(child: Child, port: u16) -> Self {
        Self { child, port, folder: None }
    }

    pub fn cpu(&self) -> Result<f64> {
        cpu(self.child.id())
    }

    pub fn resident(&self) -> Result<f64> {
        resident(self.child.id())
    }

    pub fn user_and_kernel(&self) -> Result<(f64, f64)> {
        user_and_kernel(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        terminate(&self.child);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// A Redis of our own on the load's core, without anything on disk.
pub fn redis() -> Result<Server> {
    let port = free_port()?;
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
    command.args(["--client-output-buffer-limit", "pubsub", "0", "0", "0"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    listening(Server { child: spawn_on(Core::Load, &mut command)?, port, folder: None })
}

/// The program. Another build of it can be measured, by its path.
pub fn binary() -> OsString {
    std::env::var_os("BENCH_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_headcount").into())
}

/// Ours. Pings are rare, so that they do not fall into one round and not into another.
pub fn headcount(core: Core, workers: usize, redis: u16, settings: &[(&str, &str)]) -> Result<Server> {
    let mut command = Command::new(binary());
    command
        .args(["--port", "0", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/bench.toml")])
        .env("REDIS_URL", format!("redis://127.0.0.1:{redis}"))
        .env("HEADCOUNT_SERVER__WORKERS", workers.to_string())
        .env("HEADCOUNT_SERVER__DRAIN", "0s")
        .env("HEADCOUNT_SESSION__PING", "1h")
        .env("HEADCOUNT_LOG__LEVEL", "warn")
        .envs(settings.iter().copied());
    let (child, line) = first_line(core, &mut command)?;
    let port = line.split("localhost:").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().parse()?;
    Ok(Server { child, port, folder: None })
}

/// The floor: this program in another role.
pub fn floor(redis: u16, channel: &str) -> Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["role", "floor", &redis.to_string(), channel]);
    let (child, line) = first_line(Core::Server, &mut command)?;
    Ok(Server { child, port: line.trim().parse()?, folder: None })
}

/// What hardly serves anybody: this program in another role.
pub fn sink() -> Result<Server> {
    let (child, line) = first_line(Core::Server, &mut idle_role(&["sink"])?)?;
    Ok(Server { child, port: line.trim().parse()?, folder: None })
}

/// nginx with Nchan; None where that is not installed. `/sub` and `/pub` take the channel as `?id=`.
pub fn nchan() -> Result<Option<Server>> {
    const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
    let Some(nginx) = ["/usr/sbin/nginx", "/usr/bin/nginx"].iter().find(|path| Path::new(path).exists()) else {
        return Ok(None);
    };
    if !Path::new(MODULE).exists() {
        return Ok(None);
    }
    let port = free_port()?;
    let folder = std::env::temp_dir().join(format!("headcount-bench-nginx-{port}"));
    fs::create_dir_all(&folder)?;
    let path = folder.join("nginx.conf");
    fs::write(&path, nginx_config(MODULE, port, &folder))?;
    let mut command = Command::new(nginx);
    command.arg("-c").arg(&path).arg("-p").arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
    let child = spawn_on(Core::Server, &mut command)?;
    listening(Server { child, port, folder: Some(folder) }).map(Some)
}

fn nginx_config(module: &str, port: u16, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "load_module {module};
daemon off; master_process off; worker_rlimit_nofile 20000; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 19000; use epoll; multi_accept on; }}
http {{ access_log off; nchan_shared_memory_size 256M; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; keepalive_requests 1000000;
  server {{ listen {port} backlog=16384;
    location /sub {{ nchan_subscriber websocket; nchan_channel_id $arg_id; nchan_subscriber_first_message newest; nchan_websocket_ping_interval 0; }}
    location /pub {{ nchan_publisher; nchan_channel_id $arg_id; nchan_message_buffer_length 0; nchan_store_messages off; }}
  }}
}}
"
    )
}

/// The article's node program; None where node or its packages are missing.
pub fn article(redis: u16) -> Result<Option<Server>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/article");
    if !folder.join("node_modules").exists() || crate::machine::version("node", "--version").is_none() {
        return Ok(None);
    }
    let mut command = Command::new("node");
    command.current_dir(folder).args(["server.js", "0", &format!("redis://127.0.0.1:{redis}")]);
    let (child, line) = first_line(Core::Server, &mut command)?;
    Ok(Some(Server { child, port: line.trim().parse()?, folder: None }))
}

/// An endpoint that is polled about boards; None as above.
pub fn polling(redis: u16) -> Result<Option<Server>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/article");
    if !folder.join("node_modules").exists() || crate::machine::version("node", "--version").is_none() {
        return Ok(None);
    }
    let mut command = Command::new("node");
    command.current_dir(folder).args(["../../benches/polling.mjs", &format!("redis://127.0.0.1:{redis}")]);
    let (child, line) = first_line(Core::Server, &mut command)?;
    Ok(Some(Server { child, port: line.trim().parse()?, folder: None }))
}

fn first_line(core: Core, command: &mut Command) -> Result<(Child, String)> {
    let mut child = spawn_on(core, command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    if line.is_empty() {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{:?} ended before it served", command.get_program()).into());
    }
    Ok((child, line))
}

/// Waits until it listens.
pub fn listening(server: Server) -> Result<Server> {
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", server.port)).is_err() {
        if start.elapsed() > PATIENCE {
            return Err("a server did not start".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
