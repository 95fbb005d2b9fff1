//! What TLS adds to a script's round trip to Redis, over the very connection that a server uses.
//!
//! Redis has one core, and our side of the connection the other. The plain connection stands where the floor
//! stands in the other measures.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headcount::backplane::{Client, Link};
use headcount::config;
use headcount::metrics::Metrics;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use redis::Script;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::micros;
use crate::machine::{Core, spawn_on};
use crate::report::{Report, Row};
use crate::servers::{Server, free_port, listening};
use crate::stats::Turns;
use crate::{Extent, Result};

const SCRIPT: &str = concat!(
    include_str!("../../src/presence/lua/enter.lua"),
    include_str!("../../src/presence/lua/count.lua"),
    include_str!("../../src/presence/lua/state.lua")
);
const PATIENCE: Duration = Duration::from_secs(10);

/// The certificates of both sides, in files.
struct Files(PathBuf);

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Files {
    fn make() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("headcount-bench-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let files = Self(folder);
        let authority = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(files.path("ca.pem"), params.self_signed(&authority)?.pem())?;
        let issuer = Issuer::new(params, authority);
        let key = KeyPair::generate()?;
        let signed = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &issuer)?;
        std::fs::write(files.path("cert.pem"), signed.pem())?;
        std::fs::write(files.path("key.pem"), key.serialize_pem())?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// A Redis with a port of each kind.
fn redis(files: &Files) -> Result<(Server, u16)> {
    let (plain, encrypted) = (free_port()?, free_port()?);
    let mut command = Command::new("redis-server");
    command.args(["--port", &plain.to_string(), "--tls-port", &encrypted.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no", "--tls-auth-clients", "no"]);
    for (key, name) in
        [("--tls-cert-file", "cert.pem"), ("--tls-key-file", "key.pem"), ("--tls-ca-cert-file", "ca.pem")]
    {
        command.arg(key).arg(files.path(name));
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let server = listening(Server::of(spawn_on(Core::Server, &mut command)?, plain))?;
    Ok((server, encrypted))
}

/// Our side, connected.
fn client(runtime: &Runtime, url: String, files: &Files) -> Result<Client> {
    let ca = Some(files.path("ca.pem"));
    let config = config::Redis {
        url,
        key_prefix: String::new(),
        connect_timeout: PATIENCE,
        response_timeout: PATIENCE,
        tls: config::StoreTls { ca, ..config::StoreTls::default() },
        sentinel_user: String::new(),
        sentinel_password: None,
    };
    let (_, nobody_else) = tokio::sync::watch::channel(None);
    let client = Client::new(&config, nobody_else, Metrics::default())?;
    let mut link = client.link();
    runtime.spawn(client.clone().keep_up());
    runtime.block_on(async {
        let up = link.wait_for(|link| matches!(link, Link::Up(_)));
        let up = timeout(PATIENCE, up).await;
        up.map_err(|_| "Redis does not answer")?.map(drop).map_err(|error| error.to_string())
    })?;
    Ok(client)
}

/// Runs the script so often, so many at a time. µs CPU of Redis, and µs that pass, for each.
fn rounds(runtime: &Runtime, server: &Server, client: &Client, times: usize, at_once: usize) -> Result<(f64, f64)> {
    let (before, start) = (server.cpu()?, Instant::now());
    runtime.block_on(async {
        let mut runs = JoinSet::new();
        for place in 0..at_once {
            let client = client.clone();
            runs.spawn(async move {
                let script = Script::new(SCRIPT);
                for round in 0..times / at_once {
                    let mut call = script.prepare_invoke();
                    ["total", "tally", "own", "people", "owner", "members"].iter().for_each(|key| _ = call.key(*key));
                    call.arg(format!("node {place}")).arg(round % 7);
                    call.arg("9999999999999").arg(1).arg(1).arg("");
                    client.run::<redis::Value>(&call).await.map_err(|error| error.to_string())?;
                }
                Ok::<(), String>(())
            });
        }
        runs.join_all().await.into_iter().collect::<std::result::Result<(), String>>()
    })?;
    let passed = start.elapsed().as_secs_f64() * 1e6;
    Ok(((server.cpu()? - before) / times as f64, passed / times as f64))
}

/// A script's round trip with TLS beside one without.
pub fn script_round_trips(extent: Extent, report: &mut Report) -> Result<()> {
    let files = Files::make()?;
    let (server, encrypted) = redis(&files)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let plain = client(&runtime, format!("redis://localhost:{}", server.port), &files)?;
    let tls = client(&runtime, format!("rediss://localhost:{encrypted}"), &files)?;
    for at_once in [1, 64] {
        let times = extent.pick(4_096, 16_384) * if at_once == 1 { 1 } else { 4 };
        let (mut busy, mut passed) = (Turns::default(), Turns::default());
        for _ in 0..extent.pick(5, 11) {
            let mut samples = [(0.0, 0.0); 3];
            for (sample, client) in samples.iter_mut().zip([&plain, &tls, &plain]) {
                *sample = rounds(&runtime, &server, client, times, at_once)?;
            }
            busy.push(samples.map(|(busy, _)| busy));
            passed.push(samples.map(|(_, passed)| passed));
        }
        for (what, turns) in [("Redis's CPU", busy), ("time", passed)] {
            report.row(Row {
                measure: format!("a script's round trip over TLS against plain, {at_once} at a time: {what} each"),
                ours: micros(turns.ours()),
                floor: micros(turns.floor()),
                ratio: Some(turns.ratio()),
                noise: Some(turns.noise()),
                goal: None,
            });
        }
    }
    Ok(())
}
