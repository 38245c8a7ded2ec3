//! Volumes through the scanner.

use crossmod_volume::io::{self, Dtype, Storage};
use crossmod_volume::{Grid, Image};
use serde_json::json;

use crate::trial::Trial;

/// A scanner small enough for a test.
const SMALL: &str = "[scanner]\nchannels = 140\nchannel_rad = 0.0035\nrows = 8\nrow_mm = 6.0\n\
                     views_per_turn = 180\n";

/// Water in air, written in whole HU.
fn trial() -> Trial {
    let trial = Trial::new();
    trial.write_text("small.toml", SMALL);
    let grid = Grid::with_spacing([40, 36, 5], [4.0, 4.0, 6.0]).expect("a grid");
    let water = |i: usize| {
        let (x, y) = (i % 40, i / 40 % 36);
        let radius = (x as f32 - 19.5).hypot(y as f32 - 17.5);
        if radius < 14.0 { 0.0 } else { -1000.0 }
    };
    let data = (0..grid.len()).map(water).collect();
    let image = Image::new(grid, data).expect("an image");
    let whole = Storage {
        dtype: Dtype::I16,
        ..Storage::default()
    };
    std::fs::create_dir(trial.path("cts")).expect("a writable folder");
    for name in ["cts/a.nii.gz", "cts/b.nrrd"] {
        io::write_image(&trial.path(name), &image, &whole).expect("a writable folder");
    }
    trial
}

fn read(trial: &Trial, name: &str) -> (Image, Storage) {
    io::read_image_stored(&trial.path(name)).expect(name)
}

#[test]
fn a_volume_is_scanned_on_its_grid_with_a_record_beside_it() {
    let trial = trial();
    let said = trial
        .run("scan cts/a.nii.gz out.nii.gz --scanner small.toml --mas 60 --seed 7 --json")
        .exits(0);
    let found = said.json();
    assert_eq!(
        (&found["scanned"], &found["files"][0]["seed"]),
        (&json!(1), &json!(7))
    );
    let ((given, _), (image, storage)) = (read(&trial, "cts/a.nii.gz"), read(&trial, "out.nii.gz"));
    assert!(image.grid().matches(given.grid(), 1e-4));
    assert_eq!(storage.dtype, Dtype::I16);
    // Noise, but water all the same.
    let middle = image.data()[image.grid().index([20, 18, 2])];
    assert!(middle.abs() < 200.0 && image.data() != given.data());
    let text = std::fs::read_to_string(trial.path("out.scan.json")).expect("a record");
    let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(record["record"]["settings"]["tube"]["mas"], json!(60.0));
    assert_eq!(record["record"]["settings"]["scanner"]["rows"], json!(8));

    // The same again is the same, and less charge is more noise.
    trial
        .run("scan cts/a.nii.gz again.nii.gz --scanner small.toml --set tube.mas=60 --seed 7")
        .exits(0);
    assert_eq!(read(&trial, "again.nii.gz").0.data(), image.data());
    trial
        .run("scan cts/a.nii.gz less.nii.gz --scanner small.toml --mas 15 --given-mas 60 --fast")
        .exits(0);
    assert_ne!(read(&trial, "less.nii.gz").0.data(), image.data());
}

#[test]
fn a_folder_is_taken_up_again_and_its_files_have_seeds_of_their_own() {
    let trial = trial();
    let command = "scan cts out --scanner small.toml --mas 60";
    let said = trial.run(command).exits(0);
    assert!(said.stdout.starts_with("2 scanned in"), "{said:?}");
    let [a, b] = ["out/a.nii.gz", "out/b.nrrd"].map(|name| read(&trial, name).0);
    assert_ne!(a.data(), b.data());
    std::fs::remove_file(trial.path("out/b.scan.json")).expect("a record");
    let said = trial.run(command).exits(0);
    assert!(said.stdout.contains("1 already there"), "{said:?}");
    assert_eq!(read(&trial, "out/b.nrrd").0.data(), b.data());
    let said = trial.run(&format!("{command} --seed 2")).exits(1);
    assert!(said.stderr.contains("of others"), "{said:?}");
}

#[test]
fn what_cannot_be_scanned_is_told() {
    let trial = trial();
    trial.write_image("mr.nii.gz", &[0.0, 100.0, 200.0]);
    let grid = Grid::with_spacing([4, 4, 4], [4.0; 3]).expect("a grid");
    let counts = Image::new(grid, (0..64).map(|v| v as f32).collect()).expect("an image");
    io::write_image(&trial.path("counts.nii.gz"), &counts, &Storage::default()).expect("written");
    for (command, code, text) in [
        ("scan mr.nii.gz out.nii.gz", 1, "several slices"),
        ("scan counts.nii.gz out.nii.gz", 1, "--any-values"),
        (
            "scan cts/a.nii.gz out.nii.gz --scanner toaster",
            2,
            "siemens-sensation64",
        ),
        ("scan cts/a.nii.gz out.nii.gz --set tube.mass=3", 2, "mass"),
        ("scan cts/a.nii.gz out.nii.gz --mas -3", 2, "above 0"),
        ("scan cts/a.nii.gz out.nii.gz --given-mas 3", 2, "--fast"),
        (
            "scan cts/a.nii.gz out.nii.gz --scanner small.toml --set helix.pitch=2.5",
            1,
            "the largest that leaves no gaps",
        ),
        ("scan missing.nii.gz out.nii.gz", 1, "missing.nii.gz"),
        ("scan cts cts", 2, "another place"),
    ] {
        let said = trial.run(command).exits(code);
        assert!(said.stderr.contains(text), "{command}: {said:?}");
    }
    let help = trial.run("scan --help").exits(0).stdout;
    for word in ["clinical", "matched-1.5mm", "ge-like"] {
        assert!(help.contains(word), "{help}");
    }
}
