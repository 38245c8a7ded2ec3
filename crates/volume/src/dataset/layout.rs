//! Recognising a dataset folder and listing its cases.

use std::collections::BTreeMap;
use std::path::Path;

use super::cases::{Channels, ENDINGS, Listing, Paired, channels, pair};
use super::description::Description;
use super::labels::LabelTable;
use super::{Case, Dataset, Strays, organs, subjects};
use crate::{Error, Result};

/// Folders of images and label maps, training then test, of the two layouts.
const NNUNET: [[&str; 2]; 2] = [["imagesTr", "labelsTr"], ["imagesTs", "labelsTs"]];
const PLAIN: [[&str; 2]; 1] = [["images", "labels"]];

impl Dataset {
    /// Opens a dataset folder: lists its files and reads `dataset.json`. The layouts are those of
    /// [the module](super); cases are ordered by id. With `file_ending` in `dataset.json` other
    /// files are left aside, else every image file counts.
    ///
    /// # Errors
    /// [`Error::Dataset`] where the folder is missing, is of neither layout, holds no image, or
    /// has a `dataset.json` that cannot be used; [`Error::Io`] where it cannot be read.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            let found = if root.exists() { "a file" } else { "nothing" };
            return Err(Error::dataset(
                format!("expected a dataset folder, found {found}; check the path"),
                root,
            ));
        }
        let description = root.join("dataset.json");
        let described = description.is_file();
        let has = |folder: &str| root.join(folder).is_dir();
        let nnunet = has("imagesTr") || has("imagesTs");
        let folders: &[[&str; 2]] = match (nnunet, described, has("images")) {
            (true, true, _) => &NNUNET,
            (false, _, true) => &PLAIN,
            (true, false, _) => {
                return Err(Error::dataset(
                    "expected dataset.json beside imagesTr, found none; write one with \
                     channel_names, labels and file_ending, or name the folders images and labels",
                    root,
                ));
            }
            (false, ..) => {
                let named = if described {
                    Some(Description::read(&description)?)
                } else {
                    None
                };
                return Self::of_organs(root, named.unwrap_or_default());
            }
        };
        let description = if described {
            Description::read(&description)?
        } else {
            Description::default()
        };
        Self::list(root, folders, description)
    }

    /// A dataset of a folder for each case.
    fn of_organs(root: &Path, description: Description) -> Result<Self> {
        let organs = organs::list(root, description.labels)?.ok_or_else(|| neither_layout(root))?;
        Ok(Self {
            root: root.to_owned(),
            name: description.name.unwrap_or_else(|| folder_name(root)),
            channels: description.channels.unwrap_or_else(|| vec![organs.channel]),
            labels: organs.table.names,
            // The names of the masks are names of labels too.
            labels_declared: true,
            ignore: organs.table.ignore,
            regions: organs.table.regions,
            training: organs.training,
            test: organs.test,
            num_training: description.num_training,
            masks: organs.masks,
            strays: Strays::default(),
        })
    }

    fn list(root: &Path, folders: &[[&str; 2]], description: Description) -> Result<Self> {
        let ending = description
            .file_ending
            .as_deref()
            .map(str::to_ascii_lowercase);
        if let Some(ending) = ending.as_deref().filter(|e| !ENDINGS.contains(e)) {
            return Err(Error::dataset(
                format!(
                    "expected file_ending to be one of {}, found \"{ending}\"; convert the images",
                    ENDINGS.join(", ")
                ),
                &root.join("dataset.json"),
            ));
        }
        let mut convention: Option<Channels> = None;
        let mut strays = Strays::default();
        let mut sides: [Vec<Case>; 2] = Default::default();
        for (side, [images, labels]) in sides.iter_mut().zip(folders) {
            let folder = root.join(images);
            let listed = Listing::of(&folder, ending.as_deref())?.unwrap_or_default();
            // In the plain layout, label maps may have another ending than images.
            let labels = Listing::of(&root.join(labels), ending.as_deref())?;
            // Test images are named as the training images are, where there are any.
            let declared = description.channels.as_ref().map(Vec::len);
            let found = convention.unwrap_or_else(|| channels(&listed, labels.as_ref(), declared));
            if !listed.files.is_empty() {
                convention = Some(found);
            }
            let Paired {
                cases,
                stray_images,
                stray_labels,
            } = pair(&folder, &listed, labels.as_ref(), found);
            *side = cases;
            strays.images.extend(stray_images);
            strays.labels.extend(stray_labels);
        }
        if sides.iter().all(Vec::is_empty) {
            return Err(no_image(root, folders, ending.as_deref(), &strays));
        }
        let [mut training, mut test] = sides;
        name_subjects(&mut training, &mut test);
        let count = convention.map_or(1, |c| c.count);
        let labels_declared = description.labels.is_some();
        let table = description.labels.unwrap_or_else(|| LabelTable {
            names: BTreeMap::from([(0, "background".to_owned())]),
            ..LabelTable::default()
        });
        let mut all: Vec<&mut Case> = training.iter_mut().chain(&mut test).collect();
        table
            .mark(&description.labelled, &mut all)
            .map_err(|message| Error::dataset(message, &root.join("dataset.json")))?;
        Ok(Self {
            root: root.to_owned(),
            name: description.name.unwrap_or_else(|| folder_name(root)),
            channels: description.channels.unwrap_or_else(|| unnamed(count)),
            labels: table.names,
            labels_declared,
            ignore: table.ignore,
            regions: table.regions,
            training,
            test,
            num_training: description.num_training,
            masks: BTreeMap::new(),
            strays,
        })
    }
}

