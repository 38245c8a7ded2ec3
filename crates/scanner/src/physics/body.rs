//! From Hounsfield units to what the patient is made of.
//!
//! With one energy, everything is attenuation at 70 keV. With a spectrum a voxel is soft tissue,
//! which is water of another density, up to a threshold; above it, a mixture of that tissue and
//! cortical bone in which the share of bone grows in proportion, so that at 70 keV the attenuation
//! is the voxel's own. Implants displace tissue; iodine is added to it.

use std::borrow::Cow;

use crossmod_volume::{Grid, Image, Labels};
use serde::{Deserialize, Serialize};

use super::material::Material;
use super::{Physics, within};
use crate::attenuation::{WATER_MM, to_hu};
use crate::phantom::Object;
use crate::{Error, Result};

/// The energy of the scale of HU, keV.
const SCALE_KEV: f64 = 70.0;

/// Places along each axis of a voxel at which it is asked whether an implant fills it.
const PLACES: usize = 4;

/// An implant: a ball, or a cylinder where it has a length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metal {
    /// World (RAS) mm.
    pub centre_mm: [f64; 3],
    /// Of the ball, or of the cylinder.
    pub radius_mm: f64,
    /// Of the cylinder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_mm: Option<f64>,
    /// Of the cylinder, in the world; along z where not stated.
    #[serde(default = "along_z")]
    pub axis: [f64; 3],
    /// What it is made of.
    pub material: Material,
}

fn along_z() -> [f64; 3] {
    [0.0, 0.0, 1.0]
}

impl Metal {
    /// Refuses values that no implant can have.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        within("physics.metal.radius_mm", self.radius_mm, 0.01, 1000.0)?;
        within(
            "physics.metal.length_mm",
            self.length_mm.unwrap_or(1.0),
            0.01,
            1e4,
        )?;
        let places = self.centre_mm.iter().chain(&self.axis);
        if places.clone().any(|v| !v.is_finite()) || self.axis == [0.0; 3] {
            return Err(Error::Setting(format!(
                "expected a finite centre_mm and axis of physics.metal, found {:?} and {:?}",
                self.centre_mm, self.axis
            )));
        }
        Ok(())
    }

    fn object(&self) -> Object {
        let Some(length) = self.length_mm else {
            return Object::ball(self.centre_mm, self.radius_mm, 1.0);
        };
        let [x, y, z] = self.axis;
        let flat = x.hypot(y);
        let tube = Object::cylinder(self.centre_mm, [self.radius_mm; 2], length / 2.0, 1.0);
        // About the normal of z and the axis.
        tube.turned(
            [-y, x, if flat == 0.0 { 1.0 } else { 0.0 }],
            flat.atan2(z).to_degrees(),
        )
    }

    fn reach_mm(&self) -> f64 {
        self.radius_mm
            .hypot(self.length_mm.unwrap_or(0.0) / 2.0)
            .max(self.radius_mm)
    }
}

/// Contrast agent in a labelled organ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iodine {
    /// The organ's number in the label map.
    pub label: u16,
    /// Milligrams of iodine per millilitre that the volume does not hold yet.
    pub mg_per_ml: f64,
}

impl Iodine {
    /// Refuses values that no organ can have.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        within("physics.iodine.mg_per_ml", self.mg_per_ml, 0.0, 400.0)
    }
}

/// What is made of a volume's samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mixture {
    /// Attenuation at 70 keV of HU, mm^-1.
    Attenuation,
    /// Density of soft tissue over water's, of HU.
    Tissue {
        /// HU above which the rest is bone.
        bone_from_hu: f32,
    },
    /// Density of bone over cortical bone's, of HU.
    Bone {
        /// HU above which there is some.
        bone_from_hu: f32,
    },
    /// The samples themselves.
    Density(Material),
}

impl Mixture {
    /// The material whose thickness line integrals are, where there is one.
    pub(crate) fn material(self) -> Material {
        match self {
            Self::Attenuation | Self::Tissue { .. } => Material::Water,
            Self::Bone { .. } => Material::Bone,
            Self::Density(material) => material,
        }
    }

