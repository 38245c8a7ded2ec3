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
