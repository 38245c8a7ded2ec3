//! DICOM as scanners and other programs write it, from the folder that `CROSSMOD_TEST_DATA` names.

use std::path::PathBuf;

use crossmod_volume::{
    Image,
    io::{DicomOptions, list_series, read_image, read_image_with, read_labels},
    space::{Orientation, reorient_image, reorient_labels},
};
use serde::Deserialize;

fn data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CROSSMOD_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipping {test}: CROSSMOD_TEST_DATA is not set");
    }
    folder.map(|f| f.join("readers"))
}

const RESAMPLE: DicomOptions = DicomOptions {
    series: None,
    resample_irregular: true,
};

fn upright(image: &Image) -> Image {
    reorient_image(image, Orientation::RAS)
}

/// Both images in one orientation: the largest distance of corners in mm and of values.
fn apart(a: &Image, b: &Image) -> (f64, f32) {
    let (a, b) = (upright(a), upright(b));
    assert_eq!(a.grid().shape(), b.grid().shape());
    let corners = (0..8).map(|corner| {
        let voxel = [0, 1, 2].map(|axis| {
            let last = (a.grid().shape()[axis] - 1) as f64;
            if corner >> axis & 1 == 1 { last } else { 0.0 }
        });
        let (p, q) = (a.grid().world(voxel), b.grid().world(voxel));
        (0..3).map(|i| (p[i] - q[i]).powi(2)).sum::<f64>().sqrt()
    });
    let values = a.data().iter().zip(b.data()).map(|(x, y)| (x - y).abs());
    (corners.fold(0.0, f64::max), values.fold(0.0, f32::max))
}

/// dicom2nifti's own results, which are f32 in places and i16 elsewhere.
#[test]
fn series_match_the_nifti_that_dicom2nifti_made() {
    let Some(data) = data("dicom2nifti") else {
        return;
    };
    let folder = data.join("dicom2nifti");
    for name in [
        "anatomical/001",
        "anatomical/001_implicit",
        "ge/anatomical/001",
        "ge/anatomical/001_implicit",
        "ge/anatomical/001_single_slice",
        "generic/anatomical/001",
        "generic/anatomical/001_implicit",
        "generic/anatomical/002_non_isotropic",
        "generic/compressed/001",
        "generic/compressed_j2k/001",
        "generic/compressed_jpeg/001",
        "generic/compressed_jpegls/001",
        "generic/compressed_rle/001",
        "hitachi/anatomical/001",
        "hitachi/anatomical/001_implicit",
        "hyperfine/anatomical/001",
        "philips/anatomical/001",
        "philips/anatomical/001_implicit",
        "siemens/anatomical/001",
        "siemens/anatomical/001_implicit",
        "failing/slicecount/001",
    ] {
        let image = read_image(&folder.join(name)).expect(name);
        let truth = folder.join(format!("{name}_ground_truth.nii.gz"));
        let (mm, value) = apart(&image, &read_image(&truth).expect("the truth"));
        println!("{name}: {mm:.2e} mm, {value:.2e}");
        assert!(mm < 1e-3, "{name}: {mm}");
        assert!(value < 1e-3, "{name}: {value}");
    }
    let colours = read_image(&folder.join("generic/rgb/001")).expect_err("colours");
    assert!(colours.to_string().contains("colours"), "{colours}");
}

/// What keeps each from being a volume is said, with the slice.
#[test]
fn failing_series_are_refused_for_their_reason() {
    let Some(data) = data("dicom2nifti/failing") else {
        return;
    };
    let folder = data.join("dicom2nifti/failing");
    for (name, reason, slice) in [
        ("gantrytilting/001", "a gantry tilt of", "IM-0001-0001.dcm"),
        (
            "notavolume/001",
            "4 images at each place that differ in acquisition",
            "001.dcm and 002.dcm",
        ),
        (
            "sliceorientation/001",
            "one orientation, found another",
            "IM-0001-",
        ),
    ] {
        let error = read_image(&folder.join(name)).expect_err(name).to_string();
        println!("{error}");
        assert!(error.contains(reason) && error.contains(slice), "{error}");
    }
    let (image, _) =
        read_image_with(&folder.join("gantrytilting/001"), &RESAMPLE).expect("a tilted series");
    println!("{:?} {:?}", image.grid().shape(), image.grid().spacing_mm());
    assert_eq!(image.grid().shape()[0], 512);
}

