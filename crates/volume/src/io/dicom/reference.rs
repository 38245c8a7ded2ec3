//! The series that a segmentation belongs to: what a new object takes over from it and refers to.
//!
//! Source: DICOM PS3.3, A.51 and A.19 with the modules they name. Name, identifier and birth date of
//! the patient go from the series' first file into the new object, and nowhere else.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use glam::DVec3;

use super::{
    DicomOptions,
    element::{DataSet, Told},
    encode::{Elements, date_and_time, uid},
    file::File,
    outline::outlines,
    series,
    slice::Instance,
    stack::{self, Stack},
    tags,
};
use crate::{
    Error, Grid, Labels, Result,
    io::write_atomic,
    space::{Orientation, reorient_labels},
};

/// How far a label map's corners may lie from the series', mm.
const APART_MM: f64 = 0.05;

/// What every element of the patient and the study is copied as.
const COPIED: [(u32, [u8; 2]); 12] = [
    (tags::SPECIFIC_CHARACTER_SET, *b"CS"),
    (tags::STUDY_DATE, *b"DA"),
    (tags::STUDY_TIME, *b"TM"),
    (tags::ACCESSION_NUMBER, *b"SH"),
    (tags::REFERRING_PHYSICIAN, *b"PN"),
    (tags::PATIENT_NAME, *b"PN"),
    (tags::PATIENT_ID, *b"LO"),
    (tags::PATIENT_BIRTH_DATE, *b"DA"),
    (tags::PATIENT_SEX, *b"CS"),
    (tags::STUDY_INSTANCE_UID, *b"UI"),
    (tags::STUDY_ID, *b"SH"),
    (tags::POSITION_REFERENCE, *b"LO"),
];

/// A label that is found in the map.
pub(super) struct Part {
    pub(super) value: u16,
    pub(super) name: String,
}

/// A label map on the slices of a series.
pub(super) struct Subject<'a> {
    pub(super) labels: Labels,
    pub(super) parts: Vec<Part>,
    pub(super) stack: Stack<'a>,
    /// Date and time of the new object.
    pub(super) made: [String; 2],
    /// What new identifiers are made of.
    content: Vec<u8>,
}

/// Which object a label map becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DicomObject {
    /// A segmentation (DICOM-SEG): one bit for each voxel of each label.
    Segmentation,
    /// A structure set (RTSTRUCT): closed outlines in each slice.
    StructureSet,
}

/// Writes a label map as a DICOM object of the patient and study of the series in `reference`, with
/// reference to its images. `names` are those of labels, where they have one.
///
/// # Errors
/// [`Error::Geometry`] where the map does not lie on the series; otherwise as
/// [`read_image`](crate::io::read_image) of the series and
/// [`write_labels`](crate::io::write_labels).
pub fn write_dicom_labels(
    path: &Path,
    labels: &Labels,
    names: &BTreeMap<u16, String>,
    object: DicomObject,
    reference: &Path,
    options: &DicomOptions,
) -> Result<()> {
    let fail = |message: String| Error::format(message, reference);
    let instances = series::choose(reference, options)?;
    let stack = stack::stack(&instances, options.resample_irregular).map_err(fail)?;
    let first = instances
        .first()
        .ok_or_else(|| fail("expected images, found none".into()))?;
    if instances
        .iter()
        .any(|i| i.uid.is_empty() || i.class.is_empty())
    {
        return Err(fail(
            "expected images with identifiers to refer to, found one without".into(),
        ));
    }
    let file = File::read(&first.path)?;
    let set = file.data_set().map_err(fail)?;
    let labels = on_grid(labels, &stack.grid)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let subject = Subject {
        parts: parts(&labels, names),
        content: content(&labels, names, &first.series),
        labels,
        stack,
        made: date_and_time(now.map_or(0, |d| d.as_secs())),
    };
    if subject.parts.is_empty() {
        return Err(Error::format(
            "expected a label to write, found background alone",
            path,
        ));
    }
    let elements = match object {
        DicomObject::Segmentation => super::seg::elements(&subject, &set),
        DicomObject::StructureSet => super::rtstruct::elements(&subject, &set),
    }
    .map_err(|message| Error::format(message, path))?;
    let bytes = elements.file(object == DicomObject::Segmentation);
    write_atomic(path, |out| out.write_all(&bytes))
}

/// The map with its axes turned as those of the series.
fn on_grid(labels: &Labels, grid: &Grid) -> Result<Labels> {
    let turned = reorient_labels(labels, Orientation::of(grid));
    if turned.grid().matches(grid, APART_MM) {
        let (_, values) = turned.into_parts();
        return Labels::new(grid.clone(), values);
    }
    let voxels = |grid: &Grid| {
        let ([x, y, z], [dx, dy, dz]) = (grid.shape(), grid.spacing_mm());
        format!("{x} × {y} × {z} of {dx:.4} × {dy:.4} × {dz:.4} mm")
    };
    Err(Error::geometry(format!(
        "expected labels on the voxels of the series, {}, found {} or another place; resample them \
         onto it first: crossmod convert LABELS OUT --labels --like SERIES",
        voxels(grid),
        voxels(turned.grid()),
    )))
}

