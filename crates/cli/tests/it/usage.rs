//! Help, wrong usage and the exit codes.

use crate::trial::Trial;

const VERBS: [&str; 12] = [
    "demo",
    "info",
    "check",
    "plan",
    "convert",
    "train",
    "synth",
    "scan",
    "translate",
    "predict",
    "evaluate",
    "bench",
];

#[test]
fn every_verb_has_help() {
    let trial = Trial::new();
    let all = trial.run("--help").exits(0).stdout;
    for verb in VERBS {
        assert!(all.contains(&format!("  {verb} ")), "{verb} in {all}");
        let help = trial.run(&format!("{verb} --help")).exits(0).stdout;
        for part in [
            format!("Usage: crossmod {verb}"),
            "--json".into(),
            "--threads".into(),
        ] {
            assert!(help.contains(&part), "{part} in {help}");
        }
    }
}

#[test]
fn wrong_usage_exits_with_two_and_names_the_right_word() {
    let trial = Trial::new();
    let cases = [
        ("trian synseg --out run", "'train'"),
        (
            "train synsge --source a --target b --out run",
            "did you mean `synseg`",
        ),
        (
            "train synseg --source a --target b --out run --set lamda=10",
            "`loss.lambda_",
        ),
        (
            "train synseg --source a --target b --out run --set batch",
            "key=value",
        ),
        ("train synseg --source a --out run", "--target DATASET"),
        ("train --out run", "<RECIPE>"),
        ("train synseg --out run --steps 0", "--steps"),
        (
            "train synseg --out run --steps 2 --minutes 2",
            "cannot be used with",
        ),
        ("train synseg --out run --minutes -1", "--minutes"),
        (
            "convert a.nii b.nii --spacing 1,0,1",
            "three numbers above 0",
        ),
        ("convert a.nii b.nii --orient RLS", "such as RAS"),
        ("info a.nii --threads 0", "--threads"),
        ("predict run . .", "another place than IN"),
        ("bench ops --filter tensor", "the rows are: conv2d"),
        ("bench train --peer-script x", "--peer <PYTHON>"),
        ("bench train --steps 1", "--steps"),
        ("bench train --steps 0 --reference", "--reference"),
    ];
    for (arguments, expected) in cases {
        let said = trial.run(arguments).exits(2);
        assert!(said.stderr.contains(expected), "{arguments}: {said:?}");
        let shown = said.stderr.lines().any(|line| line.starts_with("error: "));
        assert!(shown && said.stdout.is_empty(), "{said:?}");
    }
    assert!(!trial.path("run").exists());
}

#[cfg(not(feature = "gpu"))]
#[test]
fn a_device_this_build_does_not_know_names_its_feature() {
    let trial = Trial::new();
    for device in ["gpu", "vulkan", "cuda"] {
        let said = trial.run(&format!("info a.nii --device {device}")).exits(2);
        let feature = format!("--features {device}");
        assert!(said.stderr.contains(&feature), "{said:?}");
    }
}

#[test]
fn failures_exit_with_one_and_are_said_once_in_json_too() {
    let trial = Trial::new();
    let cases = [
        "check nowhere",
        "train source-only --source nowhere --out run",
        "train recipe.toml --out run",
        "train --resume --out run",
        "predict run a.nii b.nii",
        "evaluate a b",
        "convert a.nii b.nii",
    ];
    for arguments in cases {
        let said = trial.run(&format!("{arguments} --json")).exits(1);
        let message = said.json()["error"]
            .as_str()
            .map(str::to_owned)
            .expect("a message");
        let last = said.stderr.lines().last();
        assert_eq!(last, Some(&*format!("error: {message}")));
    }
    assert!(!trial.path("run").exists());
    let said = trial
        .run("train synseg --out run --set lamda=1 --json")
        .exits(2);
    assert!(
        said.json()["error"]
            .as_str()
            .is_some_and(|m| m.contains("lamda")),
        "{said:?}"
    );
    let said = trial.run("trian --json").exits(2);
    assert!(
        said.json()["error"]
            .as_str()
            .is_some_and(|m| m.contains("trian")),
        "{said:?}"
    );
}

/// `crossmod … | head` ends without a panic.
#[cfg(unix)]
#[test]
fn a_reader_that_leaves_is_no_error() {
    let trial = Trial::new();
    trial.write_labels("a.nii", &[0, 1]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = trial
        .command("info a.nii")
        .stdout(writer)
        .output()
        .expect("starts");
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

/// A full disk is named, and with it the file.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let trial = Trial::new();
    trial.write_labels("a.nii", &[0, 1]);
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("a device")
    };
    let output = trial
        .command("info a.nii")
        .stdout(full())
        .output()
        .expect("starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
}
