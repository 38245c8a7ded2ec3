//! One patient's anatomy, drawn.
//!
//! An [`Anatomy`] is a list of numbers: where the body's walls, bones, vessels, bowel and organs
//! lie and how they are deformed. Positions are in the patient frame, mm: origin in the middle
//! of the trunk at the level of the upper kidneys, x to the patient's right, y anterior, z
//! superior; [`Pose`] carries it into the world. Proportions are those of an adult trunk,
//! rounded; they are a cartoon's, not an atlas's.

use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::shape::Blob;

/// How the patient lies: world = rotation * patient + translation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pose {
    /// About x, then y, then z.
    pub rotation_rad: [f32; 3],
    /// World position of the patient frame's origin.
    pub translation_mm: [f32; 3],
}

/// The walls of the trunk: a superellipse cylinder with a fat rim and a muscle wall.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    /// Half the width and half the depth at z = 0.
    pub half_mm: [f32; 2],
    /// Exponent of the superellipse: 2 is an ellipse, more is squarer.
    pub exponent: f32,
    /// Relative growth of both halves per mm of height.
    pub taper_per_mm: f32,
    /// Mean thickness of subcutaneous fat.
    pub fat_mm: f32,
    /// How the fat varies round the trunk: relative amplitude of the second harmonic.
    pub fat_wave: f32,
    /// Where it is thickest.
    pub fat_phase_rad: f32,
    /// Thickness of the muscle wall.
    pub wall_mm: f32,
    /// Height of the lungs' lower edge at the wall.
    pub lung_floor_mm: f32,
    /// Height of the diaphragm's dome above that edge.
    pub dome_mm: f32,
}

/// The vertebral column and the muscles beside it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spine {
    /// Centre (x, y) of the vertebral bodies.
    pub centre_mm: [f32; 2],
    /// Half width and half depth of a vertebral body.
    pub radii_mm: [f32; 2],
    /// Distance from one disc to the next.
    pub period_mm: f32,
    /// Height of a disc.
    pub disc_mm: f32,
    /// Height of one of the discs.
    pub phase_mm: f32,
    /// Radius of the erector muscles beside the arches.
    pub erector_mm: f32,
    /// Radius of the psoas muscles at the lower end; they thin upwards.
    pub psoas_mm: f32,
}

/// Ribs: oblique bars in the muscle wall.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ribs {
    /// Distance from one to the next along z.
    pub period_mm: f32,
    /// Height of one of them at the spine.
    pub phase_mm: f32,
    /// Descent from back to front.
    pub descent_mm: f32,
    /// Half the height of a rib.
    pub half_mm: f32,
    /// Lowest point of the cage at the side.
    pub margin_mm: f32,
}

/// An upright vessel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vessel {
    /// Centre (x, y) at z = 0.
    pub centre_mm: [f32; 2],
    /// Sideways drift per mm of height.
    pub lean: f32,
    /// Half axes (x, y).
    pub radii_mm: [f32; 2],
}

/// A piece of bowel; unlabelled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loop {
    /// Its outer surface.
    pub shape: Blob,
    /// Content above this height, in semi-axes from the centre, is gas.
    pub gas_level: f32,
}

/// A labelled organ: the smooth union of its parts without its hollows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organ {
    /// Its value in the label map; one of [`super::LABELS`].
    pub label: u16,
    /// Solid parts.
    pub parts: Vec<Blob>,
    /// Notches, filled with fat.
    pub hollows: Vec<Blob>,
    /// Content above this height, in semi-axes from the first part's centre, is gas; more than
    /// 2 means none.
    pub gas_level: f32,
}

/// One patient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anatomy {
    /// How the patient lies in the world.
    pub pose: Pose,
    /// The walls of the trunk.
    pub trunk: Trunk,
    /// The spine and its muscles.
    pub spine: Spine,
    /// The ribs.
    pub ribs: Ribs,
    /// The aorta.
    pub aorta: Vessel,
    /// The inferior vena cava.
    pub cava: Vessel,
    /// The gallbladder; unlabelled.
    pub gallbladder: Blob,
    /// Bowel; unlabelled.
    pub bowel: Vec<Loop>,
    /// Labelled organs; where two would overlap, the earlier takes the room.
    pub organs: Vec<Organ>,
    /// Seed of the textures.
    pub texture_seed: u32,
}

/// Draws numbers about typical ones, spread by the config's `variation`.
struct Draw<'a> {
    rng: &'a mut Rng,
    spread: f32,
    /// Placement scale: this patient's cavity over the standard one, (x, y).
    scale: [f32; 2],
}

