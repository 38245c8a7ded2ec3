//! One convex object of a phantom.
//!
//! An object is a unit ball, tube or cube seen through an affine: places are brought into its own
//! frame, where the half axes are 1. A ray stays a straight line there and keeps its parameter, so
//! the chord is the length of the parameter's interval inside, cut by the planes.

use glam::{DMat3, DVec3};

/// Shape in the object's own frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// |p| < 1.
    Ball,
    /// |(x, y)| < 1 and |z| < 1.
    Tube,
    /// |x|, |y|, |z| < 1.
    Cube,
}

/// An ellipsoid, an elliptic cylinder or a box, and the value it adds.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    shape: Shape,
    centre: DVec3,
    half_axes: DVec3,
    /// The object's own axes, world from own.
    turn: DMat3,
    /// Own frame from world, half axes 1.
    own: DMat3,
    /// Kept are the places where normal · place < distance.
    cuts: Vec<(DVec3, f64)>,
    value: f64,
}

impl Object {
    /// An ellipsoid by its centre and half axes (mm).
    #[must_use]
    pub fn ellipsoid(centre_mm: [f64; 3], half_axes_mm: [f64; 3], value: f64) -> Self {
        Self::new(Shape::Ball, centre_mm, half_axes_mm, value)
    }

    /// A ball by its centre and radius (mm).
    #[must_use]
    pub fn ball(centre_mm: [f64; 3], radius_mm: f64, value: f64) -> Self {
        Self::ellipsoid(centre_mm, [radius_mm; 3], value)
    }

    /// A cylinder along z by its centre, the half axes of its section and half its length (mm),
    /// which may be infinite.
    #[must_use]
    pub fn cylinder(
        centre_mm: [f64; 3],
        half_axes_mm: [f64; 2],
        half_length_mm: f64,
        value: f64,
    ) -> Self {
        let [a, b] = half_axes_mm;
        Self::new(Shape::Tube, centre_mm, [a, b, half_length_mm], value)
    }

    /// A box by its centre and half sides (mm).
    #[must_use]
    pub fn cuboid(centre_mm: [f64; 3], half_sides_mm: [f64; 3], value: f64) -> Self {
        Self::new(Shape::Cube, centre_mm, half_sides_mm, value)
    }

    fn new(shape: Shape, centre_mm: [f64; 3], half_axes_mm: [f64; 3], value: f64) -> Self {
        let mut object = Self {
            shape,
            centre: DVec3::from_array(centre_mm),
            half_axes: DVec3::from_array(half_axes_mm),
            turn: DMat3::IDENTITY,
            own: DMat3::IDENTITY,
            cuts: Vec::new(),
            value,
        };
        object.own = object.frame();
        object
    }

    fn frame(&self) -> DMat3 {
        // The reciprocal of an infinite length is 0: every place then is in the middle.
        DMat3::from_diagonal(self.half_axes.recip()) * self.turn.transpose()
    }

    /// The object turned about its centre, by `degrees` about a world axis (the right-hand rule);
    /// planes that already cut it stay where they are.
    #[must_use]
    pub fn turned(mut self, axis: [f64; 3], degrees: f64) -> Self {
        let axis = DVec3::from_array(axis).normalize_or(DVec3::Z);
        self.turn = DMat3::from_axis_angle(axis, degrees.to_radians()) * self.turn;
        self.own = self.frame();
        self
    }

    /// What of the object lies where `normal` · place is below `distance_mm`.
    #[must_use]
    pub fn cut(mut self, normal: [f64; 3], distance_mm: f64) -> Self {
        self.cuts.push((DVec3::from_array(normal), distance_mm));
        self
    }

    /// The value it adds, over that of water.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Whether a place (mm) lies inside.
    #[must_use]
    pub fn contains(&self, place_mm: [f64; 3]) -> bool {
        let place = DVec3::from_array(place_mm);
        self.size(self.own * (place - self.centre)) < 1.0
            && self.cuts.iter().all(|(n, d)| n.dot(place) < *d)
    }

    /// What is below 1 inside and above outside.
    fn size(&self, own: DVec3) -> f64 {
        match self.shape {
            Shape::Ball => own.length(),
            Shape::Tube => own.truncate().length().max(own.z.abs()),
            Shape::Cube => own.abs().max_element(),
        }
    }

