//! Recent rates, for `INFO`.

use std::collections::VecDeque;

/// The least time between two samples, in milliseconds.
const BETWEEN: u64 = 100;
/// How many samples are kept.
const KEPT: usize = 16;

/// Counters at a time: commands, bytes received, bytes sent.
type Sample = (u64, [u64; 3]);

/// Recent rates; see the module documentation.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<Sample>,
}

impl Rates {
    /// Whether a sample is due.
    pub fn is_due(&self, now: u64) -> bool {
        self.samples.back().is_none_or(|(at, _)| now >= at + BETWEEN || now < *at)
    }

    /// Takes a sample of the counters.
    pub fn take(&mut self, now: u64, counters: [u64; 3]) {
        let backwards = |(at, before): &Sample| now < *at || counters.iter().zip(before).any(|(new, old)| new < old);
        if self.samples.back().is_some_and(backwards) {
            // The clock or the counters were set back.
            self.samples.clear();
        }
        self.samples.push_back((now, counters));
        if self.samples.len() > KEPT {
            self.samples.pop_front();
        }
    }

    /// The change of each counter per second, over the samples.
    pub fn a_second(&self) -> [f64; 3] {
        let (Some((first, before)), Some((last, after))) = (self.samples.front(), self.samples.back()) else {
            return [0.0; 3];
        };
        let seconds = last.saturating_sub(*first) as f64 / 1000.0;
        std::array::from_fn(|at| if seconds > 0.0 { (after[at] - before[at]) as f64 / seconds } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::Rates;

    #[test]
    fn rates_are_over_the_last_samples_and_survive_a_clock_that_is_set_back() {
        let mut rates = Rates::default();
        assert_eq!(rates.a_second(), [0.0; 3]);
        for n in 0..100 {
            let now = 1000 + n * 100;
            assert!(rates.is_due(now) && (n == 0 || !rates.is_due(now - 1)));
            rates.take(now, [n * 10, n, 0]);
        }
        assert_eq!(rates.a_second(), [100.0, 10.0, 0.0]);
        assert!(rates.is_due(500));
        rates.take(500, [1000, 100, 0]);
        assert_eq!(rates.a_second(), [0.0; 3]);
        rates.take(600, [0, 0, 0]);
        assert_eq!(rates.a_second(), [0.0; 3]);
    }
}