#[derive(Deserialize)]
struct Golden {
    file: String,
    syntax: String,
    modality: String,
    frames: usize,
    rows: usize,
    columns: usize,
    least: f64,
    greatest: f64,
    sum: f64,
    weighted: f64,
}

/// Every grey file as pydicom decodes it; see `testdata/dicom_values.py`.
#[test]
fn single_files_hold_what_pydicom_reads() {
    let Some(data) = data("pydicom") else { return };
    let text = include_str!("../../testdata/dicom_values.json");
    let goldens: Vec<Golden> = serde_json::from_str(text).expect("the goldens");
    let mut read = 0;
    for golden in goldens.iter().filter(|g| g.modality != "SEG") {
        let name = &golden.file;
        let image = match read_image(&data.join(name)) {
            Ok(image) => image,
            Err(error) => {
                println!("refused {name}: {error}");
                continue;
            }
        };
        assert_eq!(
            image.grid().shape(),
            [golden.columns, golden.rows, golden.frames],
            "{name}"
        );
        let values = || image.data().iter().map(|&v| f64::from(v));
        let sum: f64 = values().sum();
        let weighted: f64 = values()
            .enumerate()
            .map(|(i, v)| v * (i % 1009 + 1) as f64)
            .sum();
        // Lossy frames are decoded with other rounding.
        let lossy = [
            "1.2.840.10008.1.2.4.51",
            "1.2.840.10008.1.2.4.81",
            "1.2.840.10008.1.2.4.91",
        ];
        let (each, all) = if lossy.contains(&golden.syntax.as_str()) {
            (2.0, 2e-3)
        } else {
            (1e-3, 1e-6)
        };
        let least = values().fold(f64::INFINITY, f64::min);
        let greatest = values().fold(f64::NEG_INFINITY, f64::max);
        assert!(
            (least - golden.least).abs() <= each,
            "{name}: {least} {}",
            golden.least
        );
        assert!(
            (greatest - golden.greatest).abs() <= each,
            "{name}: {greatest}"
        );
        let scale = golden.sum.abs().max(image.data().len() as f64);
        assert!(
            (sum - golden.sum).abs() <= all * scale,
            "{name}: {sum} {}",
            golden.sum
        );
        let scale = 505.0 * scale;
        assert!(
            (weighted - golden.weighted).abs() <= all * scale,
            "{name}: {weighted}"
        );
        read += 1;
    }
    println!("{read} of {} read", goldens.len());
    assert!(read >= 95, "{read}");
}

/// 28 slices, tilted by 18.5° and 1.14, 4.22 and 7.38 mm apart.
#[test]
fn a_tilted_uneven_series_is_resampled_to_where_its_slices_lie() {
    let Some(data) = data("ct_ge_tilt_irregular") else {
        return;
    };
    let folder = data.join("ct_ge_tilt_irregular");
    let error = read_image(&folder).expect_err("not regular").to_string();
    assert!(
        error.contains("mm between") && error.contains("--resample-irregular"),
        "{error}"
    );
    println!("{error}");
    let (image, _) = read_image_with(&folder, &RESAMPLE).expect("a series");
    let grid = image.grid();
    println!("{:?} {:?}", grid.shape(), grid.spacing_mm());
    let columns = [0, 1, 2].map(|axis| {
        let mut voxel = [0.0; 3];
        voxel[axis] = 1.0;
        let (a, b) = (grid.world([0.0; 3]), grid.world(voxel));
        [0, 1, 2].map(|i| b[i] - a[i])
    });
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let dot: f64 = (0..3).map(|i| columns[a][i] * columns[b][i]).sum();
        assert!(dot.abs() < 1e-9, "{columns:?}");
    }
    // Between slices as SciPy has it; see `testdata/dicom_tilt.py`.
    let text = include_str!("../../testdata/dicom_tilt.json");
    let goldens: Vec<[f64; 4]> = serde_json::from_str(text).expect("the goldens");
    assert_eq!(goldens.len(), 300);
    for [x, y, z, value] in goldens {
        let voxel = grid.voxel_from_world().transform_point3([x, y, z].into());
        assert!((voxel - voxel.round()).length() < 1e-3, "{voxel}");
        let found = image.data()[grid.index(voxel.round().to_array().map(|v| v as usize))];
        assert!(
            (f64::from(found) - value).abs() < 0.05,
            "{voxel}: {found} {value}"
        );
    }
}

