use std::{fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use glam::{DMat4, DVec3};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{
    Image, Labels,
    io::{
        Dtype, LengthUnit, read_grid, read_image, read_image_stored, read_labels, write_image,
        write_labels,
    },
};

/// A header of 2 × 1 × 1 bytes; lines that are given replace those of the same field.
fn header(lines: &[&str]) -> String {
    let mut own = vec![
        "type: uchar",
        "dimension: 3",
        "sizes: 2 1 1",
        "encoding: raw",
        "space: LPS",
        "space directions: (1,0,0) (0,1,0) (0,0,1)",
    ];
    for line in lines {
        let name = line.split(':').next();
        own.retain(|known| known.split(':').next() != name);
        own.push(line);
    }
    format!("NRRD0004\n# a comment: of no meaning\n{}\n", own.join("\n"))
}

fn bytes(lines: &[&str], samples: &[u8]) -> Vec<u8> {
    let mut file = header(lines).into_bytes();
    file.push(b'\n');
    file.extend(samples);
    file
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).expect("a write to memory");
    gz.finish().expect("a write to memory")
}

fn image_of(file: &[u8]) -> Result<Image> {
    let folder = folder();
    let path = folder.path().join("a.nrrd");
    fs::write(&path, file).expect("a write");
    read_image(&path)
}

fn message_of(file: &[u8]) -> String {
    let error = image_of(file).expect_err("a refusal");
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    assert!(error.to_string().ends_with("a.nrrd"), "{error}");
    error.to_string()
}

fn world(grid: &Grid) -> [[f64; 3]; 4] {
    [[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 1]].map(|v| grid.world(v.map(f64::from)))
}

/// Files that pynrrd wrote lie where ITK says; see `testdata/nrrd_files.py`.
#[test]
fn files_of_others_are_read_as_itk_reads_them() {
    #[derive(Deserialize)]
    struct Golden {
        name: String,
        file: String,
        points: [[f64; 3]; 4],
    }
    let text = include_str!("../../../testdata/nrrd_files.json");
    let goldens: Vec<Golden> = serde_json::from_str(text).expect("the goldens");
    assert_eq!(goldens.len(), 5);
    for Golden { name, file, points } in goldens {
        let image = image_of(&crate::io::tests::bytes_of(&file)).expect(&name);
        assert_eq!(image.grid().shape(), [3, 4, 2], "{name}");
        let expected: Vec<f32> = (0u8..24).map(f32::from).collect();
        assert_eq!(image.data(), expected, "{name}");
        let found = world(image.grid());
        for (a, b) in found.iter().flatten().zip(points.iter().flatten()) {
            assert!((a - b).abs() < 1e-9, "{name}: {found:?} {points:?}");
        }
    }
}

#[test]
fn every_type_is_written_and_read() {
    let folder = folder();
    let grid = Grid::with_spacing([3, 1, 1], [1.0; 3]).expect("a grid");
    for dtype in Dtype::ALL {
        let path = folder.path().join(format!("{dtype}.nrrd"));
        let least = match dtype {
            Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => 0.0,
            _ => -7.0,
        };
        let image = Image::new(grid.clone(), vec![least, 3.0, 100.0]).expect("an image");
        for length_unit in [
            LengthUnit::Metre,
            LengthUnit::Micron,
            LengthUnit::Millimetre,
        ] {
            let storage = Storage {
                dtype,
                length_unit,
                ..Storage::default()
            };
            write_image(&path, &image, &storage).expect("a write");
            let (again, kept) = read_image_stored(&path).expect("what was written");
            assert_eq!(again.data(), image.data(), "{dtype}");
            assert!(again.grid().matches(&grid, 1e-9), "{dtype}");
            assert_eq!(kept, storage);
            assert_eq!(read_grid(&path).expect("its header").1, storage);
        }
    }
    let scaled = Storage {
        dtype: Dtype::I16,
        slope: 0.25,
        ..Storage::default()
    };
    let image = Image::new(grid, vec![0.25, -1.5, 2.0]).expect("an image");
    let path = folder.path().join("scaled.nrrd");
    write_image(&path, &image, &scaled).expect("a write");
    let (again, kept) = read_image_stored(&path).expect("what was written");
    assert_eq!((again.data(), kept.dtype), (image.data(), Dtype::F32));
}

proptest! {
    #[test]
    fn any_grid_survives(
        turn in prop::array::uniform4(-1.0..1.0f64),
        sizes in prop::array::uniform3(0.01..100.0f64),
        mirror in prop::bool::ANY,
        origin in prop::array::uniform3(-1e4..1e4f64),
        shape in prop::array::uniform3(1usize..5),
    ) {
        let turn = glam::DQuat::from_array(turn);
        prop_assume!(turn.length() > 0.1);
        let mut sizes = DVec3::from_array(sizes);
        sizes.x = if mirror { -sizes.x } else { sizes.x };
        let affine = DMat4::from_scale_rotation_translation(
            sizes, turn.normalize(), DVec3::from_array(origin));
        let grid = Grid::new(shape, affine).expect("a grid");
        let n = grid.len();
        let values = (0..n).map(|v| if v == 1 { 40_000 } else { v as u16 }).collect();
        let labels = Labels::new(grid, values).expect("labels");
        let folder = folder();
        let path = folder.path().join("a.nrrd");
        write_labels(&path, &labels).expect("a write");
        let again = read_labels(&path).expect("what was written");
        prop_assert_eq!(again.data(), labels.data());
        prop_assert!(again.grid().matches(labels.grid(), 1e-9));
    }
}

