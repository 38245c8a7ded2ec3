//! Files made here by offset, apart from the code under test where they are read.

use std::fs;

use glam::DVec3;
use proptest::prelude::*;
use serde::Deserialize;

use super::{encode::Elements, *};
use crate::{
    Image, Labels,
    io::{read_image, read_image_stored, read_image_with, read_labels, tests::bytes_of},
};

/// One slice of a made-up CT.
#[derive(Clone)]
struct Made {
    position: [f64; 3],
    directions: [f64; 6],
    spacing: [f64; 2],
    columns: u16,
    rows: u16,
    slope: f64,
    intercept: f64,
    samples: Vec<i16>,
    series: &'static str,
    more: Vec<(u32, [u8; 2], &'static str)>,
}

impl Made {
    fn at(z: f64) -> Self {
        Self {
            position: [-10.0, -20.0, z],
            directions: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            spacing: [2.0, 1.5],
            columns: 4,
            rows: 3,
            slope: 1.0,
            intercept: -1024.0,
            samples: (0..12).map(|i| i + (10.0 * z) as i16).collect(),
            series: "1.2.3",
            more: Vec::new(),
        }
    }

    fn elements(&self) -> Elements {
        let mut set = Elements::default();
        set.text(tags::SOP_CLASS_UID, b"UI", "1.2.840.10008.5.1.4.1.1.2")
            .text(
                tags::SOP_INSTANCE_UID,
                b"UI",
                &format!("1.2.{}", self.position[2].to_bits()),
            )
            .text(tags::SERIES_INSTANCE_UID, b"UI", self.series)
            .text(tags::STUDY_INSTANCE_UID, b"UI", "1.2")
            .text(tags::PATIENT_NAME, b"PN", "Doe^Jane")
            .text(tags::MODALITY, b"CS", "CT")
            .decimals(tags::IMAGE_POSITION, &self.position)
            .decimals(tags::IMAGE_ORIENTATION, &self.directions)
            .decimals(tags::PIXEL_SPACING, &self.spacing)
            .decimals(tags::RESCALE_SLOPE, &[self.slope])
            .decimals(tags::RESCALE_INTERCEPT, &[self.intercept]);
        for (tag, value) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, self.rows),
            (tags::COLUMNS, self.columns),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 12),
            (tags::HIGH_BIT, 11),
            (tags::PIXEL_REPRESENTATION, 1),
        ] {
            set.shorts(tag, &[value]);
        }
        for (tag, vr, text) in &self.more {
            set.text(*tag, vr, text);
        }
        // What other programs leave in the unused bits.
        let stored = self.samples.iter().map(|v| (v & 0xfff) | 0x5000);
        set.bytes(
            tags::PIXEL_DATA,
            b"OW",
            stored.flat_map(i16::to_le_bytes).collect(),
        );
        set
    }
}

fn series(slices: &[Made]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (i, slice) in slices.iter().enumerate() {
        // Names against the order of places.
        let path = folder.path().join(format!("{:03}.dcm", 999 - i));
        fs::write(path, slice.elements().file(i % 2 == 0)).expect("a write");
    }
    folder
}

fn refusal(slices: &[Made]) -> String {
    let folder = series(slices);
    let message = read_image(folder.path())
        .expect_err("a refusal")
        .to_string();
    assert!(!message.contains("Doe"), "{message}");
    message
}

fn resampled(slices: &[Made]) -> Image {
    let options = DicomOptions {
        resample_irregular: true,
        ..DicomOptions::default()
    };
    read_image_with(series(slices).path(), &options)
        .expect("a volume")
        .0
}

