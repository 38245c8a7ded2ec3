//! From an anatomy to what lies at a point.
//!
//! The patient is painted from back to front: air, fat, muscle wall, visceral fat, lung, bone,
//! bowel, vessels, organs. Each shape covers a point by a share that rises from 0 to 1 across
//! its surface over the width of a voxel, which is the partial-volume effect to first order. The
//! label is that of the organ whose depth at the point is positive; organs are carved so that
//! at most one is. Points and lengths are mm in the patient frame.

use glam::Vec3;

use super::anatomy::{Anatomy, Organ};
use super::shape::{Solid, ellipse_depth, smooth_union};
use super::tissue::{Look, Tissue};

/// Room between neighbouring organs, mm: a sheet of fat, below the size of a voxel.
const GAP_MM: f32 = 2.5;
/// Thickness of the wall of bowel and stomach, mm.
const GUT_WALL_MM: f32 = 2.5;

/// An anatomy ready to be evaluated.
pub(crate) struct Body<'a> {
    anatomy: &'a Anatomy,
    gallbladder: Solid,
    bowel: Vec<(Solid, f32)>,
    organs: Vec<Shape<'a>>,
}

struct Shape<'a> {
    organ: &'a Organ,
    tissue: Tissue,
    parts: Vec<Solid>,
    hollows: Vec<Solid>,
}

/// What lies at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) look: Look,
    pub(crate) label: u16,
}

/// The paint so far.
struct Canvas<'a> {
    look: Look,
    looks: &'a [Look],
    width_mm: f32,
}

impl Canvas<'_> {
    fn paint(&mut self, tissue: Tissue, depth_mm: f32) {
        let alpha = (0.5 + depth_mm / self.width_mm).clamp(0.0, 1.0);
        if alpha > 0.0 {
            self.look = self.look.painted(self.looks[tissue as usize], alpha);
        }
    }
}

/// Depths of the trunk's layers at a point.
struct Layers {
    skin: f32,
    wall: f32,
    cavity: f32,
}

impl<'a> Body<'a> {
    pub(crate) fn new(anatomy: &'a Anatomy) -> Self {
        let solids = |blobs: &[super::Blob]| blobs.iter().map(super::Blob::solid).collect();
        let tissue = |label| match label {
            1 => Tissue::Liver,
            2 => Tissue::Spleen,
            3 | 4 => Tissue::Kidney,
            _ => Tissue::Stomach,
        };
        Self {
            anatomy,
            gallbladder: anatomy.gallbladder.solid(),
            bowel: anatomy
                .bowel
                .iter()
                .map(|l| (l.shape.solid(), l.gas_level))
                .collect(),
            organs: anatomy
                .organs
                .iter()
                .map(|organ| Shape {
                    organ,
                    tissue: tissue(organ.label),
                    parts: solids(&organ.parts),
                    hollows: solids(&organ.hollows),
                })
                .collect(),
        }
    }

    /// What lies at `point` for a voxel `width_mm` wide, with the tissues looking as `looks`.
    pub(crate) fn sample(&self, point: Vec3, width_mm: f32, looks: &[Look]) -> Sample {
        let mut canvas = Canvas {
            look: looks[Tissue::Air as usize],
            looks,
            width_mm,
        };
        let layers = self.layers(point);
        if layers.skin < -width_mm {
            return Sample {
                look: canvas.look,
                label: 0,
            };
        }
        canvas.paint(Tissue::Fat, layers.skin);
        canvas.paint(Tissue::Muscle, layers.wall);
        canvas.paint(Tissue::Fat, layers.cavity);
        canvas.paint(
            Tissue::Lung,
            layers.cavity.min(self.above_diaphragm(point, &layers)),
        );
        canvas.paint(Tissue::Bone, self.rib_depth(point, &layers));
        let column = self
            .paint_spine(point, layers.wall, &mut canvas)
            .max(self.paint_vessels(point, &mut canvas));
        let room = (layers.cavity - 1.5).min(-column - 1.0);
        self.paint_bowel(point, room, &mut canvas);
        let gallbladder = self.gallbladder.depth(point);
        let bile = gallbladder.min(room);
        canvas.paint(Tissue::Fat, room.min(gallbladder + GAP_MM));
        canvas.paint(Tissue::Bile, bile);
        let label = self.paint_organs(point, room.min(-bile - GAP_MM), &mut canvas);
        Sample {
            look: canvas.look,
            label,
        }
    }

