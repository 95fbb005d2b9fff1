//! A histogram of durations from a nanosecond to a second, precise to two digits.
//!
//! As in Redis, durations share a count when they differ by less than 1/128, which is exact enough for percentiles.

/// Durations below this, in nanoseconds, each have their own count.
const EXACT: u64 = 256;
/// The number of counts for each further power of two.
const HALF: u64 = EXACT / 2;
/// Longer durations are counted as this one, in nanoseconds.
const LONGEST: u64 = 1_000_000_000;
/// The end of the first step that is shown, in nanoseconds; each further step is twice as long.
const FIRST_STEP: u64 = 1024;

/// Counts of durations; see the module's text.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

fn index(nanoseconds: u64) -> usize {
    let value = nanoseconds.clamp(1, LONGEST);
    let shift = u64::from(value.ilog2()).saturating_sub(7);
    (shift * HALF + (value >> shift)) as usize
}

/// The longest duration that shares a count with this one.
fn longest(nanoseconds: u64) -> u64 {
    let shift = u64::from(nanoseconds.max(1).ilog2()).saturating_sub(7);
    nanoseconds | ((1 << shift) - 1)
}

/// The longest duration that is counted at `index`.
fn longest_of(index: u64) -> u64 {
    if index < EXACT {
        return index;
    }
    let shift = index / HALF - 1;
    ((index - shift * HALF) << shift) | ((1 << shift) - 1)
}

impl Histogram {
    /// Counts a duration, `times` times.
    pub fn add(&mut self, nanoseconds: u64, times: u64) {
        let index = index(nanoseconds);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += times;
        self.total += times;
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (index, count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(longest_of(index as u64), *count);
        }
    }

    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the duration, in nanoseconds, that the given percentage of all durations do not exceed.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.total as f64 + 0.5) as u64).clamp(1, self.total.max(1));
        let mut sum = 0;
        let reached = self.counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        });
        reached.map_or(0, |index| longest_of(index as u64))
    }

    /// Returns pairs of a bound, in microseconds, and the number of durations up to it. The bounds
    /// double from step to step; those that add no durations are left out.
    pub fn steps(&self) -> Vec<(u64, u64)> {
        let (mut steps, mut sum, mut before, mut at) = (Vec::new(), 0, 0, 0);
        let mut end = FIRST_STEP;
        while sum < self.total {
            let longest = longest(end);
            while at < self.counts.len() && longest_of(at as u64) <= longest {
                sum += self.counts[at];
                at += 1;
            }
            if sum > before {
                steps.push((longest / 1000, sum));
                before = sum;
            }
            end *= 2;
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_told_as_redis_tells_them() {
        let mut histogram = Histogram::default();
        for micros in [0, 3, 7, 41, 17_000, 2_000_000] {
            histogram.add(micros * 1000, 1);
        }
        assert_eq!(histogram.percentile(1.0), 1);
        assert_eq!(histogram.percentile(50.0), 7007);
        assert_eq!(histogram.percentile(60.0), 41_215);
        assert_eq!(histogram.percentile(99.9), 1_002_438_655);
        assert_eq!(histogram.steps(), [(1, 1), (4, 2), (8, 3), (66, 4), (33_816, 5), (1_082_130, 6)]);
    }

    proptest! {
        #[test]
        fn every_duration_has_the_count_that_ends_at_its_longest(value in 1..LONGEST) {
            let index = index(value) as u64;
            prop_assert_eq!(longest_of(index), longest(value));
            prop_assert!(longest_of(index - 1) < value);
            prop_assert!(longest(value) - value <= value / 128);
        }
    }
}
