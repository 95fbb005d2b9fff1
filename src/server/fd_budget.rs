//! How the process's file descriptors are shared among clients, the embedded store, and the server itself.
//!
//! The rule: the shares add up to no more than the system allows, and each share is bounded, so the
//! kernel never has to refuse a descriptor.

use std::fs::File;
use std::io;
use std::os::fd::RawFd;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, Embedded};
use crate::http::{ANSWERED, Descriptors};

/// Descriptors that the server needs besides its clients', with some to spare: listeners, the store's
/// connections, files while they are read or written.
const OWN: usize = 64;
/// Descriptors that each worker needs: for its runtime and its own epoll.
const A_WORKER: usize = 6;
/// The embedded store gets at most one in this many of all descriptors.
const STORE_PART: usize = 8;
/// Refused connections are held for a moment: at most this many, and at most one in `REFUSED_PART` of all.
const REFUSED: usize = 1024;
const REFUSED_PART: usize = 16;
/// Descriptors for which the kernel makes room at the start: 512 KiB of its memory.
const PREPARED: usize = 1 << 16;

/// The shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdBudget {
    /// For connections of the server's clients.
    pub web: Descriptors,
    /// For clients of the embedded store, if this node serves it.
    pub store: usize,
}

impl FdBudget {
    /// Raises the limit as far as the system allows, and divides up the descriptors.
    pub fn raise(config: &Config) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let all = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |all| all as usize);
        if let Err(error) = prepare(all.min(PREPARED)) {
            tracing::debug!(%error, "cannot have the table of open files made in advance");
        }
        let shares = Self::share(all, config);
        if shares.web.served < config.limits.clients {
            tracing::info!(
                descriptors = shares.web.served,
                wanted = config.limits.clients,
                "the open file limit allows fewer clients than limits.clients; raise it (LimitNOFILE) for more"
            );
        }
        shares
    }

    fn share(all: usize, config: &Config) -> Self {
        let store = match config.store.embedded {
            Embedded::Never => 0,
            _ => config.store.max_clients.min(all / STORE_PART),
        };
        let own = OWN + A_WORKER * config.server.workers + ANSWERED;
        let refused = REFUSED.min(all / REFUSED_PART);
        Self { web: Descriptors { served: all.saturating_sub(own + store + refused), refused }, store }
    }
}

/// Makes the kernel's table of this process's open files large enough for this many at once.
///
/// It doubles when it is full, and in a process with several threads whoever opens the file that needs it then waits
/// until all processors have let go of the old table, some 20 ms each time: while a crowd came, the accepting
/// thread stood still at 256, 512, 1,024, 2,048, … sockets.
fn prepare(files: usize) -> io::Result<()> {
    let highest = RawFd::try_from(files.saturating_sub(1)).unwrap_or(RawFd::MAX);
    fcntl_dupfd_cloexec(File::open("/dev/null")?, highest)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::{Overrides, load_from};

    fn shares(all: usize, variables: &[(&str, &str)]) -> FdBudget {
        let mut env: HashMap<_, _> =
            variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        env.insert("HEADCOUNT_SERVER__WORKERS".into(), "2".into());
        FdBudget::share(all, &load_from(&Overrides::default(), env).unwrap().config)
    }

    #[test]
    fn the_store_gets_what_it_may_have_but_never_most_of_all() {
        let budget = |served, refused, store| FdBudget { web: Descriptors { served, refused }, store };
        assert_eq!(shares(131_072, &[]), budget(131_072 - 10_000 - 140 - 1_024, 1_024, 10_000));
        assert_eq!(shares(1_024, &[]), budget(1_024 - 128 - 140 - 64, 64, 128));
        let never = [("HEADCOUNT_STORE__EMBEDDED", "never")];
        assert_eq!(shares(1_024, &never), budget(1_024 - 140 - 64, 64, 0));
        assert_eq!(shares(100, &never).web.served, 0);
    }
}