#[test]
fn slices_go_by_their_place_and_keep_their_own_scaling() {
    let mut slices: Vec<Made> = [3.0, 0.0, 6.0, 9.0].map(Made::at).into();
    let (image, storage) = read_image_stored(series(&slices).path()).expect("a series");
    assert_eq!(image.grid().shape(), [4, 3, 4]);
    assert_eq!(image.grid().spacing_mm(), [1.5, 2.0, 3.0]);
    assert_eq!(image.grid().world([0.0; 3]), [10.0, 20.0, 0.0]);
    assert_eq!(image.grid().world([1.0, 1.0, 1.0]), [8.5, 18.0, 3.0]);
    assert_eq!(image.slice_z(1)[..2], [30.0 - 1024.0, 31.0 - 1024.0]);
    assert_eq!(
        (storage.dtype, storage.slope, storage.intercept),
        (Dtype::I16, 1.0, -1024.0)
    );

    slices[2].slope = 0.5;
    slices[2].samples[0] = -7;
    let (image, storage) = read_image_stored(series(&slices).path()).expect("a series");
    assert_eq!(image.slice_z(2)[0], -3.5 - 1024.0);
    assert!(storage.is_unscaled() && storage.dtype == Dtype::F32);
}

#[test]
fn what_is_no_regular_stack_is_refused_with_its_slice() {
    let good: Vec<Made> = (0..6).map(|i| Made::at(f64::from(i) * 2.0)).collect();
    let with = |change: &dyn Fn(&mut Vec<Made>)| {
        let mut slices = good.clone();
        change(&mut slices);
        refusal(&slices)
    };
    let gap = with(&|s| drop(s.remove(2)));
    assert!(
        gap.contains("as if 1 were missing") && gap.contains("998.dcm"),
        "{gap}"
    );
    let uneven = with(&|s| s[3].position[2] = 6.5);
    assert!(
        uneven.contains("a step of 2.500 mm between 997.dcm and 996.dcm"),
        "{uneven}"
    );
    let double = with(&|s| s.push(s[4].clone()));
    assert!(
        double.contains("993.dcm and 995.dcm at the same"),
        "{double}"
    );
    let tilt = with(&|s| {
        s.iter_mut()
            .for_each(|s| s.position[1] += 0.3 * s.position[2])
    });
    assert!(tilt.contains("gantry tilt of 16.70°"), "{tilt}");
    let aside = with(&|s| s[3].position[0] += 1.0);
    assert!(aside.contains("996.dcm 1.000 mm beside"), "{aside}");
    let scout = with(&|s| s[1].more.push((tags::IMAGE_TYPE, *b"CS", "LOCALIZER")));
    assert!(
        scout.contains("an overview") && scout.contains("998.dcm"),
        "{scout}"
    );
    let turned = with(&|s| s[5].directions = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]);
    assert!(
        turned.contains("one orientation, found another in 994.dcm"),
        "{turned}"
    );
    let size = with(&|s| (s[5].rows, s[5].columns) = (4, 3));
    assert!(
        size.contains("one size") && size.contains("994.dcm"),
        "{size}"
    );
    let echoes = with(&|s| {
        let mut more = s.clone();
        s.iter_mut()
            .for_each(|s| s.more.push((tags::ECHO_TIME, *b"DS", "10")));
        more.iter_mut()
            .for_each(|s| s.more.push((tags::ECHO_TIME, *b"DS", "80")));
        s.append(&mut more);
    });
    assert!(
        echoes.contains("2 images at each place that differ in echo time"),
        "{echoes}"
    );
    let several = with(&|s| s[0].series = "1.2.4");
    assert!(
        several.contains("found 2; choose one") && several.contains("1.2.4"),
        "{several}"
    );
    let colours = with(&|s| {
        s[0].more
            .push((tags::PHOTOMETRIC_INTERPRETATION, *b"CS", "PALETTE COLOR"))
    });
    assert!(colours.contains("colours"), "{colours}");
}

/// A plane through space, which linear interpolation leaves as it is.
fn ramp(slice: &mut Made) {
    let (row, column) = (
        DVec3::from_slice(&slice.directions[..3]),
        DVec3::from_slice(&slice.directions[3..]),
    );
    let place = DVec3::from_array(slice.position);
    slice.samples = (0..slice.rows)
        .flat_map(|y| (0..slice.columns).map(move |x| (x, y)))
        .map(|(x, y)| {
            let [dy, dx] = slice.spacing;
            let at = place + row * f64::from(x) * dx + column * f64::from(y) * dy;
            // Whole for the places below.
            (4.0 * at.x + 2.0 * at.y + 8.0 * at.z).round() as i16
        })
        .collect();
}

