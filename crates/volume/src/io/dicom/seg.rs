//! A label map as a DICOM segmentation: one bit for each voxel of each label.
//!
//! Source: DICOM PS3.3, A.51 and C.8.20. Segments are numbered from 1 in order of their values;
//! frames without a voxel are left out. Each segment is coded as tissue (SCT 85756007): what it is
//! stands in its label.

use super::{
    element::{DataSet, Told},
    encode::Elements,
    reference::{Part, Subject, hue, refer, short},
    tags,
};

const TISSUE: [&str; 3] = ["85756007", "SCT", "Tissue"];

pub(super) fn elements(subject: &Subject<'_>, from: &DataSet<'_>) -> Told<Elements> {
    let [columns, rows, slices] = subject.labels.grid().shape();
    let mut set = subject.common(tags::SEGMENTATION_STORAGE, "SEG", from);
    let [date, time] = &subject.made;
    set.text(tags::CONTENT_DATE, b"DA", date)
        .text(tags::CONTENT_TIME, b"TM", time)
        .bytes(tags::IMAGE_TYPE, b"CS", b"DERIVED\\PRIMARY ".to_vec())
        .text(tags::CONTENT_LABEL, b"CS", "SEGMENTATION")
        .text(tags::CONTENT_DESCRIPTION, b"LO", "Labels of a segmenter")
        .text(tags::CONTENT_CREATOR, b"PN", "crossmod")
        .text(tags::LOSSY_COMPRESSION, b"CS", "00")
        .text(tags::SEGMENTATION_TYPE, b"CS", "BINARY")
        .text(tags::SEGMENTS_OVERLAP, b"CS", "NO")
        .text(tags::PHOTOMETRIC_INTERPRETATION, b"CS", "MONOCHROME2");
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, short(rows, "rows")?),
        (tags::COLUMNS, short(columns, "columns")?),
        (tags::BITS_ALLOCATED, 1),
        (tags::BITS_STORED, 1),
        (tags::HIGH_BIT, 0),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        set.shorts(tag, &[value]);
    }
    dimensions(&mut set, &subject.uid("dimensions"));
    shared(&mut set, subject);
    set.item(tags::REFERENCED_SERIES_SEQUENCE, |item| {
        let images = subject.images();
        let series = images.first().map_or("", |i| i.series.as_str());
        item.text(tags::SERIES_INSTANCE_UID, b"UI", series);
        let instances = images.iter().map(|instance| {
            let mut item = Elements::default();
            refer(&mut item, instance, None);
            item
        });
        item.items(tags::REFERENCED_INSTANCE_SEQUENCE, instances.collect());
    });

    let mut segments = Vec::new();
    let mut frames = Vec::new();
    let mut bits = Vec::new();
    for (n, part) in subject.parts.iter().enumerate() {
        let number = short(n + 1, "labels")?;
        segments.push(segment(number, part));
        for z in 0..slices {
            let mask = subject.mask(z, part.value);
            if mask.contains(&true) {
                frames.push(frame(subject, z, number));
                bits.extend(mask);
            }
        }
    }
    set.items(tags::SEGMENT_SEQUENCE, segments)
        .whole(tags::NUMBER_OF_FRAMES, frames.len())
        .items(tags::PER_FRAME_FUNCTIONAL_GROUPS, frames)
        .bytes(tags::PIXEL_DATA, b"OB", packed(&bits));
    Ok(set)
}

/// Eight voxels in a byte, the first lowest; frames follow each other without padding.
fn packed(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8)
        .map(|eight| {
            let places = eight.iter().enumerate();
            places.fold(0, |byte, (i, &bit)| byte | u8::from(bit) << i)
        })
        .collect()
}

