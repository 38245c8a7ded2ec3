//! Smooth solid shapes as functions of position.
//!
//! A [`Blob`] is an ellipsoid whose radius is modulated over its surface by a few sinusoids of
//! the direction, the low frequencies by which one patient's organ differs from another's. Its
//! *depth* at a point is the distance to the surface in mm to first order (level divided by its
//! gradient): positive inside, negative outside, exact on the surface. Lengths are mm in the
//! patient frame, angles radians.

use crossmod_volume::rng::Rng;
use glam::{EulerRot, Mat3, Vec3};
use serde::{Deserialize, Serialize};

/// Rotation by angles about x, then y, then z.
pub(crate) fn rotation(angles: [f32; 3]) -> Mat3 {
    Mat3::from_euler(EulerRot::ZYX, angles[2], angles[1], angles[0])
}

/// One sinusoid of the radius over directions `u`: `amplitude * sin(frequency . u + phase)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ripple {
    /// Radians per unit of the direction's components.
    pub frequency: [f32; 3],
    /// Radians.
    pub phase: f32,
    /// Fraction of the radius.
    pub amplitude: f32,
}

/// A deformed ellipsoid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Centre, mm.
    pub centre_mm: [f32; 3],
    /// Semi-axes before deformation, mm.
    pub semi_axes_mm: [f32; 3],
    /// Rotation about x, then y, then z.
    pub rotation_rad: [f32; 3],
    /// The deformation.
    pub ripples: Vec<Ripple>,
}

impl Blob {
    /// A blob about the given centre and semi-axes, turned by up to `turn_rad` about each axis
    /// beyond `rotation_rad` and rippled by about `roughness` of its radius.
    pub(crate) fn draw(
        rng: &mut Rng,
        centre_mm: [f32; 3],
        semi_axes_mm: [f32; 3],
        rotation_rad: [f32; 3],
        turn_rad: f32,
        roughness: f32,
    ) -> Self {
        const RIPPLES: usize = 5;
        let rotation_rad = rotation_rad.map(|angle| angle + rng.uniform(-turn_rad, turn_rad));
        let ripple = |rng: &mut Rng| {
            let axis = Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize_or(Vec3::X);
            Ripple {
                frequency: (axis * rng.uniform(1.5, 4.0)).to_array(),
                phase: rng.uniform(0.0, std::f32::consts::TAU),
                amplitude: roughness * rng.uniform(0.3, 1.0) / (RIPPLES as f32).sqrt() * 1.6,
            }
        };
        let ripples = (0..RIPPLES).map(|_| ripple(rng)).collect();
        Self {
            centre_mm,
            semi_axes_mm,
            rotation_rad,
            ripples,
        }
    }

    pub(crate) fn solid(&self) -> Solid {
        let reach: f32 = self.ripples.iter().map(|r| r.amplitude.abs()).sum();
        Solid {
            centre: Vec3::from_array(self.centre_mm),
            to_local: rotation(self.rotation_rad).transpose(),
            inverse_axes: Vec3::from_array(self.semi_axes_mm).recip(),
            ripples: self.ripples.clone(),
            reach: 1.0 + reach,
        }
    }
}

/// A blob ready to be evaluated.
#[derive(Debug, Clone)]
pub(crate) struct Solid {
    centre: Vec3,
    to_local: Mat3,
    inverse_axes: Vec3,
    ripples: Vec<Ripple>,
    reach: f32,
}

impl Solid {
    /// Depth below the surface at `point`, mm.
    pub(crate) fn depth(&self, point: Vec3) -> f32 {
        let scaled = self.to_local * (point - self.centre) * self.inverse_axes;
        let radius = scaled.length().max(1e-4);
        let direction = scaled / radius;
        let gradient = (direction * self.inverse_axes).length();
        // Far outside, the deformation cannot matter.
        let surface = if radius > self.reach + 0.5 {
            self.reach
        } else {
            1.0 + self
                .ripples
                .iter()
                .map(|r| {
                    let phase = Vec3::from_array(r.frequency).dot(direction) + r.phase;
                    r.amplitude * phase.sin()
                })
                .sum::<f32>()
        };
        (surface - radius) / gradient
    }

    /// Height (along y, anterior) of `point` above the centre, in semi-axes.
    pub(crate) fn relative_height(&self, point: Vec3) -> f32 {
        (point.y - self.centre.y) * self.inverse_axes.y
    }
}

/// Depth in the union of two solids, rounded over `radius_mm` where they meet (Quílez's
/// polynomial smooth maximum).
pub(crate) fn smooth_union(a: f32, b: f32, radius_mm: f32) -> f32 {
    let near = (radius_mm - (a - b).abs()).max(0.0) / radius_mm;
    a.max(b) + near * near * radius_mm * 0.25
}

/// Depth in an upright elliptic cylinder about `centre` (x, y) with the given radii, mm.
pub(crate) fn ellipse_depth(point: Vec3, centre: [f32; 2], radii: [f32; 2]) -> f32 {
    let (x, y) = (
        (point.x - centre[0]) / radii[0],
        (point.y - centre[1]) / radii[1],
    );
    let level = x.hypot(y).max(1e-4);
    (1.0 - level) * level / (x / radii[0]).hypot(y / radii[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sphere(ripples: Vec<Ripple>) -> Solid {
        Blob {
            centre_mm: [5.0, -3.0, 2.0],
            semi_axes_mm: [20.0; 3],
            rotation_rad: [0.3, 0.2, 0.1],
            ripples,
        }
        .solid()
    }

    #[test]
    fn the_depth_of_a_sphere_is_the_distance_to_it() {
        let solid = sphere(Vec::new());
        for (offset, depth) in [(10.0, 10.0), (20.0, 0.0), (35.0, -15.0)] {
            let found = solid.depth(Vec3::new(5.0 + offset, -3.0, 2.0));
            assert!((found - depth).abs() < 1e-3, "{found} against {depth}");
        }
    }

    #[test]
    fn an_ellipsoid_is_met_at_its_turned_axes() {
        let blob = Blob {
            centre_mm: [0.0; 3],
            semi_axes_mm: [40.0, 10.0, 20.0],
            rotation_rad: [0.0, 0.0, std::f32::consts::FRAC_PI_2],
            ripples: Vec::new(),
        };
        assert!(blob.solid().depth(Vec3::new(0.0, 40.0, 0.0)).abs() < 1e-3);
        assert!(blob.solid().depth(Vec3::new(10.0, 0.0, 0.0)).abs() < 1e-3);
        assert!((blob.solid().depth(Vec3::new(0.0, 0.0, 25.0)) + 5.0).abs() < 1e-3);
    }

    #[test]
    fn ripples_move_the_surface_by_their_amplitude() {
        let swell = Ripple {
            frequency: [0.0; 3],
            phase: std::f32::consts::FRAC_PI_2,
            amplitude: 0.1,
        };
        let depth = sphere(vec![swell]).depth(Vec3::new(5.0, 17.0, 2.0));
        assert!((depth - 2.0).abs() < 1e-3, "{depth}");
    }

    #[test]
    fn a_circular_cylinder_has_its_distance_as_depth() {
        let found = ellipse_depth(Vec3::new(3.0, 4.0, 99.0), [0.0, 0.0], [2.0, 2.0]);
        assert!((found + 3.0).abs() < 1e-3);
    }

    #[test]
    fn a_smooth_union_holds_both_and_joins_them() {
        assert_eq!(smooth_union(5.0, -9.0, 4.0), 5.0);
        assert!(smooth_union(-0.5, -0.5, 4.0) > 0.0);
    }
}