    /// Whether the ball of `radius_mm` about a place lies wholly inside (true) or outside (false),
    /// where that is plain to see.
    pub(super) fn covers(&self, place_mm: [f64; 3], radius_mm: f64) -> Option<bool> {
        let place = DVec3::from_array(place_mm);
        let size = self.size(self.own * (place - self.centre));
        let margin = radius_mm / self.half_axes.min_element();
        if size > 1.0 + margin {
            return Some(false);
        }
        let mut inside = size < 1.0 - margin;
        for (normal, distance) in &self.cuts {
            let above = normal.dot(place) - distance;
            let margin = radius_mm * normal.length();
            if above > margin {
                return Some(false);
            }
            inside &= above < -margin;
        }
        inside.then_some(true)
    }

    /// Centre and radius (mm) of a disc in the plane that holds the object's shadow along z.
    pub(super) fn shadow(&self) -> ([f64; 2], f64) {
        // An object's reach along x is the length of the world's x axis in units of half axes.
        let long = self.half_axes.is_finite();
        if !long && self.turn != DMat3::IDENTITY {
            return ([self.centre.x, self.centre.y], f64::INFINITY);
        }
        let round = |v: DVec3| match self.shape {
            Shape::Ball => v.length(),
            Shape::Tube => v.truncate().length() + v.z,
            Shape::Cube => v.element_sum(),
        };
        let reach = |row: DVec3| {
            let of = |turn: f64, half: f64| {
                if turn == 0.0 {
                    0.0
                } else {
                    (turn * half).abs()
                }
            };
            round(DVec3::new(
                of(row.x, self.half_axes.x),
                of(row.y, self.half_axes.y),
                of(row.z, self.half_axes.z),
            ))
        };
        let (x, y) = (reach(self.turn.row(0)), reach(self.turn.row(1)));
        let radius = match self.shape {
            // Not turned out of the plane: no wider than its longer axis.
            Shape::Ball | Shape::Tube if self.turn.z_axis == DVec3::Z => {
                self.half_axes.x.max(self.half_axes.y)
            }
            _ => x.hypot(y),
        };
        ([self.centre.x, self.centre.y], radius)
    }

    /// Length (mm) of the line from `origin_mm` along the unit vector `direction` inside.
    #[must_use]
    pub fn chord_mm(&self, origin_mm: [f64; 3], direction: [f64; 3]) -> f64 {
        let origin = DVec3::from_array(origin_mm);
        let direction = DVec3::from_array(direction);
        let o = self.own * (origin - self.centre);
        let d = self.own * direction;
        let mut inside = match self.shape {
            Shape::Ball => round(o.dot(o), o.dot(d), d.dot(d)),
            Shape::Tube => {
                let (o2, d2) = (o.truncate(), d.truncate());
                both(round(o2.dot(o2), o2.dot(d2), d2.dot(d2)), slab(o.z, d.z))
            }
            Shape::Cube => both(both(slab(o.x, d.x), slab(o.y, d.y)), slab(o.z, d.z)),
        };
        for (normal, distance) in &self.cuts {
            let (above, rise) = (normal.dot(origin) - distance, normal.dot(direction));
            inside = both(inside, below(above, rise));
        }
        (inside.1 - inside.0).max(0.0)
    }
}

const NOWHERE: (f64, f64) = (0.0, 0.0);
const EVERYWHERE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// Where o² + 2 (o·d) s + d² s² < 1.
fn round(oo: f64, od: f64, dd: f64) -> (f64, f64) {
    if dd == 0.0 {
        return if oo < 1.0 { EVERYWHERE } else { NOWHERE };
    }
    // From the point nearest to the centre: no difference of large squares.
    let nearest = -od / dd;
    let room = 1.0 - (oo + nearest * od);
    if room <= 0.0 {
        return NOWHERE;
    }
    let half = (room / dd).sqrt();
    (nearest - half, nearest + half)
}

/// Where |o + d s| < 1.
fn slab(o: f64, d: f64) -> (f64, f64) {
    if d == 0.0 {
        return if o.abs() < 1.0 { EVERYWHERE } else { NOWHERE };
    }
    let (a, b) = ((-1.0 - o) / d, (1.0 - o) / d);
    (a.min(b), a.max(b))
}

