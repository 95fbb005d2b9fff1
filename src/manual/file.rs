//! `headcount.toml(5)`, generated from the configuration's keys.
//!
//! It relies on two conventions in their documentation: indented lines are kept as they are, and a line that
//! starts with "Warning:" starts a paragraph.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::config::keys::{ABOUT, ConfigKey, SECTIONS, ValueType};

const WARNING: &str = "Warning:";

/// Returns the page, without its first line.
pub(super) fn page() -> String {
    let mut roff = Roff::default();
    roff.control("SH", ["NAME"]).text([roman("headcount.toml - configuration of headcount")]);
    roff.control("SH", ["SYNOPSIS"]).text([italic("/etc/headcount/headcount.toml")]);
    roff.control("SH", ["DESCRIPTION"]);
    prose(&mut roff, ABOUT, "PP");
    for section in SECTIONS {
        roff.control("SH", [section.header]);
        prose(&mut roff, section.about, "PP");
        section.keys.iter().for_each(|key| entry(&mut roff, key));
    }
    roff.control("SH", ["SEE ALSO"]).text([bold("headcount"), roman("(1)")]);
    roff.to_roff()
}

fn entry(roff: &mut Roff, key: &ConfigKey) {
    if let ValueType::Channels | ValueType::Users = key.kind {
        roff.control("PP", []).text([roman("The default:")]);
        let table = format!("{} = {}", key.path, key.default);
        return as_it_is(roff, &table.lines().collect::<Vec<_>>());
    }
    roff.control("TP", []).text([bold(key.name()), roman(" = "), roman(key.default)]);
    prose(roff, key.doc, "IP");
    let note = key.note();
    if !note.is_empty() {
        roff.control("IP", []).text([roman(note)]);
    }
}

/// Adds running text. Each paragraph opens with the macro `opening`, except that the first one after an entry's
/// name needs none.
fn prose(roff: &mut Roff, lines: &[&str], opening: &str) {
    let mut first = opening == "IP";
    let same = |a: &&str, b: &&str| indented(a) == indented(b) && !a.is_empty() && !b.is_empty() && !warns(b);
    for paragraph in lines.chunk_by(same) {
        if indented(paragraph[0]) {
            roff.control(opening, []);
            as_it_is(roff, &paragraph.iter().map(|line| &line[1..]).collect::<Vec<_>>());
            continue;
        }
        let text = paragraph.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n");
        if text.is_empty() {
            continue;
        }
        if !first {
            roff.control(opening, []);
        }
        first = false;
        let text: Vec<Inline> = match text.strip_prefix(WARNING) {
            Some(rest) => vec![bold(WARNING), roman(rest)],
            None => vec![roman(text)],
        };
        roff.text(text);
    }
}

fn as_it_is(roff: &mut Roff, lines: &[&str]) {
    roff.control("EX", []);
    for line in lines {
        roff.text([roman(*line)]);
    }
    roff.control("EE", []);
}

/// Returns whether a line is indented, that is, starts with two spaces: every line of a comment starts with
/// one.
fn indented(line: &str) -> bool {
    line.starts_with("  ")
}

fn warns(line: &str) -> bool {
    line.trim_start().starts_with(WARNING)
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_stand_in_their_section_with_what_is_said_of_them() {
        let page = super::page();
        let expected = [
            ".SH DESCRIPTION",
            "Every key is listed",
            ".SH [server]",
            ".TP\n\\fBworkers\\fR = 0",
            "Threads that carry sockets.",
            "Allowed: 0 to 256. Needs a restart.",
            ".SH [tls]",
            "\\fBWarning:\\fR with TLS",
            ".SH [store]",
            ".EX\n  \"auto\"    Whoever",
            ".SH [[channels]]",
        ];
        let mut rest = page.as_str();
        for text in expected {
            let at = rest.find(text).unwrap_or_else(|| panic!("{text:?} is not in:\n{rest}"));
            rest = &rest[at..];
        }
    }
}
