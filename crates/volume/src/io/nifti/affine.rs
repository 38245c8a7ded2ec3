//! Where a NIfTI header says its voxels lie.
//!
//! The first of these that is invertible, in mm:
//! 1. sform, the matrix, where its code is above 0;
//! 2. qform, a quaternion and voxel sizes, where its code is above 0;
//! 3. the voxel sizes alone: axes along R, A and S, first voxel centre at the origin.
//!
//! A matrix that is all zeros or not finite under a code above 0 places nothing and is passed
//! over. (The standard's methods 3, 2 and 1.)

use glam::{DMat3, DMat4, DQuat, DVec3};

use super::header::Header;
use crate::{Grid, io::Storage};

/// The affine of a header, or why there is none.
pub(super) fn read(header: &Header, shape: [usize; 3]) -> Result<DMat4, String> {
    let mm = header.length_unit().mm();
    let in_mm = |m: DMat4| DMat4::from_scale(DVec3::splat(mm)) * m;
    let sform = (header.sform_code > 0).then(|| sform(header));
    let qform = (header.qform_code > 0).then(|| qform(header, shape));
    if let Some(m) = [sform, qform]
        .into_iter()
        .flatten()
        .map(in_mm)
        .find(invertible)
    {
        return Ok(m);
    }
    let sizes = sizes(header, shape);
    let m = in_mm(DMat4::from_scale(sizes));
    if invertible(&m) {
        return Ok(m);
    }
    Err(format!(
        "expected voxel sizes above 0, found {:?}",
        sizes.to_array()
    ))
}

/// Sets sform, qform and voxel sizes. Both codes are set, each from the other where the file they
/// came from had only one; qform's is 0 where it cannot say the same (sheared axes), and both are
/// where the file said no place and voxel sizes say as much as is known.
pub(super) fn write(header: &mut Header, grid: &Grid, storage: &Storage) {
    let unit = 1.0 / storage.length_unit.mm();
    let m = DMat4::from_scale(DVec3::splat(unit)) * grid.world_from_voxel();
    let columns = DMat3::from_mat4(m);
    let sizes = [columns.x_axis, columns.y_axis, columns.z_axis].map(DVec3::length);
    header.pixdim = [1.0, sizes[0], sizes[1], sizes[2], 0.0, 0.0, 0.0, 0.0];
    if !storage.is_placed() && m == DMat4::from_scale(DVec3::from_array(sizes)) {
        return;
    }
    let first_above_0 = |codes: [i16; 2]| codes.into_iter().find(|&c| c > 0).unwrap_or(1);
    header.sform_code = first_above_0([storage.sform_code, storage.qform_code]);
    header.srow = [0, 1, 2].map(|r| m.row(r).to_array());

    let mut turn = DMat3::from_cols(
        columns.x_axis / sizes[0],
        columns.y_axis / sizes[1],
        columns.z_axis / sizes[2],
    );
    let shear = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| turn.col(a).dot(turn.col(b)).abs());
    if shear.into_iter().fold(0.0, f64::max) > 1e-4 {
        return;
    }
    if turn.determinant() < 0.0 {
        header.pixdim[0] = -1.0;
        turn.z_axis = -turn.z_axis;
    }
    let q = DQuat::from_mat3(&turn).normalize();
    // The standard keeps b, c, d and takes a as the positive root.
    let q = if q.w < 0.0 { -q } else { q };
    header.qform_code = first_above_0([storage.qform_code, storage.sform_code]);
    header.quatern = [q.x, q.y, q.z];
    header.qoffset = m.w_axis.truncate().to_array();
}

fn sform(header: &Header) -> DMat4 {
    let [x, y, z] = header.srow;
    DMat4::from_cols_array_2d(&[x, y, z, [0.0, 0.0, 0.0, 1.0]]).transpose()
}

fn qform(header: &Header, shape: [usize; 3]) -> DMat4 {
    let [b, c, d] = header.quatern;
    let left = 1.0 - (b * b + c * c + d * d);
    // Half a turn: a is 0, and rounding may have made the rest longer than 1.
    let a = if left < 1e-7 { 0.0 } else { left.sqrt() };
    let turn = DMat3::from_quat(DQuat::from_xyzw(b, c, d, a).normalize());
    let mut sizes = sizes(header, shape);
    if header.pixdim[0] < 0.0 {
        sizes.z = -sizes.z;
    }
    let mut m = DMat4::from_mat3(turn * DMat3::from_diagonal(sizes));
    m.w_axis = DVec3::from_array(header.qoffset).extend(1.0);
    m
}

/// Voxel sizes; 1 where an axis has one voxel and no size.
fn sizes(header: &Header, shape: [usize; 3]) -> DVec3 {
    let mut sizes = [0, 1, 2].map(|axis| header.pixdim[axis + 1].abs());
    for (size, n) in sizes.iter_mut().zip(shape) {
        if n == 1 && !(*size > 0.0 && size.is_finite()) {
            *size = 1.0;
        }
    }
    DVec3::from_array(sizes)
}

/// What [`Grid::new`] asks of an affine.
fn invertible(m: &DMat4) -> bool {
    let determinant = DMat3::from_mat4(*m).determinant();
    m.is_finite() && determinant.is_finite() && determinant.abs() >= 1e-12
}
