use std::{fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use glam::{DMat4, DVec3};
use proptest::prelude::*;

use super::*;
use crate::{
    Image, Labels,
    io::{
        Dtype, LengthUnit, read_grid, read_image, read_image_stored, read_labels, read_volume,
        write_image, write_labels,
    },
};

mod versions;

/// A header written by offset, in either byte order, apart from the code under test.
struct Raw {
    bytes: Vec<u8>,
    big: bool,
}

impl Raw {
    fn new(big: bool, datatype: i16, shape: [i16; 3]) -> Self {
        let mut raw = Self {
            bytes: vec![0; 352],
            big,
        };
        raw.i32(0, 348);
        for (i, n) in [3, shape[0], shape[1], shape[2], 1, 1, 1, 1]
            .into_iter()
            .enumerate()
        {
            raw.i16(40 + 2 * i, n);
        }
        raw.i16(70, datatype);
        (0..4).for_each(|i| raw.f32(76 + 4 * i, 1.0));
        raw.f32(108, 352.0);
        raw.bytes[123] = 2;
        raw.bytes[344..348].copy_from_slice(b"n+1\0");
        raw
    }

    fn put(&mut self, at: usize, little: &[u8]) {
        let mut field = little.to_vec();
        if self.big {
            field.reverse();
        }
        self.bytes[at..at + field.len()].copy_from_slice(&field);
    }

    fn i16(&mut self, at: usize, v: i16) {
        self.put(at, &v.to_le_bytes());
    }

    fn i32(&mut self, at: usize, v: i32) {
        self.put(at, &v.to_le_bytes());
    }

    fn f32(&mut self, at: usize, v: f32) {
        self.put(at, &v.to_le_bytes());
    }

    fn sample(&mut self, little: &[u8]) {
        let mut field = little.to_vec();
        if self.big {
            field.reverse();
        }
        self.bytes.extend(field);
    }

    fn sform(&mut self, rows: [[f32; 4]; 3]) {
        self.i16(254, 1);
        for (i, v) in rows.into_iter().flatten().enumerate() {
            self.f32(280 + 4 * i, v);
        }
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn image_of(bytes: &[u8]) -> Result<Image> {
    let folder = folder();
    let path = folder.path().join("a.nii");
    fs::write(&path, bytes).expect("a write");
    read_image(&path)
}

fn message_of(bytes: &[u8]) -> String {
    let error = image_of(bytes).expect_err("a refusal");
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    assert!(error.to_string().ends_with("a.nii"), "{error}");
    error.to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).expect("a write to memory");
    gz.finish().expect("a write to memory")
}

#[test]
fn every_type_in_both_byte_orders() {
    for big in [false, true] {
        // (code, stored samples, their values)
        let cases: [(i16, Vec<Vec<u8>>, [f32; 2]); 10] = [
            (2, vec![vec![3], vec![255]], [3.0, 255.0]),
            (256, vec![vec![3], vec![0x80]], [3.0, -128.0]),
            (4, vec![vec![3, 0], vec![0, 0x80]], [3.0, -32768.0]),
            (512, vec![vec![3, 0], vec![0xff, 0xff]], [3.0, 65535.0]),
            (
                8,
                vec![vec![3, 0, 0, 0], vec![0, 0, 0, 0x80]],
                [3.0, -2_147_483_648.0],
            ),
            (
                768,
                vec![vec![3, 0, 0, 0], vec![0, 0, 0, 0x80]],
                [3.0, 2_147_483_648.0],
            ),
            (
                1024,
                vec![vec![3, 0, 0, 0, 0, 0, 0, 0], vec![0xff; 8]],
                [3.0, -1.0],
            ),
            (
                1280,
                vec![
                    vec![3, 0, 0, 0, 0, 0, 0, 0],
                    vec![0, 0, 0, 0, 0, 0, 0, 0x80],
                ],
                [3.0, 9_223_372_036_854_775_808.0],
            ),
            (
                16,
                vec![vec![0, 0, 0xc0, 0x3f], vec![0, 0, 0x80, 0xff]],
                [1.5, f32::NEG_INFINITY],
            ),
            (
                64,
                vec![
                    vec![0, 0, 0, 0, 0, 0, 0xf8, 0x3f],
                    vec![0, 0, 0, 0, 0, 0, 0, 0xc0],
                ],
                [1.5, -2.0],
            ),
        ];
        for (code, samples, values) in cases {
            let mut raw = Raw::new(big, code, [2, 1, 1]);
            samples.iter().for_each(|s| raw.sample(s));
            let image = image_of(&raw.bytes).expect("a valid file");
            assert_eq!(image.data(), values, "code {code}, big endian {big}");
        }
    }
}

#[test]
fn samples_are_scaled_unless_the_slope_is_0() {
    for (slope, expected) in [
        (0.5, [-9.0, -8.5]),
        (0.0, [2.0, 3.0]),
        (f32::NAN, [2.0, 3.0]),
    ] {
        let mut raw = Raw::new(true, 4, [2, 1, 1]);
        raw.f32(112, slope);
        raw.f32(116, -10.0);
        raw.sample(&2i16.to_le_bytes());
        raw.sample(&3i16.to_le_bytes());
        assert_eq!(image_of(&raw.bytes).expect("a valid file").data(), expected);
    }
}

#[test]
fn sform_comes_before_qform_before_sizes() {
    let mut raw = Raw::new(false, 2, [2, 2, 1]);
    raw.bytes.extend([0; 4]);
    (1..4).for_each(|i| raw.f32(76 + 4 * i, 2.0));
    let affine = |raw: &Raw| {
        image_of(&raw.bytes)
            .expect("a file")
            .grid()
            .world_from_voxel()
    };
    assert_eq!(affine(&raw), DMat4::from_scale(DVec3::splat(2.0)));

    // Half a turn about z: x to the left, y to the back; qfac -1 turns z down.
    raw.i16(252, 1);
    raw.f32(256 + 8, 1.0);
    [5.0, 6.0, 7.0]
        .iter()
        .enumerate()
        .for_each(|(i, &v)| raw.f32(268 + 4 * i, v));
    raw.f32(76, -1.0);
    let expected = DMat4::from_translation(DVec3::new(5.0, 6.0, 7.0))
        * DMat4::from_scale(DVec3::new(-2.0, -2.0, -2.0));
    assert!(affine(&raw).abs_diff_eq(expected, 1e-6), "{}", affine(&raw));

    // A code without a matrix places nothing.
    raw.sform([[0.0; 4]; 3]);
    assert!(affine(&raw).abs_diff_eq(expected, 1e-6));

    raw.sform([
        [0.0, 3.0, 0.0, 1.0],
        [4.0, 0.0, 0.0, 2.0],
        [0.0, 0.0, 5.0, 3.0],
    ]);
    let grid = image_of(&raw.bytes).expect("a file").grid().clone();
    assert_eq!(grid.spacing_mm(), [4.0, 3.0, 5.0]);
    assert_eq!(grid.world([1.0, 0.0, 0.0]), [1.0, 6.0, 3.0]);
}

/// Quarter turn about z: quaternion (cos 45°, 0, 0, sin 45°) takes x to y.
#[test]
fn a_quaternion_turns_the_right_way() {
    let mut raw = Raw::new(false, 2, [2, 2, 1]);
    raw.bytes.extend([0; 4]);
    raw.i16(252, 1);
    raw.f32(256 + 8, std::f32::consts::FRAC_1_SQRT_2);
    let grid = image_of(&raw.bytes).expect("a file").grid().clone();
    let [x, y, z] = grid.world([1.0, 0.0, 0.0]);
    assert!(
        x.abs() < 1e-6 && (y - 1.0).abs() < 1e-6 && z == 0.0,
        "{x} {y} {z}"
    );
}

#[test]
fn lengths_are_mm_and_the_unit_is_kept() {
    let folder = folder();
    for (code, spacing, unit) in [
        (1u8, 0.002, LengthUnit::Metre),
        (3, 2000.0, LengthUnit::Micron),
        (2, 2.0, LengthUnit::Millimetre),
        (0, 2.0, LengthUnit::Millimetre),
    ] {
        let mut raw = Raw::new(false, 2, [1, 1, 1]);
        raw.bytes.push(9);
        raw.bytes[123] = code | 8;
        (1..4).for_each(|i| raw.f32(76 + 4 * i, spacing));
        let path = folder.path().join("a.nii");
        fs::write(&path, &raw.bytes).expect("a write");
        let (image, storage) = read_image_stored(&path).expect("a valid file");
        assert!((image.grid().spacing_mm()[0] - 2.0).abs() < 1e-6);
        assert_eq!(storage.length_unit, unit);
        write_image(&path, &image, &storage).expect("a write");
        assert!(
            read_grid(&path)
                .expect("a valid file")
                .0
                .matches(image.grid(), 1e-4)
        );
    }
}

#[test]
fn axes_of_one_are_dropped_and_more_volumes_refused() {
    let mut raw = Raw::new(true, 2, [2, 1, 1]);
    raw.bytes.extend([1, 2]);
    raw.i16(40, 5);
    assert_eq!(
        image_of(&raw.bytes).expect("a valid file").grid().shape(),
        [2, 1, 1]
    );
    raw.i16(48, 20);
    assert!(message_of(&raw.bytes).contains("found 20 along axis 4"));
    let folder = folder();
    let path = folder.path().join("a.nii");
    raw.i16(48, 2);
    raw.i16(50, 2);
    raw.bytes.extend([3, 4, 5, 6, 7, 8]);
    fs::write(&path, &raw.bytes).expect("a write");
    for (number, values) in [(0, [1.0, 2.0]), (1, [3.0, 4.0]), (3, [7.0, 8.0])] {
        let (image, _) = read_volume(&path, number).expect("one of four");
        assert_eq!(image.data(), values);
    }
    let error = read_volume(&path, 4).expect_err("no fifth").to_string();
    assert!(error.contains("0 to 3, found 4"), "{error}");
    // The size of the file vouches for the volumes before, too.
    fs::write(&path, &raw.bytes[..raw.bytes.len() - 1]).expect("a write");
    assert!(read_volume(&path, 2).is_ok());
    assert!(read_volume(&path, 3).is_err());
    // A flat file with no third axis, whose fields may hold anything.
    raw.i16(40, 2);
    raw.i16(46, -7);
    raw.f32(88, 0.0);
    assert_eq!(
        image_of(&raw.bytes).expect("a valid file").grid().shape(),
        [2, 1, 1]
    );
}

#[test]
fn damage_is_refused_with_a_reason() {
    let mut good = Raw::new(false, 4, [2, 3, 4]);
    good.bytes.extend([0; 48]);
    assert!(image_of(&good.bytes).is_ok());

    let with = |change: &dyn Fn(&mut Raw)| {
        let mut raw = Raw {
            bytes: good.bytes.clone(),
            big: false,
        };
        change(&mut raw);
        message_of(&raw.bytes)
    };
    assert!(with(&|r| r.bytes.truncate(399)).contains("expected 400 bytes by the header"));
    assert!(with(&|r| r.bytes.truncate(100)).contains("348 bytes of header"));
    assert!(with(&|r| r.bytes.clear()).contains("found the end"));
    assert!(with(&|r| r.bytes[344] = b'x').contains("mark"));
    assert!(with(&|r| r.bytes[344..348].fill(0)).contains("Analyze"));
    assert!(with(&|r| r.i32(0, 540)).contains("192 bytes of header"));
    assert!(with(&|r| r.i32(0, 7)).contains("other content"));
    assert!(with(&|r| r.i16(42, 0)).contains("at least one voxel"));
    assert!(with(&|r| r.i16(44, -3)).contains("at least one voxel"));
    assert!(with(&|r| r.i16(40, 0)).contains("1 to 7 axes"));
    assert!(with(&|r| r.i16(40, 8)).contains("1 to 7 axes"));
    assert!(with(&|r| (1..4).for_each(|i| r.i16(40 + 2 * i, i16::MAX))).contains("truncated"));
    assert!(with(&|r| r.i16(70, 128)).contains("colours"));
    assert!(with(&|r| r.i16(70, 1536)).contains("128-bit"));
    assert!(with(&|r| r.i16(70, 77)).contains("77"));
    assert!(with(&|r| r.f32(80, 0.0)).contains("voxel sizes above 0"));
    assert!(with(&|r| r.f32(84, f32::NAN)).contains("voxel sizes above 0"));
    for offset in [-1.0, 100.0, f32::NAN, f32::INFINITY] {
        assert!(
            with(&|r| r.f32(108, offset)).contains("vox_offset"),
            "{offset}"
        );
    }
    assert!(with(&|r| r.f32(108, 1e30)).contains("truncated"));
    assert!(with(&|r| r.f32(108, 360.0)).contains("expected 408 bytes"));
}

#[test]
fn gzip_is_known_by_content_and_damage_in_it_found() {
    let mut raw = Raw::new(false, 4, [50, 40, 4]);
    let mut rng = crate::rng::Rng::new(1, 2, 3);
    raw.bytes.extend((0..16_000).map(|_| rng.bits() as u8));
    let expected = image_of(&raw.bytes).expect("a valid file");
    let packed = gzip(&raw.bytes);
    assert_eq!(image_of(&packed).expect("a valid file"), expected);
    // Two members are one file (RFC 1952, 2.2).
    let halves = [gzip(&raw.bytes[..5000]), gzip(&raw.bytes[5000..])].concat();
    assert_eq!(image_of(&halves).expect("a valid file"), expected);

    // Cut within the samples, within the checksum, within the header.
    for len in [
        packed.len() / 2,
        packed.len() - 8,
        packed.len() - 1,
        200,
        12,
    ] {
        assert!(
            message_of(&packed[..len]).contains("truncated"),
            "cut at {len}"
        );
    }
    let mut checksum = packed.clone();
    let at = checksum.len() - 6;
    checksum[at] ^= 1;
    assert!(message_of(&checksum).contains("damage"));
    assert!(message_of(b"\x1f\x8b\x08garbage that is no deflate").contains("fetch it again"));

    // A small file cannot hold a large volume, and one that lies within the bound is not believed
    // before its bytes have come.
    (1..4).for_each(|i| raw.i16(40 + 2 * i, i16::MAX));
    assert!(message_of(&gzip(&raw.bytes)).contains("at most"));
    let mut short = Raw::new(false, 2, [1000, 1000, 3]);
    short.bytes.resize(2_000_000, 0);
    assert!(message_of(&gzip(&short.bytes)).contains("truncated"));
}

#[test]
fn a_pair_is_read_by_either_name() {
    let folder = folder();
    let mut raw = Raw::new(true, 4, [2, 1, 1]);
    raw.bytes[344..348].copy_from_slice(b"ni1\0");
    raw.f32(108, 2.0);
    let samples = [9, 9, 0, 1, 0, 2];
    let [hdr, img] = ["a.hdr", "a.img"].map(|name| folder.path().join(name));
    fs::write(&hdr, &raw.bytes[..348]).expect("a write");
    let missing = read_image(&hdr).expect_err("no samples");
    assert!(matches!(missing, Error::Io { .. }) && missing.to_string().ends_with("a.img"));
    assert_eq!(read_grid(&hdr).expect("a header").0.shape(), [2, 1, 1]);

    fs::write(&img, samples).expect("a write");
    assert_eq!(read_image(&hdr).expect("a pair").data(), [1.0, 2.0]);
    assert_eq!(read_image(&img).expect("a pair").data(), [1.0, 2.0]);

    fs::remove_file(&img).expect("removed");
    let packed = folder.path().join("a.img.gz");
    fs::write(&packed, gzip(&samples)).expect("a write");
    assert_eq!(read_image(&hdr).expect("a pair").data(), [1.0, 2.0]);
    assert_eq!(read_image(&packed).expect("a pair").data(), [1.0, 2.0]);
    assert_eq!(
        sibling(Path::new("B.HDR"), "hdr", "img"),
        Path::new("B.IMG")
    );
}

#[test]
fn missing_files_name_the_path() {
    let error = read_image(Path::new("nowhere/a.nii.gz")).expect_err("no file");
    assert!(matches!(error, Error::Io { .. }));
    assert!(error.to_string().ends_with("nowhere/a.nii.gz"), "{error}");
}

#[test]
fn an_offset_of_0_means_after_the_header() {
    let mut raw = Raw::new(false, 2, [1, 1, 1]);
    raw.f32(108, 0.0);
    raw.bytes.push(42);
    assert_eq!(image_of(&raw.bytes).expect("a valid file").data(), [42.0]);
}

#[test]
fn types_and_scaling_come_back() {
    let folder = folder();
    let grid = Grid::with_spacing([3, 2, 1], [1.0, 2.0, 3.0]).expect("a grid");
    let image = Image::new(grid, vec![0.0, 1.0, 2.0, 30.0, 100.0, 120.0]).expect("an image");
    for dtype in Dtype::ALL {
        for name in ["a.nii", "a.nii.gz"] {
            let path = folder.path().join(name);
            let storage = Storage {
                dtype,
                slope: 0.5,
                intercept: 60.0,
                qform_code: 3,
                sform_code: 4,
                ..Storage::default()
            };
            // Unsigned types hold nothing below the intercept.
            let image = if matches!(dtype, Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64) {
                image.clone().map(|v| v + 60.0)
            } else {
                image.clone()
            };
            write_image(&path, &image, &storage).expect("a write");
            let (back, stored) = read_image_stored(&path).expect("a valid file");
            let limit = if dtype == Dtype::I8 {
                60.0 + 63.5
            } else {
                f32::MAX
            };
            assert_eq!(back, image.map(|v| v.min(limit)), "{dtype}");
            assert_eq!(stored, storage);
        }
    }
}

#[test]
fn whole_types_round_saturate_and_have_no_nan() {
    let folder = folder();
    let path = folder.path().join("a.nii");
    let odd = vec![-5.0, 0.4, 0.6, 254.7, 300.0, f32::NAN, f32::INFINITY];
    let grid = Grid::with_spacing([7, 1, 1], [1.0; 3]).expect("a grid");
    let image = Image::new(grid, odd).expect("an image");
    let as_u8 = Storage {
        dtype: Dtype::U8,
        ..Storage::default()
    };
    write_image(&path, &image, &as_u8).expect("a write");
    let back = read_image(&path).expect("a valid file");
    assert_eq!(back.data(), [0.0, 0.0, 1.0, 255.0, 255.0, 0.0, 0.0]);

    write_image(&path, &image, &Storage::default()).expect("a write");
    let back = read_image(&path).expect("a valid file");
    assert!(back.data()[5].is_nan() && back.data()[6] == f32::INFINITY);
    assert_eq!(back.data()[..5], image.data()[..5]);
}

#[test]
fn labels_take_the_smallest_type_and_must_be_whole() {
    let folder = folder();
    let path = folder.path().join("l.nii.gz");
    let grid = Grid::with_spacing([2, 1, 1], [1.0; 3]).expect("a grid");
    for (most, dtype) in [(255, Dtype::U8), (256, Dtype::U16), (u16::MAX, Dtype::U16)] {
        let labels = Labels::new(grid.clone(), vec![0, most]).expect("labels");
        write_labels(&path, &labels).expect("a write");
        assert_eq!(read_labels(&path).expect("a valid file"), labels);
        assert_eq!(read_grid(&path).expect("a valid file").1.dtype, dtype);
    }
    for (value, label) in [
        (6.9995, Some(7)),
        (-0.0005, Some(0)),
        (6.5, None),
        (-1.0, None),
    ] {
        let image = Image::new(grid.clone(), vec![0.0, value]).expect("an image");
        write_image(&path, &image, &Storage::default()).expect("a write");
        match (read_labels(&path), label) {
            (Ok(found), Some(label)) => assert_eq!(found.data(), [0, label]),
            (Err(e), None) => assert!(e.to_string().contains(&value.to_string()), "{e}"),
            (found, _) => panic!("{value}: {found:?}"),
        }
    }
}

#[test]
fn a_sheared_affine_has_no_qform() {
    let mut m = DMat4::from_scale(DVec3::new(1.0, 2.0, 3.0));
    m.y_axis.x = 0.5;
    let grid = Grid::new([2, 2, 2], m).expect("a grid");
    let header = Header::of(&grid, &Storage::default(), true);
    assert_eq!((header.qform_code, header.sform_code), (0, 1));
}

/// The sample type and byte order of a file written here, from the standard's own offsets.
#[test]
fn written_headers_hold_what_the_standard_says() {
    let grid = Grid::with_spacing([2, 3, 4], [1.0, 2.0, 3.0]).expect("a grid");
    let storage = Storage {
        dtype: Dtype::I16,
        slope: 2.0,
        intercept: 1.0,
        ..Storage::default()
    };
    let bytes = Header::of(&grid, &storage, true).to_bytes();
    assert_eq!(bytes[0..4], [0x5c, 1, 0, 0]);
    assert_eq!(
        bytes[40..56],
        [3, 0, 2, 0, 3, 0, 4, 0, 1, 0, 1, 0, 1, 0, 1, 0]
    );
    assert_eq!(bytes[70..74], [4, 0, 16, 0]);
    assert_eq!(bytes[80..84], 1.0f32.to_le_bytes());
    assert_eq!(
        bytes[108..120],
        [352.0f32, 2.0, 1.0].map(f32::to_le_bytes).concat()[..]
    );
    assert_eq!(bytes[344..352], *b"n+1\0\0\0\0\0");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Rotation, size and handedness through the quaternion alone.
    #[test]
    fn qform_and_sform_say_the_same(
        axis in prop::array::uniform3(-1.0f64..1.0),
        angle in -3.0f64..3.0,
        sizes in prop::array::uniform3(0.2f64..5.0),
        flip in any::<bool>(),
        offset in prop::array::uniform3(-300.0f64..300.0),
    ) {
        let axis = DVec3::from_array(axis);
        prop_assume!(axis.length() > 0.1);
        let mut sizes = DVec3::from_array(sizes);
        if flip {
            sizes.x = -sizes.x;
        }
        let m = DMat4::from_translation(DVec3::from_array(offset))
            * DMat4::from_axis_angle(axis.normalize(), angle)
            * DMat4::from_scale(sizes);
        let grid = Grid::new([20, 20, 20], m).expect("a grid");
        let mut header = Header::of(&grid, &Storage::default(), true);
        prop_assert_eq!(header.qform_code, 1);
        let through = |header: &Header| {
            let again = Header::parse(&header.to_bytes(), Path::new("memory"))
                .expect("a header");
            Grid::new([20, 20, 20], affine::read(&again, [20, 20, 20]).expect("an affine"))
                .expect("a grid")
        };
        prop_assert!(through(&header).matches(&grid, 1e-3));
        header.sform_code = 0;
        // The quaternion's first number is left to be computed from the others, which are f32: near
        // half a turn it is wrong by the root of their rounding, and the angle by twice that.
        let extent = 19.0 * sizes.length();
        prop_assert!(through(&header).matches(&grid, 1e-3 * extent + 1e-3));
    }

    /// No header, however odd, makes the reader panic or take memory that the file does not back.
    #[test]
    fn hostile_headers_are_refused_or_read(
        changes in prop::collection::vec((0usize..352, any::<u8>()), 1..20),
        cut in 0usize..800,
        packed in any::<bool>(),
    ) {
        let mut raw = Raw::new(false, 4, [5, 5, 8]);
        raw.bytes.extend([7; 400]);
        for (at, value) in changes {
            raw.bytes[at] = value;
        }
        raw.bytes.truncate(cut.max(20));
        let bytes = if packed { gzip(&raw.bytes) } else { raw.bytes };
        let _ = image_of(&bytes);
    }
}
