//! A label map as a structure set of radiotherapy: closed outlines in each slice.
//!
//! Source: DICOM PS3.3, A.19, C.8.8.5 and C.8.8.6. A hole is an outline of its own within another, as
//! planning systems take them (exclusive or). Outlines lie in the planes of the series' images, so
//! that a series that had to be resampled cannot have them.

use super::{
    element::{DataSet, Told},
    encode::Elements,
    reference::{Subject, hue, refer},
    tags,
};

/// The class by which a study is referred to.
const STUDY_CLASS: &str = "1.2.840.10008.3.1.2.3.1";

pub(super) fn elements(subject: &Subject<'_>, from: &DataSet<'_>) -> Told<Elements> {
    let mut set = subject.common(tags::STRUCTURE_SET_STORAGE, "RTSTRUCT", from);
    let [date, time] = &subject.made;
    let frame_of_reference = subject.frame_of_reference(from);
    set.text(tags::STRUCTURE_SET_LABEL, b"SH", "crossmod")
        .text(tags::STRUCTURE_SET_DATE, b"DA", date)
        .text(tags::STRUCTURE_SET_TIME, b"TM", time)
        .text(tags::APPROVAL_STATUS, b"CS", "UNAPPROVED");
    set.item(tags::REFERENCED_FRAME_SEQUENCE, |item| {
        item.text(tags::FRAME_OF_REFERENCE_UID, b"UI", &frame_of_reference)
            .item(tags::RT_REFERENCED_STUDY_SEQUENCE, |study| {
                let uid = from.text(tags::STUDY_INSTANCE_UID).unwrap_or_default();
                study
                    .text(tags::REFERENCED_SOP_CLASS_UID, b"UI", STUDY_CLASS)
                    .text(tags::REFERENCED_SOP_INSTANCE_UID, b"UI", &uid)
                    .item(tags::RT_REFERENCED_SERIES_SEQUENCE, |series| {
                        let images = subject.images();
                        let uid = images.first().map_or("", |i| i.series.as_str());
                        series.text(tags::SERIES_INSTANCE_UID, b"UI", uid);
                        let images = images.iter().map(|instance| {
                            let mut item = Elements::default();
                            refer(&mut item, instance, None);
                            item
                        });
                        series.items(tags::CONTOUR_IMAGE_SEQUENCE, images.collect());
                    });
            });
    });
    let (mut rois, mut contours, mut observations) = (Vec::new(), Vec::new(), Vec::new());
    for (n, part) in subject.parts.iter().enumerate() {
        let number = n + 1;
        let mut roi = Elements::default();
        roi.whole(tags::ROI_NUMBER, number)
            .text(tags::REFERENCED_FRAME_UID, b"UI", &frame_of_reference)
            .text(tags::ROI_NAME, b"LO", &part.name)
            .text(tags::ROI_GENERATION_ALGORITHM, b"CS", "AUTOMATIC");
        rois.push(roi);

        let mut outlines = Vec::new();
        for z in 0..subject.labels.grid().shape()[2] {
            for polygon in subject.outlines(z, part) {
                let Some((instance, frame)) = subject.source(z) else {
                    return Err(
                        "expected slices as they were measured, for outlines to lie in, found \
                         them resampled; write a segmentation (seg) instead"
                            .into(),
                    );
                };
                let points = polygon
                    .iter()
                    .flat_map(|&[x, y]| subject.lps([x, y, z as f64]));
                let mut contour = Elements::default();
                contour
                    .item(tags::CONTOUR_IMAGE_SEQUENCE, |item| {
                        refer(item, instance, Some(frame))
                    })
                    .text(tags::CONTOUR_GEOMETRIC_TYPE, b"CS", "CLOSED_PLANAR")
                    .whole(tags::NUMBER_OF_CONTOUR_POINTS, polygon.len())
                    .decimals(tags::CONTOUR_DATA, &points.collect::<Vec<_>>());
                outlines.push(contour);
            }
        }
        let mut shown = Elements::default();
        shown
            .bytes(tags::ROI_DISPLAY_COLOUR, b"IS", colour(number).into_bytes())
            .whole(tags::REFERENCED_ROI_NUMBER, number)
            .items(tags::CONTOUR_SEQUENCE, outlines);
        contours.push(shown);

        let mut observation = Elements::default();
        observation
            .whole(tags::OBSERVATION_NUMBER, number)
            .whole(tags::REFERENCED_ROI_NUMBER, number)
            .text(tags::ROI_INTERPRETED_TYPE, b"CS", "")
            .text(tags::ROI_INTERPRETER, b"PN", "");
        observations.push(observation);
    }
    set.items(tags::STRUCTURE_SET_ROI_SEQUENCE, rois)
        .items(tags::ROI_CONTOUR_SEQUENCE, contours)
        .items(tags::ROI_OBSERVATIONS_SEQUENCE, observations);
    Ok(set)
}

/// Red, green and blue of a part, such as `255\0\64`, padded to an even length.
fn colour(number: usize) -> String {
    let channel = |shift: f64| {
        let angle = (hue(number) + shift) * std::f64::consts::TAU;
        (127.5 * (1.0 + angle.cos())) as u8
    };
    let text = [0.0, 1.0 / 3.0, 2.0 / 3.0]
        .map(|s| channel(s).to_string())
        .join("\\");
    if text.len() % 2 == 1 {
        text + " "
    } else {
        text
    }
}