fn parts(labels: &Labels, names: &BTreeMap<u16, String>) -> Vec<Part> {
    let values = labels.counts().into_keys().filter(|&value| value != 0);
    values
        .map(|value| Part {
            value,
            name: names
                .get(&value)
                .cloned()
                .unwrap_or_else(|| format!("label {value}")),
        })
        .collect()
}

fn content(labels: &Labels, names: &BTreeMap<u16, String>, series: &str) -> Vec<u8> {
    let mut content = series.as_bytes().to_vec();
    names.iter().for_each(|(value, name)| {
        content.extend(value.to_le_bytes());
        content.extend(name.as_bytes());
    });
    content.extend(labels.data().iter().flat_map(|v| v.to_le_bytes()));
    content
}

impl Subject<'_> {
    /// The identifier of a thing in the new object.
    pub(super) fn uid(&self, thing: &str) -> String {
        uid(&[thing.as_bytes(), &self.content])
    }

    /// What all new objects have: patient, study, series, equipment.
    pub(super) fn common(&self, class: &str, modality: &str, from: &DataSet<'_>) -> Elements {
        let mut set = Elements::default();
        for (tag, vr) in &COPIED {
            set.copy(*tag, vr, from);
        }
        set.text(
            tags::FRAME_OF_REFERENCE_UID,
            b"UI",
            &self.frame_of_reference(from),
        );
        set.text(tags::SOP_CLASS_UID, b"UI", class)
            .text(
                tags::SOP_INSTANCE_UID,
                b"UI",
                &self.uid(&format!("{modality} object")),
            )
            .text(
                tags::SERIES_INSTANCE_UID,
                b"UI",
                &self.uid(&format!("{modality} series")),
            )
            .text(tags::MODALITY, b"CS", modality)
            .text(tags::SERIES_DESCRIPTION, b"LO", "crossmod segmentation")
            .whole(tags::SERIES_NUMBER, 900)
            .whole(tags::INSTANCE_NUMBER, 1)
            .text(tags::MANUFACTURER, b"LO", "crossmod")
            .text(tags::MODEL_NAME, b"LO", "crossmod")
            .text(tags::SERIAL_NUMBER, b"LO", "none")
            .text(tags::SOFTWARE_VERSIONS, b"LO", env!("CARGO_PKG_VERSION"));
        set
    }

    /// Of the series' space; a new one where the series, made anonymous, has lost its own.
    pub(super) fn frame_of_reference(&self, from: &DataSet<'_>) -> String {
        from.text(tags::FRAME_OF_REFERENCE_UID)
            .unwrap_or_else(|| self.uid("frame of reference"))
    }

    /// The image that slice `z` comes from; `None` where it was resampled.
    pub(super) fn source(&self, z: usize) -> Option<(&Instance, usize)> {
        let member = self.stack.members.get(z);
        let own = member.filter(|_| self.stack.shifts.is_none());
        own.map(|m| (m.instance, m.slice.frame))
    }

    /// Every image of the series once.
    pub(super) fn images(&self) -> Vec<&Instance> {
        let mut images: Vec<&Instance> = Vec::new();
        for member in &self.stack.members {
            if images
                .last()
                .is_none_or(|last| last.uid != member.instance.uid)
            {
                images.push(member.instance);
            }
        }
        images
    }

    /// A voxel's centre, LPS mm.
    pub(super) fn lps(&self, voxel: [f64; 3]) -> [f64; 3] {
        let [x, y, z] = self.labels.grid().world(voxel);
        [-x, -y, z]
    }

    /// Directions along rows and columns, LPS.
    pub(super) fn directions(&self) -> Vec<f64> {
        let m = self.labels.grid().world_from_voxel();
        let lps = |v: DVec3| v.normalize() * DVec3::new(-1.0, -1.0, 1.0);
        let (row, column) = (lps(m.x_axis.truncate()), lps(m.y_axis.truncate()));
        [row.to_array(), column.to_array()].concat()
    }

    /// Whether each voxel of slice `z` has this value.
    pub(super) fn mask(&self, z: usize, value: u16) -> Vec<bool> {
        self.labels.slice_z(z).iter().map(|&v| v == value).collect()
    }

    /// Outlines of a part in slice `z`, in voxels.
    pub(super) fn outlines(&self, z: usize, part: &Part) -> Vec<Vec<[f64; 2]>> {
        outlines(&self.mask(z, part.value), self.labels.grid().shape()[0])
    }
}

/// Class and identifier of an image, and the frame of it that is meant where it has several.
pub(super) fn refer(item: &mut Elements, instance: &Instance, frame: Option<usize>) {
    item.text(tags::REFERENCED_SOP_CLASS_UID, b"UI", &instance.class)
        .text(tags::REFERENCED_SOP_INSTANCE_UID, b"UI", &instance.uid);
    if let Some(frame) = frame.filter(|_| instance.layout.frames > 1) {
        item.whole(tags::REFERENCED_FRAME_NUMBER, frame + 1);
    }
}

/// A hue for the n-th part, in turns: far from those before it.
pub(super) fn hue(n: usize) -> f64 {
    (n as f64 * 0.618_033_988_75).fract()
}

/// How many of something a number of two bytes can count.
pub(super) fn short(n: usize, what: &str) -> Told<u16> {
    u16::try_from(n).map_err(|_| format!("expected at most 65535 {what}, found {n}"))
}
