use std::{fs, path::PathBuf};

use super::*;
use crate::{
    Image, Labels,
    io::{read_grid, read_image, read_image_stored, read_labels, write_image, write_labels},
};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A PNG by the encoder of the `png` crate.
fn encode(
    path: &Path,
    size: (u32, u32),
    color: ColorType,
    depth: BitDepth,
    palette: &[u8],
    bytes: &[u8],
) {
    let mut encoder = Encoder::new(File::create(path).expect("a file"), size.0, size.1);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if !palette.is_empty() {
        encoder.set_palette(palette.to_vec());
    }
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(bytes).expect("pixels");
    writer.finish().expect("an end");
}

fn image(shape: [usize; 3], f: impl Fn(usize) -> f32) -> Image {
    let grid = Grid::with_spacing(shape, [1.0; 3]).expect("a grid");
    let data = (0..grid.len()).map(f).collect();
    Image::new(grid, data).expect("an image")
}

fn stored_as(dtype: Dtype) -> Storage {
    Storage {
        dtype,
        ..Storage::default()
    }
}

/// Colour type, depth, palette, packed samples, and the values they hold.
type Case<'a> = (ColorType, BitDepth, &'a [u8], &'a [u8], [f32; 3]);

#[test]
fn every_kind_of_grey_gives_its_stored_values() {
    use {BitDepth as D, ColorType as C};
    let folder = folder();
    let path = folder.path().join("a.png");
    let palette = [10, 10, 10, 20, 20, 20, 90, 0, 0];
    let cases: [Case; 9] = [
        (C::Grayscale, D::One, &[], &[0b1010_0000], [1.0, 0.0, 1.0]),
        (C::Grayscale, D::Two, &[], &[0b1101_1000], [3.0, 1.0, 2.0]),
        (C::Grayscale, D::Four, &[], &[0xf1, 0x80], [15.0, 1.0, 8.0]),
        (C::Grayscale, D::Eight, &[], &[255, 1, 8], [255.0, 1.0, 8.0]),
        (
            C::Grayscale,
            D::Sixteen,
            &[],
            &[1, 0, 0, 2, 255, 255],
            [256.0, 2.0, 65535.0],
        ),
        (
            C::GrayscaleAlpha,
            D::Eight,
            &[],
            &[5, 0, 6, 255, 7, 9],
            [5.0, 6.0, 7.0],
        ),
        (
            C::Rgb,
            D::Eight,
            &[],
            &[5, 5, 5, 6, 6, 6, 7, 7, 7],
            [5.0, 6.0, 7.0],
        ),
        (
            C::Rgba,
            D::Eight,
            &[],
            &[5, 5, 5, 0, 6, 6, 6, 1, 7, 7, 7, 2],
            [5.0, 6.0, 7.0],
        ),
        (
            C::Indexed,
            D::Two,
            &palette,
            &[0b0100_0100],
            [20.0, 10.0, 20.0],
        ),
    ];
    for (color, depth, palette, bytes, expected) in cases {
        encode(&path, (3, 1), color, depth, palette, bytes);
        let (image, storage) = read_image_stored(&path).expect("a valid file");
        assert_eq!(image.data(), expected, "{color:?} {depth:?}");
        let wide = depth == BitDepth::Sixteen;
        assert_eq!(storage.dtype, if wide { Dtype::U16 } else { Dtype::U8 });
    }
    encode(&path, (1, 1), C::Rgb, D::Eight, &[], &[1, 2, 1]);
    assert!(
        read_image(&path)
            .expect_err("colours")
            .to_string()
            .contains("colours")
    );
    encode(&path, (1, 1), C::Indexed, D::Two, &palette, &[0b1000_0000]);
    assert!(
        read_image(&path)
            .expect_err("colours")
            .to_string()
            .contains("colours")
    );
    encode(&path, (1, 1), C::Indexed, D::Two, &palette, &[0b1100_0000]);
    assert!(read_image(&path).is_err());
}

#[test]
fn slices_come_back_and_lie_as_shown() {
    let folder = folder();
    let path = folder.path().join("a.png");
    for (dtype, scale) in [(Dtype::U8, 1.0), (Dtype::U16, 1000.0)] {
        let image = image([5, 3, 1], |i| i as f32 * scale);
        write_image(&path, &image, &stored_as(dtype)).expect("a write");
        let (back, storage) = read_image_stored(&path).expect("a valid file");
        assert_eq!(back.data(), image.data());
        assert_eq!(storage.dtype, dtype);
        assert_eq!(back.grid(), &read_grid(&path).expect("a header").0);
        // Pixel (1, 2): one to the patient's left of the corner, two to the back.
        assert_eq!(back.grid().world([1.0, 2.0, 0.0]), [-1.0, -2.0, 0.0]);
    }
}

