//! The slices of a series put in order along their normal, and what keeps them from being a volume.
//!
//! Instance numbers play no part. A regular stack has slices of one orientation and size, each
//! within 5 % of a step of its place on a straight line at right angles to them. What is not regular
//! is refused with the slice named, or resampled where that was asked for: onto the upright grid
//! along rows, columns and normal of the slices that holds them all, with the smallest step between
//! neighbours; between slices and, where they are shifted (gantry tilt), within them by linear
//! interpolation.

use glam::{DMat3, DMat4, DVec3};

use super::{
    element::Told,
    slice::{Instance, Place, Slice},
};
use crate::Grid;

/// How far a slice may lie from its place, in steps and mm.
const PLACE_STEPS: f64 = 0.05;
const PLACE_MM: f64 = 0.02;

/// How far the line through the slices may lean from their normal, degrees.
const LEAN: f64 = 0.2;

/// How far directions of length 1 may differ.
const TURN: f64 = 1e-3;

/// A resampled volume has at most so many slices for each that was measured, and voxels likewise.
const MOST_FOR_EACH: usize = 16;

const ASK: &str = "ask for it to be resampled (--resample-irregular) or leave the slice out";

/// A slice of a series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) instance: &'a Instance,
    pub(super) slice: &'a Slice,
    place: Place,
}

impl Member<'_> {
    fn name(&self) -> String {
        self.instance.name(self.slice)
    }
}

/// A volume and the slices it is made of, in order along z.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    pub(super) grid: Grid,
    pub(super) members: Vec<Member<'a>>,
    /// Where the slices lie on the grid, if they are not its own.
    pub(super) shifts: Option<Vec<Shift>>,
}

/// Voxel coordinates of the first pixel of a slice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) z: f64,
}

/// Makes a volume of all slices, or says which keeps it from being one.
pub(super) fn stack(instances: &[Instance], resample: bool) -> Told<Stack<'_>> {
    let all: Vec<(&Instance, &Slice)> = instances
        .iter()
        .flat_map(|i| i.slices.iter().map(move |s| (i, s)))
        .collect();
    let alone = all.len() == 1;
    let mut members = Vec::with_capacity(all.len());
    for (instance, slice) in all {
        // A picture that does not say where it lies can be a volume of its own.
        let nowhere = alone.then_some(Place {
            position: DVec3::ZERO,
            row: DVec3::X,
            column: DVec3::Y,
        });
        let Some(place) = slice.place.or(nowhere) else {
            return Err(format!(
                "expected slices that say where they lie, found none in {}",
                instance.name(slice)
            ));
        };
        members.push(Member {
            instance,
            slice,
            place,
        });
    }
    without_scouts(&mut members, resample)?;
    of_one_kind(&mut members, resample)?;
    let Some(first) = members.first().copied() else {
        return Err("expected slices, found none".into());
    };
    let normal = first.place.normal();
    let along = |m: &Member<'_>| m.place.position.dot(normal);
    members.sort_by(|a, b| along(a).total_cmp(&along(b)));
    without_doubles(&mut members, along, resample)?;

    if let Some(regular) = Regular::of(&members, normal).filter(|r| r.holds(&members)) {
        return Ok(Stack {
            grid: grid(&first, regular.origin, regular.step, members.len())?,
            members,
            shifts: None,
        });
    }
    match finding(&members, normal) {
        Some(finding) if !resample => Err(finding),
        _ => upright(members, normal),
    }
}

/// The mean step between slices and where the first lies.
#[derive(Debug, Clone, Copy)]
struct Regular {
    origin: DVec3,
    step: DVec3,
    normal: DVec3,
}

