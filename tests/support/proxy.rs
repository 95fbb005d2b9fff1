//! Real reverse proxies, with the settings that docs/OPERATIONS.md gives for them, word for word but for the
//! addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::node::{Log, Node};
use super::redis::free_port;
use super::{SOON, eventually};

const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");
/// The server's address in docs/OPERATIONS.md.
const SERVER: &str = "127.0.0.1:3000";

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    HaProxy,
    Caddy,
}

/// A proxy that runs. Dropped, it is killed, and its folder is gone.
pub struct Proxy {
    kind: Kind,
    child: Child,
    home: PathBuf,
    pub address: SocketAddr,
    log: Log,
}

impl Proxy {
    /// Starts one before a node.
    pub async fn start(kind: Kind, node: &Node) -> Proxy {
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let home = std::env::temp_dir().join(format!("headcount-proxy-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("conf"), kind.configuration(node.address, address)).unwrap();
        let mut child = kind.command(&home).stderr(Stdio::piped()).spawn().unwrap_or_else(|why| {
            panic!("this test needs {kind:?}: run .ci/setup, which installs it ({why})");
        });
        let log = Log::follow(child.stderr.take().unwrap());
        let proxy = Proxy { kind, child, home, address, log };
        eventually("the proxy listens", SOON, || async {
            TcpStream::connect(address).await.map(drop).map_err(|why| format!("{why}: {}", proxy.log.text()))
        })
        .await;
        proxy
    }

    /// Has it read its configuration again, as its operator would, and waits until new processes serve
    /// beside those that still carry open connections.
    pub async fn reload(&self) {
        let before = self.processes();
        match self.kind {
            Kind::Nginx => {
                let reload = self.kind.command(&self.home).args(["-s", "reload"]).status();
                assert!(timeout(SOON, reload).await.expect("it ends by itself").unwrap().success());
            }
            Kind::HaProxy => kill_process(self.pid(), Signal::USR2).unwrap(),
            Kind::Caddy => panic!("a reload of Caddy closes WebSockets"),
        }
        eventually("new processes serve", SOON, || async {
            let now = self.processes();
            let (new, old) = (now.iter().any(|id| !before.contains(id)), now.iter().any(|id| before.contains(id)));
            if new && old { Ok(()) } else { Err(format!("{before:?}, then {now:?}: {}", self.log.text())) }
        })
        .await;
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("the proxy runs").cast_signed()).unwrap()
    }

    /// Its processes but the first.
    fn processes(&self) -> Vec<String> {
        let pid = self.pid().as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().map(String::from).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what {:?} said:\n{}", self.kind, self.log.text());
        }
        // Its other processes end with the first, which is asked for that.
        let _ = kill_process(self.pid(), Signal::TERM);
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

impl Kind {
    fn command(self, home: &std::path::Path) -> Command {
        let conf = home.join("conf");
        let mut command = match self {
            Kind::Nginx => {
                let mut nginx = Command::new("nginx");
                nginx.arg("-p").arg(home).args(["-e", "stderr", "-c"]).arg(conf);
                nginx
            }
            Kind::HaProxy => {
                let mut haproxy = Command::new("haproxy");
                haproxy.args(["-W", "-db", "-f"]).arg(conf);
                haproxy
            }
            Kind::Caddy => {
                let mut caddy = Command::new("caddy");
                caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(conf).env("HOME", home);
                caddy
            }
        };
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// What docs/OPERATIONS.md says, with what it leaves to the installation around it.
    fn configuration(self, server: SocketAddr, proxy: SocketAddr) -> String {
        let said = self.said().replace(SERVER, &server.to_string());
        match self {
            Kind::Nginx => format!(
                "daemon off;\nworker_processes 2;\nworker_rlimit_nofile 8192;\npid nginx.pid;\nerror_log stderr;\n\
                 events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\nclient_body_temp_path body;\n\
                 proxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n\
                 server {{\nlisten {proxy};\n{said}\n}}\n}}\n"
            ),
            Kind::HaProxy => {
                assert!(said.contains("bind :80\n"), "{said}");
                format!("global\n    maxconn 4096\n{}\n", said.replace("bind :80\n", &format!("bind {proxy}\n")))
            }
            Kind::Caddy => format!("{{\nadmin off\nauto_https off\n}}\nhttp://{proxy} {{\n{said}\n}}\n"),
        }
    }

    /// The settings in docs/OPERATIONS.md.
    fn said(self) -> String {
        let (_, section) = OPERATIONS.split_once("\n## Put it behind a proxy\n").expect("the section on proxies");
        let section = section.split("\n## ").next().unwrap();
        let after = |mark: &str| section.split_once(mark).unwrap_or_else(|| panic!("no {mark:?} in {section}")).1;
        let block = |text: &str| -> String {
            let lines = text.trim_start_matches('\n').lines().take_while(|line| line.starts_with("    "));
            lines.map(|line| format!("{}\n", &line[4..])).collect()
        };
        match self {
            Kind::Nginx => block(after("nginx:\n")),
            Kind::HaProxy => block(after("HAProxy:\n")),
            Kind::Caddy => after("Caddy: `").split('`').next().unwrap().to_owned(),
        }
    }
}

/// The line on proxies that docs/OPERATIONS.md has for the server's own configuration.
pub fn trusting() -> String {
    let key = "server.trusted_proxies = ";
    let line =
        OPERATIONS.split('`').find(|code| code.starts_with(key)).expect("what docs/OPERATIONS.md says of proxies");
    format!("{line}\n")
}
