//! Two plots as SVG: intervals beside each other, and lines over two logarithmic axes.

use std::fmt::Write;

use crate::stats::Interval;

const COLOURS: [&str; 4] = ["#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e"];

pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

fn svg(width: f64, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", text.replace('<', "&lt;"))
}

fn stroke(x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, width: f64) -> String {
    format!(
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n"
    )
}

/// One row a measure: its ratio, and under it in grey the floor's against itself.
pub fn intervals(rows: &[(&str, Interval, Interval)]) -> String {
    const LEFT: f64 = 330.0;
    let most = rows.iter().map(|(_, ratio, noise)| ratio.high.max(noise.high)).fold(1.2, f64::max);
    let x = |value: f64| LEFT + (value / most) * 440.0;
    let height = rows.len() as f64 * 34.0 + 50.0;
    let mut out = stroke(x(1.0), 10.0, x(1.0), height - 30.0, "#868e96", 1.0);
    out += &text(x(1.0), height - 12.0, "middle", "1 × floor");
    for (index, (name, ratio, noise)) in rows.iter().enumerate() {
        let y = 30.0 + index as f64 * 34.0;
        out += &text(LEFT - 10.0, y + 4.0, "end", name);
        for (interval, colour, y) in [(ratio, COLOURS[0], y - 3.0), (noise, "#adb5bd", y + 6.0)] {
            out += &stroke(x(interval.low), y, x(interval.high), y, colour, 3.0);
            let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>", x(interval.median));
        }
    }
    svg(800.0, height, &out)
}

/// Lines over two logarithmic axes.
pub fn lines(across: &str, up: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let range = |values: Vec<f64>| {
        let (low, high) = values.iter().fold((f64::MAX, 1.0), |(low, high), v| (v.min(low), v.max(high)));
        (low.max(1e-9).log10().floor(), high.log10().ceil())
    };
    let ((left, right), (low, high)) = (range(points().map(|p| p.0).collect()), range(points().map(|p| p.1).collect()));
    let x = |value: f64| 60.0 + (value.log10() - left) / (right - left) * 560.0;
    let y = |value: f64| 330.0 - (value.log10() - low) / (high - low) * 300.0;
    let mut out = String::new();
    for power in left as i32..=right as i32 {
        let at = x(10f64.powi(power));
        out += &stroke(at, 30.0, at, 330.0, "#dee2e6", 1.0);
        out += &text(at, 346.0, "middle", &10f64.powi(power).to_string());
    }
    for power in low as i32..=high as i32 {
        let at = y(10f64.powi(power));
        out += &stroke(60.0, at, 620.0, at, "#dee2e6", 1.0);
        out += &text(54.0, at + 4.0, "end", &10f64.powi(power).to_string());
    }
    out += &text(620.0, 364.0, "end", across);
    out += &text(8.0, 18.0, "start", up);
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        for pair in line.points.windows(2) {
            out += &stroke(x(pair[0].0), y(pair[0].1), x(pair[1].0), y(pair[1].1), colour, 2.0);
        }
        if let Some(last) = line.points.last() {
            out += &text(x(last.0) + 6.0, y(last.1) + 4.0, "start", &line.name);
        }
        for (a, b) in &line.points {
            let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(*a), y(*b));
        }
    }
    svg(800.0, 380.0, &out)
}
