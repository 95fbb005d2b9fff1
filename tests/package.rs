//! What is installed fits what it was made from: pages, completions and units say what flags and keys
//! say. `packaging/test` installs it for real.

use std::collections::HashMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use headcount::config::keys::{ValueType, all, find};
use headcount::metrics::METRICS;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::SOON;
use crate::support::node::headcount;

const SERVICE: &str = include_str!("../packaging/systemd/headcount.service");
/// What people read, with the names of keys between backticks.
const DOCUMENTS: &[(&str, &str)] = &[
    ("README.md", include_str!("../README.md")),
    ("docs/OPERATIONS.md", include_str!("../docs/OPERATIONS.md")),
    ("docs/PROTOCOL.md", include_str!("../docs/PROTOCOL.md")),
    ("docs/ARCHITECTURE.md", include_str!("../docs/ARCHITECTURE.md")),
    ("SECURITY.md", include_str!("../SECURITY.md")),
    ("CONTRIBUTING.md", include_str!("../CONTRIBUTING.md")),
];
const SOCKET: &str = include_str!("../packaging/systemd/headcount.socket");

async fn printed(arguments: &[&str]) -> String {
    let output = timeout(SOON, headcount().args(arguments).output()).await.expect("it ends by itself").unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a tool, which `.ci/setup` installs, over `text`.
async fn tool(program: &str, arguments: &[&str], text: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|why| panic!("{program}: {why}; .ci/setup installs it"));
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(text.as_bytes()).await;
    drop(stdin);
    timeout(SOON, child.wait_with_output()).await.expect("it ends by itself").unwrap()
}

/// The words of the usage and of the help that a person can type: commands and long flags.
async fn words() -> Vec<String> {
    let help = printed(&["--help"]).await;
    let flags = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| word.starts_with("--"));
    let mut words: Vec<String> = flags.map(str::to_owned).collect();
    words.extend(["check", "completions"].map(str::to_owned));
    assert!(words.len() > 8, "{help}");
    words
}

/// The values of a unit file by name; the last one of a name that comes twice.
fn unit(text: &str) -> HashMap<&str, &str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

fn seconds(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap_or_else(|why| panic!("{text:?}: {why}"))
}

fn default_of(path: &str) -> &'static str {
    find(path).unwrap_or_else(|| panic!("there is no key {path}")).default.trim_matches('"')
}

#[tokio::test]
async fn the_page_of_the_command_names_every_flag_and_command() {
    let page = printed(&["man"]).await.replace("\\-", "-").replace("\\fR", "").replace("\\fB", "");
    for word in words().await {
        assert!(page.contains(&word), "{word} is not in:\n{page}");
    }
}

#[tokio::test]
async fn the_page_of_the_configuration_names_every_key_with_its_default() {
    let page = printed(&["man", "headcount.toml.5"]).await.replace("\\-", "-");
    let sections: HashMap<&str, &str> = page.split("\n.SH ").filter_map(|section| section.split_once('\n')).collect();
    for key in all() {
        if let ValueType::Channels = key.kind {
            assert!(sections["[[channels]]"].contains("pattern = \"users:count\""), "{page}");
            continue;
        }
        if let ValueType::Users = key.kind {
            assert!(sections["[[store.users]]"].contains("password_file"), "{page}");
            continue;
        }
        let (section, name) = key.path.split_once('.').unwrap();
        let text = sections.get(&*format!("[{section}]")).unwrap_or_else(|| panic!("no [{section}] in:\n{page}"));
        let entry = format!("\\fB{name}\\fR = {}", key.default);
        assert!(text.contains(&entry), "{} is not in [{section}]:\n{text}", key.path);
    }
}

#[tokio::test]
async fn both_pages_are_read_by_man_without_a_complaint() {
    for page in ["headcount.1", "headcount.toml.5"] {
        let text = printed(&["man", page]).await;
        let output = tool("man", &["--warnings=w", "-l", "-"], &text).await;
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{page}: {complaints}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("headcount"));
    }
}

