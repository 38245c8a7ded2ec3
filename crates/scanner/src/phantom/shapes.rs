//! Phantoms by name, each about a centre in world millimetres.
//!
//! Values are differences to what the object lies in, as [`Phantom`] adds them up.

use std::f64::consts::PI;

use super::{Object, Phantom};

impl Phantom {
    /// A cylinder of water along z, longer than any scan.
    #[must_use]
    pub fn water_cylinder(centre_mm: [f64; 2], diameter_mm: f64) -> Self {
        let [x, y] = centre_mm;
        Self::new().with(Object::cylinder(
            [x, y, 0.0],
            [diameter_mm / 2.0; 2],
            f64::INFINITY,
            1.0,
        ))
    }

    /// A water cylinder of 300 mm with balls of +1000 HU (radius 25 mm), +2000 HU (15 mm) and
    /// −1000 HU (10 mm) off its axis: what their poles leave in the water is windmill.
    #[must_use]
    pub fn three_balls(centre_mm: [f64; 3]) -> Self {
        Self::three_balls_turned(centre_mm, 0.0)
    }

    /// [`Phantom::three_balls`] turned about the cylinder's axis by an angle in radians.
    #[must_use]
    pub fn three_balls_turned(centre_mm: [f64; 3], turn_rad: f64) -> Self {
        let [x, y, z] = centre_mm;
        let mut phantom = Self::water_cylinder([x, y], 300.0);
        let (sin, cos) = turn_rad.sin_cos();
        for ([across, along, up], radius_mm, density) in Self::BALLS {
            let place = [
                x + across * cos - along * sin,
                y + across * sin + along * cos,
                z + up,
            ];
            phantom = phantom.with(Object::ball(place, radius_mm, density));
        }
        phantom
    }

    /// The balls of [`Phantom::three_balls`]: place about the middle and radius, mm, and density
    /// beside the water's 1.
    pub const BALLS: [([f64; 3], f64, f64); 3] = [
        ([70.0, 30.0, 0.0], 25.0, 1.0),
        ([-60.0, -60.0, 3.0], 15.0, 2.0),
        ([0.0, 90.0, -4.0], 10.0, -1.0),
    ];

    /// A water cylinder of 200 mm with the eight rods of the Catphan's sensitometry module (12 mm
    /// across, 58.4 mm from the axis; The Phantom Laboratory, Catphan 500 and 600 manual), each of
    /// its nominal HU: see [`Phantom::RODS`].
    #[must_use]
    pub fn catphan_like(centre_mm: [f64; 2]) -> Self {
        let mut phantom = Self::water_cylinder(centre_mm, 200.0);
        for (index, (_, hu)) in Self::RODS.iter().enumerate() {
            let [x, y] = Self::rod_centre(centre_mm, index);
            phantom = phantom.with(Object::cylinder(
                [x, y, 0.0],
                [6.0; 2],
                f64::INFINITY,
                hu / 1000.0,
            ));
        }
        phantom
    }

    /// Names and HU of the rods of [`Phantom::catphan_like`].
    pub const RODS: [(&str, f64); 8] = [
        ("air", -1000.0),
        ("teflon", 990.0),
        ("delrin", 340.0),
        ("acrylic", 120.0),
        ("polystyrene", -35.0),
        ("LDPE", -100.0),
        ("PMP", -200.0),
        ("air", -1000.0),
    ];

    /// The middle (world x and y, mm) of a rod of [`Phantom::catphan_like`].
    #[must_use]
    pub fn rod_centre(centre_mm: [f64; 2], index: usize) -> [f64; 2] {
        let (sin, cos) = (PI * (index as f64 + 0.5) / 4.0).sin_cos();
        [centre_mm[0] + 58.4 * cos, centre_mm[1] + 58.4 * sin]
    }

