//! DICOM segmentations read as labels: the value of a voxel is the number of its segment.
//!
//! Source: DICOM PS3.3, A.51 and C.8.20. Frames that hold nothing are often left out, so that the
//! grid is made of the places of those that are there and the spacing that the file tells. Segments
//! that overlap and fractions are refused.

use std::path::Path;

use glam::{DMat3, DMat4, DVec3};

use super::{
    element::Told,
    slice::{Instance, Place, Slice},
};
use crate::{Error, Grid, Result};

/// How far a frame may lie from its place, in steps.
const PLACE_STEPS: f64 = 0.05;

/// Voxels of the grid for each byte of the file, at most, and so many in any case: frames that hold
/// nothing are not in the file.
const MOST_FOR_EACH: usize = 512;
const MOST: usize = 1 << 26;

/// The grid, and the slice of it that each frame is.
pub(super) fn grid(instances: &[Instance]) -> Told<(Grid, Vec<usize>)> {
    let [instance] = instances else {
        return Err(format!(
            "expected one segmentation file, found {}; name one of them",
            instances.len()
        ));
    };
    let layout = &instance.layout;
    let placed: Vec<(&Slice, Place)> = instance
        .slices
        .iter()
        .map(|slice| {
            slice.place.map(|place| (slice, place)).ok_or_else(|| {
                format!(
                    "expected frames that say where they lie, found none in {}",
                    instance.name(slice)
                )
            })
        })
        .collect::<Told<_>>()?;
    let Some(&(first, place)) = placed.first() else {
        return Err("expected frames, found none".into());
    };
    let normal = place.normal();
    let heights: Vec<f64> = placed.iter().map(|(_, p)| p.position.dot(normal)).collect();
    let mut sorted = heights.clone();
    sorted.sort_by(f64::total_cmp);
    let (lowest, highest) = (sorted[0], sorted[sorted.len() - 1]);
    let nearest = sorted
        .windows(2)
        .map(|two| two[1] - two[0])
        .filter(|&step| step > 1e-3)
        .fold(f64::INFINITY, f64::min);
    let told = first.thickness.filter(|&t| t <= nearest * 1.01);
    let step = told.unwrap_or(if nearest.is_finite() { nearest } else { 1.0 });
    let count = ((highest - lowest) / step).round();
    let most = MOST.max(instance.bytes.saturating_mul(MOST_FOR_EACH)) / layout.pixels();
    if count >= most as f64 {
        return Err(format!(
            "expected frames near each other, found {:.1} mm between {} of them",
            highest - lowest,
            placed.len()
        ));
    }
    let mut origin = place.position;
    let mut places = Vec::with_capacity(placed.len());
    for ((slice, other), height) in placed.iter().zip(heights) {
        let z = (height - lowest) / step;
        let from =
            other.position - (place.position + normal * (height - place.position.dot(normal)));
        let turned = (other.row - place.row)
            .length()
            .max((other.column - place.column).length());
        if (z - z.round()).abs() > PLACE_STEPS || from.length() > 0.02 || turned > 1e-3 {
            return Err(format!(
                "expected frames of one regular stack, found {} beside it",
                instance.name(slice)
            ));
        }
        if height == lowest {
            origin = other.position;
        }
        places.push(z.round() as usize);
    }
    let [dx, dy] = first.spacing.unwrap_or([1.0; 2]);
    let to_ras = DMat3::from_diagonal(DVec3::new(-1.0, -1.0, 1.0));
    let linear = DMat3::from_cols(place.row * dx, place.column * dy, normal * step);
    let mut world = DMat4::from_mat3(to_ras * linear);
    world.w_axis = (to_ras * origin).extend(1.0);
    let shape = [layout.columns, layout.rows, count as usize + 1];
    let grid = Grid::new(shape, world).map_err(|e| e.to_string())?;
    Ok((grid, places))
}

/// The grid and the number of each voxel's segment.
pub(super) fn read(instances: &[Instance], path: &Path) -> Result<(Grid, Vec<u16>)> {
    let fail = |message: String| Error::format(message, path);
    let (grid, places) = grid(instances).map_err(fail)?;
    let Some(instance) = instances.first() else {
        return Err(fail("expected a segmentation, found none".into()));
    };
    let mut labels = vec![0; grid.len()];
    let pixels = instance.layout.pixels();
    let frames: Vec<usize> = (0..instance.slices.len()).collect();
    for chunk in frames.chunks(64) {
        for (&frame, values) in chunk.iter().zip(instance.values(chunk)?) {
            let slice = &instance.slices[frame];
            let plane = &mut labels[places[frame] * pixels..][..pixels];
            for (label, value) in plane.iter_mut().zip(values) {
                let found = match slice.segment {
                    // One label for each pixel.
                    None => value as u16,
                    Some(_) if value == 0.0 => 0,
                    Some(segment) if value == 1.0 => segment,
                    Some(_) => {
                        return Err(fail(format!(
                            "expected a segmentation of zeros and ones, found {value}, a fraction; \
                             convert it to a binary one first"
                        )));
                    }
                };
                if found != 0 && *label != 0 && *label != found {
                    return Err(fail(format!(
                        "expected segments that do not overlap, found {label} and {found} at one \
                         voxel; export them one by one"
                    )));
                }
                *label = (*label).max(found);
            }
        }
    }
    Ok((grid, labels))
}
