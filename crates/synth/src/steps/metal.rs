//! Metal in the body and its streaks, CT.
//!
//! Screws, clips, needles and stems of implants are rods with round ends, placed in chosen structures and
//! turned at random; attenuation from titanium's to steel's at 70 keV (0.25 and 0.64 mm^-1; Hubbell and
//! Seltzer, NISTIR 5632, 1995). The values are clipped to what a scanner stores, 12 bits of HU.
//!
//! The streaks are a stand-in for a simulated scan, made from the metal alone: of each slice the path
//! length through metal along parallel rays gives what beam hardening takes off a ray and the noise of
//! the few photons that get through, and both are reconstructed by filtered back-projection and added
//! (`streaks`). So there are dark bands between metals and along their long sides and fine streaks
//! about them, as De Man et al. describe (IEEE Transactions on Nuclear Science 46:691, 1999,
//! doi:10.1109/23.775600). What the rest of the body takes off a ray is one number for all rays.
//!
//! Draws whether, how many pieces, of each the kind, place, direction and size, and of the image hardening,
//! photons and a seed. Labels stay as they are. The ranges are chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "metal"
//! of = ["vertebrae*", "hip"]         # classes, names or values; none: all that is learnt
//! p = 0.1
//! count = [1, 4]
//! kinds = ["screw", "clip", "needle", "stem"]
//! attenuation_mm = [0.25, 0.64]
//! hardening = [0.01, 0.05]           # share of its line integral that a ray of 1 lacks
//! photons = [2e4, 2e5]               # in each ray, before the body
//! body = 4.0                         # line integral of the body without metal
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_scanner::attenuation::to_hu;
use crossmod_volume::rng::Rng;
use glam::{DVec3, Vec3};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::axial::Axial;
use super::chosen::chosen;
use super::encoding::Encoding;
use super::place::{turn, voxels_within};
use super::{Apply, Random};
use crate::error::{counts, probability, range};
use crate::{Error, Result, Scene};
use streaks::{Beam, streaks};

mod streaks;

/// What a scanner stores, HU.
const STORED_HU: [f32; 2] = [-1024.0, 3071.0];

/// When, where and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metal {
    /// Classes, names or values; none: all that is learnt.
    pub of: Vec<String>,
    /// Probability of any.
    pub p: f32,
    /// Range of the number of pieces.
    pub count: [usize; 2],
    /// Kinds, each as likely.
    pub kinds: Vec<Kind>,
    /// Range of the linear attenuation.
    pub attenuation_mm: [f32; 2],
    /// Range of the share of its line integral that a ray of 1 through metal lacks.
    pub hardening: [f32; 2],
    /// Range of the photons in each ray before the body.
    pub photons: [f32; 2],
    /// The line integral of the body without metal.
    pub body: f32,
}

/// A kind of metal, by its size: a range of lengths and one of radii, mm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Of the spine: 30 to 60 long, radius 2 to 4.
    Screw,
    /// Of surgery: 5 to 9 long, radius 0.6 to 1.
    Clip,
    /// Of biopsy or ablation: 60 to 150 long, radius 0.6 to 1.
    Needle,
    /// Of an implant: 60 to 130 long, radius 4 to 8.
    Stem,
}

impl Default for Metal {
    /// Chosen.
    fn default() -> Self {
        Self {
            of: Vec::new(),
            p: 0.1,
            count: [1, 4],
            kinds: vec![Kind::Screw, Kind::Clip, Kind::Needle, Kind::Stem],
            attenuation_mm: [0.25, 0.64],
            hardening: [0.01, 0.05],
            photons: [2e4, 2e5],
            body: 4.0,
        }
    }
}

impl Kind {
    fn length_mm(self) -> [f32; 2] {
        match self {
            Self::Screw => [30.0, 60.0],
            Self::Clip => [5.0, 9.0],
            Self::Needle => [60.0, 150.0],
            Self::Stem => [60.0, 130.0],
        }
    }

    fn radius_mm(self) -> [f32; 2] {
        match self {
            Self::Screw => [2.0, 4.0],
            Self::Clip | Self::Needle => [0.6, 1.0],
            Self::Stem => [4.0, 8.0],
        }
    }
}

/// The metal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetalDraw {
    pieces: Vec<Piece>,
    attenuation_mm: f32,
    beam: Beam,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    kind: Kind,
    /// The ends of its axis, world mm.
    ends_mm: [DVec3; 2],
    radius_mm: f32,
}

impl Random for Metal {
    type Draw = MetalDraw;