/// A writer's own lines end as Windows's do, names are in capitals and the user's pairs hold colons.
#[test]
fn headers_are_read_as_freely_as_the_format_allows() {
    let file = bytes(
        &[
            "TYPE: unsigned char",
            "my key:=a: b",
            "spacings: nan nan nan",
            "content: \"x\"",
        ],
        &[4, 9],
    );
    let text = String::from_utf8(file).expect("text");
    let windows = text.replace("type: uchar\n", "").replace('\n', "\r\n");
    assert_eq!(
        image_of(windows.as_bytes()).expect("valid").data(),
        [4.0, 9.0]
    );
}

#[test]
fn axes_that_are_not_of_space_are_left_out_where_they_hold_one_sample() {
    let one = &[
        "dimension: 4",
        "sizes: 1 2 1 3",
        "space directions: none (2,0,0) (0,3,0) (0,0,4)",
        "kinds: list domain domain domain",
    ];
    let image = image_of(&bytes(one, &[0, 1, 2, 3, 4, 5])).expect("one volume");
    assert_eq!(image.grid().shape(), [2, 1, 3]);
    assert_eq!(image.grid().spacing_mm(), [2.0, 3.0, 4.0]);
    let colours = &[
        one[0],
        "sizes: 3 2 1 1",
        one[2],
        "kinds: RGB-color domain domain domain",
    ];
    let message = message_of(&bytes(colours, &[0; 6]));
    assert!(
        message.contains("found 3 along axis 1 (of the kind rgb-color)"),
        "{message}"
    );
    let times = &[
        "dimension: 4",
        "sizes: 1 1 1 2",
        "space directions: (1,0,0) (0,1,0) (0,0,1) none",
    ];
    assert!(message_of(&bytes(times, &[0; 2])).contains("found 2 along axis 4"));
}

#[test]
fn slices_and_spacings_alone_have_a_place() {
    // The slice lies in the plane of A and S, stored downwards.
    let slice = &[
        "dimension: 2",
        "sizes: 2 1",
        "space: RAS",
        "space directions: (0,0.5,0) (0,0,-2)",
        "space origin: (7,8,9)",
    ];
    let grid = image_of(&bytes(slice, &[1, 2]))
        .expect("a slice")
        .grid()
        .clone();
    assert_eq!(grid.spacing_mm(), [0.5, 2.0, 1.0]);
    assert_eq!(grid.world([1.0, 0.0, 0.0]), [7.0, 8.5, 9.0]);
    let folder = folder();
    let path = folder.path().join("a.nrrd");
    let text = "NRRD0001\ntype: float\ndimension: 1\nsizes: 2\nspacings: 3\nendian: big\n\
                encoding: raw\n\n";
    let mut file = text.as_bytes().to_vec();
    file.extend([1f32.to_be_bytes(), (-2f32).to_be_bytes()].concat());
    fs::write(&path, &file).expect("a write");
    let (image, storage) = read_image_stored(&path).expect("a line");
    assert_eq!(image.data(), [1.0, -2.0]);
    assert_eq!(image.grid().world([1.0, 0.0, 0.0]), [-3.0, 0.0, 0.0]);
    assert_eq!((storage.qform_code, storage.sform_code), (0, 0));
    let metres = &[
        "space units: \"m\" \"m\" \"m\"",
        "space directions: (0.002,0,0) (0,1,0) (0,0,1)",
    ];
    let grid = image_of(&bytes(metres, &[1, 2]))
        .expect("an image")
        .grid()
        .clone();
    assert_eq!(grid.spacing_mm(), [2.0, 1000.0, 1000.0]);
}

