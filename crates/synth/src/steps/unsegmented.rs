//! What nobody segmented becomes three classes, so that every voxel is of one.
//!
//! With a scan, as "Learning CT segmentation from label masks only" (Tsanda et al., 2024) does it: voxels
//! without a label are air below a threshold, and the rest is parted in two by 2-means, here at its exact
//! optimum (in one dimension that of Otsu, IEEE Trans. Systems, Man, and Cybernetics 9:62, 1979,
//! doi:10.1109/TSMC.1979.4310076) on a histogram. The paper does not state its threshold: −400 HU is
//! chosen. Brighter voxels than `most_hu` count as that: else bone that nobody segmented would be one of
//! the two classes, and all else the other.
//!
//! Without a scan, from labels alone: in each slice across the body the convex hull of the labels within
//! `reach_mm` along it, grown by a drawn margin, is the body (no arms); its outermost part, of a drawn
//! thickness, is fat, then comes a wall of soft tissue, and what is about the organs inside is fat and soft
//! tissue in lobes, of a drawn share and size; all else is air. The ranges are chosen. Where a case holds a
//! structure of `unless`, the body is among its labels, and nothing is done.
//!
//! New values have target 0; their classes are named in `classes`, which the tables know; air that is named
//! `background` stays without a label, as it is for an MR image. Draws the
//! threshold between the classes (it follows from the scan), or margin and thickness. Intensities in HU,
//! lengths in mm.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "unsegmented"
//! classes = ["air", "fat", "soft tissue"]
//! air_hu = -400.0            # with a scan: below it is air
//! most_hu = 200.0
//! margin_mm = [20.0, 45.0]   # without: from the labels' hull to the skin
//! fat_mm = [8.0, 25.0]       # of which so much is fat
//! reach_mm = 60.0
//! unless = ["around the brain*"]   # SynthSeg's label maps hold the whole head
//! wall_mm = [8.0, 25.0]      # and then so much soft tissue
//! inner_fat = [0.0, 0.9]     # share of fat about the organs, in lobes
//! lobe_mm = [20.0, 60.0]
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::chosen::chosen;
use super::lattice::Lattice;
use super::{Apply, Random};
use crate::error::range;
use crate::{Error, Result, Scene, Structure};

mod hull;
mod two_means;

use two_means::Histogram;

/// Thresholds, names and, without a scan, lengths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Unsegmented {
    /// Classes of air and of the darker and the brighter rest.
    pub classes: [String; 3],
    /// With a scan: voxels below are air.
    pub air_hu: f32,
    /// With a scan: brighter voxels count as this where the rest is parted.
    pub most_hu: f32,
    /// Without a scan: range of the distance from the labels' hull to the skin.
    pub margin_mm: [f32; 2],
    /// Without a scan: range of the thickness of the fat below the skin.
    pub fat_mm: [f32; 2],
    /// Without a scan: labels so far along the body shape a slice's hull.
    pub reach_mm: f32,
    /// Without a scan: structures, as a step's `of` names them, that tell that the whole body has
    /// labels.
    pub unless: Vec<String>,
    /// Without a scan: range of the thickness of the wall of soft tissue within that fat.
    pub wall_mm: [f32; 2],
    /// Without a scan: range of the share of fat about the organs within the wall.
    pub inner_fat: [f32; 2],
    /// Without a scan: range of the size of that fat's lobes.
    pub lobe_mm: [f32; 2],
}

impl Default for Unsegmented {
    /// Chosen.
    fn default() -> Self {
        Self {
            classes: ["air", "fat", "soft tissue"].map(str::to_owned),
            air_hu: -400.0,
            most_hu: 200.0,
            margin_mm: [20.0, 45.0],
            fat_mm: [8.0, 25.0],
            reach_mm: 60.0,
            unless: vec!["around the brain*".into()],
            wall_mm: [8.0, 25.0],
            inner_fat: [0.0, 0.9],
            lobe_mm: [20.0, 60.0],
        }
    }
}