fn dimensions(set: &mut Elements, uid: &str) {
    set.item(tags::DIMENSION_ORGANIZATION_SEQUENCE, |item| {
        item.text(tags::DIMENSION_ORGANIZATION_UID, b"UI", uid);
    });
    let indices = [
        (
            tags::REFERENCED_SEGMENT_NUMBER,
            tags::SEGMENT_IDENTIFICATION_SEQUENCE,
            "Segment",
        ),
        (
            tags::IMAGE_POSITION,
            tags::PLANE_POSITION_SEQUENCE,
            "Position",
        ),
    ];
    let indices = indices.map(|(pointer, group, name)| {
        let mut item = Elements::default();
        item.text(tags::DIMENSION_ORGANIZATION_UID, b"UI", uid)
            .pointer(tags::DIMENSION_INDEX_POINTER, pointer)
            .pointer(tags::FUNCTIONAL_GROUP_POINTER, group)
            .text(tags::DIMENSION_DESCRIPTION, b"LO", name);
        item
    });
    set.items(tags::DIMENSION_INDEX_SEQUENCE, indices.into());
}

fn shared(set: &mut Elements, subject: &Subject<'_>) {
    let [dx, dy, dz] = subject.labels.grid().spacing_mm();
    set.item(tags::SHARED_FUNCTIONAL_GROUPS, |groups| {
        groups
            .item(tags::PIXEL_MEASURES_SEQUENCE, |item| {
                item.decimals(tags::PIXEL_SPACING, &[dy, dx])
                    .decimals(tags::SLICE_THICKNESS, &[dz])
                    .decimals(tags::SPACING_BETWEEN_SLICES, &[dz]);
            })
            .item(tags::PLANE_ORIENTATION_SEQUENCE, |item| {
                item.decimals(tags::IMAGE_ORIENTATION, &subject.directions());
            });
    });
}

fn segment(number: u16, part: &Part) -> Elements {
    let angle = hue(usize::from(number)) * std::f64::consts::TAU;
    // L*, a* and b* as DICOM scales them (PS3.3, C.10.7.1.1).
    let axis = |v: f64| ((60.0 * v + 128.0) / 255.0 * 65535.0) as u16;
    let mut item = Elements::default();
    item.shorts(tags::SEGMENT_NUMBER, &[number])
        .text(tags::SEGMENT_LABEL, b"LO", &part.name)
        .text(
            tags::SEGMENT_DESCRIPTION,
            b"ST",
            &format!("label value {}", part.value),
        )
        .text(tags::SEGMENT_ALGORITHM_TYPE, b"CS", "AUTOMATIC")
        .text(tags::SEGMENT_ALGORITHM_NAME, b"LO", "crossmod")
        .shorts(
            tags::SEGMENT_COLOUR,
            &[40_000, axis(angle.cos()), axis(angle.sin())],
        )
        .code(tags::SEGMENTED_CATEGORY_SEQUENCE, TISSUE)
        .code(tags::SEGMENTED_TYPE_SEQUENCE, TISSUE);
    item
}

fn frame(subject: &Subject<'_>, z: usize, number: u16) -> Elements {
    let mut groups = Elements::default();
    groups
        .item(tags::FRAME_CONTENT_SEQUENCE, |item| {
            item.longs(
                tags::DIMENSION_INDEX_VALUES,
                &[u32::from(number), z as u32 + 1],
            );
        })
        .item(tags::PLANE_POSITION_SEQUENCE, |item| {
            item.decimals(tags::IMAGE_POSITION, &subject.lps([0.0, 0.0, z as f64]));
        })
        .item(tags::SEGMENT_IDENTIFICATION_SEQUENCE, |item| {
            item.shorts(tags::REFERENCED_SEGMENT_NUMBER, &[number]);
        });
    if let Some((instance, frame)) = subject.source(z) {
        groups.item(tags::DERIVATION_IMAGE_SEQUENCE, |item| {
            item.code(
                tags::DERIVATION_CODE_SEQUENCE,
                ["113076", "DCM", "Segmentation"],
            )
            .item(tags::SOURCE_IMAGE_SEQUENCE, |source| {
                refer(source, instance, Some(frame));
                source
                    .text(tags::SPATIAL_LOCATIONS_PRESERVED, b"CS", "YES")
                    .code(
                        tags::PURPOSE_CODE_SEQUENCE,
                        [
                            "121322",
                            "DCM",
                            "Source image for image processing operation",
                        ],
                    );
            });
        });
    }
    groups
}
