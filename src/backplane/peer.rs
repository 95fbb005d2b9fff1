//! What the store reports about itself in its answer to INFO.

/// What the store reports about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its kind and version, such as "redis 7.0.15", as far as it reports them.
    pub name: String,
    /// Whether it is headcount's embedded store; None if unknown.
    pub ours: Option<bool>,
}

impl Peer {
    /// A peer that reports nothing about itself.
    pub(super) fn unknown() -> Self {
        Self { name: "a store".to_owned(), ours: None }
    }

    pub(super) fn read(info: &str) -> Self {
        let ours = field(info, "headcount_version");
        let (kind, version) = match (ours, field(info, "valkey_version"), field(info, "redis_version")) {
            (Some(version), _, _) => ("headcount", version),
            (None, Some(version), _) => ("valkey", version),
            (None, None, Some(version)) => ("redis", version),
            _ => ("a store", ""),
        };
        Self { name: format!("{kind} {version}").trim_end().to_owned(), ours: Some(ours.is_some()) }
    }
}

/// The store process at the other end of a subscription, and how many clients it has cut off for exceeding
/// their output buffer limit, if it reports that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    run_id: String,
    cuts: Option<u64>,
}

impl Process {
    /// Reads an answer to INFO; None if it does not identify the process.
    pub fn read(info: &str) -> Option<Self> {
        let run_id = field(info, "run_id").filter(|id| !id.is_empty())?.to_owned();
        let cuts = field(info, "client_output_buffer_limit_disconnections").and_then(|number| number.parse().ok());
        Some(Self { run_id, cuts })
    }

    /// Whether a subscription that ended with `before` and was resumed with `now` was cut off by a store that
    /// kept running. Older versions do not count the cuts; for them, it is enough that the process is the same.
    pub fn cut_off(before: Option<&Self>, now: Option<&Self>) -> bool {
        match (before, now) {
            (Some(before), Some(now)) if before.run_id == now.run_id => match (before.cuts, now.cuts) {
                (Some(before), Some(now)) => now > before,
                _ => true,
            },
            _ => false,
        }
    }
}

/// The oldest Redis that is supported: ZMSCORE, the newest command in use, came with 6.2.
const OLDEST: (u32, u32) = (6, 2);

/// Returns what to do about a store that is too old, if it is. Only Redis can be: other stores began later.
pub(super) fn too_old(info: &str) -> Option<String> {
    let version = field(info, "redis_version")?;
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    let (major, minor) = (numbers.next()?, numbers.next()?);
    let (least, of_it) = OLDEST;
    ((major, minor) < OLDEST)
        .then(|| format!("it is Redis {version}, and headcount needs {least}.{of_it} or newer, or Valkey: upgrade it"))
}

/// Returns a field of an answer to INFO.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// Returns the policy by which the store may evict keys, and thus counts; None if it never evicts.
pub(super) fn eviction(info: &str) -> Option<&str> {
    let limit = field(info, "maxmemory").unwrap_or("0");
    let policy = field(info, "maxmemory_policy").unwrap_or("noeviction");
    Some(policy).filter(|policy| limit != "0" && *policy != "noeviction")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_before_6_2_is_too_old() {
        for (version, old) in [
            ("5.0.14", true),
            ("6.0.16", true),
            ("6.2.0", false),
            ("7.2.4", false),
            ("10.0.1", false),
            ("255.255.255", false),
            ("unstable", false),
        ] {
            assert_eq!(too_old(&format!("# Server\r\nredis_version:{version}\r\n")).is_some(), old, "{version}");
        }
        assert_eq!(too_old("# Server\r\n"), None);
    }

    #[test]
    fn a_cut_is_told_from_a_restart_and_where_the_store_counts_them_from_a_kill() {
        let at = |run_id: &str, cuts: &str| {
            Process::read(&format!("# Server\r\nrun_id:{run_id}\r\n# Stats\r\n{cuts}total_reads:3\r\n"))
        };
        let counts = |n: u8| format!("client_output_buffer_limit_disconnections:{n}\r\n");
        for (before, now, cut) in [
            (at("a", ""), at("a", ""), true),
            (at("a", ""), at("b", ""), false),
            (at("a", &counts(1)), at("a", &counts(2)), true),
            (at("a", &counts(1)), at("a", &counts(1)), false),
            (at("a", &counts(1)), at("b", &counts(2)), false),
            (None, at("a", ""), false),
            (at("a", ""), None, false),
        ] {
            assert_eq!(Process::cut_off(before.as_ref(), now.as_ref()), cut, "{before:?}, {now:?}");
        }
    }
}
