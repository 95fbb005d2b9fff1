//! What comes out: rows on the terminal as they are measured, and in the end the page and the plots.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::stats::Interval;
use crate::{Result, machine, plot};

/// One row of the table.
pub struct Row {
    pub measure: String,
    pub ours: String,
    pub floor: String,
    /// Ours against the floor, or against ourselves under other conditions.
    pub ratio: Option<Interval>,
    /// The floor against itself.
    pub noise: Option<Interval>,
    /// At most this; no goal where it is None.
    pub goal: Option<Goal>,
}

/// What must not be exceeded: by the ratio's lower end, or by a value.
#[derive(Clone, Copy)]
pub enum Goal {
    Ratio(f64),
    Value { value: f64, at_most: f64, unit: &'static str },
    AtLeast { value: f64, at_least: f64, unit: &'static str },
}

impl Row {
    fn goal(&self) -> String {
        match self.goal {
            Some(Goal::Ratio(most)) => format!("≤ {most:.2} ×"),
            Some(Goal::Value { at_most, unit, .. }) => format!("≤ {at_most} {unit}"),
            Some(Goal::AtLeast { at_least, unit, .. }) => format!("≥ {at_least} {unit}"),
            None => "–".to_owned(),
        }
    }

    fn verdict(&self) -> &'static str {
        let met = match (self.goal, self.ratio) {
            (Some(Goal::Ratio(most)), Some(ratio)) => ratio.low <= most,
            (Some(Goal::Value { value, at_most, .. }), _) => value <= at_most,
            (Some(Goal::AtLeast { value, at_least, .. }), _) => value >= at_least,
            _ => return "",
        };
        if met { "met" } else { "MISSED" }
    }
}

/// Everything that was measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
    storms: Vec<plot::Line>,
}

impl Report {
    pub fn row(&mut self, row: Row) {
        let ratio = row.ratio.map(|ratio| ratio.to_string()).unwrap_or_default();
        let noise = row.noise.map(|noise| format!("  floor/floor {noise}")).unwrap_or_default();
        println!(
            "  {}: {} | floor {} | ratio {ratio}{noise} | goal {} {}",
            row.measure,
            row.ours,
            row.floor,
            row.goal(),
            row.verdict()
        );
        self.rows.push(row);
    }

    /// A fact that is no row.
    pub fn note(&mut self, text: String) {
        println!("  {text}");
        self.notes.push(text);
    }

    /// A line of the plot of join storms: sockets, and µs a connect.
    pub fn storm(&mut self, name: &str, points: Vec<(f64, f64)>) {
        self.storms.push(plot::Line { name: name.to_owned(), points });
    }

    /// The table as Markdown.
    pub fn table(&self) -> String {
        let mut out = "| measure | ours | floor | ratio: median [95 %] | floor against itself | goal | |\n\
                       |---|---|---|---|---|---|---|\n"
            .to_owned();
        for row in &self.rows {
            let shown = |interval: Option<Interval>| interval.map(|interval| interval.to_string()).unwrap_or_default();
            let (ratio, noise) = (shown(row.ratio), shown(row.noise));
            let cells = [&row.measure, &row.ours, &row.floor, &ratio, &noise, &row.goal(), row.verdict()];
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        out
    }

    /// Writes the page and the plots beside the sources.
    pub fn write(&self, date: &str, load: &str, took: u64) -> Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        let path = folder.join("RESULTS.md");
        let notes: String = self.notes.iter().fold(String::new(), |out, note| out + "- " + note + "\n");
        fs::write(
            &path,
            format!(
                "# Results\n\nWritten by `cargo bench` on {date}, in {took} s; do not edit.\n\n{}\n\n{}\n\
                 ![CPU a delivery against the floor](ratios.svg)\n\n![CPU a connect in a join storm](storm.svg)\n\n\
                 ## Also seen\n\n{notes}\n{}",
                setting(load),
                self.table(),
                include_str!("TRIED.md"),
            ),
        )?;
        let ratios: Vec<_> = self
            .rows
            .iter()
            .filter(|row| row.noise.is_some())
            .filter_map(|row| Some((row.measure.as_str(), row.ratio?, row.noise?)))
            .collect();
        fs::write(folder.join("ratios.svg"), plot::intervals(&ratios))?;
        fs::write(folder.join("storm.svg"), plot::lines("sockets", "µs CPU a connect", &self.storms))?;
        Ok(path)
    }
}

/// The machine and the versions, one a line.
fn setting(load: &str) -> String {
    let versions = [("redis-server", "--version"), ("nginx", "-v"), ("node", "--version"), ("rustc", "--version")];
    let mut out = format!(
        "- Machine: {}; load average {load} before, {} after\n- headcount {}\n",
        machine::describe(),
        machine::load(),
        env!("CARGO_PKG_VERSION")
    );
    for (program, argument) in versions {
        let shown = machine::version(program, argument).unwrap_or_else(|| "not on this machine".to_owned());
        let _ = writeln!(out, "- {program}: {shown}");
    }
    out
}
