//! Where each class is: voxels of it, drawn once, that patches may be centred on.

use crossmod_volume::rng::{Rng, case_id};

use super::SegmentationPlan;

/// Voxels kept of each class of a case; nnU-Net's.
const MOST: usize = 10_000;

/// Seed of the draw: a case's voxels are the same in every run.
const SEED: u64 = 1234;

/// Which lists the voxels of each label belong to: one list a class, the background's left out, and
/// one more of all that is not to be ignored where something is.
#[derive(Debug)]
pub(super) struct Wanted {
    lists: usize,
    /// For each label, which of `groups`.
    group: Vec<u16>,
    groups: Vec<Vec<usize>>,
}

impl Wanted {
    pub(super) fn new(plan: &SegmentationPlan) -> Self {
        let classes = &plan.classes[1..];
        let judged = plan.ignore.map(|_| classes.len());
        let mut wanted = Self {
            lists: classes.len() + usize::from(judged.is_some()),
            group: vec![0; usize::from(u16::MAX) + 1],
            groups: vec![judged.into_iter().collect()],
        };
        let mut values: Vec<u16> = classes.iter().flat_map(|c| c.members()).copied().collect();
        values.extend(plan.ignore);
        values.sort_unstable();
        values.dedup();
        for value in values {
            let of = |(_, class): &(usize, &crate::segment::plan::Class)| {
                class.members().contains(&value)
            };
            let mut lists: Vec<usize> =
                classes.iter().enumerate().filter(of).map(|c| c.0).collect();
            lists.extend(judged.filter(|_| plan.ignore != Some(value)));
            let at = wanted.groups.iter().position(|group| *group == lists);
            let at = at.unwrap_or_else(|| {
                wanted.groups.push(lists);
                wanted.groups.len() - 1
            });
            // There are no more groups than labels.
            wanted.group[usize::from(value)] = at as u16;
        }
        wanted
    }

    /// Places in storage of voxels of each list, in order, spread evenly over all of it.
    pub(super) fn sample(&self, id: &str, labels: &[u16]) -> Vec<Vec<u32>> {
        let mut of_group = vec![0usize; self.groups.len()];
        for &label in labels {
            of_group[usize::from(self.group[usize::from(label)])] += 1;
        }
        let mut lists: Vec<List> = (0..self.lists)
            .map(|list| {
                let groups = self.groups.iter().zip(&of_group);
                let has = groups.filter(|(group, _)| group.contains(&list));
                List::new(
                    has.map(|(_, n)| n).sum(),
                    Rng::new(SEED, case_id(id), list as u32),
                )
            })
            .collect();
        for (at, &label) in labels.iter().enumerate() {
            for &list in &self.groups[usize::from(self.group[usize::from(label)])] {
                lists[list].see(at as u32);
            }
        }
        lists.into_iter().map(|list| list.taken).collect()
    }
}

/// Takes one voxel of each of [`MOST`] equal parts of all that it will see.
struct List {
    all: usize,
    seen: usize,
    next: usize,
    taken: Vec<u32>,
    rng: Rng,
}

impl List {
    fn new(all: usize, rng: Rng) -> Self {
        let mut list = Self {
            all,
            seen: 0,
            next: 0,
            taken: Vec::with_capacity(all.min(MOST)),
            rng,
        };
        list.advance();
        list
    }

    fn advance(&mut self) {
        let part = self.taken.len();
        self.next = if self.all <= MOST {
            part
        } else if part == MOST {
            usize::MAX
        } else {
            let place = part as f64 + f64::from(self.rng.unit());
            (place * self.all as f64 / MOST as f64) as usize
        };
    }

    fn see(&mut self, at: u32) {
        if self.seen >= self.next {
            self.taken.push(at);
            self.advance();
        }
        self.seen += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::store::tests::plan;

    #[test]
    fn small_classes_are_kept_whole_and_regions_overlap() {
        let mut plan = plan([1, 4, 4]);
        plan.classes[1].values = vec![1, 2];
        plan.ignore = Some(9);
        let wanted = Wanted::new(&plan);
        let labels = [0, 2, 1, 9, 2, 0, 7];
        let found = wanted.sample("a", &labels);
        assert_eq!(found[0], [1, 2, 4]);
        assert_eq!(found[1], [1, 4]);
        assert_eq!(found[2], [0, 1, 2, 4, 5, 6]);
    }

    #[test]
    fn large_classes_are_spread_evenly() {
        let plan = plan([1, 4, 4]);
        let wanted = Wanted::new(&plan);
        let labels: Vec<u16> = (0..45_000).map(|i| u16::from(i % 3 == 0)).collect();
        let found = wanted.sample("a", &labels);
        assert_eq!(found.len(), 2);
        assert!(found[1].is_empty());
        let places = &found[0];
        assert!((9_990..=MOST).contains(&places.len()), "{}", places.len());
        assert!(places.iter().all(|p| p % 3 == 0) && places.is_sorted());
        let mut distinct = places.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), places.len());
        for part in 0..9 {
            let inside = |p: &&u32| (5000 * part..5000 * (part + 1)).contains(*p);
            let n = places.iter().filter(inside).count();
            assert!((1050..=1170).contains(&n), "{part} {n}");
        }
        assert_ne!(wanted.sample("b", &labels)[0], *places);
        assert_eq!(wanted.sample("a", &labels)[0], *places);
    }
}