/// How the classes are told apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsegmentedDraw {
    classes: [String; 3],
    by: By,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum By {
    /// By the scan's intensities.
    Scan {
        /// Below it is air.
        air_hu: f32,
        /// From it on is the brightest class.
        split_hu: f32,
    },
    /// All of the body has labels.
    Labels,
    /// By where the labels are.
    Hull {
        margin_mm: f32,
        fat_mm: f32,
        reach_mm: f32,
        inside: Inside,
    },
}

/// What is about the organs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inside {
    wall_mm: f32,
    /// Share of fat.
    fat: f32,
    /// It is fat where this is large.
    lobes: Lattice,
}

impl Inside {
    /// Whether each voxel of a grid is fat.
    fn is_fat(&self, grid: &Grid) -> Vec<bool> {
        let [nx, ny, _] = grid.shape();
        let (numbers, growth) = (self.lobes.numbers(0), self.lobes.growth(grid.shape()));
        let mut sorted = numbers.clone();
        sorted.sort_by(f32::total_cmp);
        let least = ((1.0 - self.fat) * sorted.len() as f32) as usize;
        let least = sorted.get(least).copied().unwrap_or(f32::INFINITY);
        let mut fat = vec![false; grid.len()];
        let slices = fat.par_chunks_mut(nx * ny).enumerate();
        slices.for_each_init(Vec::new, |field, (z, slice)| {
            field.resize(slice.len(), 0.0);
            growth.slice(&numbers, z, field);
            for (fat, value) in slice.iter_mut().zip(&*field) {
                *fat = *value >= least;
            }
        });
        fat
    }
}

impl Random for Unsegmented {
    type Draw = UnsegmentedDraw;

