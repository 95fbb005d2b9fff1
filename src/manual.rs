//! The man pages, as source for man(1).
//!
//! In: the command line's definition in [`crate::cli`], and the comments of the default configuration. Out:
//! `headcount(1)` and `headcount.toml(5)`. The rule: a flag or a key is described where it is defined, and
//! nowhere else. This module describes only what has no definition: files, signals, exit codes.

mod file;

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::cli::{Cli, Page};
use crate::config::keys;

/// Returns a page as text.
pub fn page(page: Page) -> String {
    match page {
        Page::Command => command(),
        Page::File => format!("{}{}", title("HEADCOUNT.TOML", "5"), file::page()),
        Page::Defaults => keys::file(),
    }
}

/// Returns the first line of a page.
fn title(name: &str, section: &str) -> String {
    let source = concat!("headcount ", env!("CARGO_PKG_VERSION"));
    format!(".TH {name} {section} \"\" \"{source}\" \"headcount manual\"\n")
}

fn command() -> String {
    // The synopsis shows neither hidden commands nor the built-in help.
    let clap = Cli::command().disable_help_subcommand(true);
    let man = Man::new(clap.clone());
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = man
        .render_name_section(&mut page)
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page));
    let mut rest = Roff::new();
    commands(&mut rest, &clap);
    outside(&mut rest);
    format!("{}{}{}", title("HEADCOUNT", "1"), String::from_utf8_lossy(&page), rest.to_roff())
}

fn commands(roff: &mut Roff, clap: &clap::Command) {
    roff.control("SH", ["COMMANDS"]);
    for command in clap.get_subcommands().filter(|command| !command.is_hide_set()) {
        let mut name = vec![bold(command.get_name())];
        for argument in command.get_positionals() {
            name.extend([roman(" "), italic(argument.get_id().as_str().to_uppercase())]);
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        entry(roff, name, &format!("{}.", about.trim_end_matches('.')));
    }
}

fn outside(roff: &mut Roff) {
    roff.control("SH", ["FILES"]);
    entry(
        roff,
        vec![italic("/etc/headcount/headcount.toml")],
        "The configuration that the service reads; see headcount.toml(5). Without --config, headcount reads no \
         file.",
    );
    roff.control("SH", ["ENVIRONMENT"]);
    entry(roff, vec![bold("PORT")], "The port of every configured address.");
    entry(roff, vec![bold("REDIS_URL")], "The address of the store, as redis.url in the file.");
    entry(
        roff,
        vec![bold("HEADCOUNT_SECTION__KEY")],
        "Any key of the file. HEADCOUNT_PRESENCE__REPAIR=5s, for example, sets repair in [presence].",
    );
    roff.control("SH", ["SIGNALS"]);
    entry(
        roff,
        vec![bold("SIGTERM"), roman(", "), bold("SIGINT")],
        "Answer /readyz with 503 for the time of server.notice, then accept no new clients, close the present ones \
         over the time of server.drain, and exit. A second signal ends the process at once.",
    );
    entry(
        roff,
        vec![bold("SIGHUP")],
        "Read the configuration again. A file with a mistake changes nothing. The log says what changed and what \
         needs a restart.",
    );
    roff.control("SH", ["EXIT STATUS"]);
    entry(roff, vec![bold("0")], "It was told to stop, and did.");
    entry(roff, vec![bold("1")], "It cannot start, for a reason that may pass, such as an address that is taken.");
    entry(roff, vec![bold("2")], "The flags or the configuration cannot be used.");
    entry(roff, vec![bold("128"), roman(" + signal")], "A second signal ended it.");
    roff.control("SH", ["EXAMPLES"]);
    entry(roff, vec![bold("headcount --port 8080")], "Serve the page at http://localhost:8080/.");
    entry(
        roff,
        vec![bold("headcount check --config /etc/headcount/headcount.toml")],
        "List every mistake in the file, or print the values in effect.",
    );
    entry(
        roff,
        vec![bold("redis-cli PUBLISH public:news '\"We are live\"'")],
        "Send a message to every client of the channel public:news.",
    );
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("headcount.toml"), roman("(5), "), bold("systemctl"), roman("(1)")]);
}

/// Adds one entry of a list: its name, then its description.
fn entry(roff: &mut Roff, name: Vec<Inline>, text: &str) {
    roff.control("TP", []).text(name).text([roman(text)]);
}
