//! Redis commands that this store deliberately does not have, and why.

use crate::store::args::is;

const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";
const NO_REPLICAS: &str = "ERR this store has no replicas: use a Redis for that";
const NO_FUNCTIONS: &str = "ERR this store has no functions: use EVAL and SCRIPT LOAD";

const REFUSED: &[(&[&str], &str)] = &[
    (&["ASKING", "CLUSTER", "RESTORE-ASKING"], NO_CLUSTER),
    (&["FAILOVER", "PSYNC", "REPLCONF", "REPLICAOF", "SLAVEOF", "SYNC"], NO_REPLICAS),
    (&["FCALL", "FCALL_RO", "FUNCTION"], NO_FUNCTIONS),
    (&["MIGRATE"], "ERR this store does not connect to others: use DUMP and RESTORE"),
    (&["MODULE"], "ERR this store loads no modules"),
    (&["DEBUG", "PFDEBUG", "PFSELFTEST"], "ERR this store has no commands for debugging"),
    (&["SHUTDOWN"], "ERR this store ends with its headcount server: stop that instead"),
];

/// Why a command is refused, if it is one of these.
pub fn reason(name: &[u8]) -> Option<&'static str> {
    REFUSED.iter().find(|(names, _)| names.iter().any(|known| is(name, known))).map(|(_, reason)| *reason)
}