    fn load(&mut self) -> Result<()> {
        range("unsegmented.air_hu", [self.air_hu; 2], -1e6..=1e6)?;
        range("unsegmented.most_hu", [self.most_hu; 2], self.air_hu..=1e9)?;
        range("unsegmented.margin_mm", self.margin_mm, 0.0..=500.0)?;
        range("unsegmented.fat_mm", self.fat_mm, 0.0..=500.0)?;
        range("unsegmented.reach_mm", [self.reach_mm; 2], 0.0..=5000.0)?;
        range("unsegmented.wall_mm", self.wall_mm, 0.0..=500.0)?;
        range("unsegmented.inner_fat", self.inner_fat, 0.0..=1.0)?;
        range("unsegmented.lobe_mm", self.lobe_mm, 1.0..=5000.0)?;
        let [air, dark, bright] = &self.classes;
        if air == dark || air == bright || dark == bright {
            return Err(Error::Recipe(format!(
                "expected three names as unsegmented.classes, found {:?}",
                self.classes
            )));
        }
        Ok(())
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<UnsegmentedDraw> {
        let margin_mm = rng.uniform(self.margin_mm[0], self.margin_mm[1]);
        let fat_mm = rng.uniform(self.fat_mm[0], self.fat_mm[1]);
        let by = match &scene.scan {
            Some(scan) => {
                let unlabelled = |i: usize| scene.labels.data()[i] == 0;
                let rest = Histogram::of(scan.data(), |i, v| {
                    (unlabelled(i) && v >= self.air_hu).then(|| v.min(self.most_hu))
                });
                By::Scan {
                    air_hu: self.air_hu,
                    split_hu: rest.two_means().map_or(self.air_hu, |two| two.threshold),
                }
            }
            None if !self.unless.is_empty() && !chosen(&self.unless, scene).is_empty() => By::Labels,
            None => {
                let within = |[low, high]: [f32; 2], rng: &mut Rng| rng.uniform(low, high);
                let (wall_mm, fat) = (within(self.wall_mm, rng), within(self.inner_fat, rng));
                let (grid, lobe_mm) = (scene.grid(), within(self.lobe_mm, rng));
                By::Hull {
                    margin_mm,
                    fat_mm,
                    reach_mm: self.reach_mm,
                    inside: Inside {
                        wall_mm,
                        fat,
                        lobes: Lattice::spaced(grid.shape(), grid.spacing_mm(), lobe_mm, rng),
                    },
                }
            }
        };
        Ok(UnsegmentedDraw {
            classes: self.classes.clone(),
            by,
        })
    }
}

impl Apply for UnsegmentedDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        if self.by == By::Labels {
            return Ok(());
        }
        let mut values = [0; 3];
        for (value, class) in values.iter_mut().zip(&self.classes) {
            if class == "background" {
                continue;
            }
            *value = scene.new_value()?;
            let structure = Structure {
                name: class.clone(),
                class: class.clone(),
                mirror: None,
                target: 0,
            };
            scene.structures.insert(*value, structure);
        }
        let [air, dark, bright] = values;
        match &self.by {
            By::Labels => {}
            &By::Scan { air_hu, split_hu } => {
                let scan = scene.scan.as_ref().ok_or_else(|| {
                    Error::Recipe(
                        "expected the scan that unsegmented was drawn from, found none; give it \
                         again"
                            .into(),
                    )
                })?;
                let labels = scene.labels.data_mut().par_iter_mut();
                labels.zip(scan.data()).for_each(|(label, &v)| {
                    if *label == 0 {
                        *label = match v {
                            v if v >= split_hu => bright,
                            v if v >= air_hu => dark,
                            // NaN too.
                            _ => air,
                        };
                    }
                });
            }
            By::Hull {
                margin_mm,
                fat_mm,
                reach_mm,
                inside,
            } => {
                let lobes = inside.is_fat(scene.grid());
                let hull = hull::Hull::of(&scene.labels, *reach_mm);
                let wall = fat_mm + inside.wall_mm;
                hull.paint(&mut scene.labels, |at, depth_mm| match depth_mm + margin_mm {
                    depth if depth < 0.0 => air,
                    depth if depth < *fat_mm => dark,
                    depth if depth >= wall && lobes[at] => dark,
                    _ => bright,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn a_scan_parts_what_is_left() {
        let mut scene = trial::scene([40, 10, 4], [2.0; 3], |[x, _, _]| u16::from(x > 30));
        scene.scan = Some(trial::image(&scene, |[x, y, _]| match x {
            0..10 => -1000.0,
            10..20 => -110.0 + y as f32,
            _ => 40.0 + y as f32,
        }));
        let (draw, after) = trial::done(&Unsegmented::default(), &scene, 1);
        let By::Scan { split_hu, .. } = draw.by else {
            panic!("{draw:?}")
        };
        // The middle between the two means.
        assert!(
            (split_hu - (-105.5 + 44.5) / 2.0).abs() < 1e-2,
            "{split_hu}"
        );
        let classes = after.classes();
        let count = |class: &str| after.labels.counts()[&classes[class][0]];
        assert_eq!(
            [count("air"), count("fat"), count("soft tissue")],
            [400, 400, 440]
        );
        assert_eq!(after.labels.counts()[&1], 360);
        for class in ["air", "fat", "soft tissue"] {
            assert_eq!(after.structure(classes[class][0]).target, 0);
        }
    }

    #[test]
    fn bone_is_no_class_of_its_own() {
        let mut scene = trial::scene([100, 10, 4], [2.0; 3], |_| 0);
        scene.scan = Some(trial::image(&scene, |[x, _, _]| match x {
            0..35 => -100.0,
            35..88 => 50.0,
            _ => 900.0,
        }));
        let (_, after) = trial::done(&Unsegmented::default(), &scene, 1);
        let fat = after.classes()["fat"][0];
        assert_eq!(after.labels.counts()[&fat], 1400);
    }

    #[test]
    fn where_the_body_has_labels_nothing_is_done() {
        let scene = trial::scene([20, 20, 4], [3.0; 3], |[x, _, _]| u16::from(x > 5));
        let step = Unsegmented {
            unless: vec!["Left organ".into()],
            ..Unsegmented::default()
        };
        let (draw, after) = trial::done(&step, &scene, 1);
        assert_eq!(draw.by, By::Labels);
        assert_eq!(after.labels, scene.labels);
        assert_eq!(after.structures, scene.structures);
    }

    #[test]
    fn air_may_stay_background() {
        let scene = trial::scene([60, 60, 4], [3.0; 3], |[x, y, _]| {
            u16::from(x.abs_diff(30) < 5 && y.abs_diff(30) < 5)
        });
        let step = Unsegmented {
            classes: ["background", "fat", "soft tissue"].map(str::to_owned),
            ..Unsegmented::default()
        };
        let (_, after) = trial::done(&step, &scene, 1);
        assert_eq!(after.labels.data()[0], 0);
        assert_eq!(
            after.structures.len(),
            scene.structures.len() + 2,
            "fat and soft tissue"
        );
        assert!(after.labels.counts()[&after.classes()["fat"][0]] > 0);
    }

    #[test]
    fn without_a_scan_a_body_is_put_about_the_labels() {
        let inside = |c: usize, n: usize| c.abs_diff(n / 2) < 5;
        let scene = trial::scene([60, 60, 12], [3.0; 3], |[x, y, _]| {
            u16::from(inside(x, 60) && inside(y, 60))
        });
        let step = Unsegmented {
            margin_mm: [30.0; 2],
            fat_mm: [12.0; 2],
            inner_fat: [0.0; 2],
            ..Unsegmented::default()
        };
        let (_, after) = trial::done(&step, &scene, 1);
        let classes = after.classes();
        let at = |x: usize| after.labels.data()[after.grid().index([x, 30, 6])];
        let value = |class: &str| classes[class][0];
        // The hull ends at x = 26 · 3 mm; skin 30 mm before, fat 12 mm thick.
        let row: Vec<u16> = [14, 17, 18, 19, 21, 23, 26].map(at).to_vec();
        assert_eq!(row[0], value("air"));
        assert_eq!(row[1..4], [value("fat"); 3]);
        assert_eq!(row[4..6], [value("soft tissue"); 2]);
        assert_eq!(row[6], 1);
    }

    #[test]
    fn about_the_organs_inside_the_wall_is_fat_in_lobes() {
        let inside = |c: usize| c.abs_diff(40) < 30 && c.abs_diff(40) > 27;
        let scene = trial::scene([80, 80, 20], [3.0; 3], |[x, y, _]| {
            u16::from(inside(x) && inside(y))
        });
        let share = |fat: f32| {
            let step = Unsegmented {
                margin_mm: [30.0; 2],
                fat_mm: [12.0; 2],
                wall_mm: [18.0; 2],
                inner_fat: [fat; 2],
                lobe_mm: [15.0; 2],
                ..Unsegmented::default()
            };
            let (_, after) = trial::done(&step, &scene, 1);
            let value = after.classes()["fat"][0];
            let at = |x: usize, y: usize| after.labels.data()[after.grid().index([x, y, 10])];
            // The wall lies between 12 and 30 mm from the skin, which is 30 mm before x = 11.
            assert!((6..10).all(|x| at(x, 40) != value) && at(3, 40) == value);
            let square = (20..60).flat_map(|x| (20..60).map(move |y| (x, y)));
            let fatty = square.filter(|&(x, y)| at(x, y) == value).count();
            fatty as f32 / 1600.0
        };
        assert_eq!(share(0.0), 0.0);
        let (some, most) = (share(0.5), share(0.9));
        assert!((0.25..0.75).contains(&some) && most > 0.85, "{some} {most}");
    }

    #[test]
    fn nothing_left_or_nothing_known_is_no_error() {
        let full = trial::scene([4, 4, 4], [1.0; 3], |_| 1);
        let (_, after) = trial::done(&Unsegmented::default(), &full, 1);
        assert_eq!(after.labels, full.labels);
        let mut empty = trial::scene([4, 4, 4], [1.0; 3], |_| 0);
        let (_, after) = trial::done(&Unsegmented::default(), &empty, 1);
        assert!(after.classes().contains_key("air"));
        for (hu, class) in [(-3000.0, "air"), (40.0, "soft tissue")] {
            empty.scan = Some(trial::image(&empty, |_| hu));
            let (_, after) = trial::done(&Unsegmented::default(), &empty, 1);
            assert_eq!(after.classes().keys().collect::<Vec<_>>(), [class]);
        }
    }
}