    fn layers(&self, p: Vec3) -> Layers {
        let trunk = &self.anatomy.trunk;
        let grown = 1.0 + trunk.taper_per_mm * p.z;
        let half = trunk.half_mm.map(|h| h * grown);
        let n = trunk.exponent;
        let (x, y) = (
            (p.x.abs() / half[0]).max(1e-4),
            (p.y.abs() / half[1]).max(1e-4),
        );
        let level = (x.powf(n) + y.powf(n)).powf(1.0 / n);
        let slope = |v: f32, h: f32| (v / level).powf(n - 1.0) / h;
        let skin = (1.0 - level) / slope(x, half[0]).hypot(slope(y, half[1]));
        let around = (2.0 * p.y.atan2(p.x) + trunk.fat_phase_rad).cos();
        let wall = skin - trunk.fat_mm * (1.0 + trunk.fat_wave * around);
        Layers {
            skin,
            wall,
            cavity: wall - trunk.wall_mm,
        }
    }

    /// Height above the diaphragm: two domes, lowest at the wall.
    fn above_diaphragm(&self, p: Vec3, layers: &Layers) -> f32 {
        let trunk = &self.anatomy.trunk;
        let inner = (layers.cavity / (0.45 * trunk.half_mm[1])).clamp(0.0, 1.0);
        p.z - trunk.lung_floor_mm - trunk.dome_mm * (inner * (2.0 - inner)).sqrt()
    }

    /// Depth in the nearest rib: a bar within the muscle wall, sloping down towards the front.
    fn rib_depth(&self, p: Vec3, layers: &Layers) -> f32 {
        let (trunk, ribs) = (&self.anatomy.trunk, &self.anatomy.ribs);
        let in_wall = 4.0 - (layers.wall - 0.55 * trunk.wall_mm).abs();
        if in_wall < -6.0 {
            return in_wall;
        }
        // 0 at the spine, 1 at the sternum.
        let forward = p.x.abs().atan2(-p.y) / std::f32::consts::PI;
        let height = p.z + ribs.descent_mm * forward - ribs.phase_mm;
        let off = height - ribs.period_mm * (height / ribs.period_mm).round();
        // The cage ends: its margin climbs towards the front.
        let margin = p.z - ribs.margin_mm - 90.0 * (forward - 0.5).max(0.0);
        in_wall.min(ribs.half_mm - off.abs()).min(margin)
    }

    /// Muscles beside the spine, vertebrae, discs, arch and canal, all below the subcutaneous fat
    /// (`under_fat` deep); returns the depth in any.
    fn paint_spine(&self, p: Vec3, under_fat: f32, canvas: &mut Canvas) -> f32 {
        let spine = &self.anatomy.spine;
        let [x, y] = spine.centre_mm;
        let [half_width, half_depth] = spine.radii_mm;
        let mirrored = Vec3::new((p.x - x).abs(), p.y, p.z);
        let erector = ellipse_depth(
            mirrored,
            [spine.erector_mm + 4.0, y - half_depth - 22.0],
            [spine.erector_mm, 0.85 * spine.erector_mm],
        );
        let psoas_radius = (spine.psoas_mm * (0.55 - p.z / 130.0).clamp(0.0, 1.0)).max(1.0);
        let psoas = ellipse_depth(
            mirrored,
            [half_width + 0.7 * psoas_radius, y - 4.0],
            [psoas_radius, 1.1 * psoas_radius],
        );
        canvas.paint(Tissue::Muscle, erector.max(psoas).min(under_fat));

        let along = p.z - spine.phase_mm;
        let from_disc = (along - spine.period_mm * (along / spine.period_mm).round()).abs();
        let disc = 0.5 * spine.disc_mm - from_disc;
        let vertebra = ellipse_depth(p, spine.centre_mm, spine.radii_mm);
        canvas.paint(Tissue::Bone, vertebra);
        canvas.paint(Tissue::Marrow, (vertebra - 3.0).min(-disc - 1.0));
        canvas.paint(Tissue::Disc, vertebra.min(disc));

        let canal_y = y - half_depth - 8.0;
        let canal = ellipse_depth(p, [x, canal_y], [9.5, 8.0]);
        // Laminae end above and below; between two of them there is ligament and fat.
        let lamina = from_disc - 5.0;
        let process = ellipse_depth(p, [x, canal_y - 21.0], [4.5, 14.0]).min(lamina);
        let transverse =
            ellipse_depth(mirrored, [18.0, canal_y], [20.0, 5.0]).min(from_disc - 11.0);
        let arch = (canal + 4.5).min(lamina).max(process).max(transverse);
        canvas.paint(Tissue::Bone, arch.min(under_fat));
        canvas.paint(Tissue::Csf, canal);
        erector.max(psoas).max(vertebra).max(arch).max(canal)
    }

