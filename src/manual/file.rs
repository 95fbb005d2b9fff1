//! `headcount.toml(5)`, from the comments of the default configuration.
//!
//! What it relies on: a comment stands right above what it is about; a `[section]` may have one of its
//! own; lines that are indented inside a comment stay as they are; a sentence that starts with
//! "Trap:" is a warning. A test over the list of keys holds the file to it.

use clap_mangen::roff::{Roff, bold, italic, roman};

/// The page for this commented TOML.
pub(super) fn page(toml: &str) -> String {
    let mut page = Page::default();
    page.roff.control("SH", ["NAME"]).text([roman("headcount.toml - configuration of headcount")]);
    page.roff.control("SH", ["SYNOPSIS"]).text([italic("/etc/headcount/headcount.toml")]);
    page.roff.control("SH", ["DESCRIPTION"]);
    toml.lines().for_each(|line| page.line(line.trim_end()));
    page.end_section();
    page.roff.control("SH", ["SEE ALSO"]).text([bold("headcount"), roman("(1)")]);
    format!("{}{}", super::title("HEADCOUNT.TOML", "5"), page.roff.to_roff())
}

#[derive(Default)]
struct Page {
    roff: Roff,
    /// The header of the section that we are in; empty before the first.
    section: String,
    /// A comment that stood alone: about the section that follows it, else about the one it is in.
    alone: Vec<String>,
    /// The comment that waits for the keys under it.
    comment: Vec<String>,
    /// The keys that share this comment.
    keys: Vec<String>,
    /// The tables of an array, shown as they are.
    example: Vec<String>,
}

impl Page {
    fn line(&mut self, line: &str) {
        if let Some(comment) = line.strip_prefix('#') {
            self.end_keys();
            self.comment.push(comment.strip_prefix(' ').unwrap_or(comment).to_owned());
        } else if line.is_empty() {
            self.end_keys();
            self.end_alone();
            self.alone = std::mem::take(&mut self.comment);
        } else if line.starts_with('[') {
            self.header(line);
        } else if self.section.starts_with("[[") {
            self.example.push(line.to_owned());
        } else {
            self.end_alone();
            self.keys.push(line.to_owned());
        }
    }

    fn header(&mut self, header: &str) {
        if self.section.is_empty() {
            // The head of the file is about all of it.
            self.end_alone();
        }
        let mut intro = std::mem::take(&mut self.alone);
        intro.append(&mut self.comment);
        if header == self.section {
            self.example.push(String::new());
        } else {
            self.end_section();
            self.roff.control("SH", [header]);
            self.section = header.to_owned();
            self.prose(&intro, "PP");
        }
        if header.starts_with("[[") {
            self.example.push(header.to_owned());
        }
    }

    fn end_section(&mut self) {
        self.end_keys();
        self.end_alone();
        let example = std::mem::take(&mut self.example);
        if !example.is_empty() {
            self.roff.control("PP", []);
            self.as_it_is(&example);
        }
    }

    /// Prints the keys of one comment, then the comment.
    fn end_keys(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        if keys.is_empty() {
            return;
        }
        for (at, line) in keys.iter().enumerate() {
            let (name, value) = line.split_once(" = ").unwrap_or((line, ""));
            self.roff.control(if at == 0 { "TP" } else { "TQ" }, []);
            self.roff.text([bold(name), roman(" = "), roman(value)]);
        }
        let comment = std::mem::take(&mut self.comment);
        self.prose(&comment, "");
    }

    fn end_alone(&mut self) {
        let alone = std::mem::take(&mut self.alone);
        self.prose(&alone, "PP");
    }

    /// Prints a comment: running text, its first paragraph opened by `opening`, with what is indented
    /// left as it is and each warning in a paragraph of its own.
    fn prose(&mut self, comment: &[String], opening: &str) {
        let mut opening = if opening.is_empty() { None } else { Some(opening) };
        for lines in comment.chunk_by(|a, b| indented(a) == indented(b) && !a.is_empty() && !b.is_empty()) {
            if indented(&lines[0]) {
                self.roff.control("PP", []);
                self.as_it_is(lines);
                continue;
            }
            for (at, part) in lines.join("\n").split("Trap: ").enumerate() {
                let part = part.trim();
                if part.is_empty() {
                    continue;
                }
                if let Some(opening) = opening {
                    self.roff.control(opening, []);
                }
                // Later paragraphs of an entry stay under its name.
                opening = Some(if opening == Some("PP") { "PP" } else { "IP" });
                let warning = if at == 0 { roman("") } else { bold("Trap: ") };
                self.roff.text([warning, roman(part)]);
            }
        }
    }

    fn as_it_is(&mut self, lines: &[String]) {
        self.roff.control("EX", []);
        for line in lines {
            self.roff.text([roman(line)]);
        }
        self.roff.control("EE", []);
    }
}

fn indented(line: &str) -> bool {
    line.starts_with(' ')
}

#[cfg(test)]
mod tests {
    const TOML: &str = "# About all.\n\n[one]\n# Of both. Trap: hot.\na = 1\nb = \"x\"\n# Of c.\nc = 2\n\n\
                        # Of two.\n#   as it is\n\n[[two]]\nd = 3\n";

    #[test]
    fn keys_come_with_the_comment_above_them_and_sections_with_theirs() {
        let page = super::page(TOML);
        let places: Vec<_> = [
            "About all.",
            ".SH [one]",
            ".TP\n\\fBa\\fR = 1",
            ".TQ\n\\fBb\\fR = \"x\"",
            "Of both.",
            "\\fBTrap: \\fRhot.",
            ".TP\n\\fBc\\fR = 2",
            "Of c.",
            ".SH [[two]]",
            "Of two.",
            ".EX\n  as it is",
            "[[two]]\nd = 3\n.EE",
        ]
        .iter()
        .map(|text| page.find(text).unwrap_or_else(|| panic!("{text:?} is not in:\n{page}")))
        .collect();
        assert!(places.is_sorted(), "{places:?} in:\n{page}");
    }
}
