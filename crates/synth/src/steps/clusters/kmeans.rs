//! The best k groups of numbers, by their histogram.

/// Bins between the least number and the greatest.
const BINS: usize = 1024;

/// How many numbers fall into each bin, and their sum.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    low: f32,
    high: f32,
    bins: Vec<(f64, f64)>,
}

impl Histogram {
    /// Of the numbers whose labels are at each place from 1 on, finite ones alone.
    pub(super) fn of_places(
        numbers: &[f32],
        labels: &[u16],
        places: &[u16],
        groups: usize,
    ) -> Vec<Self> {
        let each = || {
            let placed = numbers.iter().zip(labels);
            placed.filter_map(|(&v, &label)| {
                let place = usize::from(places[usize::from(label)]);
                (place > 0 && v.is_finite()).then(|| (v, place - 1))
            })
        };
        let mut all = vec![
            Self {
                low: f32::INFINITY,
                high: f32::NEG_INFINITY,
                bins: vec![(0.0, 0.0); BINS],
            };
            groups
        ];
        for (v, group) in each() {
            all[group].low = all[group].low.min(v);
            all[group].high = all[group].high.max(v);
        }
        for (v, group) in each() {
            let histogram = &mut all[group];
            let width = f64::from(histogram.high) - f64::from(histogram.low);
            let share = (f64::from(v) - f64::from(histogram.low)) / width.max(f64::MIN_POSITIVE);
            let bin = &mut histogram.bins[((share * BINS as f64) as usize).min(BINS - 1)];
            bin.0 += 1.0;
            bin.1 += f64::from(v);
        }
        all
    }

    /// The means of the `k` groups with the least sum of squares about them, rising; fewer where
    /// there are fewer bins in use.
    pub(super) fn centres(&self, k: usize) -> Vec<f32> {
        let used: Vec<(f64, f64)> = self.bins.iter().copied().filter(|b| b.0 > 0.0).collect();
        let n = used.len();
        let k = k.min(n);
        // Sums up to each bin. A group's sum of squares is, but for what all groupings share,
        // minus its sum squared by its count: numbers about their middle keep that exact enough.
        let middle = 0.5 * (f64::from(self.low) + f64::from(self.high));
        let mut sums = vec![(0.0, 0.0)];
        for &(count, sum) in &used {
            let (counts, total) = sums[sums.len() - 1];
            sums.push((counts + count, total + sum - count * middle));
        }
        let gain = |from: usize, to: usize| {
            let (count, sum) = (sums[to].0 - sums[from].0, sums[to].1 - sums[from].1);
            sum * sum / count
        };
        // best[j]: the greatest gain of the first j bins; cuts: where the last group then begins.
        let mut best: Vec<f64> = (0..=n)
            .map(|to| if to == 0 { 0.0 } else { gain(0, to) })
            .collect();
        let mut cuts: Vec<Vec<usize>> = Vec::new();
        for groups in 2..=k {
            let mut next = vec![f64::NEG_INFINITY; n + 1];
            let mut cut = vec![0; n + 1];
            for to in groups..=n {
                for (from, best) in best.iter().enumerate().take(to).skip(groups - 1) {
                    let found = best + gain(from, to);
                    if found > next[to] {
                        next[to] = found;
                        cut[to] = from;
                    }
                }
            }
            best = next;
            cuts.push(cut);
        }
        let mut to = n;
        let mut centres = Vec::with_capacity(k);
        for groups in (1..=k).rev() {
            let from = if groups > 1 { cuts[groups - 2][to] } else { 0 };
            let (count, sum) = (sums[to].0 - sums[from].0, sums[to].1 - sums[from].1);
            centres.push((middle + sum / count) as f32);
            to = from;
        }
        centres.reverse();
        centres
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::rng::Rng;

    /// The best two cuts of sorted numbers into three, every pair tried.
    fn by_force(numbers: &[f32]) -> (f64, [f64; 3]) {
        let about = |v: &[f32]| {
            let mean = v.iter().map(|&x| f64::from(x)).sum::<f64>() / v.len() as f64;
            let squares = v.iter().map(|&x| (f64::from(x) - mean).powi(2));
            (squares.sum::<f64>(), mean)
        };
        let n = numbers.len();
        let mut best = (f64::INFINITY, [0.0; 3]);
        for a in 1..n - 1 {
            for b in a + 1..n {
                let parts = [&numbers[..a], &numbers[a..b], &numbers[b..]].map(about);
                let squares = parts.iter().map(|p| p.0).sum();
                if squares < best.0 {
                    best = (squares, parts.map(|p| p.1));
                }
            }
        }
        best
    }

    #[test]
    fn as_by_force() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed, 0, 0);
            let centres = [(); 3].map(|()| rng.uniform(-900.0, 2000.0));
            let mut numbers: Vec<f32> = (0..60)
                .map(|i| centres[i % 3] + 120.0 * rng.normal())
                .collect();
            numbers.sort_by(f32::total_cmp);
            let mut places = vec![0; 65536];
            places[7] = 1;
            let found = &Histogram::of_places(&numbers, &[7; 60], &places, 1)[0];
            let (_, expected) = by_force(&numbers);
            for (found, expected) in found.centres(3).iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1.0, "{seed}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_or_elsewhere_does_not_count() {
        let mut places = vec![0; 65536];
        places[1] = 1;
        let numbers = [1.0, f32::NAN, 3.0, f32::INFINITY, 500.0];
        let found = Histogram::of_places(&numbers, &[1, 1, 1, 1, 0], &places, 1);
        assert_eq!(found[0].centres(5), [1.0, 3.0]);
        let nothing = Histogram::of_places(&numbers, &[2; 5], &places, 1);
        assert!(nothing[0].centres(2).is_empty());
    }
}
