//! Files as scanners and other programs write them, from the folder that `CROSSMOD_TEST_DATA`
//! names. Expected numbers were taken from the files' bytes by a few lines of Python.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crossmod_volume::{
    Error,
    io::{Dtype, read_grid, read_image, read_image_stored, read_labels, read_volume, write_image},
    space::{Orientation, reorient_image, reorient_labels},
};

fn data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CROSSMOD_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipping {test}: CROSSMOD_TEST_DATA is not set");
    }
    folder
}

fn files(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)
        .expect("a folder of the test data")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ends));
        } else if ends.iter().any(|end| path.to_string_lossy().ends_with(end)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_cardiac_file_is_read_and_labels_lie_on_their_image() {
    let Some(data) = data("mscmr") else { return };
    let mut labelled = 0;
    for path in files(&data.join("mscmr"), &["_0000.nii.gz"]) {
        let image = read_image(&path).expect("an image");
        let [nx, ny, nz] = image.grid().shape();
        assert!(
            nx == 192 && ny == 192 && (8..=20).contains(&nz),
            "{}",
            path.display()
        );
        let [sx, sy, sz] = image.grid().spacing_mm();
        assert!(
            (0.72..1.26).contains(&sx) && (sx - sy).abs() < 1e-5,
            "{sx} {sy}"
        );
        assert!((4.9..13.1).contains(&sz), "{sz}");
        let code = Orientation::of(image.grid()).to_string();
        assert!(
            ["PSR", "LSP"].contains(&code.as_str()),
            "{code}: {}",
            path.display()
        );

        let text = path.to_string_lossy();
        let labels = text
            .replace("imagesT", "labelsT")
            .replace("_0000.nii.gz", ".nii.gz");
        if Path::new(&labels).exists() {
            let labels = read_labels(Path::new(&labels)).expect("labels");
            assert!(labels.grid().matches(image.grid(), 0.01));
            assert_eq!(
                labels.counts().into_keys().collect::<Vec<_>>(),
                [0, 1, 2, 3]
            );
            labelled += 1;
        }
    }
    assert_eq!(labelled, 40);

    let labels = read_labels(&data.join("mscmr/bssfp/labelsTr/bssfp_p01.nii.gz")).expect("labels");
    let counts = BTreeMap::from([(0, 386_114), (1, 19_597), (2, 20_184), (3, 16_473)]);
    assert_eq!(labels.counts(), counts);
    let there = reorient_labels(&labels, Orientation::RAS);
    assert_eq!(there.counts(), counts);
    assert_eq!(
        reorient_labels(&there, Orientation::of(labels.grid())).data(),
        labels.data()
    );
}

#[test]
fn ct_is_in_hounsfield_units() {
    let Some(data) = data("totalseg") else { return };
    let (image, storage) =
        read_image_stored(&data.join("totalseg/example_ct.nii.gz")).expect("an image");
    assert_eq!(image.grid().shape(), [122, 101, 112]);
    assert_eq!(image.grid().spacing_mm(), [3.0; 3]);
    assert_eq!(storage.dtype, Dtype::I32);
    assert_eq!(image.data()[0], -1023.0);
    assert_eq!(image.data()[image.grid().index([60, 50, 56])], 281.0);
    let mean = image.data().iter().map(|&v| f64::from(v)).sum::<f64>() / image.data().len() as f64;
    assert!((mean + 360.020_385_286).abs() < 1e-6, "{mean}");

    // Samples start after 13 kB of extensions.
    let labels = read_labels(&data.join("totalseg/example_seg.nii.gz")).expect("labels");
    assert_eq!(labels.counts().len(), 42);
    let small = read_grid(&data.join("totalseg/example_ct_sm.nii.gz"))
        .expect("a header")
        .0;
    assert!(labels.grid().matches(&small, 1e-3));
}

#[test]
fn nibabel_files_are_read_or_refused_with_a_reason() {
    let Some(data) = data("nibabel") else { return };
    let folder = data.join("readers/nibabel");
    let anatomical = read_image(&folder.join("anatomical.nii")).expect("a big-endian file");
    assert_eq!(anatomical.grid().shape(), [33, 41, 25]);
    assert_eq!(
        anatomical.data().iter().map(|&v| f64::from(v)).sum::<f64>(),
        284_166_082.0
    );
    assert_eq!(Orientation::of(anatomical.grid()).to_string(), "LAS");
    assert_eq!(anatomical.grid().world([0.0; 3]), [32.0, -40.0, -16.0]);

    let moved = read_image(&folder.join("resampled_anat_moved.nii")).expect("a file with NaN");
    assert!(moved.data().iter().any(|v| v.is_nan()) && moved.data().iter().any(|v| *v > 0.0));
    let standard = read_image(&folder.join("standard.nii.gz")).expect("a file");
    assert_eq!(standard.grid().spacing_mm(), [1.0, 3.0, 2.0]);

    for (name, reason) in [
        ("functional.nii", "found 20 along axis 4"),
        ("example4d.nii.gz", "along axis 4"),
        ("example_nifti2.nii.gz", "along axis 4"),
        ("row_major.dconn.nii", "along axis"),
        ("analyze.hdr", "expected"),
    ] {
        let error = read_image(&folder.join(name))
            .expect_err("not a NIfTI-1 volume")
            .to_string();
        assert!(error.contains(reason) && error.ends_with(name), "{error}");
    }
    // Of a series in time each can be read; sums of the stored numbers by NumPy, scaled.
    for (number, sum) in [(0, 3_883_746.55), (7, 3_891_898.8), (19, 3_888_072.27)] {
        let (image, _) = read_volume(&folder.join("functional.nii"), number).expect("a volume");
        assert_eq!(image.grid().shape(), [17, 21, 3]);
        let found: f64 = image.data().iter().map(|&v| f64::from(v)).sum();
        assert!((found - sum).abs() < 1.0, "{number}: {found}");
    }
    // Half a pair: the header tells the grid, the samples are missing.
    for name in ["nifti1.hdr", "nifti2.hdr"] {
        let half = folder.join(name);
        assert_eq!(read_grid(&half).expect("a header").0.shape(), [91, 109, 91]);
        assert!(matches!(read_image(&half), Err(Error::Io { .. })));
    }
}

#[test]
fn every_brain_slice_is_read() {
    let Some(data) = data("aanlib") else { return };
    let slices = files(&data.join("aanlib"), &[".png"]);
    assert!(slices.len() > 100);
    for path in slices {
        let image = read_image(&path).expect("a grey slice");
        assert_eq!(image.grid().shape(), [256, 256, 1]);
        if path
            .parent()
            .is_some_and(|p| p.to_string_lossy().contains("labels"))
        {
            let labels = read_labels(&path).expect("labels");
            assert!(labels.data().iter().all(|&l| l <= 2), "{}", path.display());
        }
    }
    let stack = read_grid(&data.join("aanlib/mr/imagesTs"))
        .expect("a folder of slices")
        .0;
    let count = files(&data.join("aanlib/mr/imagesTs"), &[".png"]).len();
    assert_eq!(stack.shape(), [256, 256, count]);
}

/// Number of voxels above 0 or sum, and the middle of those above 0 in RAS mm, as SimpleITK 2.5.7
/// finds them.
#[test]
fn nrrd_and_meta_files_hold_what_itk_reads() {
    let Some(data) = data("NRRD and MetaImage") else {
        return;
    };
    for (name, shape, sum, middle) in [
        (
            "hn_ct_masks/0522c0017/oncologist/Brain.nrrd",
            [512, 512, 156],
            556_870.0,
            [-2.3467, -369.0956, -870.5107],
        ),
        (
            "readers/nrrd_pyradiomics/brain1_image.nrrd",
            [256, 256, 25],
            631_859_459.0,
            [-0.0071, -1.4773, 0.0212],
        ),
        (
            "readers/nrrd_pyradiomics/brain2_label.nrrd",
            [256, 256, 23],
            453.0,
            [-58.1343, 22.7178, -6.8689],
        ),
        (
            "readers/nrrd_pyradiomics/prostate_phantom_subvolume.nrrd",
            [82, 67, 13],
            27_811_967.0,
            [4.5638, -60.0329, -34.7731],
        ),
        (
            "readers/mha_elastix/3DCT_lung_baseline_small.mha",
            [57, 78, 64],
            -99_576_319.0,
            [71.6593, 31.5099, -1293.1764],
        ),
        (
            "readers/mha_elastix/3DCT_lung_followup_mask.mha",
            [115, 166, 131],
            850_626.0,
            [75.2221, 42.6099, -1228.9334],
        ),
        (
            "readers/mha_elastix/2DMRI-T1_brain.mha",
            [256, 256, 1],
            2_660_536.0,
            [-126.8415, -127.9921, 0.0],
        ),
    ] {
        let image = read_image(&data.join(name)).expect(name);
        assert_eq!(image.grid().shape(), shape, "{name}");
        let (mut total, mut count, mut place) = (0.0, 0.0, [0.0; 3]);
        for (i, &value) in image.data().iter().enumerate() {
            total += f64::from(value);
            if value > 0.0 {
                let voxel = [
                    i % shape[0],
                    i / shape[0] % shape[1],
                    i / (shape[0] * shape[1]),
                ];
                let world = image.grid().world(voxel.map(|v| v as f64));
                count += 1.0;
                place = [0, 1, 2].map(|axis| place[axis] + world[axis]);
            }
        }
        assert_eq!(total, sum, "{name}");
        for (found, expected) in place.map(|p| p / count).iter().zip(middle) {
            assert!(
                (found - expected).abs() < 1e-4,
                "{name}: {place:?} of {count}"
            );
        }
    }
}

/// Written by other programs: nothing panics, and each refusal is about the content.
#[test]
fn every_other_file_is_read_or_refused() {
    let Some(data) = data("readers") else { return };
    let mut read = 0;
    for path in files(
        &data.join("readers"),
        &[".nii", ".nii.gz", ".hdr", ".nrrd", ".mha", ".dcm"],
    ) {
        match read_image(&path) {
            Ok(_) => read += 1,
            Err(Error::Format { .. }) => {}
            Err(Error::Io { .. }) if path.extension().is_some_and(|e| e == "hdr") => {}
            Err(e) => panic!("{e}"),
        }
    }
    assert!(read > 40, "{read}");
    for folder in ["heart_ct/images", "heart_mr/masks"] {
        for path in files(&data.join("mini2d").join(folder), &[".png"]) {
            if let Err(e) = read_image(&path) {
                assert!(e.to_string().contains("colours"), "{e}");
            }
        }
    }
}

#[test]
fn a_real_scan_comes_back_from_a_file_of_ours() {
    let Some(data) = data("mscmr") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.nii.gz");
    let original = data.join("mscmr/lge/imagesTs/lge_p01_0000.nii.gz");
    let (image, storage) = read_image_stored(&original).expect("an image");
    let turned = reorient_image(&image, Orientation::LPS);
    write_image(&path, &turned, &storage).expect("a write");
    let (back, stored) = read_image_stored(&path).expect("a file of ours");
    assert_eq!(back.data(), turned.data());
    assert!(back.grid().matches(turned.grid(), 1e-3));
    // The original had no qform; ours has one beside its sform.
    assert_eq!(
        (stored.dtype, stored.sform_code, stored.qform_code),
        (Dtype::I16, 2, 2)
    );
}