    fn load(&mut self) -> Result<()> {
        probability("metal.p", self.p)?;
        counts("metal.count", self.count, 0..=100)?;
        range("metal.attenuation_mm", self.attenuation_mm, 0.0..=10.0)?;
        range("metal.hardening", self.hardening, 0.0..=1.0)?;
        range("metal.photons", self.photons, 1.0..=1e12)?;
        range("metal.body", [self.body; 2], 0.0..=20.0)?;
        if self.kinds.is_empty() {
            return Err(Error::Recipe(
                "expected metal.kinds to hold a kind, found none; leave the key out for all".into(),
            ));
        }
        Ok(())
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<MetalDraw> {
        let given = rng.chance(self.p);
        let number = self.count[0] + rng.below(self.count[1] - self.count[0] + 1);
        let attenuation_mm = rng.uniform(self.attenuation_mm[0], self.attenuation_mm[1]);
        let [low, high] = self.photons.map(f32::ln);
        let beam = Beam {
            hardening: rng.uniform(self.hardening[0], self.hardening[1]),
            photons: rng.uniform(low, high).exp(),
            body: self.body,
            seed: u64::from(rng.bits()) << 32 | u64::from(rng.bits()),
        };
        let mut parents: Vec<u16> = chosen(&self.of, scene).into_values().flatten().collect();
        parents.sort_unstable();
        let middles = if given && number > 0 {
            voxels_within(scene, &parents, number, rng)
        } else {
            Vec::new()
        };
        let pieces = middles.into_iter().map(|middle| {
            let middle = DVec3::from_array(scene.grid().world(middle.map(|v| v as f64)));
            let kind = self.kinds[rng.below(self.kinds.len())];
            let mut within = |range: [f32; 2]| rng.uniform(range[0], range[1]);
            let (length, radius_mm) = (within(kind.length_mm()), within(kind.radius_mm()));
            let half = (turn(rng) * Vec3::X).as_dvec3() * (0.5 * f64::from(length));
            Piece {
                kind,
                ends_mm: [middle - half, middle + half],
                radius_mm,
            }
        });
        let pieces = pieces.collect();
        Ok(MetalDraw {
            pieces,
            attenuation_mm,
            beam,
        })
    }
}

impl Apply for MetalDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let image = scene.painted()?;
        if self.pieces.is_empty() {
            return Ok(());
        }
        let grid = image.grid().clone();
        let Axial { along, across } = Axial::of(&grid);
        let mut scanned = Encoding::of(along, across[0]).scan(image);
        let [_, rows, columns] = scanned.shape;
        let spacing_mm = [scanned.spacing_mm[1], scanned.spacing_mm[2]];
        let metal_hu = to_hu(self.attenuation_mm);
        let planes = scanned.data.par_chunks_mut(rows * columns).enumerate();
        planes.for_each(|(slice, plane)| {
            let place = |row: f64, column: f64| {
                let mut voxel = [0.0; 3];
                voxel[along] = slice as f64;
                voxel[across[0]] = column;
                voxel[across[1]] = row;
                DVec3::from_array(grid.world(voxel))
            };
            let metal = self.shares([rows, columns], place);
            if metal.is_empty() {
                return;
            }
            streaks(
                plane,
                [rows, columns],
                spacing_mm,
                &metal,
                self.attenuation_mm,
                &self.beam,
                slice as u64,
            );
            for &(at, share) in &metal {
                plane[at] += share * (metal_hu - plane[at]);
            }
            let [low, high] = STORED_HU;
            plane.iter_mut().for_each(|v| *v = v.clamp(low, high));
        });
        scanned.put(image);
        Ok(())
    }
}

impl MetalDraw {
    /// The pixels of a slice with metal in them and how much of each it fills, by nine points.
    fn shares(
        &self,
        [rows, columns]: [usize; 2],
        place: impl Fn(f64, f64) -> DVec3,
    ) -> Vec<(usize, f32)> {
        // Rods that do not come near the slice need no look at its pixels.
        let reach = place(1.0 / 3.0, 1.0 / 3.0).distance(place(0.0, 0.0));
        let (origin, row, column) = (place(0.0, 0.0), place(1.0, 0.0), place(0.0, 1.0));
        let normal = (row - origin).cross(column - origin).normalize();
        let near: Vec<&Piece> = self
            .pieces
            .iter()
            .filter(|piece| {
                let heights = piece.ends_mm.map(|end| normal.dot(end - origin));
                let radius = f64::from(piece.radius_mm);
                heights[0].min(heights[1]) <= radius && heights[0].max(heights[1]) >= -radius
            })
            .collect();
        if near.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for at in 0..rows * columns {
            let (row, column) = ((at / columns) as f64, (at % columns) as f64);
            let middle = place(row, column);
            let depth = |at: DVec3| near.iter().map(|p| p.depth_mm(at)).fold(f64::MIN, f64::max);
            if depth(middle) < -reach - 1e-9 {
                continue;
            }
            let points = (0..9).filter(|i| {
                let (down, right) = (f64::from(i / 3 - 1) / 3.0, f64::from(i % 3 - 1) / 3.0);
                depth(place(row + down, column + right)) >= 0.0
            });
            let points = points.count();
            if points > 0 {
                found.push((at, points as f32 / 9.0));
            }
        }
        found
    }
}

