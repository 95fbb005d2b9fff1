//! The binary: flags, configuration, log, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use headcount::cli::{Cli, Command};
use headcount::config::{self, Listen, Loaded, Overrides};
use headcount::{log, server};

/// A configuration that cannot be used, or an address that cannot be listened on.
const CANNOT_START: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let overrides = cli.settings.into();
    let loaded = match config::load(&overrides) {
        Ok(loaded) => loaded,
        Err(invalid) => {
            eprintln!("headcount: {invalid}");
            return ExitCode::from(CANNOT_START);
        }
    };
    match cli.command {
        Some(Command::Check) => check(&loaded),
        None => serve(loaded, overrides),
    }
}

/// Prints the effective values as TOML.
fn check(loaded: &Loaded) -> ExitCode {
    let mut text = String::new();
    for (path, value) in &loaded.effective {
        text.push_str(&format!("{path} = {value}\n"));
    }
    // A reader that closes early, such as head, is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn serve(loaded: Loaded, overrides: Overrides) -> ExitCode {
    let threshold = log::start(&loaded.config.log);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let ended = runtime.block_on(async {
        let channel = loaded.config.channels.default_channel().unwrap_or_default().to_owned();
        let server = server::Server::bind(loaded, overrides, threshold).await?;
        let store = server.store();
        for listen in server.addresses() {
            announce(&listen, &channel, &store);
        }
        server.run().await
    });
    // What is left are tasks that wait for nothing that matters.
    runtime.shutdown_background();
    match ended {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(signal)) => ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)),
        Err(error) => failed(&error),
    }
}

/// The one line that a person can click.
fn announce(listen: &Listen, channel: &str, store: &str) {
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
    let line = format!("headcount {version}: {place} shows {channel}, kept in {store}\n");
    let _ = std::io::stdout().write_all(line.as_bytes());
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("headcount: {error}");
    ExitCode::from(CANNOT_START)
}
