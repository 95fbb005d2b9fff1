//! Tells the binary what it was built from: the commit and the features, for `--version`.
//!
//! The commit is `BUILD_COMMIT` where that is set (a build from an archive knows no history),
//! else what git says, and only in a release: a development build would otherwise be compiled anew
//! after every commit. The names are none of the configuration's: `cargo run` hands them on to the binary.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    println!("cargo::rustc-env=BUILD_COMMIT={}", commit().unwrap_or_else(|| "unknown".into()));
    println!("cargo::rustc-env=BUILD_FEATURES={}", features());
}

fn commit() -> Option<String> {
    if let Ok(commit) = std::env::var("BUILD_COMMIT") {
        return Some(commit);
    }
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return Some("development".into());
    }
    // The log of HEAD changes with every commit and every switch of branch.
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The features that are switched on, by name, or "none".
fn features() -> String {
    let mut names: Vec<String> = std::env::vars()
        .filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-")))
        .filter(|name| name != "default")
        .collect();
    names.sort();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
