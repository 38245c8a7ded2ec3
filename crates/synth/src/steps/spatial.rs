//! Turns, stretches, shears and bends a scene, and cuts a patch out of it.
//!
//! As SynthSeg (Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789; values of its training script): a voxel of the result lies where
//! `scaling · shearing · rotation` about the scene's centre takes the voxel moved by an elastic
//! displacement. That follows, for one unit of time, a velocity that is normal on a small grid, grown
//! linearly to half the scene's sides and squared seven times ([`Flow`](crossmod_volume::space::Flow)).
//! Labels take the nearest voxel's value; scan and image are linear. Only voxels of the patch are
//! computed.
//!
//! Unlike there, velocities are squared in voxels of the half-size grid and only then turned into
//! those of the scene (the code squares them as if both were the same), and everything is in
//! millimetres along the scene's axes, which for its 1 mm label maps is no difference.
//!
//! Draws scale, angles, shears and translation per axis, the spread and the seed of the velocities,
//! and the patch: a trainer's ([`Scene::patch`](crate::Scene::patch)), else `crop`, else all.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "spatial"
//! scaling = 0.2             # each axis by 0.8 to 1.2
//! rotation_deg = 15.0       # about each axis by -15 to 15
//! shearing = 0.012
//! translation_mm = 0.0
//! elastic_sd_mm = 4.0       # of the velocities, at most
//! elastic_scale = 0.04      # the small grid's side by the scene's
//! crop = [160, 160, 160]    # where nobody asks for another patch
//! foreground = 0.0          # probability of a patch about something learnt
//! hold_edges = true         # what lies beyond the scene is as its edge; else background
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use crossmod_volume::space::Frame;
use crossmod_volume::{Image, Labels};
use glam::{DMat3, DVec3};
use serde::{Deserialize, Serialize};

use super::lattice::Lattice;
use super::{Apply, Random};
use crate::error::{counts, probability, range};
use crate::{Result, Scene};
use pull::Pull;

mod elastic;
mod patch;
mod pull;

/// Ranges, each from minus to plus (scaling: about 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spatial {
    /// Greatest change of scale of an axis.
    pub scaling: f32,
    /// Greatest angle about an axis.
    pub rotation_deg: f32,
    /// Greatest shear of one axis along another.
    pub shearing: f32,
    /// Greatest translation along an axis.
    pub translation_mm: f32,
    /// Greatest standard deviation of the elastic velocities; 0 for none.
    pub elastic_sd_mm: f32,
    /// Side of the velocities' small grid by the scene's.
    pub elastic_scale: f32,
    /// Voxels (x, y, z) to cut to where no trainer asks for others.
    pub crop: Option<[usize; 3]>,
    /// Probability that a cut is about a voxel that is learnt, of a random one of the targets.
    pub foreground: f32,
    /// Whether what a voxel shows from beyond the scene is the scene's edge, as published, or
    /// background.
    pub hold_edges: bool,
}

impl Default for Spatial {
    /// SynthSeg's values, not cropped.
    fn default() -> Self {
        Self {
            scaling: 0.2,
            rotation_deg: 15.0,
            shearing: 0.012,
            translation_mm: 0.0,
            elastic_sd_mm: 4.0,
            elastic_scale: 0.04,
            crop: None,
            foreground: 0.0,
            hold_edges: true,
        }
    }
}

/// Where each voxel of a patch lies in the scene.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpatialDraw {
    scale: [f32; 3],
    rotation_deg: [f32; 3],
    /// Of x along y and z, of y along x and z, of z along x and y.
    shear: [f32; 6],
    translation_mm: [f32; 3],
    velocities_mm: Option<Lattice>,
    frame: Frame,
    hold_edges: bool,
}

impl Random for Spatial {
    type Draw = SpatialDraw;

    const CUTS: bool = true;