impl Draw<'_> {
    fn about(&mut self, typical: f32, half_range: f32) -> f32 {
        typical + self.spread * self.rng.uniform(-half_range, half_range)
    }

    /// A blob near `centre` (for a standard cavity), shifted by up to `shift` mm per axis and
    /// with its size varied by up to 18 % overall and 12 % per axis.
    fn blob(
        &mut self,
        centre: [f32; 3],
        shift: [f32; 3],
        semi_axes: [f32; 3],
        rotation_rad: [f32; 3],
        roughness: f32,
    ) -> Blob {
        let scale = [self.scale[0], self.scale[1], 1.0];
        let centre = [0, 1, 2].map(|i| self.about(centre[i] * scale[i], shift[i]));
        let size = self.about(1.0, 0.18);
        let semi_axes = semi_axes.map(|axis| axis * size * self.about(1.0, 0.12));
        let turn = 0.22 * self.spread;
        Blob::draw(
            self.rng,
            centre,
            semi_axes,
            rotation_rad,
            turn,
            roughness * self.spread,
        )
    }
}

impl Anatomy {
    /// Draws a patient; `variation` scales how much patients differ (1 typical, 0 none).
    pub(crate) fn draw(rng: &mut Rng, variation: f32) -> Self {
        let mut draw = Draw {
            rng,
            spread: variation,
            scale: [1.0; 2],
        };
        let pose = Pose {
            rotation_rad: [
                draw.about(0.0, 0.07),
                draw.about(0.0, 0.07),
                draw.about(0.0, 0.2),
            ],
            translation_mm: [
                draw.about(0.0, 40.0),
                draw.about(0.0, 60.0),
                draw.about(0.0, 200.0),
            ],
        };
        let trunk = draw_trunk(&mut draw);
        let inset = trunk.fat_mm + trunk.wall_mm;
        draw.scale = [
            (trunk.half_mm[0] - inset) / 124.0,
            (trunk.half_mm[1] - inset) / 82.0,
        ];
        let spine = draw_spine(&mut draw);
        let ribs = Ribs {
            period_mm: draw.about(27.0, 4.0),
            phase_mm: draw.about(0.0, 14.0),
            descent_mm: draw.about(95.0, 15.0),
            half_mm: draw.about(4.5, 0.8),
            margin_mm: draw.about(-25.0, 15.0),
        };
        let front = spine.centre_mm[1] + spine.radii_mm[1];
        let aorta = Vessel {
            centre_mm: [draw.about(-10.0, 4.0), front + draw.about(11.0, 1.5)],
            lean: draw.about(0.02, 0.03),
            radii_mm: [draw.about(10.0, 1.5); 2],
        };
        let cava = Vessel {
            centre_mm: [draw.about(20.0, 3.0), front + draw.about(10.0, 2.0)],
            lean: draw.about(0.0, 0.03),
            radii_mm: [draw.about(12.0, 2.0), draw.about(8.0, 1.5)],
        };
        let gallbladder = draw.blob(
            [58.0, 48.0, -14.0],
            [10.0, 8.0, 12.0],
            [13.0, 13.0, 22.0],
            [0.4, 0.0, 0.3],
            0.08,
        );
        let organs = draw_organs(&mut draw);
        let bowel = (0..10 + draw.rng.below(5))
            .map(|_| draw_loop(&mut draw))
            .collect();
        let texture_seed = draw.rng.bits();
        Self {
            pose,
            trunk,
            spine,
            ribs,
            aorta,
            cava,
            gallbladder,
            bowel,
            organs,
            texture_seed,
        }
    }
}

fn draw_trunk(draw: &mut Draw) -> Trunk {
    let width = draw.about(146.0, 20.0);
    Trunk {
        half_mm: [width, width * draw.about(0.70, 0.07)],
        exponent: draw.about(2.3, 0.2),
        taper_per_mm: draw.about(0.0, 0.0006),
        fat_mm: draw.about(15.0, 7.0),
        fat_wave: draw.about(0.2, 0.15),
        fat_phase_rad: draw.about(0.0, 1.0),
        wall_mm: draw.about(11.0, 2.0),
        lung_floor_mm: draw.about(24.0, 12.0),
        dome_mm: draw.about(38.0, 8.0),
    }
}

fn draw_spine(draw: &mut Draw) -> Spine {
    Spine {
        centre_mm: [draw.about(0.0, 4.0), draw.about(-40.0, 5.0) * draw.scale[1]],
        radii_mm: [draw.about(22.0, 2.5), draw.about(17.0, 2.0)],
        period_mm: draw.about(36.0, 3.0),
        disc_mm: draw.about(8.0, 2.0),
        phase_mm: draw.about(0.0, 18.0),
        erector_mm: draw.about(20.0, 3.0),
        psoas_mm: draw.about(17.0, 4.0),
    }
}

