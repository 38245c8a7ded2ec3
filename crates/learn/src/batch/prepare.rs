//! One volume as the nets see it: upright slices at the working resolution, in [-1, 1].

use crossmod_volume::space::{
    Interpolation, Orientation, grid_with_spacing, reorient_image, resample_image,
};
use crossmod_volume::{Grid, Image};

use crate::Result;
use crate::plan::{Fit, Modality, Plan};

/// A volume prepared for a net, and the way back.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The volume: slices along z, working in-plane spacing, intensities in [-1, 1].
    pub image: Image,
    /// The volume's own grid, reoriented so that slices lie along z.
    pub upright: Grid,
    /// The orientation of both.
    pub orientation: Orientation,
    /// Intensities that became -1 and 1.
    pub bounds: (f32, f32),
}

/// Prepares one image of `modality`.
///
/// # Errors
/// What orienting and resampling give.
pub fn prepare(image: Image, modality: &Modality, plan: &Plan) -> Result<Prepared> {
    let orientation = modality.slices.orientation(image.grid())?;
    let upright = reorient_image(&image, orientation);
    let (standard, bounds) = modality.standardise.apply(upright);
    let target = working_grid(standard.grid(), plan)?;
    let resampled = if target == *standard.grid() {
        standard.clone()
    } else {
        resample_image(&standard, &target, Interpolation::Linear, -1.0)
    };
    Ok(Prepared {
        image: resampled,
        upright: standard.grid().clone(),
        orientation,
        bounds,
    })
}

/// The grid of the nets for an upright volume: its slices, at the working spacing or size; in 3-D at
/// the blocks' spacing along them, too.
pub(super) fn working_grid(upright: &Grid, plan: &Plan) -> Result<Grid> {
    let (spacing, shape) = (upright.spacing_mm(), upright.shape());
    let in_plane = match plan.fit {
        Fit::Spacing => [plan.spacing_mm; 2],
        Fit::Slice => [0, 1].map(|axis| spacing[axis] * shape[axis] as f64 / plan.load as f64),
    };
    let between = plan.block.as_ref().map_or(spacing[2], |b| b.spacing_mm);
    Ok(grid_with_spacing(
        upright,
        [in_plane[0], in_plane[1], between],
    )?)
}

/// A slice cropped or extended about its centre to `to` = (width, height), the border repeated.
///
/// # Panics
/// Where `from` does not describe the slice.
#[must_use]
pub fn pad_to<T: Copy>(slice: &[T], from: [usize; 2], to: [usize; 2]) -> Vec<T> {
    assert_eq!(
        slice.len(),
        from[0] * from[1],
        "the slice has the size it is said to have"
    );
    let place = |i: usize, axis: usize| {
        let shift = from[axis].div_ceil(2) as isize - to[axis].div_ceil(2) as isize;
        (i as isize + shift).clamp(0, from[axis] as isize - 1) as usize
    };
    let columns: Vec<usize> = (0..to[0]).map(|x| place(x, 0)).collect();
    let mut out = Vec::with_capacity(to[0] * to[1]);
    for y in 0..to[1] {
        let row = &slice[place(y, 1) * from[0]..][..from[0]];
        out.extend(columns.iter().map(|&x| row[x]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_repeats_the_border_and_cropping_undoes_it() {
        let slice: Vec<u16> = (0..6).collect();
        let padded = pad_to(&slice, [3, 2], [5, 4]);
        assert_eq!(&padded[..5], [0, 0, 1, 2, 2]);
        assert_eq!(&padded[15..], [3, 3, 4, 5, 5]);
        for (w, h) in [(3, 2), (4, 3), (7, 2), (8, 9)] {
            let there = pad_to(&slice, [3, 2], [w, h]);
            assert_eq!(pad_to(&there, [w, h], [3, 2]), slice, "{w}×{h}");
        }
    }
}