#[test]
fn what_a_png_cannot_hold_is_refused() {
    let folder = folder();
    let path = folder.path().join("a.png");
    let message = |image: &Image, storage: &Storage| {
        write_image(&path, image, storage)
            .expect_err("a refusal")
            .to_string()
    };
    let one = image([2, 2, 1], |i| i as f32);
    assert!(message(&one, &Storage::default()).contains("found f32"));
    let scaled = Storage {
        slope: 2.0,
        ..stored_as(Dtype::U8)
    };
    assert!(message(&one, &scaled).contains("slope 2"));
    assert!(message(&image([2, 2, 2], |_| 0.0), &stored_as(Dtype::U8)).contains("one slice"));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn damage_is_refused_with_a_reason() {
    let folder = folder();
    let path = folder.path().join("a.png");
    let image = image([30, 30, 1], |i| (i * i % 251) as f32);
    write_image(&path, &image, &stored_as(Dtype::U8)).expect("a write");
    let good = fs::read(&path).expect("the file");
    for len in [good.len() - 1, good.len() / 2, 40, 20, 9] {
        fs::write(&path, &good[..len]).expect("a write");
        let error = read_image(&path).expect_err("a refusal");
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        fs::write(&path, &bad).expect("a write");
        let _ = read_image(&path);
    }
    // A header of 60000 × 60000 before no pixels, with the checksum it needs.
    let mut crc = flate2::Crc::new();
    let mut huge = good.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    crc.update(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    fs::write(&path, &huge).expect("a write");
    let error = read_image(&path).expect_err("a refusal").to_string();
    assert!(error.contains("too small"), "{error}");
}

#[test]
fn a_folder_is_a_volume() {
    let folder = folder();
    let path: PathBuf = folder.path().join("slices");
    let volume = image([4, 3, 12], |i| i as f32);
    write_image(&path, &volume, &stored_as(Dtype::U8)).expect("a write");
    assert!(path.join("slice_0011.png").is_file());
    let (back, storage) = read_image_stored(&path).expect("a volume");
    assert_eq!((back.data(), storage.dtype), (volume.data(), Dtype::U8));
    assert_eq!(read_grid(&path).expect("a volume").0, *back.grid());

    // A second, smaller write leaves nothing of the first.
    let labels = Labels::new(
        Grid::with_spacing([2, 2, 2], [1.0; 3]).expect("a grid"),
        vec![0, 1, 2, 3, 4, 5, 6, 300],
    )
    .expect("labels");
    write_labels(&path, &labels).expect("a write");
    assert_eq!(read_labels(&path).expect("a volume").data(), labels.data());

    // Numbers decide the order, not letters; other files do not matter.
    let mixed = folder.path().join("mixed");
    fs::create_dir(&mixed).expect("a folder");
    fs::write(mixed.join("notes.txt"), "x").expect("a write");
    for (n, name) in ["s1.png", "s2.png", "s10.PNG"].iter().enumerate() {
        write_image(
            &mixed.join(name),
            &image([2, 1, 1], |_| n as f32),
            &stored_as(Dtype::U8),
        )
        .expect("a write");
    }
    let stacked = read_image(&mixed).expect("a volume");
    assert_eq!(stacked.data(), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    // It holds files that are not ours, so it is not overwritten.
    assert!(write_labels(&mixed, &labels).is_err());
    assert!(mixed.join("notes.txt").is_file());

    write_image(
        &mixed.join("s3.png"),
        &image([3, 1, 1], |_| 0.0),
        &stored_as(Dtype::U8),
    )
    .expect("a write");
    let error = read_image(&mixed).expect_err("two sizes").to_string();
    assert!(
        error.contains("3×1") && error.ends_with("s3.png"),
        "{error}"
    );
}

#[test]
fn a_failed_write_of_a_folder_leaves_nothing() {
    let folder = folder();
    let path = folder.path().join("slices");
    let volume = image([2, 2, 2], |i| i as f32);
    let error = write_image(&path, &volume, &Storage::default()).expect_err("floats");
    assert!(error.to_string().ends_with("slices"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    assert!(
        read_image(folder.path())
            .expect_err("no slices")
            .to_string()
            .contains("found neither")
    );
}