    fn load(&mut self) -> Result<()> {
        range("spatial.scaling", [self.scaling; 2], 0.0..=0.9)?;
        range("spatial.rotation_deg", [self.rotation_deg; 2], 0.0..=180.0)?;
        range("spatial.shearing", [self.shearing; 2], 0.0..=0.3)?;
        range(
            "spatial.translation_mm",
            [self.translation_mm; 2],
            0.0..=1e4,
        )?;
        range(
            "spatial.elastic_sd_mm",
            [self.elastic_sd_mm; 2],
            0.0..=100.0,
        )?;
        range("spatial.elastic_scale", [self.elastic_scale; 2], 1e-3..=0.5)?;
        probability("spatial.foreground", self.foreground)?;
        for n in self.crop.into_iter().flatten() {
            counts("spatial.crop", [n; 2], 1..=4096)?;
        }
        Ok(())
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<SpatialDraw> {
        let about =
            |centre: f32, most: f32, rng: &mut Rng| rng.uniform(centre - most, centre + most);
        let scale = [(); 3].map(|()| about(1.0, self.scaling, rng));
        let rotation_deg = [(); 3].map(|()| about(0.0, self.rotation_deg, rng));
        let shear = [(); 6].map(|()| about(0.0, self.shearing, rng));
        let translation_mm = [(); 3].map(|()| about(0.0, self.translation_mm, rng));
        let sd = rng.uniform(0.0, self.elastic_sd_mm);
        let velocities = Lattice::draw(scene.grid().shape(), self.elastic_scale, sd, rng);
        let mut draw = SpatialDraw {
            scale,
            rotation_deg,
            shear,
            translation_mm,
            velocities_mm: (self.elastic_sd_mm > 0.0).then_some(velocities),
            frame: Frame::whole(scene.grid()),
            hold_edges: self.hold_edges,
        };
        if let Some(shape) = scene.patch.or(self.crop) {
            let about = match rng.chance(self.foreground) {
                true => patch::learnt(scene, rng),
                false => None,
            };
            let about = about.map(|voxel| draw.lands(scene, voxel));
            draw.frame = patch::frame(scene.grid().shape(), shape, about, rng);
        }
        Ok(draw)
    }
}

impl SpatialDraw {
    /// Takes offsets from the scene's centre to offsets from where they are taken from, mm along the
    /// scene's axes.
    fn matrix(&self) -> DMat3 {
        let [x, y, z] = self.rotation_deg.map(|a| f64::from(a).to_radians());
        let rotation =
            DMat3::from_rotation_x(x) * DMat3::from_rotation_y(y) * DMat3::from_rotation_z(z);
        let [xy, xz, yx, yz, zx, zy] = self.shear.map(f64::from);
        let shearing = DMat3::from_cols(
            DVec3::new(1.0, yx, zx),
            DVec3::new(xy, 1.0, zy),
            DVec3::new(xz, yz, 1.0),
        );
        let scaling = DMat3::from_diagonal(DVec3::from_array(self.scale.map(f64::from)));
        scaling * shearing * rotation
    }

    /// The same in voxels, and the centre that it is about.
    fn in_voxels(&self, scene: &Scene) -> (DMat3, DVec3) {
        let spacing = DVec3::from_array(scene.grid().spacing_mm());
        let to_mm = DMat3::from_diagonal(spacing);
        let to_voxels = DMat3::from_diagonal(spacing.recip());
        let last = scene.grid().shape().map(|n| (n - 1) as f64);
        (
            to_voxels * self.matrix() * to_mm,
            DVec3::from_array(last) / 2.0,
        )
    }

    /// Translation, voxels.
    fn shift(&self, scene: &Scene) -> DVec3 {
        let mm = DVec3::from_array(self.translation_mm.map(f64::from));
        mm / DVec3::from_array(scene.grid().spacing_mm())
    }

    /// Where a voxel of the scene comes to lie, but for the elastic part.
    fn lands(&self, scene: &Scene, voxel: [usize; 3]) -> [f64; 3] {
        let (matrix, centre) = self.in_voxels(scene);
        let voxel = DVec3::from_array(voxel.map(|v| v as f64));
        let from = voxel - centre - self.shift(scene);
        (matrix.inverse() * from + centre).to_array()
    }
}

impl Apply for SpatialDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let grid = scene.grid().clone();
        let target = self.frame.grid(&grid)?;
        let (matrix, centre) = self.in_voxels(scene);
        let velocities = self.velocities_mm.as_ref();
        let elastic = velocities.map(|v| elastic::Elastic::new(v, &grid, self.frame));
        let pull = Pull {
            shape: grid.shape(),
            frame: self.frame,
            matrix,
            centre,
            shift: self.shift(scene),
            elastic: elastic.transpose()?,
            hold_edges: self.hold_edges,
        };
        for image in [&mut scene.scan, &mut scene.image] {
            if let Some(old) = image.take() {
                *image = Some(Image::new(target.clone(), pull.image(old.data()))?);
            }
        }
        scene.labels = Labels::new(target, pull.labels(scene.labels.data()))?;
        scene.patch = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
