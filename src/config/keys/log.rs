//! `[log]`: what is logged, and in which form.

use super::row::{ValueType::*, section};

section! {
    [log]

    /// Log events of this level and above.
    level = "info": Choice(&["error", "warn", "info", "debug", "trace"]), live;

    /// "human" has colours, "plain" is one line of text an event, "json" is one JSON object an event, and
    /// "auto" is human on a terminal and plain elsewhere.
    format = "auto": Choice(&["auto", "human", "plain", "json"]), restart;
}
