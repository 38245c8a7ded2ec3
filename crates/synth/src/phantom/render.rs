//! From a record to an image and its label map.
//!
//! Every voxel is evaluated at its centre in the patient frame, so any grid can be rendered;
//! slices are independent and run in parallel, each with its own noise stream, so the bytes do
//! not depend on the number of threads.

use crossmod_volume::{Grid, Image, Labels};
use glam::{DVec3, Vec3};
use rayon::prelude::*;

use super::body::Body;
use super::shape::rotation;
use super::tissue::{Look, table};
use super::{Acquisition, Modality, PhantomDraw, texture};
use crate::Result;

/// The image of a drawn patient in one modality, with the organs' labels on the same grid.
///
/// The same record gives the same bytes. CT is in HU; MR in arbitrary units of its own scale.
///
/// # Errors
/// Where the record's field of view is empty or its noise settings are not positive.
pub fn render(draw: &PhantomDraw, modality: Modality) -> Result<(Image, Labels)> {
    let scan = draw.acquisition(modality);
    let grid = scan.fov.grid()?;
    let body = Body::new(&draw.anatomy);
    let painter = Painter {
        draw,
        scan,
        grid: &grid,
        body,
        looks: table(&scan.looks),
    };
    let slices: Vec<(Vec<f32>, Vec<u16>)> = (0..grid.shape()[2])
        .into_par_iter()
        .map(|z| painter.slice(z))
        .collect::<Result<_>>()?;
    let (values, labels): (Vec<_>, Vec<_>) = slices.into_iter().unzip();
    let image = Image::new(grid.clone(), values.concat())?;
    Ok((image, Labels::new(grid, labels.concat())?))
}

struct Painter<'a, const N: usize> {
    draw: &'a PhantomDraw,
    scan: &'a Acquisition,
    grid: &'a Grid,
    body: Body<'a>,
    looks: [Look; N],
}

impl<const N: usize> Painter<'_, N> {
    fn slice(&self, z: usize) -> Result<(Vec<f32>, Vec<u16>)> {
        let [nx, ny, _] = self.grid.shape();
        let pose = &self.draw.anatomy.pose;
        let to_patient = rotation(pose.rotation_rad).transpose();
        let origin = Vec3::from_array(pose.translation_mm);
        // The side of a cube of the voxel's volume: surfaces have all orientations.
        let width_mm = self.grid.voxel_volume_mm3().cbrt() as f32;
        let (mut values, mut labels) = (Vec::with_capacity(nx * ny), Vec::with_capacity(nx * ny));
        for y in 0..ny {
            for x in 0..nx {
                let world = self.grid.world([x as f64, y as f64, z as f64]);
                let point = to_patient * (DVec3::from_array(world).as_vec3() - origin);
                let sample = self.body.sample(point, width_mm, &self.looks);
                values.push(sample.look.mean + sample.look.texture * self.texture(point));
                labels.push(sample.label);
            }
        }
        self.scan.finish(&mut values, z, self.grid)?;
        Ok((values, labels))
    }

    /// Two octaves of texture.
    fn texture(&self, point: Vec3) -> f32 {
        let (grain, seed) = (self.scan.grain_mm, self.draw.anatomy.texture_seed);
        texture::value(point, grain, seed) + 0.5 * texture::value(point, 0.5 * grain, seed ^ 1)
    }
}
