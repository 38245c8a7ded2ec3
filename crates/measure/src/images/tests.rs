use crossmod_volume::Grid;
use serde_json::Value;

use super::*;
use crate::goldens;

fn grid(of: &Value) -> Grid {
    let shape = of["shape"].as_array().expect("a list").iter();
    let shape: Vec<usize> = shape
        .map(|n| n.as_u64().expect("a number") as usize)
        .collect();
    Grid::with_spacing([shape[0], shape[1], shape[2]], [1.0; 3]).expect("a grid")
}

fn image(of: &Value, key: &str) -> Image {
    let list = of[key].as_array().expect("a list").iter();
    let data = list.map(|v| v.as_f64().expect("a number") as f32);
    Image::new(grid(of), data.collect()).expect("an image")
}

fn mask(of: &Value) -> Labels {
    let digits = of["mask"].as_str().expect("digits").bytes();
    Labels::new(grid(of), digits.map(|b| u16::from(b - b'0')).collect()).expect("labels")
}

/// A volume, and slices too few to look through.
#[test]
fn errors_are_those_of_scikit_image() {
    let golden = goldens::read("metrics.json");
    for of in golden["images"].as_array().expect("a list") {
        let number = |key: &str| of[key].as_f64().expect("a number");
        let end = |i: usize| of["range"][i].as_f64().expect("a number") as f32;
        let settings = ImageSettings {
            range: Some([end(0), end(1)]),
            bootstrap: None,
        };
        let mask = mask(of);
        let (synthetic, real) = (image(of, "image"), image(of, "real"));
        let found = image_errors(&synthetic, &real, Some(&mask), &settings).expect("one grid");
        assert!(
            (found.mae - number("mae")).abs() < 1e-6 * number("mae"),
            "{found:?}"
        );
        let psnr = found.psnr_db.expect("they differ");
        assert!((psnr - number("psnr_db")).abs() < 1e-6, "{found:?}");
        let ssim = found.ssim.expect("windows within");
        assert!(
            (ssim - number("ssim")).abs() < 1e-5,
            "{found:?} not {}",
            number("ssim")
        );
        assert_eq!(found.voxels, mask.data().iter().filter(|v| **v > 0).count());
    }
}

fn ramp(shape: [usize; 3], slope: f32) -> Image {
    let grid = Grid::with_spacing(shape, [1.0; 3]).expect("a grid");
    let data = (0..grid.len()).map(|i| slope * i as f32).collect();
    Image::new(grid, data).expect("an image")
}

#[test]
fn an_image_is_like_itself_and_a_shift_is_its_own_error() {
    let real = ramp([16, 15, 40], 1.0);
    let settings = ImageSettings::default();
    let same = image_errors(&real, &real, None, &settings).expect("one grid");
    assert_eq!((same.mae, same.psnr_db), (0.0, None));
    assert!((same.ssim.expect("windows within") - 1.0).abs() < 1e-6);
    let shifted = real.clone().map(|v| v + 96.0);
    let found = image_errors(&shifted, &real, None, &settings).expect("one grid");
    let range = (16 * 15 * 40 - 1) as f64;
    assert!((found.mae - 96.0).abs() < 1e-3);
    assert!((found.psnr_db.expect("a shift") - 20.0 * (range / 96.0).log10()).abs() < 1e-3);
}

#[test]
fn what_cannot_be_compared_is_told() {
    let real = ramp([4, 4, 1], 1.0);
    let told = |image: &Image, mask: Option<&Labels>, range| {
        let settings = ImageSettings {
            range,
            bootstrap: None,
        };
        image_errors(image, &real, mask, &settings)
            .expect_err("refused")
            .to_string()
    };
    assert!(told(&ramp([4, 2, 2], 1.0), None, None).contains("found [4, 2, 2]"));
    let empty = Labels::new(real.grid().clone(), vec![0; 16]).expect("labels");
    assert!(told(&real, Some(&empty), Some([0.0, 1.0])).contains("not empty"));
    assert!(told(&real, None, Some([1.0, 1.0])).contains("1 to 1"));
    let mut wild = real.clone();
    wild.data_mut()[3] = f32::NAN;
    assert!(told(&wild, None, Some([0.0, 1.0])).contains("found 1 that are not finite"));
    // Outside of the mask anything goes.
    let mut mask = empty;
    mask.data_mut()[5] = 1;
    let settings = ImageSettings::default();
    let found = image_errors(&wild, &real, Some(&mask), &settings).expect("finite inside");
    assert_eq!((found.mae, found.voxels), (0.0, 1));
}

#[test]
fn folders_of_images_are_paired_and_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    for (place, slope) in [("real", 1.0), ("fake", 1.5)] {
        std::fs::create_dir(path(place)).expect("a writable folder");
        for case in ["a", "b"] {
            let storage = io::Storage::default();
            let file = path(place).join(format!("{case}.nii.gz"));
            io::write_image(&file, &ramp([4, 4, 1], slope), &storage).expect("written");
        }
    }
    std::fs::create_dir(path("mask")).expect("a writable folder");
    let grid = ramp([4, 4, 1], 1.0).grid().clone();
    let mut mask = Labels::new(grid, vec![0; 16]).expect("labels");
    mask.data_mut()[2] = 3;
    io::write_labels(&path("mask/a.nii.gz"), &mask).expect("written");
    let settings = ImageSettings::default();
    let compare = || compare_images(&path("fake"), &path("real"), Some(&path("mask")), &settings);
    let message = compare().expect_err("no mask of b").to_string();
    assert!(message.contains("found none for b"), "{message}");
    io::write_labels(&path("mask/b.nii.gz"), &mask).expect("written");
    let found = compare().expect("two pairs");
    let json = found.to_json();
    assert_eq!(
        (&json["cases"][1]["mae"], &json["mean"]["mae"]),
        (&json!(1.0), &json!(1.0))
    );
    assert_eq!(
        (&json["mae"]["n"], &json["cases"][0]["ssim"]),
        (&json!(2), &Value::Null)
    );
    assert!(found.table().contains("1.000 ± 0.000"), "{}", found.table());
    found.write_csv(&path("m.csv")).expect("written");
    let csv = std::fs::read_to_string(path("m.csv")).expect("written");
    assert_eq!(csv.lines().nth(1), Some("a,1,,,1"));
}
