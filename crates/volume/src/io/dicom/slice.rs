//! Where each frame of a file lies and what its numbers mean.
//!
//! Source: DICOM PS3.3, C.7.6.2 (image plane), C.11.1 (modality transform) and C.7.6.16 (functional
//! groups of frames). Positions and directions are LPS mm here, as in the file.

use std::{path::PathBuf, sync::Arc};

use glam::DVec3;

use super::{
    element::{DataSet, Told},
    file::File,
    frame::{Frames, Layout},
    tags,
};
use crate::{Error, Result};

/// A file of a series.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) path: PathBuf,
    /// Kept where it holds several frames, else read again.
    pub(super) file: Option<Arc<File>>,
    pub(super) layout: Layout,
    /// Of all frames in the file.
    pub(super) bytes: usize,
    pub(super) class: String,
    pub(super) uid: String,
    pub(super) series: String,
    pub(super) number: Option<i64>,
    pub(super) modality: String,
    pub(super) description: String,
    /// A segmentation: fragments of segments, not samples of one volume.
    pub(super) segmentation: bool,
    pub(super) slices: Vec<Slice>,
}

/// A frame in space.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice {
    pub(super) frame: usize,
    /// The centre of the first pixel, and the directions along a row and down a column.
    pub(super) place: Option<Place>,
    /// Between columns and between rows.
    pub(super) spacing: Option<[f64; 2]>,
    /// Of the slice or to the next, where the file says.
    pub(super) thickness: Option<f64>,
    pub(super) slope: f64,
    pub(super) intercept: f64,
    /// An overview, by its own word.
    pub(super) scout: bool,
    /// What tells images apart that lie at the same place, by name.
    pub(super) phase: Vec<(&'static str, Vec<u8>)>,
    /// Of a segmentation.
    pub(super) segment: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) position: DVec3,
    pub(super) row: DVec3,
    pub(super) column: DVec3,
}

impl Place {
    pub(super) fn normal(&self) -> DVec3 {
        self.row.cross(self.column)
    }
}

/// What may tell images at one place apart.
const PHASES: [(&str, u32); 7] = [
    ("echo time", tags::ECHO_TIME),
    ("echo time", tags::EFFECTIVE_ECHO_TIME),
    ("time", tags::TEMPORAL_POSITION),
    ("time", tags::TEMPORAL_POSITION_INDEX),
    ("trigger time", tags::TRIGGER_TIME),
    ("b value", tags::DIFFUSION_B_VALUE),
    ("acquisition", tags::ACQUISITION_NUMBER),
];

impl Instance {
    /// `None` for DICOM objects without pixels: directories, plans, reports.
    pub(super) fn read(path: &std::path::Path) -> Result<Option<Self>> {
        let file = File::read(path)?;
        let of = |file: &File| -> Told<Option<Self>> {
            let set = file.data_set()?;
            if set.get(tags::ROWS).is_none() {
                return Ok(None);
            }
            let frames = Frames::of(&set, &file.syntax)?;
            let layout = *frames.layout();
            let text = |tag| set.text(tag).unwrap_or_default();
            let class = text(tags::SOP_CLASS_UID);
            Ok(Some(Self {
                path: path.to_owned(),
                file: None,
                layout,
                bytes: frames.bytes(),
                uid: text(tags::SOP_INSTANCE_UID),
                series: text(tags::SERIES_INSTANCE_UID),
                number: set.decimal(tags::SERIES_NUMBER).map(|n| n as i64),
                modality: text(tags::MODALITY),
                description: text(tags::SERIES_DESCRIPTION),
                segmentation: class == tags::SEGMENTATION_STORAGE
                    || class == tags::LABEL_MAP_STORAGE,
                class,
                slices: slices(&set, layout.frames)?,
            }))
        };
        let found = of(&file).map_err(|message| Error::format(message, path))?;
        Ok(found.map(|instance| Self {
            file: (instance.layout.frames > 1).then(|| Arc::new(file)),
            ..instance
        }))
    }

