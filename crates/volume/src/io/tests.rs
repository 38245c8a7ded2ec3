use super::*;

/// Hexadecimal digits, as the goldens hold files.
pub(super) fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn content_comes_before_the_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let grid = Grid::with_spacing([2, 2, 1], [1.0; 3]).expect("a grid");
    let labels = Labels::new(grid, vec![0, 1, 2, 3]).expect("labels");
    for (name, other) in [
        ("a.nii", "a.png"),
        ("b.nii.gz", "b"),
        ("c.png", "c.nii.gz"),
        ("d.nrrd", "d.nii"),
        ("e.mha", "e.nrrd"),
    ] {
        let [path, renamed] = [name, other].map(|n| folder.path().join(n));
        write_labels(&path, &labels).expect("a write");
        std::fs::rename(&path, &renamed).expect("a new name");
        assert_eq!(
            read_labels(&renamed).expect("known by content").data(),
            labels.data()
        );
    }
}

#[test]
fn a_volume_knows_the_files_it_lies_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let grid = Grid::with_spacing([2, 2, 1], [1.0; 3]).expect("a grid");
    let labels = Labels::new(grid, vec![0, 1, 2, 3]).expect("labels");
    let files = |name: &str| {
        let path = folder.path().join(name);
        write_labels(&path, &labels).expect("a write");
        let files = files_of(&path).expect("what was written");
        let name = |file: PathBuf| file.file_name().map(|n| n.to_string_lossy().into_owned());
        files.into_iter().filter_map(name).collect::<Vec<_>>()
    };
    assert_eq!(files("a.mhd"), ["a.mhd", "a.zraw"]);
    assert_eq!(files("a.hdr"), ["a.hdr", "a.img"]);
    assert_eq!(files("a.img.gz"), ["a.img.gz", "a.hdr.gz"]);
    assert_eq!(files("a.mha"), ["a.mha"]);
    assert_eq!(files("a.nii.gz"), ["a.nii.gz"]);
    let header = "NRRD0004\ntype: uint8\ndimension: 1\nsizes: 2\nencoding: raw\n\
                  data file: ./a.raw\n";
    let path = folder.path().join("a.nhdr");
    std::fs::write(&path, header).expect("a write");
    let files = files_of(&path).expect("a header");
    assert_eq!(files, [path, folder.path().join("./a.raw")]);
}

#[test]
fn other_formats_are_told_what_is_supported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.tif");
    std::fs::write(&path, "II*\0 and so on").expect("a write");
    let error = read_image(&path).expect_err("not supported").to_string();
    assert!(
        error.contains(".nii.gz") && error.ends_with("a.tif"),
        "{error}"
    );

    let grid = Grid::with_spacing([1, 1, 1], [1.0; 3]).expect("a grid");
    let labels = Labels::new(grid, vec![1]).expect("labels");
    for name in ["a.tif", "a.mgz", "a.gz"] {
        let error = write_labels(&folder.path().join(name), &labels).expect_err("not supported");
        assert!(
            error.to_string().contains(".nrrd, .mha, .mhd or .png"),
            "{error}"
        );
    }
}

/// So many that they are unpacked ahead of being taken.
#[test]
fn many_packed_samples_come_in_order_or_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.nii.gz");
    let grid = Grid::with_spacing([256, 128, 100], [1.0; 3]).expect("a grid");
    let mut data: Vec<f32> = (0..grid.len()).map(|i| (i * i % 1009) as f32).collect();
    let storage = Storage {
        dtype: Dtype::I16,
        ..Storage::default()
    };
    let mut written = |change: Option<(usize, f32)>| {
        if let Some((at, value)) = change {
            data[at] = value;
        }
        let image = Image::new(grid.clone(), data.clone()).expect("an image");
        write_image(&path, &image, &storage).expect("a write");
        image
    };
    let image = written(None);
    assert!(read_image(&path).expect("what was written").data() == image.data());
    let whole = std::fs::read(&path).expect("a file");
    std::fs::write(&path, &whole[..whole.len() / 4 * 3]).expect("a write");
    let error = read_image(&path).expect_err("cut off").to_string();
    assert!(error.contains("truncated"), "{error}");
    // The first of those that are no labels is told, early or late.
    written(Some((3_000_000, -7.0)));
    let refusal = || read_labels(&path).expect_err("no label").to_string();
    assert!(refusal().contains("found -7"), "{}", refusal());
    written(Some((5, -8.0)));
    assert!(refusal().contains("found -8"), "{}", refusal());
}
