//! `crossmod plan`: what it writes, and what it refuses.

use std::fs;

use crate::trial::Trial;

/// Two labelled cases of one slice.
fn dataset() -> Trial {
    let trial = Trial::new();
    let description = r#"{"channel_names": {"0": "CT"}, "numTraining": 2, "name": "livers",
        "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}"#;
    trial.write_text("ds/dataset.json", description);
    for case in ["a", "b"] {
        let image = format!("ds/imagesTr/{case}_0000.nii.gz");
        trial.write_image(&image, &[-1000.0, 40.0, 60.0, 4.0]);
        trial.write_labels(&format!("ds/labelsTr/{case}.nii.gz"), &[0, 1, 1, 0]);
    }
    trial
}

#[test]
fn a_plan_is_written_told_and_never_replaced() {
    let trial = dataset();
    let said = trial.run("plan ds --out planned").exits(0);
    for part in [
        "livers: 2 cases",
        "normalisation of CT: clip",
        "wrote planned/plan.toml",
    ] {
        let part = part.replace('/', std::path::MAIN_SEPARATOR_STR);
        assert!(said.stdout.contains(&part), "{part} in {said:?}");
    }
    let plan = fs::read_to_string(trial.path("planned/plan.toml")).expect("a plan");
    assert!(
        plan.contains("kind = \"2d\"") && plan.contains("liver"),
        "{plan}"
    );
    assert!(trial.path("planned/fingerprint.json").is_file());
    let again = trial.run("plan ds --out planned").exits(2);
    assert!(again.stderr.contains("edited"), "{again:?}");
}

#[test]
fn nnunets_file_is_taken_as_it_was_written() {
    let trial = dataset();
    let made = trial
        .run("plan ds --out a --ram 2GB --json")
        .exits(0)
        .json();
    assert_eq!(made["plan"]["patch"][0], 1);
    let taken = trial.run("plan ds --out b --nnunet a/nnUNetPlans.json --json");
    let taken = taken.exits(0).json();
    for key in ["patch", "batch", "net", "channels", "classes", "spacing_mm"] {
        assert_eq!(taken["plan"][key], made["plan"][key], "{key}");
    }
    assert!(!trial.path("b/nnUNetPlans.json").exists());
}

#[test]
fn what_cannot_be_planned_says_so() {
    let trial = dataset();
    for (arguments, code, part) in [
        ("plan ds --dims 3d", 2, "single slices"),
        ("plan ds --ram 10MB", 2, "--ram"),
        ("plan ds --ram much", 2, "such as 8GB"),
        ("plan nowhere", 1, "nowhere"),
    ] {
        let said = trial.run(arguments).exits(code);
        assert!(said.stderr.contains(part), "{arguments}: {said:?}");
        assert!(!trial.path("plan.toml").exists(), "{arguments}");
    }
    fs::remove_dir_all(trial.path("ds/labelsTr")).expect("removed");
    let said = trial.run("plan ds").exits(1);
    assert!(said.stderr.contains("label maps"), "{said:?}");
}
