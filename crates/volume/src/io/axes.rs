//! Axes of volumes whose files have fewer than three.

use glam::{DMat3, DVec3};

/// Steps along axes that the file lacks: 1 mm, at right angles to the others.
pub(super) fn completed(columns: &[DVec3]) -> DMat3 {
    match *columns {
        [x, y, z] => DMat3::from_cols(x, y, z),
        [x, y] => DMat3::from_cols(x, y, x.cross(y).normalize_or_zero()),
        [x] if x != DVec3::ZERO => {
            let (y, z) = x.normalize().any_orthonormal_pair();
            DMat3::from_cols(x, y, z)
        }
        _ => DMat3::ZERO,
    }
}
