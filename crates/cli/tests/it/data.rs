//! Verbs that train nothing: check, info, convert, evaluate.

use std::fs;

use crossmod_volume::io;
use crossmod_volume::space::Orientation;
use serde_json::{Value, json};

use crate::trial::Trial;

const DESCRIPTION: &str = r#"{"channel_names": {"0": "CT"}, "numTraining": 2,
    "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}"#;

/// Two labelled cases with nothing wrong.
fn dataset() -> Trial {
    let trial = Trial::new();
    trial.write_text("ds/dataset.json", DESCRIPTION);
    for (case, last) in [("a", 4.0), ("b", 5.0)] {
        trial.write_image(
            &format!("ds/imagesTr/{case}_0000.nii.gz"),
            &[1.0, 2.0, 3.0, last],
        );
        trial.write_labels(&format!("ds/labelsTr/{case}.nii.gz"), &[0, 1, 1, 0]);
    }
    trial
}

/// The findings of severity error.
fn errors(trial: &Trial) -> Vec<Value> {
    let json = trial.run("check ds --json").exits(1).json();
    let findings = json["findings"].as_array().cloned().expect("a list");
    findings
        .into_iter()
        .filter(|f| f["severity"] == "error")
        .collect()
}

#[test]
fn a_clean_dataset_has_no_findings() {
    let trial = dataset();
    assert_eq!(
        trial.run("check ds --json").exits(0).json(),
        json!({ "findings": [] })
    );
    let said = trial.run("check ds").exits(0);
    assert!(
        said.stdout
            .contains("0 errors, 0 warnings, 0 notes in 2 training"),
        "{said:?}"
    );
}

#[test]
fn findings_name_case_field_and_repair() {
    let trial = dataset();
    trial.write_labels("ds/labelsTr/b.nii.gz", &[0, 7, 7, 1]);
    let found = errors(&trial);
    assert_eq!(found.len(), 1, "{found:?}");
    let finding = &found[0];
    assert_eq!(
        (&finding["case"], &finding["field"]),
        (&json!("b"), &json!("label values"))
    );
    assert!(
        finding["file"]
            .as_str()
            .is_some_and(|f| f.ends_with("labelsTr/b.nii.gz"))
    );
    for key in ["found", "expected", "means", "repair"] {
        assert!(
            finding[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key}"
        );
    }
    let said = trial.run("check ds").exits(1);
    assert!(
        said.stdout
            .contains("error: b: label values: labelsTr/b.nii.gz"),
        "{said:?}"
    );
}

#[test]
fn other_grids_and_truncated_files_are_found() {
    let trial = dataset();
    trial.write_labels("ds/labelsTr/a.nii.gz", &[0, 1, 1]);
    let path = trial.path("ds/imagesTr/b_0000.nii.gz");
    let bytes = fs::read(&path).expect("an image");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("a writable folder");
    let found = errors(&trial);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        (&found[0]["case"], &found[0]["field"]),
        (&json!("a"), &json!("shape"))
    );
    assert_eq!(
        (&found[1]["case"], &found[1]["field"]),
        (&json!("b"), &json!("file"))
    );
    let said = trial
        .run("info ds/imagesTr/b_0000.nii.gz ds/labelsTr/a.nii.gz")
        .exits(1);
    assert!(
        said.stdout.contains("error") && said.stdout.contains("3 × 1 × 1"),
        "{said:?}"
    );
    let said = trial
        .run("convert ds/imagesTr/b_0000.nii.gz c.nii")
        .exits(1);
    assert!(
        said.stderr.trim_end().ends_with("b_0000.nii.gz"),
        "{said:?}"
    );
    assert!(!trial.path("c.nii").exists());
}