    fn paint_vessels(&self, p: Vec3, canvas: &mut Canvas) -> f32 {
        let vessels = [
            (&self.anatomy.aorta, Tissue::Artery),
            (&self.anatomy.cava, Tissue::Vein),
        ];
        vessels
            .iter()
            .fold(f32::NEG_INFINITY, |deepest, (vessel, tissue)| {
                let centre = [vessel.centre_mm[0] + vessel.lean * p.z, vessel.centre_mm[1]];
                let depth = ellipse_depth(p, centre, vessel.radii_mm);
                canvas.paint(Tissue::Fat, depth + 2.0);
                canvas.paint(*tissue, depth);
                deepest.max(depth)
            })
    }

    fn paint_bowel(&self, p: Vec3, room: f32, canvas: &mut Canvas) {
        for (solid, gas_level) in &self.bowel {
            let depth = solid.depth(p).min(room);
            if depth > -canvas.width_mm {
                canvas.paint(Tissue::Wall, depth);
                canvas.paint(Tissue::Chyme, depth - GUT_WALL_MM);
                if solid.relative_height(p) > *gas_level {
                    canvas.paint(Tissue::Gas, depth - GUT_WALL_MM);
                }
            }
        }
    }

    /// Paints the organs into the `room` left to them; returns the label at the point.
    fn paint_organs(&self, p: Vec3, room: f32, canvas: &mut Canvas) -> u16 {
        let (mut label, mut taken) = (0, f32::NEG_INFINITY);
        if room <= -canvas.width_mm {
            return label;
        }
        for shape in &self.organs {
            let whole = shape
                .parts
                .iter()
                .map(|part| part.depth(p))
                .reduce(|a, b| smooth_union(a, b, 8.0))
                .unwrap_or(f32::NEG_INFINITY);
            let hollow = shape
                .hollows
                .iter()
                .map(|h| h.depth(p))
                .fold(f32::NEG_INFINITY, f32::max);
            let depth = whole.min(room).min(-hollow).min(-taken - GAP_MM);
            taken = taken.max(whole.min(room));
            if depth > -canvas.width_mm - GAP_MM {
                canvas.paint(Tissue::Fat, depth + GAP_MM);
                self.paint_organ(p, shape, depth, canvas);
            }
            if depth > 0.0 {
                label = shape.organ.label;
            }
        }
        label
    }

    fn paint_organ(&self, p: Vec3, shape: &Shape, depth: f32, canvas: &mut Canvas) {
        if shape.tissue != Tissue::Stomach {
            canvas.paint(shape.tissue, depth);
            return;
        }
        canvas.paint(Tissue::Wall, depth);
        let lumen = depth - GUT_WALL_MM;
        canvas.paint(Tissue::Stomach, lumen);
        if shape
            .parts
            .first()
            .is_some_and(|s| s.relative_height(p) > shape.organ.gas_level)
        {
            canvas.paint(Tissue::Gas, lumen);
        }
    }
}