    /// What a sample is worth; HU below `air_hu` are air.
    pub(crate) fn value(self, sample: f32, air_hu: f32) -> f32 {
        let bone = |from: f32| {
            let full = to_hu(Material::Bone.attenuation_mm(SCALE_KEV) as f32);
            ((sample - from) / (full - from)).max(0.0)
        };
        let air = sample < air_hu || sample.is_nan();
        match self {
            Self::Density(_) => sample,
            _ if air => 0.0,
            Self::Attenuation => crate::attenuation::from_hu(sample),
            Self::Tissue { bone_from_hu } => {
                let tissue = (1.0 + sample.min(bone_from_hu) / 1000.0).max(0.0);
                tissue * (1.0 - bone(bone_from_hu)).max(0.0) / water_scale()
            }
            Self::Bone { bone_from_hu } => bone(bone_from_hu),
        }
    }
}

/// The table's water at 70 keV over the scale's: line integrals of tissue are in mm of the table's.
fn water_scale() -> f32 {
    Material::Water.attenuation_mm(SCALE_KEV) as f32 / WATER_MM
}

/// The samples of a volume, and others on its grid, with what they are made of.
///
/// # Errors
/// [`Error::Setting`] where there is iodine to add and no label map on the volume's grid.
pub(crate) fn mixtures<'a>(
    volume: &'a Image,
    labels: Option<&Labels>,
    physics: &Physics,
) -> Result<Vec<(Mixture, Cow<'a, [f32]>)>> {
    let grid = volume.grid();
    let mut tissue = Cow::Borrowed(volume.data());
    let mut others: Vec<(Material, Vec<f32>)> = Vec::new();
    if !physics.iodine.is_empty() {
        others.push((Material::Iodine, iodine(grid, labels, &physics.iodine)?));
    }
    for metal in &physics.metal {
        let known = others
            .iter()
            .position(|(material, _)| *material == metal.material);
        let known = known.unwrap_or_else(|| {
            others.push((metal.material, vec![0.0; grid.len()]));
            others.len() - 1
        });
        implant(grid, metal, tissue.to_mut(), &mut others[known].1);
    }
    if let Some(spectrum) = &physics.spectrum {
        let bone_from_hu = spectrum.bone_from_hu as f32;
        let mut all = vec![
            (Mixture::Tissue { bone_from_hu }, tissue.clone()),
            (Mixture::Bone { bone_from_hu }, tissue),
        ];
        let others = others.into_iter();
        all.extend(others.map(|(m, samples)| (Mixture::Density(m), Cow::Owned(samples))));
        return Ok(all);
    }
    for (material, samples) in others {
        let hu = 1000.0 * material.attenuation_mm(SCALE_KEV) as f32 / WATER_MM;
        for (tissue, density) in tissue.to_mut().iter_mut().zip(samples) {
            *tissue += hu * density;
        }
    }
    Ok(vec![(Mixture::Attenuation, tissue)])
}

fn iodine(grid: &Grid, labels: Option<&Labels>, organs: &[Iodine]) -> Result<Vec<f32>> {
    let Some(labels) = labels.filter(|labels| labels.grid().matches(grid, 0.1)) else {
        return Err(Error::Setting(
            "expected a label map on the volume's grid for physics.iodine, found none; give the \
             labels or remove the key"
                .into(),
        ));
    };
    let density = |label: &u16| {
        let organs = organs.iter().filter(|organ| organ.label == *label);
        organs.map(|organ| organ.mg_per_ml as f32 / 1000.0).sum()
    };
    Ok(labels.data().iter().map(density).collect())
}

