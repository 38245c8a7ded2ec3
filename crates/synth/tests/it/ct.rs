//! The three kinds of CT: from labels alone, and from a real case where one is at hand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crossmod_synth::{Generator, LabelScheme, Made, Scene, SynthRecipe, fit};
use crossmod_volume::io::{read_image, read_labels};
use crossmod_volume::{Grid, Labels};

const KINDS: [&str; 3] = ["ct-cylinder", "ct-constants", "ct-textures"];

fn generator(kind: &str, overrides: &[&str]) -> Generator {
    let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
    let recipe = SynthRecipe::load(kind, &overrides).expect("a preset");
    assert_eq!((recipe.count, recipe.channel.as_str()), (4, "CT"));
    Generator::new(recipe).expect("a recipe that can be")
}

/// Two kidneys in an array whose first axis runs along the body, as KiTS has them.
fn kidneys() -> Scene {
    let matrix = glam::DMat4::from_cols(
        glam::DVec4::new(0.0, 0.0, -4.0, 0.0),
        glam::DVec4::new(0.0, -4.0, 0.0, 0.0),
        glam::DVec4::new(-4.0, 0.0, 0.0, 0.0),
        glam::DVec4::W,
    );
    let grid = Grid::new([30, 80, 80], matrix).expect("a grid");
    let value = |i: usize| {
        let (x, y, z) = (i % 30, i / 30 % 80, i / 2400);
        let near = |z0: f64| {
            let from = [
                (x as f64 - 15.0) / 12.0,
                (y as f64 - 45.0) / 7.0,
                (z as f64 - z0) / 7.0,
            ];
            from.iter().map(|d| d * d).sum::<f64>() < 1.0
        };
        match (near(22.0), near(58.0)) {
            (true, _) => 1,
            (_, true) => 2,
            _ => 0,
        }
    };
    let labels = Labels::new(grid.clone(), (0..grid.len()).map(value).collect()).expect("labels");
    let names = [(1, "right kidney"), (2, "left kidney")];
    let names: BTreeMap<u16, String> = names.map(|(v, n)| (v, n.to_owned())).into();
    LabelScheme::named(&names)
        .scene(labels, None)
        .expect("a scene")
}

/// Mean of an image where its labels have a value.
fn mean(made: &Made, of: impl Fn(u16) -> bool) -> f64 {
    let voxels = made.image.data().iter().zip(made.labels.data());
    let values: Vec<f64> = voxels
        .filter(|(_, l)| of(**l))
        .map(|(&v, _)| f64::from(v))
        .collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn labels_alone_become_ct() {
    for kind in KINDS {
        let generator = generator(kind, &["drop.p=0"]);
        let made = generator.make("case", 0, kidneys()).expect("an image");
        let again = made.record.replay(kidneys()).expect("an image");
        assert_eq!(made, again, "{kind}");
        assert_eq!(made.labels.counts(), kidneys().labels.counts(), "{kind}");
        for side in [1, 2] {
            let kidney = mean(&made, |label| label == side);
            assert!((60.0..280.0).contains(&kidney), "{kind}: {kidney}");
        }
        // A corner is air, whose noise alone differs from −1000 HU.
        let corner: f32 = made.image.data()[..20].iter().sum::<f32>() / 20.0;
        assert!((corner + 1000.0).abs() < 40.0, "{kind}: {corner}");
    }
}

#[test]
fn left_out_organs_are_in_neither_image_nor_labels() {
    let generator = generator("ct-constants", &["drop.p=1", "noise.p=0"]);
    let made = generator.make("case", 0, kidneys()).expect("an image");
    assert_eq!(
        made.labels.counts().keys().copied().collect::<Vec<u16>>(),
        [0]
    );
    // Three classes are left: air, fat, soft tissue.
    let mut values: Vec<i64> = made
        .image
        .data()
        .iter()
        .map(|v| (v * 16.0) as i64)
        .collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 3, "{values:?}");
}

/// TotalSegmentator's example: its scan, labels of its values.
#[test]
fn a_real_case_becomes_ct_of_every_kind() {
    let Some(data) = std::env::var_os("CROSSMOD_TEST_DATA").map(PathBuf::from) else {
        println!("skipped: CROSSMOD_TEST_DATA is not set");
        return;
    };
    let folder = data.join("totalseg");
    let scan = read_image(&folder.join("example_ct_sm.nii.gz")).expect("a scan");
    let labels = read_labels(&folder.join("example_seg.nii.gz")).expect("labels");
    let scheme = LabelScheme::totalsegmentator();
    let scene = || {
        scheme
            .scene(labels.clone(), Some(scan.clone()))
            .expect("a scene")
    };
    let liver = scene().labels.counts()[&5];

    let prior = fit([Ok((scan.clone(), labels.clone()))], &scheme).expect("a prior");
    let liver_hu = prior.of("liver", &[]).expect("measured").mean.centre();
    let real: f64 = {
        let voxels = scan.data().iter().zip(labels.data());
        let values: Vec<f64> = voxels
            .filter(|v| *v.1 == 5)
            .map(|v| f64::from(*v.0))
            .collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    assert!(
        (f64::from(liver_hu) - real).abs() < 0.1,
        "{liver_hu} {real}"
    );
    let file = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
    std::fs::write(file.path(), toml::to_string(&prior).expect("a text")).expect("written");
    let fitted = format!("fill.prior={}", file.path().display());

    for kind in KINDS {
        for overrides in [&["drop.p=0"][..], &["drop.p=0", &fitted]] {
            let made = generator(kind, overrides)
                .make("s", 1, scene())
                .expect("an image");
            assert_eq!(made.labels.counts()[&5], liver, "{kind}");
            let found = mean(&made, |label| label == 5);
            let (centre, reach) = match overrides.len() {
                1 => (108.0, 80.0),
                // One scan, one liver: no spread.
                _ => (real, 3.0),
            };
            assert!(
                (found - centre).abs() < reach,
                "{kind} {overrides:?}: {found}"
            );
        }
    }
}
