use std::{collections::BTreeMap, fs};

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::io::{read_image, tests::bytes_of};

#[derive(Deserialize)]
struct Golden {
    name: String,
    files: BTreeMap<String, String>,
    affine: [[f64; 4]; 3],
    values: Vec<f64>,
}

/// Files that nibabel wrote; see `testdata/nifti_files.py`.
#[test]
fn files_of_nibabel_are_read_as_nibabel_reads_them() {
    let text = include_str!("../../../testdata/mgh_files.json");
    let goldens: Vec<Golden> = serde_json::from_str(text).expect("the goldens");
    assert_eq!(goldens.len(), 4);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for golden in goldens {
        // By content alone, too.
        for name in [golden.name.as_str(), "a.bin"] {
            let path = folder.path().join(name);
            fs::write(&path, bytes_of(&golden.files[&golden.name])).expect("a write");
            let image = read_image(&path).expect(&golden.name);
            assert_eq!(image.grid().shape(), [3, 4, 2], "{}", golden.name);
            let values: Vec<f64> = image.data().iter().map(|&v| f64::from(v)).collect();
            assert_eq!(values, golden.values, "{}", golden.name);
            let found = image
                .grid()
                .world_from_voxel()
                .transpose()
                .to_cols_array_2d();
            for (a, b) in found.iter().flatten().zip(golden.affine.iter().flatten()) {
                assert!((a - b).abs() < 1e-5, "{}: {found:?}", golden.name);
            }
        }
    }
}

fn message(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.mgh");
    let mut bytes = vec![0; SAMPLES + 24];
    for (at, n) in [(0, 1), (4, 3), (8, 4), (12, 2), (16, 1)] {
        bytes[at + 3] = n;
    }
    change(&mut bytes);
    fs::write(&path, bytes).expect("a write");
    read_image(&path).expect_err("a refusal").to_string()
}

/// Coronal slices from back to front, as FreeSurfer takes them; nibabel 5 turns two axes round.
#[test]
fn without_places_the_axes_are_left_inferior_anterior() {
    let mut bytes = [0; SAMPLES];
    for (at, n) in [(0, 1), (4, 4), (8, 6), (12, 2), (16, 1)] {
        bytes[at + 3] = n;
    }
    let (grid, storage) = describe(&bytes).expect("a header");
    assert_eq!(grid.world([2.0, 3.0, 1.0]), [0.0; 3]);
    assert_eq!(grid.world([3.0, 4.0, 2.0]), [-1.0, 1.0, -1.0]);
    assert_eq!(storage.sform_code, 0);
}

#[test]
fn damage_is_refused_with_a_reason() {
    assert!(message(|b| b.truncate(300)).contains("expected 308 bytes by the header"));
    assert!(message(|b| b.truncate(200)).contains("284 bytes of header"));
    assert!(message(|b| b[19] = 2).contains("found 2 along axis 4"));
    assert!(message(|b| b[23] = 7).contains("found type 7"));
    assert!(message(|b| b[4] = 0xff).contains("at least one voxel"));
    assert!(message(|b| b[5] = 0x7f).contains("expected"));
    // Steps of no length under a flag that says they hold.
    assert!(message(|b| b[29] = 1).contains("singular"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn hostile_headers_are_refused_or_read(
        changes in prop::collection::vec((4usize..SAMPLES, any::<u8>()), 1..20),
        cut in 0usize..400,
    ) {
        let mut bytes = vec![0; 400];
        for (at, n) in [(0, 1), (4, 3), (8, 4), (12, 2), (16, 1)] {
            bytes[at + 3] = n;
        }
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(cut);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.mgh");
        fs::write(&path, bytes).expect("a write");
        let _ = read_image(&path);
    }
}
