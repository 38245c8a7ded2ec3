//! Where an NRRD header says its voxels lie, in RAS mm.
//!
//! Of the axes, those with a direction in space are kept, else those of kind `domain` or `space`,
//! else the first three. Others must have one sample. Without directions the axes are taken as those
//! of the space, with the spacings that are given or else 1.

use glam::{DMat3, DMat4, DVec3};

use super::header::Header;
use crate::{Grid, io::axes::completed};

/// The grid of a header, or why there is none.
pub(super) fn grid(header: &Header) -> Result<Grid, String> {
    let axes = axes(header)?;
    let mut shape = [1; 3];
    let mut columns = Vec::with_capacity(3);
    for (place, &axis) in axes.iter().enumerate() {
        shape[place] = header.sizes[axis];
        columns.push(step(header, place, axis));
    }
    let scale = DVec3::from_array([0, 1, 2].map(|i| {
        let unit = header.units.get(i).or(header.units.first());
        unit.map_or(1.0, |unit| unit_mm(unit))
    }));
    let to_ras = DMat3::from_diagonal(signs(header.space.as_deref()) * scale);
    let affine = to_ras * completed(&columns);
    let mut world = DMat4::from_mat3(affine);
    world.w_axis = (to_ras * header.origin.unwrap_or(DVec3::ZERO)).extend(1.0);
    Grid::new(shape, world).map_err(|e| e.to_string())
}

/// Columns and origin of a grid in LPS, in a unit of so many mm.
pub(super) fn in_lps(grid: &Grid, unit_mm: f64) -> ([DVec3; 3], DVec3) {
    let m = grid.world_from_voxel();
    // Adding 0 makes a 0 of -0.
    let turn = |v: DVec3| v * DVec3::new(-1.0, -1.0, 1.0) / unit_mm + DVec3::ZERO;
    let columns = [m.x_axis, m.y_axis, m.z_axis].map(|column| turn(column.truncate()));
    (columns, turn(m.w_axis.truncate()))
}

/// Millimetres in a unit; 1 for one that is not known.
pub(super) fn unit_mm(name: &str) -> f64 {
    match name.trim().to_lowercase().as_str() {
        "m" | "meter" | "meters" | "metre" => 1e3,
        "cm" | "centimeter" | "centimeters" => 10.0,
        "um" | "µm" | "micron" | "microns" | "micrometer" | "micrometers" => 1e-3,
        "nm" | "nanometer" | "nanometers" => 1e-6,
        _ => 1.0,
    }
}

/// The axes, at most three, that are those of the volume.
fn axes(header: &Header) -> Result<Vec<usize>, String> {
    let of_kind = |axis: &usize| {
        header
            .kinds
            .as_ref()
            .is_some_and(|kinds| matches!(kinds[*axis].as_str(), "domain" | "space"))
    };
    let all = 0..header.sizes.len();
    let mut axes: Vec<usize> = match &header.directions {
        Some(directions) => all
            .clone()
            .filter(|&axis| directions[axis].is_some())
            .collect(),
        None => all.clone().filter(of_kind).collect(),
    };
    if axes.is_empty() {
        axes = all.clone().collect();
    }
    axes.truncate(3);
    if let Some(axis) = all
        .clone()
        .find(|axis| !axes.contains(axis) && header.sizes[*axis] != 1)
    {
        let kind = header.kinds.as_ref().map_or(String::new(), |kinds| {
            format!(" (of the kind {})", kinds[axis])
        });
        return Err(format!(
            "expected one volume of one number each voxel, found {} along axis {}{kind}; split it \
             first",
            header.sizes[axis],
            axis + 1
        ));
    }
    Ok(axes)
}

/// The step along an axis, the `place`-th of the volume, in the file's space and unit.
fn step(header: &Header, place: usize, axis: usize) -> DVec3 {
    let direction = header.directions.as_ref().and_then(|d| d[axis]);
    direction.unwrap_or_else(|| {
        let spacing = header.spacings.as_ref().map(|spacings| spacings[axis]);
        let spacing = spacing.filter(|s| s.is_finite()).unwrap_or(1.0);
        DVec3::AXES[place] * spacing
    })
}

/// What turns the axes of a space into those of RAS.
fn signs(space: Option<&str>) -> DVec3 {
    match space {
        Some("right-anterior-superior" | "ras") => DVec3::ONE,
        Some("left-anterior-superior" | "las") => DVec3::new(-1.0, 1.0, 1.0),
        _ => DVec3::new(-1.0, -1.0, 1.0),
    }
}
