//! The page's script, driven by node with a clock and a WebSocket that the test controls.

use tokio::process::Command;
use tokio::time::timeout;

use headcount::close_code::TABLE;

use crate::support::SOON;

#[tokio::test]
async fn the_script_comes_back_as_the_table_of_close_codes_says_and_gives_a_full_server_rest() {
    let root = env!("CARGO_MANIFEST_DIR");
    let codes: Vec<_> = TABLE.iter().map(|row| (row.code, row.reconnect)).collect();
    let run = Command::new("node")
        .arg(format!("{root}/tests/script/link.mjs"))
        .arg(format!("{root}/assets/link.js"))
        .arg(serde_json::to_string(&codes).unwrap())
        .kill_on_drop(true)
        .output();
    let output =
        timeout(SOON * 2, run).await.expect("it ends by itself").expect("node is there; .ci/setup installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