/// Puts an implant in the tissue's place.
fn implant(grid: &Grid, metal: &Metal, tissue: &mut [f32], density: &mut [f32]) {
    let object = metal.object();
    let inverse = grid.voxel_from_world();
    let centre = inverse.transform_point3(glam::DVec3::from_array(metal.centre_mm));
    let spacing = grid.spacing_mm();
    let range = [0, 1, 2].map(|axis| {
        let reach = metal.reach_mm() / spacing[axis] + 1.0;
        let last = grid.shape()[axis] as f64;
        let first = (centre[axis] - reach).floor().clamp(0.0, last);
        let end = (centre[axis] + reach).ceil().clamp(first, last);
        first as usize..end as usize
    });
    let place = |i: usize| (i as f64 + 0.5) / PLACES as f64 - 0.5;
    for z in range[2].clone() {
        for y in range[1].clone() {
            for x in range[0].clone() {
                let inside = (0..PLACES.pow(3)).filter(|i| {
                    let part = [i % PLACES, i / PLACES % PLACES, i / PLACES / PLACES].map(place);
                    let at = [x as f64 + part[0], y as f64 + part[1], z as f64 + part[2]];
                    object.contains(grid.world(at))
                });
                let share = inside.count() as f32 / PLACES.pow(3) as f32;
                if share > 0.0 {
                    let i = grid.index([x, y, z]);
                    tissue[i] = (tissue[i].max(-1000.0) + 1000.0) * (1.0 - share) - 1000.0;
                    density[i] = (density[i] + share).min(1.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attenuation::from_hu;

    fn grid() -> Grid {
        Grid::with_spacing([30, 30, 20], [1.0; 3]).expect("a grid")
    }

    /// At 70 keV tissue and bone together attenuate as the voxel does.
    #[test]
    fn mixtures_keep_the_attenuation_at_the_scale() {
        let (tissue, bone) = (
            Mixture::Tissue {
                bone_from_hu: 150.0,
            },
            Mixture::Bone {
                bone_from_hu: 150.0,
            },
        );
        for hu in [-1000.0, -500.0, 0.0, 60.0, 150.0, 400.0, 1200.0, 1600.0] {
            let sum: f64 = [tissue, bone]
                .iter()
                .map(|m| f64::from(m.value(hu, -1000.0)) * m.material().attenuation_mm(70.0))
                .sum();
            let expected = f64::from(from_hu(hu));
            assert!(
                (sum - expected).abs() < 2e-3 * expected + 1e-9,
                "{hu}: {sum}"
            );
        }
        assert_eq!(bone.value(149.0, -1000.0), 0.0);
        for mixture in [tissue, bone, Mixture::Attenuation] {
            assert_eq!(mixture.value(-995.0, -990.0), 0.0);
            assert_eq!(mixture.value(f32::NAN, -990.0), 0.0);
        }
    }

    #[test]
    fn an_implant_has_its_volume_and_displaces_tissue() {
        let metal = |axis: [f64; 3], length_mm| Metal {
            centre_mm: [14.0, 15.0, 10.0],
            radius_mm: 4.0,
            length_mm,
            axis,
            material: Material::Titanium,
        };
        let volume = Image::new(grid(), vec![0.0; grid().len()]).expect("a volume");
        for (metal, expected) in [
            (metal([0.0, 0.0, 1.0], None), 4.0 / 3.0 * 64.0),
            (metal([0.0, 1.0, 0.0], Some(12.0)), 16.0 * 12.0),
            (metal([1.0, 1.0, 0.5], Some(12.0)), 16.0 * 12.0),
        ] {
            metal.check().expect("an implant");
            let along_y = metal.axis == [0.0, 1.0, 0.0];
            let physics = Physics {
                metal: vec![metal],
                spectrum: Some(super::super::Spectrum::default()),
                ..Physics::default()
            };
            let all = mixtures(&volume, None, &physics).expect("mixtures");
            assert_eq!(all.len(), 3);
            let found: f32 = all[2].1.iter().sum();
            let expected = expected * std::f32::consts::PI;
            assert!((found / expected - 1.0).abs() < 0.03, "{found} {expected}");
            for (tissue, density) in all[0].1.iter().zip(all[2].1.iter()) {
                assert!((tissue + 1000.0 * density).abs() < 0.5);
            }
            if along_y {
                assert_eq!(all[2].1[grid().index([14, 15 + 5, 10])], 1.0);
            }
        }
    }

    /// 1 mg of iodine per ml enhances by about 26 HU at 70 keV.
    #[test]
    fn iodine_enhances_its_organ_alone() {
        let volume = Image::new(grid(), vec![40.0; grid().len()]).expect("a volume");
        let mut data = vec![0u16; grid().len()];
        data[7] = 3;
        let labels = Labels::new(grid(), data).expect("labels");
        let physics = Physics {
            iodine: vec![Iodine {
                label: 3,
                mg_per_ml: 5.0,
            }],
            ..Physics::default()
        };
        let all = mixtures(&volume, Some(&labels), &physics).expect("mixtures");
        assert_eq!(all[0].0, Mixture::Attenuation);
        assert!(
            (all[0].1[7] - 40.0 - 5.0 * 26.0).abs() < 8.0,
            "{}",
            all[0].1[7]
        );
        assert_eq!(all[0].1[8], 40.0);
        assert!(mixtures(&volume, None, &physics).is_err());
    }
}