fn unnamed(count: usize) -> Vec<String> {
    match count {
        1 => vec!["image".to_owned()],
        _ => (0..count).map(|i| format!("image {i}")).collect(),
    }
}

fn folder_name(root: &Path) -> String {
    let absolute = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    absolute
        .file_name()
        .map_or_else(|| "dataset".into(), |n| n.to_string_lossy().into_owned())
}

fn name_subjects(training: &mut [Case], test: &mut [Case]) {
    let png = |path: &Path| {
        path.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("png"))
    };
    let slices = training
        .iter()
        .chain(&*test)
        .flat_map(|case| &case.images)
        .all(|path| png(path));
    let ids: Vec<&str> = training
        .iter()
        .chain(&*test)
        .map(|case| &*case.id)
        .collect();
    let names = subjects(&ids, slices);
    for (case, name) in training.iter_mut().chain(test).zip(names) {
        case.subject = name;
    }
}

/// What the folder holds instead, and where a dataset may be.
fn neither_layout(root: &Path) -> Error {
    let mut names: Vec<String> = std::fs::read_dir(root)
        .map(|entries| {
            entries
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into())
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    let inner = names.iter().find(|name| {
        let inner = root.join(name);
        inner.join("dataset.json").is_file() || inner.join("images").is_dir()
    });
    let advice = match inner {
        Some(name) => format!("did you mean its folder {name}?"),
        None => "arrange the files in one of these ways".to_owned(),
    };
    let found = match names.len() {
        0 => "an empty folder".to_owned(),
        1..=5 => names.join(", "),
        n => format!("{} and {} more", names[..5].join(", "), n - 5),
    };
    Error::dataset(
        format!(
            "expected dataset.json with imagesTr (nnU-Net), images and labels, or a folder for each \
             case with an image and segmentations (TotalSegmentator), found {found}; {advice}"
        ),
        root,
    )
}

fn no_image(root: &Path, folders: &[[&str; 2]], ending: Option<&str>, strays: &Strays) -> Error {
    let folders: Vec<&str> = folders.iter().map(|f| f[0]).collect();
    let found = match strays.images.first() {
        Some(path) => format!("files such as {}", path.display()),
        None => "none".to_owned(),
    };
    Error::dataset(
        format!(
            "expected images ending in {} in {}, found {found}; check the folder and file_ending \
             in dataset.json",
            ending.map_or_else(|| ENDINGS.join(", "), str::to_owned),
            folders.join(" or "),
        ),
        root,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::trial::Trial;

    fn error(trial: &Trial) -> String {
        Dataset::open(trial.root())
            .expect_err("not a dataset")
            .to_string()
    }

    #[test]
    fn an_nnunet_folder_opens_in_order() {
        let trial = Trial::described(
            r#"{"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "heart": 4},
                "numTraining": 2, "file_ending": ".nii.gz", "name": "hearts"}"#,
        );
        for file in [
            "imagesTr/m_b_0000",
            "imagesTr/m_b_0001",
            "imagesTr/m_a_0000",
            "imagesTr/m_a_0001",
            "labelsTr/m_a",
            "imagesTs/m_c_0000",
            "imagesTs/m_c_0001",
        ] {
            trial.touch(&format!("{file}.nii.gz"));
        }
        trial.touch("imagesTr/._m_a_0000.nii.gz");
        let dataset = trial.open();
        assert_eq!(dataset.name, "hearts");
        assert_eq!(dataset.channels, ["T1", "T2"]);
        assert_eq!(dataset.labels[&4], "heart");
        assert!(dataset.labels_declared);
        assert_eq!(dataset.num_training, Some(2));
        let ids: Vec<_> = dataset.cases().map(|c| (&*c.id, &*c.subject)).collect();
        assert_eq!(ids, [("m_a", "a"), ("m_b", "b"), ("m_c", "c")]);
        assert_eq!(
            dataset.training[0].images[1],
            trial.root().join("imagesTr/m_a_0001.nii.gz")
        );
        assert_eq!(dataset.labelled().len(), 1);
    }

    #[test]
    fn regions_ignored_values_and_partial_labels_are_taken_over() {
        let json = |case: &str| {
            format!(
                r#"{{"channel_names": {{"0": "T1"}}, "labels": {{"background": 0, "whole": [1, 2],
                    "core": [2], "ignore": 3}}, "regions_class_order": [1, 2],
                    "labelled": {{"{case}": ["core"]}}}}"#
            )
        };
        let trial = Trial::described(&json("b"));
        for case in ["a", "b"] {
            trial.touch(&format!("imagesTr/{case}_0000.nii"));
        }
        let dataset = trial.open();
        assert_eq!(dataset.ignore, Some(3));
        let regions: Vec<_> = dataset
            .regions
            .iter()
            .map(|r| (&*r.name, r.value))
            .collect();
        assert_eq!(regions, [("whole", 1), ("core", 2)]);
        let drawn: Vec<_> = dataset
            .training
            .iter()
            .map(|c| c.labelled.clone())
            .collect();
        assert_eq!(drawn, [None, Some(vec![2])]);
        assert!(dataset.is_partly_labelled());

        let trial = Trial::described(&json("c"));
        trial.touch("imagesTr/a_0000.nii");
        let message = error(&trial);
        assert!(
            message.contains("found \"c\", which has no image"),
            "{message}"
        );
        assert!(message.ends_with("dataset.json"), "{message}");
    }

    #[test]
    fn the_decathlon_layout_has_no_channel_numbers() {
        let trial = Trial::described(
            r#"{"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "anterior"}}"#,
        );
        for file in [
            "imagesTr/h_0001",
            "imagesTr/h_0000",
            "labelsTr/h_0001",
            "labelsTr/h_0000",
            "imagesTs/h_0000",
        ] {
            trial.touch(&format!("{file}.nii"));
        }
        let dataset = trial.open();
        let ids: Vec<_> = dataset.cases().map(|c| &*c.id).collect();
        assert_eq!(ids, ["h_0000", "h_0001", "h_0000"]);
        assert_eq!(dataset.labels[&1], "anterior");
    }

    #[test]
    fn a_plain_folder_needs_no_description() {
        let trial = Trial::new();
        for file in [
            "images/ct_16003.png",
            "images/ct_2004.png",
            "labels/ct_16003.png",
        ] {
            trial.touch(file);
        }
        let dataset = trial.open();
        assert_eq!(dataset.channels, ["image"]);
        assert!(dataset.is_slices() && !dataset.labels_declared);
        assert_eq!(dataset.name, folder_name(trial.root()));
        let subjects: Vec<_> = dataset.training.iter().map(|c| &*c.subject).collect();
        assert_eq!(subjects, ["16", "2"]);
        assert_eq!(dataset.labelled().len(), 1);
    }

    #[test]
    fn what_is_not_a_dataset_is_told() {
        let missing = Dataset::open(Path::new("no/such/folder"))
            .expect_err("missing")
            .to_string();
        assert!(missing.contains("found nothing") && missing.ends_with("no/such/folder"));

        let trial = Trial::new();
        assert!(error(&trial).contains("found an empty folder"));
        trial.touch("study/images/a.png");
        assert!(error(&trial).contains("did you mean its folder study?"));
        trial.touch("imagesTr/a_0000.nii.gz");
        assert!(error(&trial).contains("expected dataset.json beside imagesTr"));

        let trial = Trial::described(r#"{"file_ending": ".png"}"#);
        assert!(error(&trial).contains("found dataset.json"));
        trial.touch("imagesTr/a_0000.nii.gz");
        let message = error(&trial);
        assert!(
            message.contains("ending in .png in imagesTr or imagesTs"),
            "{message}"
        );
        assert!(message.contains("a_0000.nii.gz"), "{message}");

        let trial = Trial::described(r#"{"file_ending": ".jpg"}"#);
        trial.touch("imagesTr/a_0000.jpg");
        assert!(error(&trial).contains("found \".jpg\""));
    }
}