    /// The slice's name for messages.
    pub(super) fn name(&self, slice: &Slice) -> String {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        if self.layout.frames > 1 {
            format!("frame {} of {file}", slice.frame + 1)
        } else {
            file.into_owned()
        }
    }

    /// Stored values of some frames.
    pub(super) fn values(&self, frames: &[usize]) -> Result<Vec<Vec<f64>>> {
        let again;
        let file = match &self.file {
            Some(file) => file,
            None => {
                again = File::read(&self.path)?;
                &again
            }
        };
        let read = || -> Told<Vec<Vec<f64>>> {
            let set = file.data_set()?;
            let held = Frames::of(&set, &file.syntax)?;
            if *held.layout() != self.layout {
                return Err("expected the file as it was a moment ago, found it changed".into());
            }
            frames.iter().map(|&frame| held.values(frame)).collect()
        };
        read().map_err(|message| Error::format(message, &self.path))
    }
}

/// Most frames of a file: no scanner writes as many, and each takes memory beside its pixels.
const MOST_FRAMES: usize = 1 << 17;

/// Every frame of a data set.
fn slices(set: &DataSet<'_>, frames: usize) -> Told<Vec<Slice>> {
    if frames > MOST_FRAMES {
        return Err(format!(
            "expected at most {MOST_FRAMES} frames, found {frames}; the file is damaged"
        ));
    }
    let whole = Described::by_itself(set);
    let shared = set.item(tags::SHARED_FUNCTIONAL_GROUPS)?;
    let own = set.sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS)?;
    if shared.is_none() && own.is_empty() {
        return classic(set, whole.slice(0)?, frames);
    }
    if own.len() != frames && !own.is_empty() {
        return Err(format!(
            "expected a description of each of {frames} frames, found {}; the file is damaged",
            own.len()
        ));
    }
    let of_all = Described {
        scout: whole.scout,
        ..Described::by_groups(&shared.unwrap_or_default())?
    };
    (0..frames)
        .map(|frame| match own.get(frame) {
            Some(groups) => Described::by_groups(groups)?.or(&of_all).slice(frame),
            None => of_all.slice(frame),
        })
        .collect()
}

/// Frames of a file that describes them once: at offsets along the normal where it says so.
fn classic(set: &DataSet<'_>, first: Slice, frames: usize) -> Told<Vec<Slice>> {
    if frames == 1 {
        return Ok(vec![first]);
    }
    let offsets = set
        .decimals(tags::GRID_FRAME_OFFSET_VECTOR)
        .filter(|offsets| offsets.len() == frames);
    let step = set.decimal(tags::SPACING_BETWEEN_SLICES);
    let at = |frame: usize| {
        offsets
            .as_ref()
            .map(|offsets| offsets[frame] - offsets[0])
            .or(step.map(|step| step * frame as f64))
    };
    (0..frames)
        .map(|frame| {
            let place = first.place.zip(at(frame)).map(|(place, offset)| Place {
                position: place.position + place.normal() * offset,
                ..place
            });
            Ok(Slice {
                frame,
                place,
                ..first.clone()
            })
        })
        .collect()
}

/// What a data set or some functional groups say of frames.
#[derive(Debug, Clone, Default)]
struct Described {
    position: Option<Vec<f64>>,
    directions: Option<Vec<f64>>,
    spacing: Option<Vec<f64>>,
    thickness: Option<f64>,
    slope: Option<f64>,
    intercept: Option<f64>,
    scout: bool,
    phase: Vec<(&'static str, Vec<u8>)>,
    segment: Option<u16>,
}

/// The functional groups that are looked at.
const GROUPS: [u32; 8] = [
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    tags::SEGMENT_IDENTIFICATION_SEQUENCE,
    tags::FRAME_CONTENT_SEQUENCE,
    tags::MR_ECHO_SEQUENCE,
    tags::MR_DIFFUSION_SEQUENCE,
];

impl Described {
    /// A data set whose elements describe its frames.
    fn by_itself(set: &DataSet<'_>) -> Self {
        Self {
            scout: set
                .text(tags::IMAGE_TYPE)
                .is_some_and(|kind| kind.split('\\').any(|word| word == "LOCALIZER")),
            ..Self::default()
        }
        .with(set)
    }