#[test]
fn skips_and_data_files_are_followed() {
    let read = |lines: &[&str], samples: &[u8]| {
        image_of(&bytes(lines, samples)).map(|image| image.data().to_vec())
    };
    assert_eq!(
        read(&["line skip: 1", "byte skip: 2"], b"a line\nxy\x05\x06").ok(),
        Some(vec![5.0, 6.0])
    );
    assert_eq!(
        read(&["byte skip: -1"], &[1, 2, 3, 5, 6]).ok(),
        Some(vec![5.0, 6.0])
    );
    let packed = [b"skipped\n".to_vec(), gzip(&[9, 5, 6])].concat();
    let lines = &["encoding: gz", "lineskip: 1", "byteskip: 1"];
    assert_eq!(read(lines, &packed).ok(), Some(vec![5.0, 6.0]));

    let folder = folder();
    let path = folder.path().join("a.nhdr");
    fs::write(folder.path().join("my data.gz"), gzip(&[5, 6])).expect("a write");
    for end in ["", "\n"] {
        let text = header(&["encoding: gzip", "data file: my data.gz"]) + end;
        fs::write(&path, text).expect("a write");
        assert_eq!(read_image(&path).expect("a pair").data(), [5.0, 6.0]);
    }
    fs::write(&path, header(&["data file: not there.raw"])).expect("a write");
    let error = read_image(&path).expect_err("no data file");
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().ends_with("not there.raw"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let said = |lines: &[&str], samples: &[u8], text: &str| {
        let message = message_of(&bytes(lines, samples));
        assert!(message.contains(text), "{message}");
    };
    said(
        &["encoding: bzip2"],
        &[0; 2],
        "expected the encoding raw or gzip, found bzip2",
    );
    said(&["encoding: ascii"], b"1 2", "found ascii");
    said(&["type: block"], &[0; 2], "found the type \"block\"");
    said(&["type: short"], &[0; 4], "expected \"endian: little\"");
    said(
        &["type: short", "endian: middle"],
        &[0; 4],
        "found \"middle\"",
    );
    said(&["sizes: 2 1"], &[0; 2], "expected 3 values for \"sizes\"");
    said(&["sizes: 2 -1 1"], &[0; 2], "found \"-1\"");
    said(&["sizes: 2 0 1"], &[0; 2], "at least one voxel");
    said(&["dimension: 17"], &[0; 2], "1 to 16");
    said(
        &["space directions: (1,0,0) (0,1,0)"],
        &[0; 2],
        "directions for 3 axes, found 2",
    );
    said(
        &["space directions: (1,0,0) (0,1,0) (0,0"],
        &[0; 2],
        "expected vectors",
    );
    said(
        &["space directions: (1,0,0) (0,1,0) (1,1,0)"],
        &[0; 2],
        "invertible",
    );
    said(&["byte skip: -2"], &[0; 2], "found -2");
    said(
        &["encoding: gzip", "byte skip: -1"],
        &[0; 2],
        "0 or more with gzip",
    );
    said(&["data file: LIST"], &[0; 2], "expected one data file");
    said(
        &["data file: a%02d.raw 0 9 1"],
        &[0; 2],
        "expected one data file",
    );
    let whole = String::from_utf8(bytes(&[], &[])).expect("text");
    for name in ["type", "dimension", "sizes", "encoding"] {
        let without: Vec<&str> = whole
            .lines()
            .filter(|l| !l.starts_with(&format!("{name}:")))
            .collect();
        let message = message_of((without.join("\n") + "\n\n").as_bytes());
        assert!(
            message.contains(&format!("the field \"{name}\"")),
            "{message}"
        );
    }
}

/// A header may promise more than there is, or there may be more than it promises.
#[test]
fn what_a_header_promises_is_held_against_the_file() {
    let huge = &["sizes: 100000 100000 100000"];
    assert!(message_of(&bytes(huge, &[0; 2])).contains("by the header, found 2"));
    let packed = &[huge[0], "encoding: gzip"];
    assert!(message_of(&bytes(packed, &gzip(&[0; 2]))).contains("holds at most"));
    assert!(
        message_of(&bytes(&["sizes: 9999999999 9999999999 1"], &[0; 2]))
            .contains("at least one voxel")
    );
    let short = &["sizes: 200 1 1", "encoding: gzip"];
    assert!(message_of(&bytes(short, &gzip(&[0; 100]))).contains("found the end of the file"));
    assert!(
        message_of(&bytes(&["encoding: gzip"], b"no gzip at all"))
            .contains("expected compressed data")
    );
    assert!(
        message_of(&bytes(&["line skip: 18446744073709551615"], b"x\ny\n")).contains("found 0")
    );
    assert!(message_of(&bytes(&["byte skip: 9223372036854775807"], &[0; 2])).contains("truncated"));
    let whole = header(&[]);
    assert!(message_of(whole.as_bytes()).contains("expected an empty line"));
    assert!(message_of(b"NRRD0005").contains("expected an empty line"));
    // A gigabyte of zeros behind two samples is not looked at.
    let bomb = gzip(&vec![0; 1 << 24]);
    assert_eq!(
        image_of(&bytes(&["encoding: gzip"], &bomb))
            .expect("two samples")
            .data(),
        [0.0; 2]
    );
}

#[test]
fn a_name_alone_does_not_make_a_file() {
    let folder = folder();
    for name in ["a.nrrd", "a.nhdr"] {
        let path = folder.path().join(name);
        fs::write(&path, "something else\n").expect("a write");
        let error = read_labels(&path).expect_err("not NRRD").to_string();
        assert!(error.contains("NRRD000"), "{error}");
    }
    let missing = read_grid(Path::new("no/such.nrrd")).expect_err("missing");
    assert!(matches!(missing, Error::Io { .. }));
}