/// Where above + rise s < 0.
fn below(above: f64, rise: f64) -> (f64, f64) {
    if rise == 0.0 {
        return if above < 0.0 { EVERYWHERE } else { NOWHERE };
    }
    let meets = -above / rise;
    if rise > 0.0 {
        (f64::NEG_INFINITY, meets)
    } else {
        (meets, f64::INFINITY)
    }
}

/// Where both hold.
fn both(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let (first, last) = (a.0.max(b.0), a.1.min(b.1));
    if first < last { (first, last) } else { NOWHERE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Vec<Object> {
        let tilted = [1.0, 2.0, -0.5];
        vec![
            Object::ellipsoid([3.0, -4.0, 2.0], [10.0, 6.0, 8.0], 1.0).turned(tilted, 40.0),
            Object::cylinder([-2.0, 1.0, 0.0], [7.0, 9.0], 5.0, 1.0).turned(tilted, 70.0),
            Object::cylinder([1.0, 1.0, 0.0], [7.0, 9.0], f64::INFINITY, 1.0),
            Object::cuboid([0.0, 2.0, -1.0], [4.0, 9.0, 6.0], 1.0).turned(tilted, -25.0),
            Object::ball([1.0, 0.0, 0.0], 9.0, 1.0)
                .cut([0.0, 1.0, 0.2], 2.0)
                .cut([-1.0, 0.0, 0.0], 4.0),
        ]
    }

    /// Chords against counting places inside along the ray.
    #[test]
    fn chords_are_the_lengths_inside() {
        for (i, object) in objects().iter().enumerate() {
            let mut longest = 0.0f64;
            for ray in 0..40 {
                let angle = 0.37 * f64::from(ray);
                let aim = DVec3::new((1.7 * angle).sin(), (2.3 * angle).cos(), angle.sin()) * 4.0;
                let direction = DVec3::new(angle.cos(), angle.sin(), 0.4 * (3.0 * angle).sin());
                let direction = direction.normalize();
                let origin = aim - 60.0 * direction;
                let step = 0.01;
                let inside = (0..12_000)
                    .map(|n| origin + direction * (f64::from(n) + 0.5) * step)
                    .filter(|place| object.contains(place.to_array()))
                    .count();
                let chord = object.chord_mm(origin.to_array(), direction.to_array());
                assert!(
                    (chord - inside as f64 * step).abs() < 2.1 * step,
                    "object {i}, ray {ray}: {chord} against {}",
                    inside as f64 * step
                );
                longest = longest.max(chord);
            }
            assert!(longest > 5.0, "object {i} was hit");
        }
    }

    #[test]
    fn a_shadow_holds_the_object() {
        for (i, object) in objects().iter().enumerate() {
            let ([x, y], radius) = object.shadow();
            for step in 0..72 {
                let angle = f64::from(step).to_radians() * 5.0;
                let (sin, cos) = angle.sin_cos();
                // Vertical planes just outside the shadow: rays along them miss.
                let away = radius + 1e-6;
                let origin = [x + away * cos, y + away * sin, 0.0];
                for climb in [-0.8f64, 0.0, 0.3] {
                    let level = (1.0 - climb * climb).sqrt();
                    let along = [-sin * level, cos * level, climb];
                    assert_eq!(object.chord_mm(origin, along), 0.0, "object {i}");
                }
            }
        }
    }

    #[test]
    fn what_is_plain_to_see_is_so() {
        for object in objects() {
            let mut plain = 0;
            for n in 0..2000u32 {
                let at = |k: u32| f64::from((n.wrapping_mul(k) >> 3) % 301) / 10.0 - 15.0;
                let place = DVec3::new(at(2_654_435_761), at(2_246_822_519), at(3_266_489_917));
                if let Some(inside) = object.covers(place.to_array(), 1.5) {
                    plain += 1;
                    for corner in 0..8 {
                        let sign = |bit: u32| if corner >> bit & 1 == 1 { 0.86 } else { -0.86 };
                        let near = place + DVec3::new(sign(0), sign(1), sign(2));
                        assert_eq!(object.contains(near.to_array()), inside);
                    }
                }
            }
            assert!(plain > 500);
        }
    }
}
