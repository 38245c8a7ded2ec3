//! Which case a patch is of, and where in it: foreground oversampling as nnU-Net's.

use crossmod_volume::rng::Rng;

use crate::Result;
use crate::segment::{SegmentationPlan, Store};

/// Whether patch `i` of `n` is centred on a class: in batches of two and more the last ones are, as
/// many as nnU-Net rounds `share` of the batch to; where that is none, the last one is by chance,
/// so that the share holds on average.
pub(super) fn on_class(i: usize, n: usize, share: f64, rng: &mut Rng) -> bool {
    let others = (n as f64 * (1.0 - share)).round_ties_even() as usize;
    // Drawn in any case, so that what follows does not hang on the share.
    let chance = f64::from(rng.unit()) < share * n as f64;
    if n > 1 && others < n {
        return i >= others;
    }
    i + 1 == n && chance
}

/// A voxel (x, y, z) to centre a patch on: of a class drawn from those that the case has, as often
/// each, or, where some voxels are to be ignored, else of the others; `None` where there is none.
pub(super) fn voxel(
    store: &Store,
    plan: &SegmentationPlan,
    case: usize,
    on_class: bool,
    rng: &mut Rng,
) -> Result<Option<[usize; 3]>> {
    let classes = plan.classes.len() - 1;
    let judged = plan.ignore.map(|_| classes);
    let has = |list: &usize| store.places(case, *list) > 0;
    let present: Vec<usize> = (0..classes).filter(|list| on_class && has(list)).collect();
    let list = match present.len() {
        0 => judged.filter(has),
        n => Some(present[rng.below(n)]),
    };
    let Some(list) = list else {
        return Ok(None);
    };
    let k = rng.below(store.places(case, list));
    store.place(case, list, k).map(Some)
}

/// The first voxel of a patch along one axis of `size` voxels: such that `around` is in the middle,
/// else anywhere, but within the volume; in the middle of it where the patch is larger.
pub(super) fn origin(size: usize, patch: usize, around: Option<usize>, rng: &mut Rng) -> i64 {
    let anywhere = rng.below(size.saturating_sub(patch) + 1);
    if patch >= size {
        return -(((patch - size) / 2) as i64);
    }
    let first = around.map_or(anywhere, |voxel| voxel.saturating_sub(patch / 2));
    first.min(size - patch) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_of_a_batch_as_nnunet_rounds_to() {
        let of = |n, share| {
            let mut rng = Rng::new(1, 2, 3);
            let on: Vec<bool> = (0..n).map(|i| on_class(i, n, share, &mut rng)).collect();
            assert!(on.is_sorted(), "the last ones");
            on.iter().filter(|&&on| on).count()
        };
        // Python: [n - round(n * (1 - 0.33)) for n in (2, 3, 4, 6, 9, 12, 49)]
        for (n, expected) in [(2, 1), (3, 1), (4, 1), (6, 2), (9, 3), (12, 4), (49, 16)] {
            assert_eq!(of(n, 0.33), expected, "{n}");
        }
        assert_eq!((of(5, 0.0), of(5, 1.0)), (0, 5));
    }

    #[test]
    fn the_share_holds_where_it_rounds_to_none() {
        for (n, share) in [(1, 0.33), (2, 0.1)] {
            let on = |step: u32| {
                let mut rng = Rng::new(1, 2, step);
                (0..n).filter(|&i| on_class(i, n, share, &mut rng)).count()
            };
            let all: usize = (0..4000).map(on).sum();
            let found = all as f64 / (4000 * n) as f64;
            assert!((found - share).abs() < 0.02, "{n} {share} {found}");
        }
    }

    #[test]
    fn patches_stay_within() {
        let mut rng = Rng::new(1, 2, 3);
        for around in [None, Some(0), Some(4), Some(9)] {
            for _ in 0..50 {
                let first = origin(10, 6, around, &mut rng);
                assert!((0..=4).contains(&first));
                if let Some(voxel) = around {
                    assert_eq!(first, (voxel as i64 - 3).clamp(0, 4));
                }
            }
        }
        let firsts: std::collections::BTreeSet<i64> =
            (0..100).map(|_| origin(10, 6, None, &mut rng)).collect();
        assert_eq!(firsts.len(), 5);
        assert_eq!(origin(5, 8, Some(4), &mut rng), -1);
        assert_eq!(origin(5, 5, None, &mut rng), 0);
    }
}
