use std::{collections::BTreeMap, fs};

use glam::{DMat4, DVec3};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{
    Image,
    io::{Dtype, read_image, read_image_stored, tests::bytes_of, write_image},
};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Files that SimpleITK wrote, or that were made by hand and read by it; see
/// `testdata/meta_files.py`.
#[test]
fn files_are_read_as_itk_reads_them() {
    #[derive(Deserialize)]
    struct Golden {
        name: String,
        files: BTreeMap<String, String>,
        points: [[f64; 3]; 4],
        values: Vec<f64>,
    }
    let text = include_str!("../../../testdata/meta_files.json");
    let goldens: Vec<Golden> = serde_json::from_str(text).expect("the goldens");
    assert_eq!(goldens.len(), 16);
    for golden in goldens {
        let folder = folder();
        for (name, hex) in &golden.files {
            fs::write(folder.path().join(name), bytes_of(hex)).expect("a write");
        }
        let image = read_image(&folder.path().join(&golden.name)).expect(&golden.name);
        assert_eq!(image.grid().shape(), [3, 4, 2], "{}", golden.name);
        let values: Vec<f64> = image.data().iter().map(|&v| f64::from(v)).collect();
        assert_eq!(values, golden.values, "{}", golden.name);
        for (voxel, expected) in [[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 1]]
            .iter()
            .zip(golden.points)
        {
            let found = image.grid().world(voxel.map(f64::from));
            let apart = DVec3::from_array(found).distance(DVec3::from_array(expected));
            assert!(apart < 1e-5, "{}: {found:?} {expected:?}", golden.name);
        }
    }
}

fn message(change: impl FnOnce(&mut String)) -> String {
    let folder = folder();
    let path = folder.path().join("a.mha");
    let mut text = "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 2 2 2\n\
                    ElementType = MET_UCHAR\nElementDataFile = LOCAL\n12345678"
        .to_owned();
    change(&mut text);
    fs::write(&path, text).expect("a write");
    let error = read_image(&path).expect_err("a refusal");
    assert!(error.to_string().ends_with("a.mha"), "{error}");
    error.to_string()
}

#[test]
fn damage_and_what_is_not_one_volume_are_refused_with_a_reason() {
    let with = |from: &str, to: &str| message(|text| *text = text.replace(from, to));
    assert!(with("12345678", "1234567").contains("expected 8 bytes by the header, found 7"));
    assert!(with("2 2 2", "2 2").contains("expected 3 values for \"DimSize\""));
    assert!(with("2 2 2", "2 0 2").contains("at least one voxel"));
    assert!(with("2 2 2", "99999 99999 99999").contains("truncated"));
    assert!(with("2 2 2", "2 -2 2").contains("a number for \"DimSize\""));
    assert!(with("NDims = 3", "NDims = 99").contains("NDims of 1 to 10"));
    assert!(with("NDims = 3", "NDims = 3\nElementNumberOfChannels = 3").contains("found 3"));
    assert!(with("= True", "= False").contains("found text"));
    assert!(with("MET_UCHAR", "MET_OTHER").contains("MET_OTHER"));
    assert!(with("LOCAL", "LIST\na.raw\nb.raw").contains("found several"));
    assert!(with("LOCAL", "s%03d.raw 1 20 1").contains("found several"));
    assert!(with("ElementDataFile", "DataFile").contains("truncated or no MetaImage"));
    assert!(with("ObjectType = Image", "ObjectType = Tube").contains("found Tube"));
    assert!(with("NDims = 3", "NDims = 3\nCompressedData = True").contains("compressed data"));
    assert!(with("NDims = 3", "NDims = 3\nHeaderSize = 4").contains("HeaderSize"));
    assert!(
        with("2 2 2", "2 2 2\nElementSpacing = 1 0 1").contains("singular"),
        "a spacing of 0"
    );
    assert!(with("NDims = 3", "NDims = 4").contains("expected 4 values for \"DimSize\""));
    assert!(
        message(|t| *t = t.replace("= 3", "= 4").replace("2 2 2", "2 2 1 2")).contains("axis 4")
    );
}

#[test]
fn every_type_and_the_geometry_come_back() {
    let folder = folder();
    let affine = DMat4::from_translation(DVec3::new(-12.5, 30.1, 7.0))
        * DMat4::from_axis_angle(DVec3::new(0.6, 0.8, 0.0), 0.7)
        * DMat4::from_scale(DVec3::new(0.7, -1.1, 2.5));
    let grid = Grid::new([3, 1, 2], affine).expect("a grid");
    let image = Image::new(grid, vec![0.0, 3.0, 100.0, 1.0, 7.0, 90.0]).expect("an image");
    for dtype in Dtype::ALL {
        for name in ["a.mha", "b.mhd"] {
            let path = folder.path().join(name);
            let storage = Storage {
                dtype,
                ..Storage::default()
            };
            write_image(&path, &image, &storage).expect("a write");
            let (back, kept) = read_image_stored(&path).expect("a file of ours");
            assert_eq!((back.data(), kept.dtype), (image.data(), dtype));
            assert!(back.grid().matches(image.grid(), 1e-9));
        }
    }
    // There is no scaling: real values become floats.
    let scaled = Storage {
        dtype: Dtype::I16,
        slope: 0.5,
        ..Storage::default()
    };
    let path = folder.path().join("c.mha");
    let half = image.map(|v| v / 2.0);
    write_image(&path, &half, &scaled).expect("a write");
    let (back, kept) = read_image_stored(&path).expect("a file of ours");
    assert_eq!((back.data(), kept.dtype), (half.data(), Dtype::F32));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn hostile_headers_are_refused_or_read(
        changes in prop::collection::vec((10usize..140, any::<u8>()), 1..12),
        cut in 0usize..200,
    ) {
        let mut bytes = b"ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 2 2 2\n\
            ElementSpacing = 1 2 3\nOffset = 1 2 3\nElementType = MET_UCHAR\n\
            ElementDataFile = LOCAL\n12345678".to_vec();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(cut.max(12));
        let folder = folder();
        let path = folder.path().join("a.mha");
        fs::write(&path, bytes).expect("a write");
        let _ = read_image(&path);
    }
}