#[test]
fn irregular_slices_are_resampled_to_where_they_lie() {
    let mut slices: Vec<Made> = [0.0, 1.0, 2.0, 4.0, 7.0].map(Made::at).into();
    for slice in &mut slices {
        (slice.columns, slice.rows, slice.intercept) = (8, 8, 0.0);
        slice.spacing = [1.0, 1.0];
        slice.position[1] += 0.25 * slice.position[2];
        ramp(slice);
    }
    // An overview and a copy, which are left out.
    slices.push(slices[2].clone());
    let mut scout = slices[0].clone();
    scout.more.push((tags::IMAGE_TYPE, *b"CS", "LOCALIZER"));
    slices.push(scout);
    let image = resampled(&slices);
    assert_eq!(image.grid().shape(), [8, 10, 8]);
    assert_eq!(image.grid().spacing_mm(), [1.0; 3]);
    let lowest = image.data().iter().copied().fold(f32::INFINITY, f32::min);
    let mut inside = 0;
    for z in 0..8 {
        for y in 0..10 {
            for x in 0..8 {
                let [wx, wy, wz] = image.grid().world([x, y, z].map(f64::from));
                let expected = (-4.0 * wx - 2.0 * wy + 8.0 * wz) as f32;
                let found = image.data()[image.grid().index([x, y, z].map(|v| v as usize))];
                if found != lowest {
                    // Samples are whole numbers, so that each is off by up to a half.
                    assert!(
                        (found - expected).abs() <= 0.5,
                        "{x} {y} {z}: {found} {expected}"
                    );
                    inside += 1;
                }
            }
        }
    }
    assert!(inside > 8 * 7 * 7, "{inside}");
}

#[test]
fn regular_slices_stay_as_they_are_when_resampling_is_allowed() {
    let slices: Vec<Made> = (0..4).map(|i| Made::at(f64::from(i))).collect();
    assert_eq!(
        resampled(&slices),
        read_image(series(&slices).path()).expect("a series")
    );
}

#[test]
fn a_series_is_chosen_by_number_or_identifier() {
    let mut slices: Vec<Made> = [0.0, 1.0, 2.0, 5.0, 7.0].map(Made::at).into();
    for slice in &mut slices[3..] {
        slice.series = "1.2.9";
        slice.more.push((tags::SERIES_NUMBER, *b"IS", "7"));
    }
    let folder = series(&slices);
    let listed = list_series(folder.path()).expect("series");
    assert_eq!(listed.iter().map(|s| s.slices).collect::<Vec<_>>(), [3, 2]);
    for (name, slices) in [("1.2.3", 3), ("1.2.9", 2), ("7", 2)] {
        let options = DicomOptions {
            series: Some(name.into()),
            ..DicomOptions::default()
        };
        let (image, _) = read_image_with(folder.path(), &options).expect(name);
        assert_eq!(image.grid().shape()[2], slices);
    }
    let options = DicomOptions {
        series: Some("8".into()),
        ..DicomOptions::default()
    };
    let error = read_image_with(folder.path(), &options).expect_err("no such series");
    assert!(
        error.to_string().contains("expected a series 8, found"),
        "{error}"
    );
}

