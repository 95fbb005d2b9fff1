//! The binary: flags, configuration, log, exit code.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::CommandFactory;
use headcount::backplane::probe::probe;
use headcount::cli::{self, Cli, Command, StoreAction, tokens};
use headcount::config::{self, Listen, Loaded, Overrides};
use headcount::{auth, backplane, log, manual, server, store, systemd};

/// The start failed for a reason that may pass, such as an address already in use. A service manager retries.
const CANNOT_START: u8 = 1;

/// The flags or the configuration are invalid. Retrying does not help.
const CANNOT_BE_USED: u8 = 2;

/// The maximum number of bytes read as a token.
const TOKEN: u64 = 1 << 20;
/// The latest time that can be shown: the end of the year 9999, in milliseconds since 1970.
const LAST: u64 = 253_402_300_799_000;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match &cli.command {
        Some(Command::Store { action }) => return look_after(action),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "headcount", &mut script);
            return print(&script);
        }
        Some(Command::Man { page }) => return print(manual::page(*page).as_bytes()),
        Some(Command::Check { .. } | Command::Token(_) | Command::Revoke { .. }) | None => {}
    }
    let (only_check, check_user) = (cli.command.is_some(), Some(server::check_user as config::CheckUser));
    let overrides = Overrides { only_check, check_user, ..cli.settings.into() };
    let loaded = match config::load(&overrides) {
        Ok(loaded) => loaded,
        Err(invalid) => {
            eprintln!("headcount: {invalid}");
            return ExitCode::from(CANNOT_BE_USED);
        }
    };
    match cli.command {
        Some(Command::Check { token: true, .. }) => check_token(&loaded),
        Some(Command::Check { connect: true, .. }) => check_store(&loaded),
        Some(Command::Token(claims)) => make_token(&loaded, &claims),
        Some(Command::Revoke { name, time }) => revoke(&loaded, &name, time),
        Some(_) => check(&loaded),
        None => serve(loaded, overrides),
    }
}

/// Writes the requested text to standard output.
fn print(text: &[u8]) -> ExitCode {
    // A reader that closes early, such as head, is not a failure.
    let _ = std::io::stdout().write_all(text);
    ExitCode::SUCCESS
}

/// Checks or repairs a store's log, and reports the result.
fn look_after(action: &StoreAction) -> ExitCode {
    let outcome = match action {
        StoreAction::Check { path } => store::check(path),
        StoreAction::Repair { path } => store::repair(path),
    };
    let report = match outcome {
        Ok(report) => report,
        Err(error) => {
            eprintln!("headcount: {error}");
            return ExitCode::from(CANNOT_BE_USED);
        }
    };
    let (log, cut) = (report.path.display(), report.size - report.good);
    if let Some((offset, reason)) = &report.damage {
        println!("{log} is damaged at byte {offset}: {reason}");
    }
    match (&report.copy, report.changes, cut) {
        (Some(copy), ..) => {
            println!("{log}: cut {cut} bytes at byte {}; the old log is {}", report.good, copy.display())
        }
        (None, Some(changes), 0) => println!("{log} is whole: {changes} changes in {} bytes", report.size),
        (None, Some(changes), _) => {
            println!(
                "{log} is whole but for its end: {changes} changes, then {cut} bytes that a start or a repair cuts off"
            );
        }
        (None, None, _) => println!("a repair would cut {cut} bytes at byte {}", report.good),
    }
    if report.damage.is_some() && report.copy.is_none() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints the effective values as TOML.
fn check(loaded: &Loaded) -> ExitCode {
    for path in &loaded.unseen {
        eprintln!("headcount: {path}: not checked, because only the service can see its credentials");
    }
    for warning in &loaded.warnings {
        eprintln!("headcount: warning: {warning}");
    }
    for note in &loaded.notes {
        eprintln!("headcount: note: {note}");
    }
    let mut text = String::new();
    for (path, value) in &loaded.effective {
        text.push_str(&format!("{path} = {value}\n"));
    }
    print(text.as_bytes())
}

/// Connects to the store, and prints what a server would find there.
fn check_store(loaded: &Loaded) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let channels = loaded.config.channels.standing().map(str::to_owned).collect();
    let found = match runtime.block_on(probe(&loaded.config.redis, channels)) {
        Ok(found) => found,
        Err(why) => {
            eprintln!("headcount: {}: {why}", loaded.config.redis.shown());
            return ExitCode::from(CANNOT_START);
        }
    };
    let text: String = found.facts.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    for problem in &found.problems {
        eprintln!("headcount: {problem}");
    }
    let printed = print(text.as_bytes());
    if found.problems.is_empty() { printed } else { ExitCode::from(CANNOT_START) }
}