#[test]
fn patients_on_both_sides_are_found_against_the_target() {
    let trial = dataset();
    trial.write_image("mr/imagesTs/a_0000.nii.gz", &[1.0, 2.0]);
    trial.write_labels("mr/labelsTs/a.nii.gz", &[0, 1]);
    trial.write_text(
        "mr/dataset.json",
        &DESCRIPTION.replace("CT", "MR").replace('2', "0"),
    );
    let json = trial.run("check ds --against mr --json").exits(0).json();
    let severities: Vec<_> = json["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|f| &f["severity"])
        .collect();
    assert_eq!(severities, ["warning"], "{json}");
}

#[test]
fn info_tells_geometry_values_and_cases() {
    let trial = dataset();
    let json = trial
        .run("info --json ds/labelsTr/a.nii.gz ds")
        .exits(0)
        .json();
    let volume = &json["files"][0];
    assert_eq!(volume["kind"], "volume");
    assert_eq!(volume["shape"], json!([4, 1, 1]));
    assert_eq!(volume["spacing_mm"], json!([1.0, 2.0, 3.0]));
    assert_eq!(
        (&volume["orientation"], &volume["type"]),
        (&json!("RAS"), &json!("u8"))
    );
    assert_eq!(volume["range"], json!([0.0, 1.0]));
    assert_eq!(volume["labels"], json!({"0": 2, "1": 2}));
    let dataset = &json["files"][1];
    assert_eq!(
        (&dataset["kind"], &dataset["training_labelled"]),
        (&json!("dataset"), &json!(2))
    );
    assert_eq!(dataset["labels"], json!({"0": "background", "1": "liver"}));
    let text = trial.run("info ds/labelsTr/a.nii.gz -v").exits(0).stdout;
    for part in [
        "4 × 1 × 1",
        "1.0000 × 2.0000 × 3.0000 mm",
        "RAS",
        "affine",
        "2 voxels",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// Regions that overlap, a label to ignore and a case that was drawn in part: told by info, and
/// what evaluate counts.
#[test]
fn regions_and_what_is_ignored_are_told_and_measured() {
    let trial = dataset();
    let description = r#"{"channel_names": {"0": "MR"}, "file_ending": ".nii.gz",
        "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
        "regions_class_order": [1, 2], "labelled": {"b": ["core"]}}"#;
    trial.write_text("ds/dataset.json", description);
    trial.write_labels("ds/labelsTr/a.nii.gz", &[1, 2, 2, 3]);
    trial.write_labels("pred/a.nii.gz", &[2, 2, 0, 1]);
    trial.write_labels("pred/b.nii.gz", &[1, 2, 0, 0]);
    trial.write_labels("ds/labelsTr/b.nii.gz", &[0, 2, 0, 0]);

    let json = trial.run("info --json ds").exits(0).json();
    let told = &json["files"][0];
    assert_eq!(
        told["regions"],
        json!([{"name": "whole", "values": [1, 2], "value": 1},
            {"name": "core", "values": [2], "value": 2}])
    );
    assert_eq!(told["ignore"], json!(3));
    assert_eq!(told["partly_labelled"], json!({"b": ["core"]}));
    let text = trial.run("info -v ds").exits(0).stdout;
    for part in [
        "whole = 1 + 2, written as 1",
        "ignored      3",
        "1 cases",
        "b: core",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let found = trial
        .run("evaluate pred ds/labelsTr --json")
        .exits(0)
        .json();
    assert_eq!(found["labels"]["1"]["name"], "whole");
    assert_eq!(found["labels"]["1"]["dice"]["n"], json!(1));
    let case = &found["cases"][0]["labels"];
    assert_eq!(case["1"]["dice"], json!(4.0 / 5.0));
    assert_eq!(
        (&case["1"]["tp"], &case["1"]["fp"], &case["1"]["fn"]),
        (&json!(2), &json!(0), &json!(1))
    );
    assert_eq!(case["2"]["dice"], json!(0.5));
    let case = &found["cases"][1]["labels"];
    assert_eq!(
        (&case["1"]["dice"], &case["2"]["dice"]),
        (&Value::Null, &json!(1.0))
    );

    // Truths that lie elsewhere need to be told what they mean.
    for case in ["a", "b"] {
        let name = format!("{case}.nii.gz");
        fs::create_dir_all(trial.path("far/off")).expect("a writable folder");
        fs::copy(
            trial.path("ds/labelsTr").join(&name),
            trial.path("far/off").join(&name),
        )
        .expect("copied");
    }
    let plain = trial.run("evaluate pred far/off --json").exits(0).json();
    assert_eq!(plain["labels"]["3"]["dice"]["mean"], json!(0.0));
    let told = trial.run("evaluate pred far/off --dataset ds --json");
    assert_eq!(told.exits(0).json(), found);
    let said = trial.run("evaluate pred far/off --dataset far").exits(1);
    assert!(
        said.stderr.trim_end().ends_with("far/dataset.json"),
        "{said:?}"
    );
}

#[test]
fn a_volume_turned_and_back_is_the_same() {
    let trial = dataset();
    let json = trial.run("convert ds/labelsTr/a.nii.gz t.nii --labels --orient AIL --json");
    let json = json.exits(0).json();
    assert_eq!(
        (&json["shape"], &json["orientation"]),
        (&json!([1, 1, 4]), &json!("AIL"))
    );
    trial
        .run("convert t.nii back.nii --labels --orient RAS")
        .exits(0);
    let read = |name: &str| io::read_labels(&trial.path(name)).expect("a label map");
    let (before, after) = (read("ds/labelsTr/a.nii.gz"), read("back.nii"));
    assert_eq!(before.data(), after.data());
    assert!(before.grid().matches(after.grid(), 1e-4));
    assert_eq!(Orientation::of(read("t.nii").grid()).to_string(), "AIL");
    let json = trial.run("convert back.nii fine.nii --labels --spacing 0.5,2,3 --json");
    assert_eq!(json.exits(0).json()["shape"], json!([8, 1, 1]));
    assert_eq!(read("fine.nii").data(), [0, 0, 1, 1, 1, 1, 0, 0]);
    let mixed = trial
        .run("convert back.nii mixed.nii --spacing 0.5,2,3")
        .exits(0);
    assert!(mixed.stderr.contains("--labels"), "{mixed:?}");
    // A header that states half the width.
    let json = trial.run("convert back.nii wide.nii --labels --scale 2,1,1 --json");
    assert_eq!(json.exits(0).json()["spacing_mm"][0], json!(2.0));
    assert_eq!(read("wide.nii").data(), before.data());
}

#[test]
fn evaluation_is_exact_and_written_where_asked() {
    let trial = dataset();
    trial.write_labels("pred/a.nii.gz", &[0, 1, 1, 0]);
    trial.write_labels("pred/b.nii.gz", &[0, 1, 0, 0]);
    trial.write_labels("pred/c.nii.gz", &[0, 1, 0, 0]);
    let said = trial
        .run("evaluate pred ds/labelsTr --out m.json --csv m.csv --json")
        .exits(0);
    let json = said.json();
    assert_eq!(json["cases"][1]["labels"]["1"]["dice"], json!(2.0 / 3.0));
    assert_eq!(json["labels"]["1"]["name"], "liver");
    assert_eq!(
        json["labels"]["1"]["dice"]["mean"],
        json!((1.0 + 2.0 / 3.0) / 2.0)
    );
    assert_eq!(json["mean"]["iou"], json!(0.75));
    assert!(
        said.stderr.contains("no truth") && said.stderr.contains('c'),
        "{said:?}"
    );
    let file = fs::read_to_string(trial.path("m.json")).expect("written");
    assert_eq!(serde_json::from_str::<Value>(&file).expect("JSON"), json);
    let csv = fs::read_to_string(trial.path("m.csv")).expect("written");
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let table = trial.run("evaluate pred ds/labelsTr -v").exits(0).stdout;
    assert!(
        table.contains("liver") && table.contains("0.833"),
        "{table}"
    );
    assert!(table.contains("b  liver 0.667"), "{table}");
}

#[test]
fn a_prediction_on_another_grid_is_refused() {
    let trial = dataset();
    trial.write_labels("pred/a.nii.gz", &[0, 1, 1]);
    trial.write_labels("pred/b.nii.gz", &[0, 1, 0, 0]);
    let said = trial.run("evaluate pred ds/labelsTr --out m.json").exits(1);
    assert!(
        said.stderr.contains("[4, 1, 1], found [3, 1, 1]"),
        "{said:?}"
    );
    assert!(!trial.path("m.json").exists());
}

#[test]
fn surfaces_and_another_run_are_measured_where_asked() {
    let trial = dataset();
    for run in ["pred", "old"] {
        trial.write_labels(&format!("{run}/a.nii.gz"), &[0, 1, 1, 0]);
    }
    trial.write_labels("pred/b.nii.gz", &[0, 1, 1, 1]);
    trial.write_labels("old/b.nii.gz", &[0, 1, 0, 0]);
    let json = trial.run("evaluate pred ds/labelsTr --against old --json");
    let json = json.exits(0).json();
    // A surface of two voxels on a line is its two ends.
    let label = |case: usize| json["cases"][case]["labels"]["1"].clone();
    assert_eq!(
        (&label(1)["hd95_mm"], &label(1)["assd_mm"]),
        (&json!(1.0), &json!(0.5))
    );
    assert_eq!(
        (&label(0)["nsd"], &json["mean"]["nsd"]),
        (&json!(1.0), &json!(1.0))
    );
    assert_eq!(json["settings"]["surface"], "elements");
    let against = &json["against"]["labels"]["1"]["dice"];
    assert_eq!((&against["n"], &against["p"]), (&json!(2), &json!(1.0)));
    let said = trial.run("evaluate pred ds/labelsTr --surface voxels --metrics hausdorff,nsd");
    let said = said.exits(0).stdout;
    assert!(
        said.contains("Hausdorff mm") && !said.contains("Dice"),
        "{said}"
    );
}

#[test]
fn masks_and_images_are_measured() {
    let trial = dataset();
    trial.write_labels("study/s1/one/lens.nii.gz", &[1, 1, 0, 0]);
    trial.write_labels("study/s1/two/lens.nii.gz", &[1, 0, 0, 0]);
    let json = trial.run("evaluate --organs study/*/two study/*/one --metrics dice --json");
    assert_eq!(json.exits(0).json()["labels"]["1"]["name"], "lens");
    trial.write_image("fake/a_0000.nii.gz", &[1.0, 2.0, 3.0, 6.0]);
    trial.write_image("real/a_0000.nii.gz", &[1.0, 2.0, 3.0, 4.0]);
    trial.write_labels("mask/a_0000.nii.gz", &[0, 0, 1, 1]);
    let json = trial.run("evaluate --images fake real --mask mask --range 0,10 --json");
    let json = json.exits(0).json();
    assert_eq!(json["mean"]["mae"], json!(1.0));
    let psnr = json["cases"][0]["psnr_db"].as_f64().expect("a number");
    assert!((psnr - 10.0 * 50f64.log10()).abs() < 1e-9, "{psnr}");
}

/// Each repair that check names leaves nothing to find.
#[test]
fn what_check_names_convert_repairs() {
    let trial = dataset();
    let (image, labels) = ("ds/imagesTr/b_0000.nii.gz", "ds/labelsTr/b.nii.gz");
    let repair = |write: &dyn Fn(), field: &str| {
        write();
        let found = errors(&trial);
        assert_eq!(
            (found.len(), &found[0]["field"]),
            (1, &json!(field)),
            "{found:?}"
        );
        let told = found[0]["repair"].as_str().expect("text").to_owned();
        let command = told.strip_prefix("crossmod ").expect("a command");
        // What follows the command is for people.
        let end = command.find([';', '(']).unwrap_or(command.len());
        let end = command[..end].find(", for each").unwrap_or(end);
        let command = command[..end].replace("OLD=NEW", "7=1");
        trial.run(&command).exits(0);
        assert_eq!(
            trial.run("check ds --json").exits(0).json(),
            json!({ "findings": [] })
        );
    };
    repair(
        &|| trial.write_labels(labels, &[0, 7, 7, 1]),
        "label values",
    );
    repair(
        &|| trial.write_image(labels, &[0.0, 0.8, 1.0, 0.1]),
        "label values",
    );
    repair(
        &|| trial.write_image(image, &[0.0, f32::NAN, 1.0, 2.0]),
        "samples",
    );
    repair(&|| trial.write_labels(labels, &[0, 1, 1, 0, 0]), "shape");
}

#[test]
fn folders_of_masks_become_a_dataset() {
    let trial = Trial::new();
    trial.write_image("ts/s1/ct.nii.gz", &[1.0, 2.0, 3.0, 4.0]);
    trial.write_labels("ts/s1/segmentations/liver.nii.gz", &[0, 1, 1, 0]);
    let said = trial.run("check ts").exits(0);
    assert!(said.stdout.contains("crossmod convert"), "{said:?}");
    let json = trial.run("convert ts nn --json").exits(0).json();
    assert_eq!(json["training"], 1);
    let clean = trial.run("check nn --json").exits(0).json();
    assert_eq!(clean, json!({ "findings": [] }));
}

/// Of a series in time one volume is taken; which one has to be said.
#[test]
fn one_volume_of_several_is_converted() {
    let trial = Trial::new();
    trial.write_image("one.nii", &[1.0, 2.0, 3.0, 4.0]);
    let mut bytes = fs::read(trial.path("one.nii")).expect("a file");
    // dim: four axes, the fourth of two volumes.
    bytes[40..42].copy_from_slice(&4i16.to_le_bytes());
    bytes[48..50].copy_from_slice(&2i16.to_le_bytes());
    for value in [5.0f32, 6.0, 7.0, 8.0] {
        bytes.extend(value.to_le_bytes());
    }
    fs::write(trial.path("series.nii"), bytes).expect("written");
    let said = trial.run("convert series.nii out.nii.gz").exits(1);
    assert!(said.stderr.contains("--volume"), "{said:?}");
    trial
        .run("convert series.nii out.nii.gz --volume 1")
        .exits(0);
    let second = io::read_image(&trial.path("out.nii.gz")).expect("an image");
    assert_eq!(second.data(), [5.0, 6.0, 7.0, 8.0]);
    let said = trial
        .run("convert series.nii out.nii.gz --volume 2")
        .exits(1);
    assert!(said.stderr.contains("series.nii"), "{said:?}");
    let said = trial.run("convert one.nii out.mha --volume 1").exits(1);
    assert!(said.stderr.contains("one.nii"), "{said:?}");
}
