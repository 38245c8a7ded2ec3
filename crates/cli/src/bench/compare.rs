//! Sides that take turns, and what to make of their times.

use std::time::Duration;

use crossmod_learn::Progress;

/// Someone whose speed is compared.
pub(crate) trait Side {
    /// Milliseconds of each of `calls` calls.
    fn sample(&mut self, calls: usize) -> anyhow::Result<Vec<f64>>;
}

/// How the sides take turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    /// How often each side gets its turn.
    pub(crate) rounds: usize,
    /// Rest before the first side's turn: threads of the others go on spinning for a while after
    /// their last work, and would take the first side's cores.
    pub(crate) rest: Duration,
}

impl Turns {
    /// Turns with a rest that is long enough.
    pub(crate) fn new(rounds: usize) -> Self {
        // Threads spin for some milliseconds, rarely longer.
        let rest = Duration::from_millis(300);
        Self { rounds, rest }
    }

    /// Milliseconds of all calls of each side, in the order of the sides; `calls` are those of a
    /// turn, one figure a side.
    pub(crate) fn take(
        &self,
        sides: &mut [&mut dyn Side],
        calls: &[usize],
        progress: &dyn Progress,
    ) -> anyhow::Result<Vec<Vec<f64>>> {
        let mut times = vec![Vec::new(); sides.len()];
        for _ in 0..self.rounds {
            if sides.len() > 1 {
                std::thread::sleep(self.rest);
            }
            for ((side, &calls), times) in sides.iter_mut().zip(calls).zip(&mut times) {
                if progress.cancelled() {
                    anyhow::bail!("interrupted; nothing was written");
                }
                times.extend(side.sample(calls)?);
            }
        }
        Ok(times)
    }
}

/// The middle of the times, or the mean of the two in the middle.
pub(crate) fn median(times: &[f64]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some((sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0)
}

/// The geometric mean: ratios of 2 and ½ cancel.
pub(crate) fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    let logs: f64 = ratios.iter().map(|r| r.ln()).sum();
    (!ratios.is_empty()).then(|| (logs / ratios.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use crossmod_learn::Silent;

    use super::*;

    struct Logged<'a>(char, &'a RefCell<String>);

    impl Side for Logged<'_> {
        fn sample(&mut self, calls: usize) -> anyhow::Result<Vec<f64>> {
            self.1.borrow_mut().push(self.0);
            Ok(vec![1.0; calls])
        }
    }

    #[test]
    fn sides_take_turns() {
        let log = RefCell::new(String::new());
        let (mut a, mut b) = (Logged('a', &log), Logged('b', &log));
        let turns = Turns {
            rounds: 3,
            rest: Duration::ZERO,
        };
        let times = turns
            .take(&mut [&mut a, &mut b], &[2, 5], &Silent)
            .expect("no side fails");
        assert_eq!(*log.borrow(), "ababab");
        assert_eq!((times[0].len(), times[1].len()), (6, 15));
    }

    #[test]
    fn middles() {
        assert_eq!(median(&[3.0, 1.0, 100.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert!(geometric_mean(&[2.0, 0.5, 8.0]).is_some_and(|m| (m - 2.0).abs() < 1e-12));
        assert_eq!(geometric_mean(&[]), None);
    }
}
