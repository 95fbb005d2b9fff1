//! Medians, their intervals, and ratios of what was measured in turns.

use std::fmt;

/// A median and the interval that holds it with at least 95 % confidence, whatever the distribution.
#[derive(Debug, Clone, Copy)]
pub struct Interval {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Interval {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let Some(last) = n.checked_sub(1) else {
            return Self { low: f64::NAN, median: f64::NAN, high: f64::NAN };
        };
        let rank = rank(n);
        let median = (sorted[last / 2] + sorted[n / 2]) / 2.0;
        Self { low: sorted[rank], median, high: sorted[last - rank] }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} [{:.3}, {:.3}]", self.median, self.low, self.high)
    }
}

/// How many of the lowest and of the highest values the interval may leave out: the median lies
/// beyond the k-th of n with the probability that at most k - 1 of n coins show heads.
fn rank(n: usize) -> usize {
    let (mut below, mut term) = (0.0, 0.5f64.powi(n as i32));
    for k in 0..n / 2 {
        below += term;
        if below > 0.025 {
            return k;
        }
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    n / 2
}

/// The value that a share of the others does not exceed.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

pub fn median(values: &[f64]) -> f64 {
    Interval::of(values).median
}

/// The middle column against the mean of its two neighbours, and the neighbours against each other.
/// Whatever slowly changes on the machine meets both sides of a ratio alike.
#[derive(Debug, Default)]
pub struct Turns {
    before: Vec<f64>,
    ours: Vec<f64>,
    after: Vec<f64>,
}

impl Turns {
    pub fn push(&mut self, [before, ours, after]: [f64; 3]) {
        self.before.push(before);
        self.ours.push(ours);
        self.after.push(after);
    }

    pub fn ratio(&self) -> Interval {
        let floor = self.before.iter().zip(&self.after).map(|(a, b)| (a + b) / 2.0);
        Interval::of(&self.ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect::<Vec<_>>())
    }

    pub fn noise(&self) -> Interval {
        Interval::of(&self.before.iter().zip(&self.after).map(|(a, b)| b / a).collect::<Vec<_>>())
    }

    pub fn ours(&self) -> f64 {
        median(&self.ours)
    }

    pub fn floor(&self) -> f64 {
        median(&[self.before.as_slice(), &self.after].concat())
    }
}
