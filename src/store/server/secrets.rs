//! What `MONITOR` and the slow log may show of a command: everything but passwords.

use crate::store::args::is;
use crate::store::resp::{ArgList, Args};

const HIDDEN: &[u8] = b"(redacted)";

/// Returns the arguments of a command with every password hidden, as Redis does.
pub fn redacted<'a>(args: &Args<'a>) -> ArgList<'a> {
    let mut shown: ArgList<'a> = args.iter().copied().collect();
    let Some((name, rest)) = args.split_first() else { return shown };
    if is(name, "AUTH") {
        shown[1..].fill(HIDDEN);
    } else if is(name, "HELLO") {
        let auth = rest.iter().position(|word| is(word, "AUTH")).map(|at| at + 2);
        let end = shown.len();
        if let Some(at) = auth {
            shown[at.min(end)..(at + 2).min(end)].fill(HIDDEN);
        }
    } else if is(name, "ACL") && rest.first().is_some_and(|word| is(word, "SETUSER")) {
        shown[2..].fill(HIDDEN);
    } else if is(name, "CONFIG") && rest.first().is_some_and(|word| is(word, "SET")) {
        for at in (2..shown.len()).step_by(2) {
            if is(shown[at], "requirepass") && at + 1 < shown.len() {
                shown[at + 1] = HIDDEN;
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn no_password_is_shown_wherever_it_stands() {
        for line in [
            "AUTH secret",
            "auth default secret",
            "AUTH a b secret",
            "HELLO 3 AUTH default secret",
            "HELLO 3 SETNAME x auth default secret SETNAME y",
            "HELLO 3 AUTH secret",
            "CONFIG SET requirepass secret",
            "acl setuser me on >x secret",
            "config set maxmemory 1 REQUIREPASS secret",
        ] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let shown = redacted(&args);
            assert!(!shown.contains(&&b"secret"[..]), "{line}: {shown:?}");
            assert_eq!(shown.len(), args.len());
        }
    }
}