    /// The head of Shepp and Logan (IEEE Trans. Nucl. Sci. 21:21, 1974,
    /// doi:10.1109/TNS.1974.6499235) in three dimensions with its original low contrasts (Kak and
    /// Slaney, "Principles of Computerized Tomographic Imaging", 1988, section 3.2): a skull of
    /// +1000 HU, brain of +20 HU and details of 10 HU. `half_height_mm` is the skull's half length,
    /// 92 mm for an adult's.
    #[must_use]
    pub fn shepp_logan(centre_mm: [f64; 3], half_height_mm: f64) -> Self {
        // Half axes, centre, degrees about z, value: in units of the half height over 0.92.
        const HEAD: [([f64; 3], [f64; 3], f64, f64); 10] = [
            ([0.69, 0.92, 0.81], [0.0, 0.0, 0.0], 0.0, 2.0),
            ([0.6624, 0.874, 0.78], [0.0, -0.0184, 0.0], 0.0, -0.98),
            ([0.11, 0.31, 0.22], [0.22, 0.0, 0.0], -18.0, -0.02),
            ([0.16, 0.41, 0.28], [-0.22, 0.0, 0.0], 18.0, -0.02),
            ([0.21, 0.25, 0.41], [0.0, 0.35, -0.15], 0.0, 0.01),
            ([0.046, 0.046, 0.05], [0.0, 0.1, 0.25], 0.0, 0.01),
            ([0.046, 0.046, 0.05], [0.0, -0.1, 0.25], 0.0, 0.01),
            ([0.046, 0.023, 0.05], [-0.08, -0.605, 0.0], 0.0, 0.01),
            ([0.023, 0.023, 0.02], [0.0, -0.606, 0.0], 0.0, 0.01),
            ([0.023, 0.046, 0.02], [0.06, -0.605, 0.0], 0.0, 0.01),
        ];
        let unit = half_height_mm / 0.92;
        HEAD.iter()
            .fold(Self::new(), |phantom, &(half, place, turn, value)| {
                let centre = [0, 1, 2].map(|axis| centre_mm[axis] + unit * place[axis]);
                let object = Object::ellipsoid(centre, half.map(|a| unit * a), value);
                phantom.with(object.turned([0.0, 0.0, 1.0], turn))
            })
    }

    /// A head in the manner of the FORBILD head phantom (Lauritsch and Bruder, University of
    /// Erlangen): skull, brain, eyes, air-filled sinus and inner ears with their many bony edges,
    /// a haematoma and ventricles of low contrast. Its dimensions are our own.
    #[must_use]
    pub fn head(centre_mm: [f64; 3]) -> Self {
        let [x, y, z] = centre_mm;
        let at = |dx: f64, dy: f64, dz: f64| [x + dx, y + dy, z + dz];
        let mut head = Self::new()
            .with(Object::ellipsoid(
                at(0.0, 0.0, 0.0),
                [96.0, 120.0, 125.0],
                1.8,
            ))
            .with(Object::ellipsoid(
                at(0.0, 0.0, 0.0),
                [90.0, 114.0, 119.0],
                -0.75,
            ))
            // Frontal sinus, through the skull's inner table.
            .with(Object::ball(at(0.0, 84.0, 5.0), 18.0, -1.0))
            // Ventricles, haematoma.
            .with(Object::ellipsoid(
                at(0.0, -36.0, 20.0),
                [18.0, 36.0, 18.0],
                -0.005,
            ))
            .with(
                Object::ellipsoid(at(-55.0, -15.0, 25.0), [9.0, 30.0, 27.0], 0.01)
                    .turned([0.0, 0.0, 1.0], 25.0),
            );
        for side in [-1.0, 1.0] {
            head = head
                .with(Object::ball(at(47.0 * side, 43.0, -8.0), 20.0, 0.01))
                // Petrous bone with air cells.
                .with(
                    Object::ellipsoid(at(58.0 * side, -20.0, -25.0), [26.0, 12.0, 11.0], 0.75)
                        .turned([0.0, 0.0, 1.0], 20.0 * side),
                );
            for cell in 0..5 {
                let along = 10.0 * f64::from(cell);
                head = head.with(Object::ball(
                    at((40.0 + along) * side, -26.0 + 0.36 * along, -25.0),
                    3.0,
                    -1.8,
                ));
            }
        }
        // Occipital protuberance.
        head.with(
            Object::cylinder(at(0.0, -104.0, -20.0), [8.0, 20.0], 25.0, 0.75)
                .cut([0.0, -1.0, 0.0], -(y - 113.0)),
        )
    }