    /// Functional groups, each a sequence of one item.
    fn by_groups(groups: &DataSet<'_>) -> Told<Self> {
        let mut described = Self::default();
        for sequence in GROUPS {
            if let Some(item) = groups.item(sequence)? {
                described = described.with(&item);
            }
        }
        Ok(described)
    }

    /// With what these elements say, where nothing was said before.
    fn with(self, set: &DataSet<'_>) -> Self {
        let above_0 = |v: Option<f64>| v.map(f64::abs).filter(|&v| v > 0.0);
        let phase = PHASES.into_iter().filter_map(|(name, tag)| {
            let value = set.get(tag)?.value;
            // Enough to tell values apart.
            Some((name, value[..value.len().min(64)].to_vec()))
        });
        let found = Self {
            position: set.decimals(tags::IMAGE_POSITION),
            directions: set.decimals(tags::IMAGE_ORIENTATION),
            spacing: set.decimals(tags::PIXEL_SPACING),
            thickness: above_0(set.decimal(tags::SPACING_BETWEEN_SLICES))
                .or(above_0(set.decimal(tags::SLICE_THICKNESS))),
            slope: set
                .decimal(tags::RESCALE_SLOPE)
                .or(set.decimal(tags::DOSE_GRID_SCALING)),
            intercept: set.decimal(tags::RESCALE_INTERCEPT),
            scout: false,
            phase: phase.collect(),
            segment: set.short(tags::REFERENCED_SEGMENT_NUMBER),
        };
        self.or(&found)
    }

    /// What is not said here as there.
    fn or(mut self, other: &Self) -> Self {
        self.phase.extend(other.phase.iter().cloned());
        Self {
            position: self.position.or_else(|| other.position.clone()),
            directions: self.directions.or_else(|| other.directions.clone()),
            spacing: self.spacing.or_else(|| other.spacing.clone()),
            thickness: self.thickness.or(other.thickness),
            slope: self.slope.or(other.slope),
            intercept: self.intercept.or(other.intercept),
            scout: self.scout || other.scout,
            phase: self.phase,
            segment: self.segment.or(other.segment),
        }
    }

    fn slice(&self, frame: usize) -> Told<Slice> {
        let placed = self.position.as_ref().zip(self.directions.as_ref());
        Ok(Slice {
            frame,
            place: placed.map(|(p, d)| place(p, d)).transpose()?,
            spacing: match self.spacing.as_deref() {
                Some(&[rows, columns]) if rows > 0.0 && columns > 0.0 => Some([columns, rows]),
                Some(other) => {
                    return Err(format!(
                        "expected a pixel spacing of two numbers above 0, found {} numbers, or one \
                         of 0",
                        other.len()
                    ));
                }
                None => None,
            },
            thickness: self.thickness,
            slope: self.slope.unwrap_or(1.0),
            intercept: self.intercept.unwrap_or(0.0),
            scout: self.scout,
            phase: self.phase.clone(),
            segment: self.segment,
        })
    }
}

fn place(position: &[f64], directions: &[f64]) -> Told<Place> {
    let (&[x, y, z], &[a, b, c, d, e, f]) = (position, directions) else {
        return Err(format!(
            "expected a position of three numbers and two directions, found {} and {}",
            position.len(),
            directions.len()
        ));
    };
    let (row, column) = (DVec3::new(a, b, c), DVec3::new(d, e, f));
    let off = |v: f64| v.abs() > 1e-2;
    if off(row.length() - 1.0) || off(column.length() - 1.0) || off(row.dot(column)) {
        return Err("expected two directions of length 1 at right angles, found others".into());
    }
    // Files round to a few digits: made exact again.
    let row = row.normalize();
    let column = (column - row * row.dot(column)).normalize();
    Ok(Place {
        position: DVec3::new(x, y, z),
        row,
        column,
    })
}
