//! Both versions, single files and pairs.

use super::*;

#[test]
fn grids_too_large_for_version_1_are_written_in_version_2() {
    let folder = folder();
    let affine = DMat4::from_cols_array_2d(&[
        [0.0, 2.0, 0.1, 0.0],
        [-3.0, 0.0, 0.0, 0.0],
        [0.0, 0.1, 5.0, 0.0],
        [10.1, 20.2, 30.3, 1.0],
    ]);
    let grid = Grid::new([40_000, 1, 1], affine).expect("a grid");
    let values = (0..40_000).map(|i| i as f32 - 2e4).collect();
    let image = Image::new(grid, values).expect("an image");
    let storage = Storage {
        dtype: Dtype::I16,
        sform_code: 4,
        qform_code: 2,
        ..Storage::default()
    };
    for name in [
        "a.nii", "a.nii.gz", "a.hdr", "b.hdr.gz", "c.img", "d.img.gz",
    ] {
        let path = folder.path().join(name);
        write_image(&path, &image, &storage).expect("a write");
        let (back, kept) = read_image_stored(&path).expect("a file of ours");
        // Version 2 keeps the affine as it is.
        assert_eq!(back, image, "{name}");
        assert_eq!((kept.dtype, kept.sform_code), (Dtype::I16, 4), "{name}");
    }
}

#[test]
fn pairs_are_written_and_read_by_either_name() {
    let folder = folder();
    let grid = Grid::with_spacing([3, 2, 1], [1.0, 2.0, 3.0]).expect("a grid");
    let labels = Labels::new(grid, vec![0, 1, 2, 3, 4, 5]).expect("labels");
    for (written, other) in [
        ("a.hdr", "a.img"),
        ("b.img", "b.hdr"),
        ("c.hdr.gz", "c.img.gz"),
        ("d.img.gz", "d.hdr.gz"),
    ] {
        write_labels(&folder.path().join(written), &labels).expect("a write");
        for name in [written, other] {
            assert_eq!(read_labels(&folder.path().join(name)).expect(name), labels);
        }
    }
    let start = fs::read(folder.path().join("a.hdr")).expect("a header");
    assert_eq!((start.len(), &start[344..348]), (352, &b"ni1\0"[..]));
    let samples = fs::read(folder.path().join("a.img")).expect("samples");
    assert_eq!(samples, [0, 1, 2, 3, 4, 5]);
}

/// Files that nibabel wrote; see `testdata/nifti_files.py`.
#[test]
fn files_of_nibabel_are_read_as_nibabel_reads_them() {
    #[derive(serde::Deserialize)]
    struct Golden {
        name: String,
        files: std::collections::BTreeMap<String, String>,
        affine: [[f64; 4]; 3],
        values: Vec<f64>,
    }
    let text = include_str!("../../../../testdata/nifti_files.json");
    let goldens: Vec<Golden> = serde_json::from_str(text).expect("the goldens");
    assert_eq!(goldens.len(), 6);
    for golden in goldens {
        let folder = folder();
        for (name, hex) in &golden.files {
            fs::write(folder.path().join(name), crate::io::tests::bytes_of(hex)).expect("a write");
        }
        let image = read_image(&folder.path().join(&golden.name)).expect(&golden.name);
        assert_eq!(image.grid().shape(), [3, 4, 2], "{}", golden.name);
        for (found, &expected) in image.data().iter().zip(&golden.values) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{}",
                golden.name
            );
        }
        let found = image
            .grid()
            .world_from_voxel()
            .transpose()
            .to_cols_array_2d();
        for (a, b) in found.iter().flatten().zip(golden.affine.iter().flatten()) {
            assert!((a - b).abs() < 1e-6, "{}: {found:?}", golden.name);
        }
    }
}