    /// A chest in the manner of the FORBILD thorax phantom (Sourbelle, University of Erlangen):
    /// body, lungs, heart, aorta, spine, breast bone and ribs of short cylinders along tilted
    /// ellipses. Its dimensions are our own.
    #[must_use]
    pub fn thorax(centre_mm: [f64; 3]) -> Self {
        let [x, y, z] = centre_mm;
        let at = |dx: f64, dy: f64, dz: f64| [x + dx, y + dy, z + dz];
        let mut chest = Self::new()
            .with(Object::cylinder(
                at(0.0, 0.0, 0.0),
                [190.0, 110.0],
                200.0,
                1.0,
            ))
            // The heart reaches into the left lung: the lung is cut away before it.
            .with(
                Object::ellipsoid(at(75.0, 0.0, 0.0), [55.0, 75.0, 140.0], -0.74)
                    .cut([0.6, -0.8, 0.0], 0.6 * (x + 135.0) - 0.8 * (y + 10.0)),
            )
            .with(
                Object::ellipsoid(at(-75.0, 0.0, 0.0), [50.0, 75.0, 140.0], -0.74)
                    .cut([-1.0, 0.0, 0.0], -(x - 62.0)),
            )
            .with(Object::ellipsoid(
                at(-20.0, 40.0, -10.0),
                [38.0, 42.0, 45.0],
                0.05,
            ))
            .with(Object::cylinder(
                at(-12.0, -38.0, 0.0),
                [11.0, 11.0],
                150.0,
                0.05,
            ))
            .with(Object::cylinder(
                at(0.0, -70.0, 0.0),
                [20.0, 16.0],
                200.0,
                0.25,
            ))
            .with(Object::cuboid(at(0.0, 97.0, 10.0), [16.0, 5.0, 80.0], 0.4));
        for disc in -4..=4 {
            // Vertebrae between discs, denser than the column.
            let level = 40.0 * f64::from(disc);
            chest = chest.with(Object::cylinder(
                at(0.0, -70.0, level),
                [19.0, 15.0],
                14.0,
                0.25,
            ));
        }
        for rib in -3..=3 {
            for side in [-1.0f64, 1.0] {
                for piece in 0..9 {
                    let turn = PI * (0.5 - (f64::from(piece) + 0.5) / 9.0);
                    let (sin, cos) = turn.sin_cos();
                    let place = at(
                        side * 165.0 * cos,
                        88.0 * sin,
                        45.0 * f64::from(rib) - 25.0 * sin,
                    );
                    let tangent = [-side * 165.0 * sin, 88.0 * cos, -25.0 * cos];
                    chest = chest.with(along(place, tangent, 6.0, 26.0));
                }
            }
        }
        chest
    }
}

/// A rod of bone about a centre, along a direction.
fn along(centre_mm: [f64; 3], direction: [f64; 3], radius_mm: f64, half_length_mm: f64) -> Object {
    let [dx, dy, dz] = direction;
    let tilt = dx.hypot(dy).atan2(dz).to_degrees();
    // About the level axis at right angles to the direction, from z to it.
    Object::cylinder(centre_mm, [radius_mm; 2], half_length_mm, 0.5).turned([-dy, dx, 0.0], tilt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_chests_hold_what_they_should() {
        let hu = |p: &Phantom, place: [f64; 3]| 1000.0 * (p.value(place) - 1.0);
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found}");
        let brain = Phantom::shepp_logan([5.0, 6.0, 7.0], 92.0);
        near(hu(&brain, [5.0, 6.0, 7.0]), 20.0);
        near(hu(&brain, [5.0, 6.0 + 90.0, 7.0]), 1000.0);
        near(hu(&brain, [27.0, 6.0, 7.0]), 0.0);
        near(hu(&brain, [5.0, 41.0, -8.0]), 30.0);
        let head = Phantom::head([0.0; 3]);
        near(hu(&head, [0.0, 0.0, 0.0]), 50.0);
        near(hu(&head, [93.0, 0.0, 0.0]), 800.0);
        let chest = Phantom::thorax([0.0; 3]);
        near(hu(&chest, [70.0, 0.0, 100.0]), -740.0);
        near(hu(&chest, [0.0, -70.0, 0.0]), 500.0);
        near(hu(&chest, [0.0, 97.0, 0.0]), 400.0);
    }

    /// A rod lies along its direction, on both sides of its middle and no farther.
    #[test]
    fn rods_lie_along_their_direction() {
        let direction = [2.0, -1.0, 0.5];
        let rod = along([1.0, 2.0, 3.0], direction, 1.0, 5.0);
        let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
        let place = |s: f64| [0, 1, 2].map(|i| [1.0, 2.0, 3.0][i] + s * direction[i] / length);
        assert!(rod.contains(place(4.9)) && rod.contains(place(-4.9)));
        assert!(!rod.contains(place(5.1)) && !rod.contains(place(-5.1)));
    }
}
