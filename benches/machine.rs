//! What the kernel tells of processes and of the machine, and which core a process runs on.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// Where a process may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    /// The server's core.
    Server,
    /// The load's, Redis' and this program's core.
    Load,
    /// Both.
    Any,
}

impl Core {
    fn set(self) -> CpuSet {
        let mut set = CpuSet::new();
        for (core, number) in [(Core::Server, 0), (Core::Load, 1)] {
            if self == core || self == Core::Any {
                set.set(number);
            }
        }
        set
    }
}

/// Pins this process.
pub fn pin(core: Core) -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    if !(allowed.is_set(0) && allowed.is_set(1)) {
        return Err("two cores are needed: one for the server, one for the load".into());
    }
    Ok(sched_setaffinity(None, &core.set())?)
}

/// Starts a child that runs on `core` from its first instruction.
pub fn spawn_on(core: Core, command: &mut Command) -> Result<Child> {
    sched_setaffinity(None, &core.set())?;
    let child = command.spawn();
    sched_setaffinity(None, &Core::Load.set())?;
    child.map_err(|error| format!("cannot start {:?}: {error}", command.get_program()).into())
}

/// This program in another role, which runs only while nobody else wants its core: it is there to be a burden on the
/// server, and not on those who are measured. (A process that is merely nice may keep others waiting for
/// milliseconds.)
pub fn idle_role(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("chrt");
    command.args(["--idle", "0"]).arg(std::env::current_exe()?).arg("role").args(arguments);
    Ok(command)
}

/// CPU time that the threads of a process have used, in µs, to the nanosecond.
pub fn cpu(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanoseconds += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1000.0)
}

/// Ticks in the process' own code, and in the kernel for it.
pub fn user_and_kernel(pid: u32) -> Result<(f64, f64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    match fields[..] {
        [_, _, _, _, _, _, _, _, _, _, _, user, kernel, ..] => Ok((user.parse()?, kernel.parse()?)),
        _ => Err("/proc/PID/stat is too short".into()),
    }
}

/// Resident memory of a process, in KiB.
pub fn resident(pid: u32) -> Result<f64> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Rss:")
}

/// The kernel's own structures, sockets among them, in KiB.
pub fn kernel_memory() -> Result<f64> {
    field("/proc/meminfo", "Slab:")
}

fn field(path: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name} in {path}"))?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// The load average over the last minute.
pub fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

/// Raises the limit of open files to what the system allows.
pub fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Asks a child to end.
pub fn terminate(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// One line about the machine.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = field("/proc/meminfo", "MemTotal:").unwrap_or_default() / f64::from(1 << 20);
    format!("{} ({cores} cores), {memory:.0} GiB, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

/// The first line that a program prints, or None if it is not there.
pub fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
}