impl Regular {
    fn of(members: &[Member<'_>], normal: DVec3) -> Option<Self> {
        let (first, last) = (members.first()?, members.last()?);
        let origin = first.place.position;
        let step = if members.len() == 1 {
            normal * first.slice.thickness.unwrap_or(1.0)
        } else {
            (last.place.position - origin) / (members.len() - 1) as f64
        };
        Some(Self {
            origin,
            step,
            normal,
        })
    }

    fn lean(&self) -> f64 {
        self.step.angle_between(self.normal).to_degrees()
    }

    /// How far a slice lies from its place.
    fn off(&self, z: usize, member: &Member<'_>) -> f64 {
        let place = self.origin + self.step * z as f64;
        member.place.position.distance(place)
    }

    fn most_off(&self) -> f64 {
        (PLACE_STEPS * self.step.length()).max(PLACE_MM)
    }

    fn holds(&self, members: &[Member<'_>]) -> bool {
        let mut all = members.iter().enumerate();
        self.lean() <= LEAN && all.all(|(z, m)| self.off(z, m) <= self.most_off())
    }
}

/// What is not regular about slices in order.
fn finding(members: &[Member<'_>], normal: DVec3) -> Option<String> {
    let regular = Regular::of(members, normal)?;
    let mut steps: Vec<f64> = members
        .windows(2)
        .map(|two| (two[1].place.position - two[0].place.position).dot(normal))
        .collect();
    let unsorted = steps.clone();
    steps.sort_by(f64::total_cmp);
    let &usual = steps.get(steps.len() / 2)?;
    let apart = |step: f64| (step - usual).abs() > (PLACE_STEPS * usual).max(PLACE_MM);
    if let Some(z) = unsorted.iter().position(|&step| apart(step)) {
        let (step, a, b) = (unsorted[z], members[z].name(), members[z + 1].name());
        let ratio = step / usual;
        let whole = (ratio - ratio.round()).abs() < 0.1 && ratio > 1.5;
        let what = if whole {
            format!(
                "a gap of {step:.3} mm, as if {} were missing,",
                ratio.round() - 1.0
            )
        } else {
            format!("a step of {step:.3} mm")
        };
        return Some(format!(
            "expected slices {usual:.3} mm apart, found {what} between {a} and {b}; {ASK}"
        ));
    }
    let lean = regular.lean();
    if lean > LEAN {
        return Some(format!(
            "expected slices at right angles to the line through them, found a gantry tilt of \
             {lean:.2}° in {}; {ASK}",
            members.first()?.name()
        ));
    }
    let odd = members
        .iter()
        .enumerate()
        .max_by(|(a, m), (b, n)| regular.off(*a, m).total_cmp(&regular.off(*b, n)))?;
    Some(format!(
        "expected slices on a straight line, found {} {:.3} mm beside it; {ASK}",
        odd.1.name(),
        regular.off(odd.0, odd.1)
    ))
}

fn without_scouts(members: &mut Vec<Member<'_>>, resample: bool) -> Told<()> {
    let Some(scout) = members.iter().find(|m| m.slice.scout) else {
        return Ok(());
    };
    if members.iter().all(|m| m.slice.scout) {
        return Ok(());
    }
    if !resample {
        return Err(format!(
            "expected slices of a volume, found an overview (LOCALIZER) in {}; {ASK}",
            scout.name()
        ));
    }
    members.retain(|m| !m.slice.scout);
    Ok(())
}

/// Slices of one orientation, size and spacing: those that most have.
fn of_one_kind(members: &mut Vec<Member<'_>>, resample: bool) -> Told<()> {
    fn turned(a: &Member<'_>, b: &Member<'_>) -> bool {
        let near = |a: DVec3, b: DVec3| (a - b).abs().max_element() <= TURN;
        !near(a.place.row, b.place.row) || !near(a.place.column, b.place.column)
    }
    let same_size = |a: &Member<'_>, b: &Member<'_>| {
        let (x, y) = (&a.instance.layout, &b.instance.layout);
        let near = |a: f64, b: f64| (a - b).abs() <= TURN * a;
        let spacing = match (a.slice.spacing, b.slice.spacing) {
            (Some(a), Some(b)) => near(a[0], b[0]) && near(a[1], b[1]),
            (a, b) => a == b,
        };
        (x.rows, x.columns) == (y.rows, y.columns) && spacing
    };
    let mut kinds: Vec<(Member<'_>, usize)> = Vec::new();
    for member in members.iter() {
        let kind = kinds
            .iter()
            .position(|(k, _)| !turned(k, member) && same_size(k, member));
        match kind {
            Some(i) => kinds[i].1 += 1,
            // Few kinds, so that this stays quick whatever the file says.
            None if kinds.len() < 64 => kinds.push((*member, 1)),
            None => {}
        }
    }
    // The first of those with most.
    let Some(&(usual, _)) = kinds.iter().rev().max_by_key(|(_, count)| *count) else {
        return Ok(());
    };
    let alike = |m: &Member<'_>| !turned(&usual, m) && same_size(&usual, m);
    let Some(odd) = members.iter().find(|m| !alike(m)) else {
        return Ok(());
    };
    if !resample {
        let what = if turned(&usual, odd) {
            "one orientation, found another"
        } else {
            "one size and pixel spacing, found another"
        };
        return Err(format!(
            "expected slices of {what} in {}; {ASK}",
            odd.name()
        ));
    }
    members.retain(alike);
    Ok(())
}

/// One slice at each place along the normal.
fn without_doubles(
    members: &mut Vec<Member<'_>>,
    along: impl Fn(&Member<'_>) -> f64,
    resample: bool,
) -> Told<()> {
    let same = |a: &Member<'_>, b: &Member<'_>| (along(a) - along(b)).abs() < PLACE_MM / 2.0;
    let Some(double) = members.windows(2).find(|two| same(&two[0], &two[1])) else {
        return Ok(());
    };
    let (a, b) = (double[0], double[1]);
    let sizes: Vec<usize> = members.chunk_by(same).map(<[_]>::len).collect();
    let differs = a
        .slice
        .phase
        .iter()
        .find(|(name, value)| {
            let other = b.slice.phase.iter().find(|(n, _)| n == name);
            other.is_some_and(|(_, v)| v != value)
        })
        .map(|&(name, _)| name);
    if let (Some(what), true) = (differs, sizes.iter().all(|&n| n == sizes[0])) {
        return Err(format!(
            "expected one volume, found {} images at each place that differ in {what}, such as {} \
             and {}; keep the files of one of them in a folder of their own",
            sizes[0],
            a.name(),
            b.name()
        ));
    }
    if !resample {
        return Err(format!(
            "expected one slice at each place, found {} and {} at the same; {ASK}",
            a.name(),
            b.name()
        ));
    }
    members.dedup_by(|b, a| same(a, b));
    Ok(())
}

/// A grid of `slices` steps from `origin`, LPS.
fn grid(first: &Member<'_>, origin: DVec3, step: DVec3, slices: usize) -> Told<Grid> {
    let layout = &first.instance.layout;
    placed(first, origin, step, [layout.columns, layout.rows, slices])
}

fn placed(first: &Member<'_>, origin: DVec3, step: DVec3, shape: [usize; 3]) -> Told<Grid> {
    let [dx, dy] = first.slice.spacing.unwrap_or([1.0; 2]);
    let to_ras = DMat3::from_diagonal(DVec3::new(-1.0, -1.0, 1.0));
    let linear = DMat3::from_cols(first.place.row * dx, first.place.column * dy, step);
    let mut world = DMat4::from_mat3(to_ras * linear);
    world.w_axis = (to_ras * origin).extend(1.0);
    Grid::new(shape, world).map_err(|e| e.to_string())
}

/// The upright grid that holds all slices.
fn upright(members: Vec<Member<'_>>, normal: DVec3) -> Told<Stack<'_>> {
    let Some(&first) = members.first() else {
        return Err("expected slices, found none".into());
    };
    let Place {
        position: origin,
        row,
        column,
    } = first.place;
    let [dx, dy] = first.slice.spacing.unwrap_or([1.0; 2]);
    // Of each slice's first pixel, in voxels along rows and columns and mm along the normal.
    let offsets: Vec<[f64; 3]> = members
        .iter()
        .map(|m| {
            let from = m.place.position - origin;
            [from.dot(row) / dx, from.dot(column) / dy, from.dot(normal)]
        })
        .collect();
    let range = |axis: usize| {
        let values = offsets.iter().map(|o| o[axis]);
        let least = values.clone().fold(f64::INFINITY, f64::min);
        (least, values.fold(f64::NEG_INFINITY, f64::max) - least)
    };
    let ((left, across), (top, down), (_, deep)) = (range(0), range(1), range(2));
    let steps = offsets.windows(2).map(|two| two[1][2] - two[0][2]);
    let least = deep / (members.len() * MOST_FOR_EACH) as f64;
    let step = steps.fold(f64::INFINITY, f64::min).max(least);
    let layout = &first.instance.layout;
    // A hundredth of a voxel more needs no further row.
    let more = |extent: f64| (extent - 0.01).ceil().max(0.0) as usize;
    let shape = [
        layout.columns.saturating_add(more(across)),
        layout.rows.saturating_add(more(down)),
        ((deep / step).round() as usize).saturating_add(1),
    ];
    let measured = layout.pixels().saturating_mul(members.len());
    let voxels = shape.iter().fold(1usize, |n, &s| n.saturating_mul(s));
    if voxels > measured.saturating_mul(MOST_FOR_EACH) {
        return Err(format!(
            "expected slices near each other, found them spread over {shape:?} voxels; leave out \
             those that lie apart"
        ));
    }
    let corner = origin + row * (left * dx) + column * (top * dy);
    let shifts = offsets
        .iter()
        .map(|&[x, y, z]| Shift {
            x: x - left,
            y: y - top,
            z: z / step,
        })
        .collect();
    Ok(Stack {
        grid: placed(&first, corner, normal * step, shape)?,
        members,
        shifts: Some(shifts),
    })
}
