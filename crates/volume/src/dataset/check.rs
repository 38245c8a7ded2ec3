//! What is wrong with a dataset, found before hours of training find it.
//!
//! Every finding names the file, the field, what was found, what was expected, what it means and a
//! repair, which begins with the command that makes it where there is one. Errors
//! stop training or spoil it; warnings may be meant; notes are for information. Cases are read in
//! parallel; the order of findings is that of the dataset: its description, stray files, patients
//! on both sides, same images, images without a place, then case by case.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Serialize, Serializer};

use super::cases::{result_ending, stem_and_ending};
use super::check_case::{Checked, check_case};
use super::content::Content;
use super::{Case, Dataset};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The data cannot be used as it is.
    Error,
    /// Probably not meant.
    Warning,
    /// For information.
    Note,
}

/// One thing found in a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The case, where it concerns one.
    pub case: Option<String>,
    /// The file or folder.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// The part of the file it is about, such as `affine` or `label values`.
    pub field: String,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// What comes of it.
    pub means: &'static str,
    /// What to do: the command that repairs it, where there is one.
    pub repair: String,
}

/// Paths that are not UTF-8 are still reported.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl Finding {
    pub(super) fn new(
        severity: Severity,
        file: &Path,
        field: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
        repair: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            case: None,
            file: file.to_owned(),
            field: field.to_owned(),
            found: found.into(),
            expected: expected.into(),
            means: means(field),
            repair: repair.into(),
        }
    }

    pub(super) fn of(mut self, case: &Case) -> Self {
        self.case = Some(case.id.clone());
        self
    }
}

/// What comes of a field that is not as it should be.
fn means(field: &str) -> &'static str {
    match field {
        "affine" => "voxels of the files are paired that show different places of the patient",
        "channel" => "the case cannot be read: nets take all channels at once",
        "content" => "what is trained on is measured on too, so that results come out too good",
        "file" => "the case cannot be used",
        "file name" => "the file is left out",
        "files" => "the cases count as unlabelled",
        "image" => "the label map is left out",
        "label map" => "the case is left out of supervised training",
        "label values" => "what is learnt and measured is not what the dataset describes",
        "labels" => "results are told by number, or structures are mistaken for each other",
        "masks" => "a voxel of a label map has one label: some of a mask is lost",
        "numTraining" => "cases may be missing, or ones that do not belong may have got in",
        "place" => "axes are taken to run as the format's world does: left may be taken for right",
        "patient" => "results on patients who were trained on come out too good",
        "samples" => "losses and statistics become undefined, or nothing can be learnt",
        "shape" => "voxels of the files cannot be paired",
        _ => "what reads the dataset may misread it",
    }
}

/// A command that rewrites a file in place, or beside it where its format is only read.
pub(super) fn convert(file: &Path, arguments: &str) -> String {
    let beside = stem_and_ending(file).and_then(|(stem, ending)| {
        let to = result_ending(ending);
        (to != ending).then(|| file.with_file_name(format!("{stem}{to}")))
    });
    let from = quoted(file);
    match beside {
        None => format!("crossmod convert {from} {from} {arguments}"),
        Some(to) => format!(
            "crossmod convert {from} {} {arguments}; then remove {from}",
            quoted(&to)
        ),
    }
}