/// Frames that other libraries compressed; see `testdata/codecs.py`.
#[test]
fn compressed_frames_are_those_that_other_libraries_decode() {
    #[derive(Deserialize)]
    struct Golden {
        name: String,
        data: String,
        rows: usize,
        columns: usize,
        samples: Vec<i32>,
        lossy: Option<i32>,
    }
    let text = include_str!("../../../testdata/codecs.json");
    let goldens: Vec<Golden> = serde_json::from_str(text).expect("the goldens");
    assert_eq!(goldens.len(), 45);
    for golden in goldens {
        let data = bytes_of(&golden.data);
        let (rows, columns) = (golden.rows, golden.columns);
        let wide = |samples: Vec<u16>| samples.into_iter().map(i32::from).collect();
        let decode = |data: &[u8]| -> element::Told<Vec<i32>> {
            match golden.name.split(' ').next() {
                Some("jpeg") => jpeg::decode(data, rows, columns).map(wide),
                Some("jpegls") => jpegls::decode(data, rows, columns).map(wide),
                _ => jpeg2000::decode(data, rows, columns),
            }
        };
        let found = decode(&data).expect(&golden.name);
        let most = golden.lossy.unwrap_or(0);
        let apart = found
            .iter()
            .zip(&golden.samples)
            .map(|(a, b)| (a - b).abs());
        assert!(apart.max().expect("samples") <= most, "{}", golden.name);
        assert!(jpeg::decode(&data, rows + 1, columns).is_err());
        // Cut or changed anywhere: refused or read, never more.
        for cut in (0..data.len()).step_by(7) {
            let _ = decode(&data[..cut]);
            let mut changed = data.clone();
            changed[cut] ^= 1 << (cut % 8);
            let _ = decode(&changed);
        }
    }
}

fn labels_on(image: &Image) -> Labels {
    let values = (0..image.grid().len())
        .map(|i| [0, 0, 1, 5][i * 7 % 4])
        .collect();
    Labels::new(image.grid().clone(), values).expect("labels")
}

#[test]
fn labels_written_for_a_series_are_read_back() {
    let slices: Vec<Made> = (0..5).map(|i| Made::at(f64::from(i) * 2.5)).collect();
    let folder = series(&slices);
    let image = read_image(folder.path()).expect("a series");
    let labels = labels_on(&image);
    let out = tempfile::tempdir().expect("a temporary folder");
    let path = out.path().join("seg.dcm");
    let names = [(1, "one".to_owned())].into();
    let write = |labels: &Labels, object| {
        let none = DicomOptions::default();
        write_dicom_labels(&path, labels, &names, object, folder.path(), &none)
    };
    write(&labels, DicomObject::Segmentation).expect("a write");
    let back = read_labels(&path).expect("a segmentation");
    assert!(back.grid().matches(labels.grid(), 1e-6));
    // Segments are numbered in order.
    let numbered: Vec<u16> = labels
        .data()
        .iter()
        .map(|&v| if v == 5 { 2 } else { v })
        .collect();
    assert_eq!(back.data(), numbered);
    let first = fs::read(&path).expect("a file");
    let has = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|w| w == text);
    assert!(has(&first, b"Doe^Jane") && has(&first, b"one") && has(&first, b"label 5"));

    // Turned as another program may keep them.
    let turned = crate::space::reorient_labels(&labels, crate::space::Orientation::RAS);
    write(&turned, DicomObject::Segmentation).expect("a write");
    assert_eq!(read_labels(&path).expect("a segmentation").data(), numbered);

    write(&labels, DicomObject::StructureSet).expect("a write");
    let error = read_labels(&path).expect_err("outlines").to_string();
    assert!(error.contains("found outlines (RTSTRUCT)"), "{error}");

    let elsewhere = Grid::with_spacing([4, 3, 5], [1.0; 3]).expect("a grid");
    let elsewhere = Labels::new(elsewhere, vec![1; 60]).expect("labels");
    let error = write(&elsewhere, DicomObject::Segmentation).expect_err("another grid");
    assert!(
        error.to_string().contains("resample them onto it"),
        "{error}"
    );
    let none = Labels::new(image.grid().clone(), vec![0; 60]).expect("labels");
    assert!(write(&none, DicomObject::Segmentation).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// No file, however odd, makes the reader panic or take memory that the file does not back.
    #[test]
    fn hostile_files_are_refused_or_read(
        changes in prop::collection::vec((0usize..900, any::<u8>()), 1..12),
        cut in 0usize..1000,
        explicit in any::<bool>(),
    ) {
        let mut bytes = Made::at(0.0).elements().file(explicit);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut.max(200));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.dcm");
        fs::write(&path, bytes).expect("a write");
        let _ = read_image(&path);
    }
}