/// Prints a signed token, unless this server would reject it.
fn make_token(loaded: &Loaded, claims: &tokens::TokenArgs) -> ExitCode {
    let auth = &loaded.config.auth.verifier;
    let Some(secret) = auth.keys.secret() else {
        eprintln!("headcount: no secret to sign with: name one in auth.secret_files");
        return ExitCode::from(CANNOT_BE_USED);
    };
    let made = claims.json(auth.policy.issuer.as_deref(), auth.policy.audience.as_deref());
    // A token that this server would reject is not printed.
    let checked = made.map(|claims| auth::sign(&claims, secret)).and_then(|token| {
        auth.verify(&token, auth::now()).map(|_| token).map_err(|why| format!("this server would reject it: {why}"))
    });
    match checked {
        Ok(token) => print(format!("{token}\n").as_bytes()),
        Err(why) => {
            eprintln!("headcount: {why}");
            ExitCode::from(CANNOT_BE_USED)
        }
    }
}

/// Reads a token from standard input, and prints what it allows. As an argument, it would be visible to
/// everybody in the process list.
fn check_token(loaded: &Loaded) -> ExitCode {
    let mut token = String::new();
    if let Err(error) = std::io::stdin().take(TOKEN).read_to_string(&mut token) {
        return failed(&error);
    }
    let configured = &loaded.config.auth;
    let verifying = auth::Tokens::new(configured.verifier.clone(), configured.is_on());
    if let Some(address) = &configured.jwks {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&error),
        };
        match runtime.block_on(server::fetch_keys(address)) {
            Ok((keys, _)) => verifying.fetched(keys),
            Err(why) => eprintln!("headcount: {address}: {why}"),
        }
    }
    match verifying.verify(token.trim()) {
        Ok(grant) => print(tokens::describe(&grant).as_bytes()),
        Err(why) => {
            eprintln!("headcount: {why}");
            ExitCode::from(CANNOT_START)
        }
    }
}

/// Revokes tokens.
fn revoke(loaded: &Loaded, name: &str, time: Duration) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let until = auth::now_ms().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).min(LAST);
    match runtime.block_on(backplane::revoke(&loaded.config.redis, name, until)) {
        Ok(until) => {
            let until = SystemTime::UNIX_EPOCH + Duration::from_secs(until / 1000);
            print(format!("{name} is revoked until {}\n", humantime::format_rfc3339_seconds(until)).as_bytes())
        }
        Err(why) => {
            eprintln!("headcount: {}: {why}; try again until it succeeds", loaded.config.redis.shown());
            ExitCode::from(CANNOT_START)
        }
    }
}

fn serve(loaded: Loaded, overrides: Overrides) -> ExitCode {
    // This comes first, before anything else in this process opens a descriptor.
    let held = match systemd::sockets() {
        Ok(held) => held,
        Err(error) => {
            eprintln!(
                "headcount: the service manager's sockets cannot be used: {error}; see LISTEN_FDS and LISTEN_FDNAMES"
            );
            return ExitCode::from(CANNOT_START);
        }
    };
    let threshold = log::start(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let json = loaded.config.log.format == config::LogFormat::Json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let ended = runtime.block_on(async {
        let channel = loaded.config.channels.default_channel().unwrap_or_default().to_owned();
        let server = server::Server::bind(loaded, overrides, threshold, held).await?;
        let store = server.store();
        for listen in server.addresses() {
            announce(&listen, &channel, &store, json);
        }
        server.run().await
    });
    // No remaining task is worth waiting for.
    runtime.shutdown_background();
    match ended {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(signal)) => ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)),
        Err(error @ server::Error::NoTls) => {
            failed(&error);
            ExitCode::from(CANNOT_BE_USED)
        }
        Err(error) => failed(&error),
    }
}

/// Prints one line with an address to click, as a JSON object if the log format is JSON.
fn announce(listen: &Listen, channel: &str, store: &str, json: bool) {
    let version = env!("CARGO_PKG_VERSION");
    let place = match listen.address() {
        Some(address) => {
            let scheme = if listen.tls { "https" } else { "http" };
            let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { address.ip().to_string() };
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            format!("{scheme}://{host}:{}/", address.port())
        }
        None => listen.to_string(),
    };
    let mut line = format!("headcount {version}: {place} shows {channel}, kept in {store}");
    if json {
        line = serde_json::json!({ "message": line }).to_string();
    }
    line.push('\n');
    let _ = std::io::stdout().write_all(line.as_bytes());
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("headcount: {error}");
    ExitCode::from(CANNOT_START)
}