/// A path as shells take it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=@%:,".contains(c);
    if text.chars().all(plain) && !text.is_empty() {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Everything found in a dataset; opens each of its images and label maps.
#[must_use]
pub fn check(dataset: &Dataset) -> Vec<Finding> {
    let mut findings = description(dataset);
    findings.extend(strays(dataset));
    findings.extend(straddling_patients(dataset));
    // Where no case of a side has a label map the side is unlabelled, not incomplete.
    let sides = [&dataset.training, &dataset.test];
    let cases: Vec<(&Case, bool)> = sides
        .into_iter()
        .flat_map(|side| {
            let has = |case: &Case| case.label.is_some() || !dataset.masks(case).is_empty();
            let labelled = side.iter().any(has);
            side.iter().map(move |case| (case, labelled))
        })
        .collect();
    let checked: Vec<Checked> = cases
        .par_iter()
        .map(|(case, labelled)| check_case(dataset, case, *labelled))
        .collect();
    let contents = checked.iter().map(|case| case.content);
    findings.extend(same_images(dataset, &contents.collect::<Vec<_>>()));
    findings.extend(unplaced(&checked));
    findings.extend(checked.into_iter().flat_map(|case| case.findings));
    findings
}

/// Images that do not say where they lie.
fn unplaced(checked: &[Checked]) -> Option<Finding> {
    let mut files = checked.iter().filter_map(|case| case.unplaced.as_deref());
    let first = files.next()?;
    Some(Finding::new(
        Severity::Warning,
        first,
        "place",
        format!(
            "no place in the patient, here and in {} more of {} cases",
            files.count(),
            checked.len()
        ),
        "an sform or qform (NIfTI), or a space (NRRD)",
        "convert the original again; or, where another file of the case has the place, crossmod \
         convert FILE FILE --header OTHER",
    ))
}

/// Images that are the same under different names, by the contents of training and test cases in
/// order.
fn same_images(dataset: &Dataset, contents: &[Option<Content>]) -> Vec<Finding> {
    let mut first: BTreeMap<Content, (usize, &Case)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (i, (case, content)) in dataset.cases().zip(contents).enumerate() {
        let Some(content) = content else { continue };
        let Some((j, other)) = first.get(content) else {
            first.insert(*content, (i, case));
            continue;
        };
        let training = dataset.training.len();
        let across = *j < training && i >= training;
        let apart = case.subject != other.subject;
        let (severity, expected) = match (across, apart) {
            (true, _) => (Severity::Error, "test images that are not trained on"),
            (false, true) => (Severity::Warning, "one name for each patient"),
            (false, false) => (Severity::Note, "each image once"),
        };
        let file = case.images.first().unwrap_or(&dataset.root);
        let found = format!("the same image as {}", other.id);
        let repair = "remove one of the cases";
        findings.push(Finding::new(severity, file, "content", found, expected, repair).of(case));
    }
    findings
}

fn description(dataset: &Dataset) -> Vec<Finding> {
    let file = dataset.root.join("dataset.json");
    let mut findings = Vec::new();
    let present = dataset.training.len() as u64;
    // nnU-Net counts cases to learn from: a dataset without label maps may say 0.
    let labelled = dataset.labelled().len() as u64;
    let right = |n: u64| n == present || n == labelled;
    if let Some(declared) = dataset.num_training.filter(|&n| !right(n)) {
        findings.push(Finding::new(
            Severity::Warning,
            &file,
            "numTraining",
            format!("{declared}, with {present} training cases in the folder"),
            format!("{present}"),
            "correct numTraining, or add the missing cases",
        ));
    }
    if !dataset.masks.is_empty() {
        let (from, to) = (
            quoted(&dataset.root),
            quoted(&dataset.root.with_extension("nnunet")),
        );
        findings.push(Finding::new(
            Severity::Note,
            &dataset.root,
            "layout",
            "a mask for each structure",
            "a label map for each case, which training reads",
            format!("crossmod convert {from} {to}"),
        ));
    }
    if !dataset.labels_declared && dataset.cases().any(|case| case.label.is_some()) {
        findings.push(Finding::new(
            Severity::Note,
            &file,
            "labels",
            "no names for the labels",
            "a name for each label value",
            "write dataset.json with labels such as {\"background\": 0, \"liver\": 1}",
        ));
    }
    let folders = [("labelsTr", &dataset.training), ("labelsTs", &dataset.test)];
    for (name, cases) in folders.into_iter().chain([("labels", &dataset.training)]) {
        let folder = dataset.root.join(name);
        if folder.is_dir() && cases.iter().all(|case| case.label.is_none()) {
            findings.push(Finding::new(
                Severity::Warning,
                &folder,
                "files",
                "no label map of any case",
                "one label map per case, named as the case",
                "add the label maps, or remove the folder where the data is unlabelled",
            ));
        }
    }
    findings
}

fn strays(dataset: &Dataset) -> Vec<Finding> {
    let images = dataset.strays.images.iter().map(|path| {
        Finding::new(
            Severity::Warning,
            path,
            "file name",
            "an image that belongs to no case",
            format!(
                "file_ending and one name per case and channel, {} channel(s) from _0000",
                dataset.channels.len()
            ),
            "rename the file, or remove it",
        )
    });
    let labels = dataset.strays.labels.iter().map(|path| {
        Finding::new(
            Severity::Warning,
            path,
            "image",
            "a label map without an image",
            "an image of the same case",
            "add the image, rename the label map, or remove it",
        )
    });
    images.chain(labels).collect()
}

fn straddling_patients(dataset: &Dataset) -> Vec<Finding> {
    let mut training: BTreeMap<&str, &Case> = BTreeMap::new();
    for case in &dataset.training {
        training.entry(&case.subject).or_insert(case);
    }
    let mut seen = BTreeSet::new();
    let twice = dataset
        .test
        .iter()
        .filter_map(|case| Some((case, training.get(&*case.subject)?)));
    twice
        .filter(|(case, _)| seen.insert(&case.subject))
        .map(|(case, other)| {
            let file = case.images.first().unwrap_or(&dataset.root);
            Finding::new(
                Severity::Warning,
                file,
                "patient",
                format!(
                    "patient {} is also in training, as {}",
                    case.subject, other.id
                ),
                "test patients who are not trained on",
                "move all cases of the patient to one side, or rename them if they are others'",
            )
            .of(case)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::trial::Trial;
    use crate::io::{self, Storage};

    const TWO_LABELS: &str = r#"{"channel_names": {"0": "CT"}, "file_ending": ".nii.gz",
        "labels": {"background": 0, "liver": 1}, "numTraining": 2}"#;

    /// (severity, case, file, field) of each finding.
    fn heads(trial: &Trial) -> Vec<(Severity, String, String, String)> {
        let findings = check(&trial.open());
        let head = |f: Finding| {
            let file = f
                .file
                .strip_prefix(trial.root())
                .expect("inside the folder");
            (
                f.severity,
                f.case.unwrap_or_default(),
                file.display().to_string(),
                f.field,
            )
        };
        findings.into_iter().map(head).collect()
    }

    fn head(
        severity: Severity,
        case: &str,
        file: &str,
        field: &str,
    ) -> (Severity, String, String, String) {
        (severity, case.into(), file.into(), field.into())
    }

    #[test]
    fn a_clean_dataset_has_no_findings() {
        let trial = Trial::described(TWO_LABELS);
        for case in ["a", "b"] {
            let last = f32::from(case.as_bytes()[0]);
            trial.image(&format!("imagesTr/{case}_0000.nii.gz"), &[0.0, 1.0, last]);
            trial.labels(&format!("labelsTr/{case}.nii.gz"), &[0, 1, 1]);
        }
        trial.image("imagesTs/c_0000.nii.gz", &[0.0, 1.0, 2.0]);
        assert_eq!(heads(&trial), []);
    }

    #[test]
    fn the_same_image_under_another_name_is_found() {
        use Severity::{Error, Warning};
        let trial = Trial::described(TWO_LABELS);
        let both: &[f32] = &[0.0, 1.0, 7.0];
        trial.image("imagesTr/a1_0000.nii.gz", both);
        trial.image("imagesTr/b2_0000.nii.gz", both);
        trial.image_at("imagesTs/c3_0000.nii.gz", both, 40.0);
        let found = heads(&trial);
        assert_eq!(
            found[0],
            head(Warning, "b2", "imagesTr/b2_0000.nii.gz", "content")
        );
        assert_eq!(
            found[1],
            head(Error, "c3", "imagesTs/c3_0000.nii.gz", "content")
        );
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn commands_quote_what_shells_would_split() {
        assert_eq!(quoted(Path::new("a/b_0.nii.gz")), "a/b_0.nii.gz");
        assert_eq!(
            convert(Path::new("a.mgz"), "--finite 0"),
            "crossmod convert a.mgz a.nii.gz --finite 0; then remove a.mgz"
        );
        assert_eq!(quoted(Path::new("a b/it's.nii")), "'a b/it'\\''s.nii'");
    }

    #[test]
    fn masks_are_checked_and_said_to_need_converting() {
        let trial = Trial::new();
        trial.image("s1/ct.nii.gz", &[0.0, 1.0, 2.0]);
        trial.labels("s1/segmentations/spleen.nii.gz", &[0, 1, 1]);
        trial.labels("s1/segmentations/aorta.nii.gz", &[1, 1, 0]);
        trial.labels("s1/segmentations/liver.nii.gz", &[1, 0]);
        let found = heads(&trial);
        let fields: Vec<&str> = found.iter().map(|f| &*f.3).collect();
        assert_eq!(fields, ["layout", "shape"], "{found:?}");
        trial.labels("s1/segmentations/liver.nii.gz", &[0, 0, 0]);
        let found = check(&trial.open());
        assert_eq!(
            (&*found[1].field, &*found[1].found),
            ("masks", "1 voxels in several masks")
        );
    }

    #[test]
    fn descriptions_strays_and_straddling_patients_are_found() {
        let trial = Trial::described(TWO_LABELS);
        trial.image("imagesTr/ct_p1_0000.nii.gz", &[0.0, 2.0]);
        trial.image("imagesTr/ct_p1_0001.nii.gz", &[0.0, 1.0]);
        trial.touch("imagesTr/ct_p9.png");
        trial.labels("labelsTr/ct_p1.nii.gz", &[0, 1]);
        trial.labels("labelsTr/ct_p2.nii.gz", &[0, 1]);
        trial.image("imagesTs/ct_p1_0000.nii.gz", &[0.0, 1.0]);
        trial.image("imagesTs/ct_p3_0000.nii.gz", &[0.0, 3.0]);
        trial.touch("labelsTs/readme.txt");
        use Severity::Warning;
        assert_eq!(
            heads(&trial),
            [
                head(Warning, "", "dataset.json", "numTraining"),
                head(Warning, "", "labelsTs", "files"),
                head(Warning, "", "imagesTr/ct_p9.png", "file name"),
                head(Warning, "", "imagesTr/ct_p1_0001.nii.gz", "file name"),
                head(Warning, "", "labelsTr/ct_p2.nii.gz", "image"),
                head(Warning, "ct_p1", "imagesTs/ct_p1_0000.nii.gz", "patient"),
            ]
        );
    }

    #[test]
    fn unnamed_labels_are_noted() {
        let trial = Trial::new();
        trial.image("images/a.nii", &[0.0, 1.0]);
        trial.labels("labels/a.nii", &[0, 5]);
        assert_eq!(
            heads(&trial),
            [head(Severity::Note, "", "dataset.json", "labels")]
        );
    }

    #[test]
    fn findings_serialise_as_the_program_promises() {
        let trial = Trial::described(TWO_LABELS);
        trial.image("imagesTr/a_0000.nii.gz", &[0.0, 1.0]);
        let json = serde_json::to_value(check(&trial.open())).expect("plain values");
        let first = &json[0];
        assert_eq!(first["severity"], "warning");
        assert_eq!(first["case"], serde_json::Value::Null);
        assert_eq!(
            first["file"],
            trial.root().join("dataset.json").display().to_string()
        );
        assert_eq!(first["field"], "numTraining");
        assert_eq!(first["expected"], "1");
        assert!(
            first["found"]
                .as_str()
                .is_some_and(|s| s.starts_with("2, with 1"))
        );
        assert!(first["repair"].is_string() && first["means"].is_string());
    }

    #[test]
    fn the_order_does_not_depend_on_threads() {
        let trial = Trial::described(TWO_LABELS);
        for i in 0..12u8 {
            let sample = f32::from(i);
            trial.image(&format!("imagesTr/c{i}_0000.nii.gz"), &[sample, sample]);
        }
        let dataset = trial.open();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a thread pool").install(|| check(&dataset))
        };
        assert_eq!(on(1), on(4));
        assert_eq!(on(1).len(), 13);
    }

    #[test]
    fn images_that_do_not_say_where_they_lie_are_told_of_once() {
        let trial = Trial::new();
        for (case, code) in [("a", 0), ("b", 1), ("c", 0)] {
            let path = trial.root().join(format!("images/{case}.nii"));
            trial.image(&format!("images/{case}.nii"), &[0.0, 1.0, 2.0]);
            let (image, storage) = io::read_image_stored(&path).expect("an image");
            let storage = Storage {
                qform_code: code,
                sform_code: code,
                ..storage
            };
            io::write_image(&path, &image, &storage).expect("a writable folder");
        }
        let findings = check(&trial.open());
        let found: Vec<&Finding> = findings.iter().filter(|f| f.field == "place").collect();
        assert_eq!(found.len(), 1, "{findings:#?}");
        assert!(found[0].file.ends_with("images/a.nii"));
        assert!(found[0].found.contains("1 more of 3"), "{}", found[0].found);
    }
}
