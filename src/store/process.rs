//! What the operating system reports about this process, for `INFO`.

use std::fs;

/// Clock ticks per second in the system's process statistics, the same on every Linux.
const TICKS: f64 = 100.0;

/// The resident memory of this process, in bytes; 0 if unknown.
pub fn resident() -> usize {
    kilobytes("/proc/self/status", "VmRSS:") << 10
}

/// The total memory of the machine, in bytes; 0 if unknown.
pub fn machine_memory() -> usize {
    kilobytes("/proc/meminfo", "MemTotal:") << 10
}

fn kilobytes(file: &str, name: &str) -> usize {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// System and user CPU time in seconds, of the process or of this thread.
pub fn processor(of_thread: bool) -> [f64; 2] {
    let file = if of_thread { "/proc/thread-self/stat" } else { "/proc/self/stat" };
    let text = fs::read_to_string(file).unwrap_or_default();
    // The process name before these fields is in parentheses and may contain anything.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let seconds = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0) / TICKS;
    [seconds(12), seconds(11)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_this_process() {
        assert!(resident() > 1 << 20 && machine_memory() > resident());
        let start = std::time::Instant::now();
        while processor(true)[1] == 0.0 && start.elapsed().as_secs() < 60 {}
        let ([_, own], [_, all]) = (processor(true), processor(false));
        assert!(own > 0.0 && all >= own, "{own} {all}");
    }
}
