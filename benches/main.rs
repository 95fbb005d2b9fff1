//! The fan-out at its limit: what ours costs beside the least that any server can cost.
//!
//!     cargo bench                       all measures, RESULTS.md and the plots: about 40 minutes
//!     cargo bench -- --quick            fewer rounds and smaller crowds
//!     cargo bench -- fanout storm       only these
//!
//! The server runs on core 0; the load, Redis and this program on core 1. The floor (`floor.rs`) runs
//! in turns with ours, and beside itself to show the noise. A goal is missed when the lower end of
//! the interval is above it. Nothing here is part of the server.

mod client;
mod crowd;
mod floor;
mod hostile;
mod load;
mod machine;
mod measures;
mod plot;
mod polling;
mod publisher;
mod report;
mod resp;
mod servers;
mod sink;
mod stats;

use std::process::{Command, ExitCode};
use std::time::Instant;

use measures::MEASURES;
use report::Report;

type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Extent {
    quick: bool,
}

impl Extent {
    /// One of two, by the extent.
    fn pick<T>(self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [role, what, rest @ ..] if role == "role" && what == "floor" => floor::run(rest),
        [role, what] if role == "role" && what == "load" => load::run(),
        [role, what] if role == "role" && what == "sink" => sink::run(),
        [role, what, kind, port] if role == "role" && what == "hostile" => {
            port.parse().map_err(Into::into).and_then(|port| hostile::run(kind, port))
        }
        [role, what, port, clients, boards] if role == "role" && what == "polling" => {
            polling_load(port, clients, boards)
        }
        _ => measure(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn polling_load(port: &str, clients: &str, boards: &str) -> Result<()> {
    polling::run(port.parse()?, clients.parse()?, boards.parse()?)
}

fn measure(arguments: &[String]) -> Result<()> {
    let names: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let extent = Extent { quick: arguments.iter().any(|argument| argument == "--quick") };
    if let Some(unknown) = names.iter().find(|name| !MEASURES.iter().any(|(measure, _)| measure == *name)) {
        let known: Vec<_> = MEASURES.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no measure {unknown}; there are {}", known.join(", ")).into());
    }
    if machine::version("redis-server", "--version").is_none() {
        return Err("redis-server is needed, and is not on this machine".into());
    }
    machine::pin(machine::Core::Load)?;
    machine::raise_descriptors();
    let (start, load, date) = (Instant::now(), machine::load(), today());
    println!("{}; load average {load}", machine::describe());
    let mut report = Report::default();
    let mut failed = false;
    for (name, measure) in MEASURES {
        if !names.is_empty() && !names.iter().any(|wanted| *wanted == name) {
            continue;
        }
        println!("{name} (load average {}, after {} s)", machine::load(), start.elapsed().as_secs());
        if let Err(error) = measure(extent, &mut report) {
            failed = true;
            report.note(format!("{name} was not measured: {error}"));
        }
    }
    let took = start.elapsed().as_secs();
    println!("\n{}\ntook {took} s; load average {load} before, {} after", report.table(), machine::load());
    if names.is_empty() && !extent.quick {
        println!("written: {}", report.write(&date, &load, took)?.display());
    }
    if failed { Err("not everything was measured".into()) } else { Ok(()) }
}

fn today() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