impl Piece {
    /// How deep within its surface a place is; negative outside.
    fn depth_mm(&self, at: DVec3) -> f64 {
        let [from, to] = self.ends_mm;
        let axis = to - from;
        let along = ((at - from).dot(axis) / axis.length_squared()).clamp(0.0, 1.0);
        f64::from(self.radius_mm) - at.distance(from + axis * along)
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    fn water(shape: [usize; 3]) -> Scene {
        let mut scene = trial::scene(shape, [1.0, 1.0, 2.0], |[x, _, _]| u16::from(x > 2));
        scene.image = Some(trial::image(&scene, |_| 0.0));
        scene
    }

    fn metal(kind: Kind) -> Metal {
        Metal {
            p: 1.0,
            count: [1, 1],
            kinds: vec![kind],
            ..Metal::default()
        }
    }

    #[test]
    fn a_rod_is_where_it_was_drawn_and_streaks_are_where_it_is() {
        let (draw, after) = trial::done(&metal(Kind::Screw), &water([64, 64, 40]), 7);
        let piece = &draw.pieces[0];
        let length = piece.ends_mm[0].distance(piece.ends_mm[1]);
        assert!((30.0..60.0).contains(&length) && (2.0..4.0).contains(&piece.radius_mm));
        let image = after.image.expect("an image");
        let mut slices = [(false, false); 40];
        for ([x, y, z], &hu) in trial::voxels([64, 64, 40]).zip(image.data()) {
            let depth = piece.depth_mm(DVec3::new(x as f64, y as f64, 2.0 * z as f64));
            if depth > 1.0 {
                assert_eq!(hu, 3071.0);
            }
            if depth > 0.5 {
                slices[z].0 = true;
            }
            slices[z].1 |= depth < -3.0 && hu != 0.0;
            assert!((-1024.0..=3071.0).contains(&hu));
        }
        assert!(slices.iter().any(|s| s.0) && slices.iter().any(|s| !s.1));
        assert!(slices.iter().all(|(metal, streaks)| !metal || *streaks));
    }

    #[test]
    fn two_stems_have_a_dark_band_between_them() {
        // Along the body, 60 mm apart in x.
        let rod = |x: f64| Piece {
            kind: Kind::Stem,
            ends_mm: [DVec3::new(x, 48.0, -50.0), DVec3::new(x, 48.0, 100.0)],
            radius_mm: 7.0,
        };
        let draw = MetalDraw {
            pieces: vec![rod(18.0), rod(78.0)],
            attenuation_mm: 0.4,
            beam: Beam {
                hardening: 0.05,
                photons: 1e12,
                body: 0.0,
                seed: 1,
            },
        };
        let mut scene = water([97, 97, 3]);
        draw.apply(&mut scene).expect("applied");
        let image = scene.image.expect("an image");
        let hu = |x, y| image.data()[image.grid().index([x, y, 1])];
        assert_eq!(hu(18, 48), 3071.0);
        let between = hu(48, 48);
        assert!(between < -100.0, "{between}");
        assert!(between < hu(48, 10) - 100.0 && between < hu(48, 86) - 100.0);
        // As the rods are alike, so is the picture on either side.
        assert!((hu(40, 60) - hu(56, 60)).abs() < 0.1 * between.abs());
    }

    #[test]
    fn how_many_and_which_follow_the_recipe() {
        let scene = water([10, 10, 10]);
        let (mut any, mut number, mut screws) = (0, 0, 0);
        for case in 0..1000 {
            let step = Metal {
                p: 0.4,
                ..Metal::default()
            };
            let draw = step
                .draw(&scene, &mut Rng::new(1, case, 0))
                .expect("a draw");
            any += usize::from(!draw.pieces.is_empty());
            number += draw.pieces.len();
            screws += draw.pieces.iter().filter(|p| p.kind == Kind::Screw).count();
        }
        assert!((340..460).contains(&any), "{any}");
        let mean = number as f64 / any as f64;
        assert!((mean - 2.5).abs() < 0.2, "{mean}");
        assert!((screws as f64 / number as f64 - 0.25).abs() < 0.05);
    }
}
