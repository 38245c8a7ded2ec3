//! Images of label maps, and priors of images.

use crossmod_volume::dataset::Dataset;
use serde_json::json;

use crate::trial::Trial;

const RECIPE: &str = "[[steps]]\nstep = \"intensities\"\n";

fn trial() -> Trial {
    let trial = Trial::new();
    trial.write_text("own.toml", RECIPE);
    trial.write_labels("maps/a.nii.gz", &[0, 1, 1, 2, 2, 2, 0, 1]);
    trial.write_labels("maps/b.nrrd", &[0, 1, 1, 2, 2, 2, 0, 1]);
    trial
}

#[test]
fn label_maps_become_a_dataset_and_a_sheet() {
    let trial = trial();
    let said = trial
        .run("synth own.toml --labels maps --out out --count 2 --sheet sheet.png --contours --json")
        .exits(0);
    let (found, out) = (said.json(), json!("out"));
    assert_eq!(
        (&found["made"], &found["kept"], &found["out"]),
        (&json!(4), &json!(0), &out)
    );
    assert!(
        said.stderr.contains("note: labels without names"),
        "{said:?}"
    );
    assert!(trial.path("sheet.png").is_file());
    assert_eq!(
        Dataset::open(&trial.path("out"))
            .expect("a dataset")
            .training
            .len(),
        4
    );
    let said = trial
        .run("synth own.toml --labels maps --out out --count 2")
        .exits(0);
    assert_eq!(said.stdout.trim(), "0 made, 4 already there: out");
    let said = trial
        .run("synth own.toml --labels maps --out out --seed 5")
        .exits(1);
    assert!(
        said.stderr.contains("seed is 1 there and 5 here"),
        "{said:?}"
    );

    for shard in ["1/2", "2/2"] {
        let command = format!("synth own.toml --labels maps --out parts --count 2 --shard {shard}");
        trial.run(&command).exits(0);
    }
    for file in [
        "imagesTr/a_01_0000.nii.gz",
        "labelsTr/b_00.nii.gz",
        "records/b_01.json",
    ] {
        let [one, parts] = ["out", "parts"].map(|folder| trial.path(folder).join(file));
        let read = |path| std::fs::read(path).expect(file);
        assert_eq!(read(one), read(parts), "{file}");
    }
}

#[test]
fn wrong_usage_of_synth_is_told() {
    let trial = trial();
    for (command, text) in [
        ("synth own.toml --labels maps", "--out"),
        ("synth own.toml --out out", "--labels"),
        (
            "synth own.toml --labels maps --out out --shard 3/2",
            "such as 1/4",
        ),
        (
            "synth own.toml --labels maps --out out --count 0",
            "--count",
        ),
        (
            "synth own.toml --labels maps --out out --set bias.p=1",
            "to name a step",
        ),
        (
            "synth synthseq --labels maps --out out",
            "did you mean `synthseg`",
        ),
        ("synth fit --labels maps --out prior.toml", "with --images"),
    ] {
        let said = trial.run(command).exits(2);
        assert!(said.stderr.contains(text), "{command}: {said:?}");
    }
    trial
        .run("synth own.toml --labels nowhere --out out")
        .exits(1);
    assert!(!trial.path("out").exists());
}

#[test]
fn a_prior_is_measured_and_painted_by() {
    let trial = trial();
    let rows: Vec<u16> = (0..16).map(|i| 1 + i / 8).collect();
    let values: Vec<f32> = (0..16u8)
        .map(|i| 100.0 * f32::from(i / 8) + f32::from(i % 2))
        .collect();
    trial.write_labels("maps2/a.nii.gz", &rows);
    trial.write_image("scans/a.nii.gz", &values);
    let said = trial
        .run("synth fit --labels maps2 --images scans --out prior.toml --json")
        .exits(0);
    assert_eq!(
        (&said.json()["cases"], &said.json()["classes"]),
        (&json!(1), &json!(2))
    );
    let prior = crossmod_synth::Prior::load(&trial.path("prior.toml")).expect("a prior");
    let found: Vec<f32> = prior
        .classes
        .iter()
        .map(|class| class.mean.centre())
        .collect();
    assert_eq!(found, [0.5, 100.5]);
}