/// Bowel lies in front, low, and mostly to the left above the transverse colon's level.
fn draw_loop(draw: &mut Draw) -> Loop {
    let z = draw.rng.uniform(-95.0, 10.0);
    let side = draw.rng.uniform(-98.0, if z > -35.0 { 25.0 } else { 98.0 });
    let y = draw.rng.uniform(-15.0, 60.0);
    let radius = draw.rng.uniform(14.0, 23.0);
    let axes = [radius * draw.rng.uniform(0.9, 1.8), radius, radius];
    let shape = draw.blob([side, y, z], [0.0; 3], axes, [0.0; 3], 0.1);
    let gas_level = if draw.rng.chance(0.35) {
        draw.rng.uniform(-0.6, 0.5)
    } else {
        3.0
    };
    Loop { shape, gas_level }
}

/// Kidneys give way to nothing, the liver to everything: it is the softest to its neighbours.
fn draw_organs(draw: &mut Draw) -> Vec<Organ> {
    let kidney = |draw: &mut Draw, label: u16, side: f32, z: f32| {
        let centre = [62.0 * side, -34.0, z];
        let tilt = [0.15, -0.20 * side, 0.35 * side];
        let body = draw.blob(centre, [10.0, 8.0, 22.0], [27.0, 24.0, 52.0], tilt, 0.07);
        let hilum_centre = [
            body.centre_mm[0] - 0.95 * side * body.semi_axes_mm[0],
            body.centre_mm[1] + 0.35 * body.semi_axes_mm[1],
            body.centre_mm[2],
        ];
        let notch = body.semi_axes_mm.map(|axis| 0.52 * axis);
        let hilum = Blob::draw(draw.rng, hilum_centre, notch, tilt, 0.0, 0.1);
        Organ {
            label,
            parts: vec![body],
            hollows: vec![hilum],
            gas_level: 3.0,
        }
    };
    let left_kidney = kidney(draw, 3, -1.0, -6.0);
    let right_kidney = kidney(draw, 4, 1.0, -20.0);
    let spleen = Organ {
        label: 2,
        parts: vec![draw.blob(
            [-96.0, -22.0, 32.0],
            [9.0, 20.0, 20.0],
            [25.0, 46.0, 46.0],
            [0.3, 0.0, 0.35],
            0.11,
        )],
        hollows: Vec::new(),
        gas_level: 3.0,
    };
    let stomach = draw_stomach(draw);
    let right_lobe = draw.blob(
        [66.0, 6.0, 14.0],
        [12.0, 14.0, 16.0],
        [66.0, 72.0, 66.0],
        [0.0, 0.25, -0.2],
        0.10,
    );
    let left_lobe = draw.blob(
        [-4.0, 44.0, 34.0],
        [22.0, 8.0, 16.0],
        [60.0, 30.0, 32.0],
        [0.0, 0.2, 0.1],
        0.10,
    );
    let liver = Organ {
        label: 1,
        parts: vec![right_lobe, left_lobe],
        hollows: Vec::new(),
        gas_level: 3.0,
    };
    vec![left_kidney, right_kidney, spleen, stomach, liver]
}

/// Fundus under the left dome, body in front of it, antrum towards the middle.
fn draw_stomach(draw: &mut Draw) -> Organ {
    let fundus = draw.blob(
        [-56.0, 12.0, 42.0],
        [12.0, 14.0, 14.0],
        [32.0, 33.0, 34.0],
        [0.0; 3],
        0.09,
    );
    let offset = |draw: &mut Draw, by: [f32; 3], jitter: f32| {
        [0, 1, 2].map(|i| fundus.centre_mm[i] + draw.about(by[i], jitter))
    };
    let size = draw.about(1.0, 0.2);
    let body = offset(draw, [6.0, 20.0, -34.0], 8.0);
    let axes = [26.0, 24.0, 34.0].map(|axis| axis * size);
    let body = Blob::draw(draw.rng, body, axes, [0.2, 0.2, 0.0], 0.2, 0.09);
    let antrum = offset(draw, [36.0, 34.0, -56.0], 8.0);
    let axes = [32.0, 17.0, 18.0].map(|axis| axis * size);
    let antrum = Blob::draw(draw.rng, antrum, axes, [0.0, 0.2, 0.1], 0.2, 0.09);
    let gas_level = if draw.rng.chance(0.45) {
        draw.rng.uniform(0.9, 1.6)
    } else {
        3.0
    };
    Organ {
        label: 5,
        parts: vec![fundus, body, antrum],
        hollows: Vec::new(),
        gas_level,
    }
}