/// Segmentations by highdicom and dcmqi, on the grid that the file describes.
#[test]
fn segmentations_are_read_as_labels() {
    let Some(data) = data("highdicom_seg") else {
        return;
    };
    for (name, shape, counts) in [
        ("dcmqi_seg/23x38x3/seg/label.seg", [23, 38, 3], 1),
        ("dcmqi_seg/24x38x3/seg/label.seg", [24, 38, 3], 1),
        ("highdicom_seg/seg_image_ct_binary.dcm", [16, 16, 3], 1),
        (
            "highdicom_seg/seg_image_ct_binary_single_frame.dcm",
            [128, 128, 1],
            1,
        ),
    ] {
        let labels = read_labels(&data.join(name)).expect(name);
        println!("{name}: {:?} {:?}", labels.grid().shape(), labels.counts());
        assert_eq!(labels.grid().shape(), shape, "{name}");
        assert_eq!(labels.counts().len(), counts + 1, "{name}");
    }
    for (name, reason) in [
        ("highdicom_seg/seg_image_ct_binary_overlap.dcm", "overlap"),
        ("highdicom_seg/seg_image_ct_true_fractional.dcm", "fraction"),
    ] {
        let error = read_labels(&data.join(name)).expect_err(name).to_string();
        assert!(error.contains(reason), "{error}");
    }
    // The same voxels as dcmqi wrote them in NRRD.
    for size in ["23x38x3", "24x38x3"] {
        let folder = data.join("dcmqi_seg").join(size);
        let seg = read_labels(&folder.join("seg/label.seg")).expect("a segmentation");
        let nrrd = read_labels(&folder.join("nrrd/label.nrrd")).expect("labels");
        let [seg, nrrd] = [seg, nrrd].map(|l| reorient_labels(&l, Orientation::RAS));
        assert!(
            seg.grid().matches(nrrd.grid(), 1e-3),
            "{:?} {:?}",
            seg.grid(),
            nrrd.grid()
        );
        assert_eq!(seg.data(), nrrd.data(), "{size}");
        // Frames of one file and files of one slice are one series of images.
        let [many, one] = ["image", "multiframe"].map(|sub| read_image(&folder.join(sub)));
        let (many, one) = (many.expect("a series"), one.expect("an enhanced CT"));
        assert!(many.grid().matches(one.grid(), 1e-3));
        assert_eq!(many.data(), one.data());
    }
}

/// Nothing panics, and no message names a patient.
#[test]
fn hostile_and_odd_files_are_read_or_refused() {
    let Some(data) = data("pydicom") else { return };
    let mut stack = vec![
        data.join("pydicom"),
        data.join("highdicom_seg"),
        data.join("rt_utils"),
    ];
    let (mut read, mut refused) = (0, 0);
    while let Some(folder) = stack.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                let _ = list_series(&path);
                stack.push(path);
                continue;
            }
            match read_image(&path) {
                Ok(_) => read += 1,
                Err(error) => {
                    refused += 1;
                    let text = error.to_string();
                    println!("{text}");
                    for name in ["CompressedSamples", "Lestrade", "Doe", "^"] {
                        assert!(!text.contains(name), "{text}");
                    }
                }
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read >= 65, "{read}");
    for (name, reason) in [
        (
            "MR_truncated.dcm",
            "expected 8192 bytes of the element (7FE0,0010), found 8130",
        ),
        ("rtstruct.dcm", "expected DICOM images"),
        ("examples_palette.dcm", "colours"),
        ("SC_rgb_rle.dcm", "colours"),
        ("JPEG2000.dcm", ""),
    ] {
        match read_image(&data.join("pydicom").join(name)) {
            Err(error) => assert!(error.to_string().contains(reason), "{error}"),
            Ok(_) => assert!(reason.is_empty(), "{name}"),
        }
    }
}

#[test]
fn series_of_a_folder_are_listed() {
    let Some(data) = data("dicomdirtests") else {
        return;
    };
    let found = list_series(&data.join("pydicom/dicomdirtests")).expect("series");
    for series in &found {
        println!("{series}");
    }
    assert!(found.len() >= 9, "{}", found.len());
    assert_eq!(found.iter().map(|s| s.slices).sum::<usize>(), 31);
}
