//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::auth::is_name;
use crate::config::{Overrides, redact};

pub mod tokens;

/// The output of `--version` after the name: the version, then what the binary was built from.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("BUILD_COMMIT"),
    "\nfeatures: ",
    env!("BUILD_FEATURES"),
    "\nkeys: headcount:v1",
);

/// Shows how many people are here, live, in sync across every server.
///
/// Serves a page with the live count, and pushes every message that is published on a channel to the
/// WebSockets that joined it. Values come from defaults, then the file, then the environment
/// (PORT, REDIS_URL, HEADCOUNT_SECTION__KEY), then these flags.
#[derive(Debug, Parser)]
#[command(name = "headcount", version, long_version = VERSION, max_term_width = 100)]
pub struct Cli {
    /// The command to run. Without one, headcount serves.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// Commands other than serving.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Load the configuration as a start would, print the values in effect, and exit.
    Check {
        /// Connect to the store as well, and say what a server would find there and which rights are missing.
        #[arg(long)]
        connect: bool,
        /// Read a token from standard input, and say what it allows here, or why it is not accepted.
        #[arg(long)]
        token: bool,
    },
    /// Print a token signed with the first secret of auth.secret_files, to try tokens out.
    Token(tokens::TokenArgs),
    /// Check or repair the folder of an embedded store that is not running.
    Store {
        /// What to do with it.
        #[command(subcommand)]
        action: StoreAction,
    },
    /// Revoke tokens on all servers that share the store. Clients that use one are disconnected, and the
    /// tokens are rejected from then on.
    Revoke {
        /// The tokens: sub:NAME for all tokens of one person, jti:ID for a single token.
        #[arg(value_parser = revocable)]
        name: String,
        /// How long the revocation lasts. It should outlast the tokens.
        #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
        time: std::time::Duration,
    },
    /// Print the completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print a man page as source for man(1), or the configuration file.
    #[command(hide = true)]
    Man {
        /// The page.
        #[arg(default_value = "headcount.1")]
        page: Page,
    },
}

/// What to do with a store's folder.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum StoreAction {
    /// Read the log from the first change to the last, and say whether it is intact.
    Check {
        /// The folder, as in store.path.
        path: PathBuf,
    },
    /// Truncate a damaged log after its last complete change, and keep a copy of the original.
    Repair {
        /// The folder, as in store.path.
        path: PathBuf,
    },
}

/// The man pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// The command.
    #[value(name = "headcount.1")]
    Command,
    /// The configuration file.
    #[value(name = "headcount.toml.5")]
    File,
    /// The configuration file itself, with every default and comment.
    #[value(name = "headcount.toml")]
    Defaults,
}

/// Flags. They win over the file and the environment.
#[derive(Debug, Default, Args)]
pub struct Settings {
    /// Read this TOML file.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Listen on this address and port. May be given more than once.
    #[arg(long, value_name = "ADDRESS:PORT", global = true)]
    pub listen: Vec<String>,
    /// Listen on this port of every configured address.
    #[arg(short, long, value_name = "PORT", global = true)]
    pub port: Option<u16>,
    /// Use the store at this address. Put a password into REDIS_URL instead, where nobody else sees it.
    #[arg(long, value_name = "URL", global = true)]
    pub redis_url: Option<String>,
    /// Log events of this level and above: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log_level: Option<String>,
}

fn revocable(name: &str) -> Result<String, &'static str> {
    if is_name(name) { Ok(name.to_owned()) } else { Err("must be sub:NAME or jti:ID, of at most 200 bytes") }
}

/// Parses the command line; the first argument is the program's name.
///
/// # Errors
/// An invalid command line, or the help or version that was asked for. A store address in the wrong place is
/// not repeated, since it may contain a password.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments).map_err(|error| {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let shown = redact::message(first);
        if error.use_stderr() && shown != first { Cli::command().error(error.kind(), shown) } else { error }
    })
}

impl From<Settings> for Overrides {
    fn from(settings: Settings) -> Self {
        let Settings { config: file, listen, port, redis_url, log_level } = settings;
        Self { file, listen, port, redis_url, log_level, only_check: false, check_user: None }
    }
}
