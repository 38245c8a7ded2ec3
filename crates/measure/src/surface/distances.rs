//! How far one surface lies from another, by how much of it lies how far.

/// For each distance that occurs, how much of the surface lies that far away. A lattice has few
/// distances, so that this stays small however large the surface is, and parts can be added.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distances {
    /// (mm, size) in order of mm; infinite where there was nothing to be near to.
    parts: Vec<(f32, f64)>,
}

impl Distances {
    /// From distances in any order and what lies there.
    pub(super) fn new(mut parts: Vec<(f32, f64)>) -> Self {
        // Stable, so that sums do not depend on how the sort goes about it.
        parts.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut merged: Vec<(f32, f64)> = Vec::new();
        for (mm, size) in parts {
            match merged.last_mut() {
                Some(last) if last.0 == mm => last.1 += size,
                _ => merged.push((mm, size)),
            }
        }
        Self { parts: merged }
    }

    /// Those of several parts of a surface.
    pub(super) fn joined(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::new(parts.into_iter().flat_map(|d| d.parts).collect())
    }

    /// The size of the surface: mm² of elements, or a number of voxels.
    #[must_use]
    pub fn size(&self) -> f64 {
        self.parts.iter().map(|(_, size)| size).sum()
    }

    /// How much of it lies within a distance.
    #[must_use]
    pub fn within(&self, mm: f64) -> f64 {
        // Distances are rounded; what is meant to lie at the tolerance shall lie within it.
        let reach = mm * (1.0 + 1e-6);
        let near = self
            .parts
            .iter()
            .take_while(|(d, _)| f64::from(*d) <= reach);
        near.map(|(_, size)| size).sum()
    }

    /// The greatest distance; `None` of no surface.
    #[must_use]
    pub fn greatest(&self) -> Option<f64> {
        self.parts.last().map(|(mm, _)| f64::from(*mm))
    }

    /// The mean distance, by size; `None` of no surface.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (!self.parts.is_empty()).then(|| self.sum() / self.size())
    }

    /// Distance times size.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.parts
            .iter()
            .map(|(mm, size)| f64::from(*mm) * size)
            .sum()
    }

    /// The least of the distances within which at least `share` of the surface lies; `None` of no
    /// surface.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.size();
        let mut sum = 0.0;
        let found = self.parts.iter().find(|(_, size)| {
            sum += size;
            sum >= wanted
        });
        found.or(self.parts.last()).map(|(mm, _)| f64::from(*mm))
    }

    /// The quantile of distances counted one by one, between two of them in proportion, as
    /// `numpy.percentile` has it; `None` of no surface.
    #[must_use]
    pub fn counted_quantile(&self, share: f64) -> Option<f64> {
        let place = share * (self.size() - 1.0).max(0.0);
        let (low, high) = (self.counted(place.floor())?, self.counted(place.ceil())?);
        let above = place - place.floor();
        // Not by adding a part of their difference: that of infinities is no number.
        Some(if above > 0.0 {
            low * (1.0 - above) + high * above
        } else {
            low
        })
    }

    /// The distance of one place, from 0 on, in order.
    fn counted(&self, place: f64) -> Option<f64> {
        let mut sum = 0.0;
        let found = self.parts.iter().find(|(_, size)| {
            sum += size;
            sum > place
        });
        found.or(self.parts.last()).map(|(mm, _)| f64::from(*mm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(f32, f64)]) -> Distances {
        Distances::new(parts.to_vec())
    }

    #[test]
    fn what_lies_equally_far_is_added() {
        let d = of(&[(2.0, 1.0), (0.0, 3.0), (2.0, 2.0), (1.0, 4.0)]);
        assert_eq!(d.parts, [(0.0, 3.0), (1.0, 4.0), (2.0, 3.0)]);
        assert_eq!(
            (d.size(), d.greatest(), d.mean()),
            (10.0, Some(2.0), Some(1.0))
        );
        assert_eq!(
            (d.within(0.5), d.within(1.0), d.within(9.0)),
            (3.0, 7.0, 10.0)
        );
        assert_eq!(
            [0.3, 0.31, 0.7, 0.95].map(|q| d.quantile(q)),
            [0.0, 1.0, 1.0, 2.0].map(Some)
        );
        let both = Distances::joined([d.clone(), of(&[(1.0, 1.0)])]);
        assert_eq!(both.parts[1], (1.0, 5.0));
    }

    /// `numpy.percentile([0, 0, 1, 4], [50, 95, 100])`.
    #[test]
    fn counted_quantiles_are_those_of_numpy() {
        let d = of(&[(0.0, 2.0), (1.0, 1.0), (4.0, 1.0)]);
        let found = [0.5, 0.95, 1.0].map(|q| d.counted_quantile(q).expect("a surface"));
        for (a, b) in found.into_iter().zip([0.5, 3.55, 4.0]) {
            assert!((a - b).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn nothing_has_no_distance_and_far_from_nothing_is_infinite() {
        let none = Distances::default();
        assert_eq!(
            (none.size(), none.greatest(), none.mean()),
            (0.0, None, None)
        );
        assert_eq!(
            (none.quantile(0.95), none.counted_quantile(0.95)),
            (None, None)
        );
        let lost = of(&[(f32::INFINITY, 2.0)]);
        assert_eq!(lost.quantile(0.95), Some(f64::INFINITY));
        assert_eq!(lost.counted_quantile(0.95), Some(f64::INFINITY));
        assert_eq!((lost.within(1e9), lost.mean()), (0.0, Some(f64::INFINITY)));
    }
}
