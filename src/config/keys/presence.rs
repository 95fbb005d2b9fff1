//! `[presence]`: the timing of the count.

use super::row::{HOUR, ValueType::*, section};

section! {
    /// The timing of the count. The defaults are right for almost everybody.
    [presence]

    /// How often this server renews its lease.
    heartbeat = "500ms": Duration(50, 60_000), restart;

    /// How long a lease lasts after its last renewal. The clients of a crashed server leave the count after
    /// lease + grace + heartbeat. At least three heartbeats.
    /// Warning: give all servers of one store the same value.
    lease = "2500ms": Duration(300, HOUR), restart;

    /// How long after the end of a lease other servers withdraw what its owner had counted.
    grace = "500ms": Duration(0, HOUR), restart;

    /// How often each channel is checked and repaired: for example, a total that another program has set
    /// too low is right again after this time.
    repair = "10s": Duration(100, HOUR), restart;

    /// A channel's key is read again after this much quiet, because another program's INCR and PUBLISH are
    /// two steps and may have crossed ours.
    quiet = "250ms": Duration(10, 60_000), restart;

    /// The shortest time between two statements about a busy channel. Joins in between are stated together.
    batch = "50ms": Duration(1, 10_000), restart;
}