#[tokio::test]
async fn completions_know_every_flag_and_command_and_their_shell_reads_them() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]).await;
        for word in words().await {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { &word };
            assert!(script.contains(word), "{word} is not in what {shell} gets:\n{script}");
        }
        let output = tool(shell, &["-n"], &script).await;
        assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn version_tells_commit_features_and_key_layout() {
    let text = printed(&["--version"]).await;
    let lines: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(": ")).collect();
    assert!(!lines["commit"].is_empty() && !lines["features"].is_empty(), "{text}");
    assert_eq!(lines["keys"], "headcount:v1");
    assert_eq!(printed(&["-V"]).await.trim(), concat!("headcount ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_told_apart_from_an_address_that_is_taken() {
    let prevented = unit(SERVICE)["RestartPreventExitStatus"].parse::<i32>().unwrap();
    let mistaken = headcount().env("HEADCOUNT_SERVER__DRAIN", "soon").output();
    let output = timeout(SOON, mistaken).await.expect("it ends by itself").unwrap();
    assert_eq!(output.status.code(), Some(prevented));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = headcount().args(["--listen", &address]).output();
    let output = timeout(SOON, output).await.expect("it ends by itself").unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_unit_leaves_room_for_the_default_drain_and_the_default_number_of_clients() {
    let unit = unit(SERVICE);
    let stop = seconds(default_of("server.notice")) + seconds(default_of("server.drain"));
    assert!(seconds(unit["TimeoutStopSec"]) > 2 * stop);
    let clients: u64 = default_of("limits.clients").parse().unwrap();
    assert!(unit["LimitNOFILE"].parse::<u64>().unwrap() > clients + clients / 10);
}

#[test]
fn every_key_that_a_document_names_is_one() {
    let sections: Vec<_> = all().filter_map(|key| Some(key.path.split_once('.')?.0)).collect();
    let mut named = 0;
    for (document, text) in DOCUMENTS {
        // What stands between backticks, and begins as a key does. Files and methods do, too.
        for code in text.split('`').skip(1).step_by(2) {
            let name = code.split([' ', '=']).next().unwrap_or_default();
            let is_key = name.split_once('.').is_some_and(|(section, key)| {
                sections.contains(&section)
                    && !key.is_empty()
                    && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            });
            if is_key && !name.ends_with(".rs") && !name.ends_with(".js") {
                assert!(find(name).is_some(), "`{code}` in {document} is no key");
                named += 1;
            }
        }
    }
    assert!(named > 20, "{named}");
}

#[test]
fn the_readme_has_its_two_commands_and_can_be_read_in_five_minutes() {
    let readme = DOCUMENTS[0].1;
    for command in ["\n    cargo run --release\n", "\n    .ci/setup cargo test --locked\n"] {
        assert!(readme.contains(command), "{command:?}");
    }
    assert!(readme.lines().count() <= 200);
}

#[test]
fn every_file_that_a_document_links_to_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (document, text) in DOCUMENTS {
        let folder = root.join(document).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") {
                continue;
            }
            let path = if file.is_empty() { root.join(document) } else { folder.join(file) };
            assert!(path.exists(), "{link} in {document} is not there");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&path).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let found = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"));
                assert!(found.into_iter().any(|one| one == heading), "{link} in {document} is no heading");
            }
        }
    }
}

#[test]
fn every_metric_that_a_document_names_is_one() {
    let mut named = 0;
    for (document, text) in DOCUMENTS {
        for rest in text.split("`headcount_").skip(1) {
            let name = rest.split(['`', '{']).next().unwrap().trim_end_matches("_total");
            assert!(METRICS.iter().any(|(known, _)| *known == name), "headcount_{name} in {document} is no metric");
            named += 1;
        }
    }
    assert!(named >= 5, "{named}");
}

#[test]
fn the_socket_unit_listens_where_the_server_would() {
    let unit = unit(SOCKET);
    assert!(default_of("server.listen").ends_with(&format!(":{}\"]", unit["ListenStream"])));
    assert_eq!(unit["Backlog"], default_of("server.backlog"));
}

#[tokio::test]
async fn the_unit_is_exposed_no_more_than_a_server_must_be() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd/headcount.service");
    let arguments = ["security", "--offline=true", "--threshold=15", "--no-pager", path];
    let output = tool("systemd-analyze", &arguments, "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
