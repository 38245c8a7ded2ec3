//! What is wrong with one case: its images, its label map and how they lie to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::cases::stem_and_ending;
use super::check::{convert, quoted};
use super::content::Content;
use super::{Case, Dataset, Finding, Severity, merge_masks};
use crate::{Grid, Image, Labels, io};

/// Corners of two grids that differ by more than this part of the smallest spacing are reported;
/// rounding in headers of 32-bit floats stays far below it.
const TOLERANCE_VOX: f64 = 0.01;
/// Beyond this part of the smallest spacing voxels are paired with the wrong neighbours.
const WRONG_VOX: f64 = 0.5;

/// Everything found in one case.
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// What its first image shows.
    pub(super) content: Option<Content>,
    /// The first image that does not say where it lies.
    pub(super) unplaced: Option<PathBuf>,
}

/// `labelled` where the case's side of the dataset has label maps.
pub(super) fn check_case(dataset: &Dataset, case: &Case, labelled: bool) -> Checked {
    let mut findings = Vec::new();
    let mut reference: Option<(&Path, Grid)> = None;
    let (mut content, mut unplaced) = (None, None);
    for (channel, path) in case.images.iter().enumerate() {
        let (image, storage) = match io::read_image_stored(path) {
            Ok(read) => read,
            Err(_) if !path.exists() => {
                findings.push(missing_channel(dataset, channel, path));
                continue;
            }
            Err(error) => {
                findings.push(unreadable(path, &error));
                continue;
            }
        };
        findings.extend(samples(path, &image));
        // A picture cannot say it.
        let picture = matches!(stem_and_ending(path), Some((_, ".png")));
        if !storage.is_placed() && !picture {
            unplaced.get_or_insert_with(|| path.clone());
        }
        match &reference {
            None => {
                content = Content::of(&image);
                reference = Some((path, image.into_parts().0));
            }
            Some((first, grid)) => {
                findings.extend(geometry(path, image.grid(), first, grid, ""));
            }
        }
    }
    let masks = dataset.masks(case);
    match &case.label {
        Some(path) => match io::read_labels(path) {
            Ok(labels) => {
                if let Some((image, grid)) = &reference {
                    findings.extend(geometry(path, labels.grid(), image, grid, "--labels "));
                }
                findings.extend(values(dataset, case, path, &labels));
            }
            Err(error) => {
                findings.push(not_whole(path).unwrap_or_else(|| unreadable(path, &error)));
            }
        },
        None if !masks.is_empty() => findings.extend(of_masks(masks, reference.as_ref())),
        None if labelled => findings.push(Finding::new(
            Severity::Error,
            case.images.first().map_or(&*dataset.root, |path| path),
            "label map",
            "no label map for this image, while others have one",
            "a label map named as the case in the labels folder",
            "add the label map, or keep unlabelled images in a dataset of their own",
        )),
        None => {}
    }
    let findings = findings.into_iter().map(|finding| finding.of(case));
    Checked {
        findings: findings.collect(),
        content,
        unplaced,
    }
}

/// What is wrong with the masks of a case, whose image lies on the given grid.
fn of_masks(masks: &[(u16, PathBuf)], image: Option<&(&Path, Grid)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, path) in masks {
        match (io::read_grid(path), image) {
            (Ok((grid, _)), Some((image, reference))) => {
                findings.extend(geometry(path, &grid, image, reference, "--labels "));
            }
            (Ok(_), None) => {}
            (Err(error), _) => findings.push(unreadable(path, &error)),
        }
    }
    if !findings.is_empty() {
        return findings;
    }
    let folder = masks
        .first()
        .and_then(|(_, path)| path.parent())
        .unwrap_or(Path::new(""));
    match merge_masks(masks) {
        Ok((_, 0)) => {}
        Ok((_, voxels)) => findings.push(Finding::new(
            Severity::Note,
            folder,
            "masks",
            format!("{voxels} voxels in several masks"),
            "each voxel in one mask at most",
            "none where structures lie in each other: of those the later by name is kept",
        )),
        Err(error) => findings.push(unreadable(folder, &error)),
    }
    findings
}

fn missing_channel(dataset: &Dataset, channel: usize, path: &Path) -> Finding {
    let name = dataset.channels.get(channel).map_or("unnamed", |name| name);
    Finding::new(
        Severity::Error,
        path,
        "channel",
        format!("no file for channel {channel} ({name})"),
        format!("{} channel(s) per case", dataset.channels.len()),
        "add the file, remove the case, or correct channel_names in dataset.json",
    )
}

fn unreadable(path: &Path, error: &crate::Error) -> Finding {
    Finding::new(
        Severity::Error,
        path,
        "file",
        error.to_string(),
        "a file that can be read",
        "copy or export the file again, or remove the case",
    )
}

fn samples(path: &Path, image: &Image) -> Option<Finding> {
    let wild = image.data().iter().filter(|v| !v.is_finite()).count();
    if wild > 0 {
        return Some(Finding::new(
            Severity::Error,
            path,
            "samples",
            format!(
                "{wild} samples that are not finite, of {}",
                image.data().len()
            ),
            "finite samples",
            convert(path, "--finite 0 (or the value of air)"),
        ));
    }
    let first = *image.data().first()?;
    image.data().iter().all(|&v| v == first).then(|| {
        Finding::new(
            Severity::Warning,
            path,
            "samples",
            format!("{first} everywhere"),
            "an image with contrast",
            "export the image again, or remove the case",
        )
    })
}

/// Compares the grid of `path` with that of the case's first image; `kind` is what `convert` has to be
/// told of the file.
fn geometry(
    path: &Path,
    grid: &Grid,
    image: &Path,
    reference: &Grid,
    kind: &str,
) -> Option<Finding> {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let by = |way: &str| convert(path, &format!("{kind}--{way} {}", quoted(image)));
    if grid.shape() != reference.shape() {
        return Some(Finding::new(
            Severity::Error,
            path,
            "shape",
            format!("{:?}", grid.shape()),
            format!("{:?}, as in {name}", reference.shape()),
            format!(
                "{}; right where both show one study, else export them again",
                by("like")
            ),
        ));
    }
    let smallest = reference
        .spacing_mm()
        .into_iter()
        .fold(f64::INFINITY, f64::min);
    if grid.matches(reference, TOLERANCE_VOX * smallest) {
        return None;
    }
    let wrong = !grid.matches(reference, WRONG_VOX * smallest);
    let (severity, repair) = if wrong {
        let (like, header) = (by("like"), by("header"));
        let repair = format!("{like}; or, where only the header is wrong, {header}");
        (Severity::Error, repair)
    } else {
        (Severity::Warning, by("header"))
    };
    Some(Finding::new(
        severity,
        path,
        "affine",
        place(grid),
        format!(
            "{}, as in {name}, to within {TOLERANCE_VOX} voxel",
            place(reference)
        ),
        repair,
    ))
}

fn place(grid: &Grid) -> String {
    let list = |v: [f64; 3]| v.map(|x| format!("{x:.3}")).join(", ");
    let last = grid.shape().map(|n| (n - 1) as f64);
    format!(
        "spacing ({}) mm, first voxel at ({}) mm, last at ({}) mm",
        list(grid.spacing_mm()),
        list(grid.world([0.0; 3])),
        list(grid.world(last))
    )
}

fn values(dataset: &Dataset, case: &Case, path: &Path, labels: &Labels) -> Vec<Finding> {
    let counts = labels.counts();
    let mut findings = Vec::new();
    let known: BTreeSet<u16> = dataset
        .labels
        .keys()
        .copied()
        .chain(dataset.ignore)
        .collect();
    let listed = |values: &BTreeSet<u16>| {
        let values: Vec<String> = values.iter().map(u16::to_string).collect();
        values.join(", ")
    };
    let unknown = some_of(&counts, |value| {
        dataset.labels_declared && !known.contains(&value)
    });
    if let Some(found) = unknown {
        findings.push(Finding::new(
            Severity::Error,
            path,
            "label values",
            found,
            format!("the values of dataset.json: {}", listed(&known)),
            format!(
                "{}, for each of them; or name the values in dataset.json",
                convert(path, "--labels --map OLD=NEW")
            ),
        ));
    }
    if let Some(drawn) = drawn(dataset, case) {
        let others = some_of(&counts, |value| {
            known.contains(&value) && !drawn.contains(&value)
        });
        findings.extend(others.map(|found| {
            Finding::new(
                Severity::Error,
                path,
                "label values",
                found,
                format!(
                    "the values of the classes that were drawn: {}",
                    listed(&drawn)
                ),
                format!(
                    "add the classes to those of the case in labelled of dataset.json, or make \
                     them background: {}",
                    convert(path, "--labels --map OLD=0")
                ),
            )
        }));
    }
    let unlabelled = |value: &u16| *value == 0 || Some(*value) == dataset.ignore;
    if counts.keys().all(unlabelled) {
        findings.push(Finding::new(
            Severity::Note,
            path,
            "label values",
            "background only",
            "at least one labelled voxel",
            "none where the structure is absent; else add the labels",
        ));
    }
    findings
}

/// The values that a case may hold in which only some classes were drawn.
fn drawn(dataset: &Dataset, case: &Case) -> Option<BTreeSet<u16>> {
    let classes = case.labelled.as_ref()?;
    let mut values: BTreeSet<u16> = dataset.ignore.into_iter().chain([0]).collect();
    if dataset.regions.is_empty() {
        values.extend(classes);
    }
    let regions = dataset.regions.iter();
    for region in regions.filter(|region| classes.contains(&region.value)) {
        values.extend(&region.values);
    }
    Some(values)
}

/// The first of the values that are `wrong`, and their voxels; `None` where there is none.
fn some_of(counts: &BTreeMap<u16, usize>, wrong: impl Fn(u16) -> bool) -> Option<String> {
    let wrong: Vec<String> = counts
        .iter()
        .filter(|(value, _)| wrong(**value))
        .map(|(value, n)| format!("{value} ({n} voxels)"))
        .collect();
    let (first, more) = wrong.split_at(wrong.len().min(5));
    match more.len() {
        _ if first.is_empty() => None,
        0 => Some(first.join(", ")),
        more => Some(format!("{} and {more} more values", first.join(", "))),
    }
}

/// The finding for a label map that reads as an image whose samples are no label values.
fn not_whole(path: &Path) -> Option<Finding> {
    let image = io::read_image(path).ok()?;
    let label =
        |v: f32| (v - v.round()).abs() <= 1e-3 && (0.0..=f32::from(u16::MAX)).contains(&v.round());
    let mut wrong = image.data().iter().filter(|v| !label(**v));
    let first = wrong.next()?;
    Some(Finding::new(
        Severity::Error,
        path,
        "label values",
        format!(
            "{first} and {} more samples that are no label values",
            wrong.count()
        ),
        "whole numbers from 0 to 65535",
        format!(
            "{}; where it was resampled as an image, resample the original by nearest neighbour",
            convert(path, "--labels --round")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{check, trial::Trial};

    const TWO_LABELS: &str = r#"{"channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}"#;

    /// The findings of a dataset whose one case has the files `write` makes.
    fn findings(write: impl Fn(&Trial)) -> Vec<Finding> {
        let trial = Trial::described(TWO_LABELS);
        trial.image("imagesTr/a_0000.nii.gz", &[0.0, 1.0, 2.0]);
        trial.image("imagesTr/a_0001.nii.gz", &[0.0, 1.0, 2.0]);
        trial.labels("labelsTr/a.nii.gz", &[0, 1, 1]);
        write(&trial);
        check(&trial.open())
    }

    /// The single finding.
    fn finding(write: impl Fn(&Trial)) -> (Severity, String, String, String) {
        let mut all = findings(write);
        assert_eq!(all.len(), 1, "{all:#?}");
        let f = all.remove(0);
        assert_eq!(f.case.as_deref(), Some("a"));
        let file = f.file.file_name().map(|n| n.to_string_lossy().into_owned());
        (f.severity, file.unwrap_or_default(), f.field, f.found)
    }

    #[test]
    fn a_sound_case_has_no_findings() {
        assert_eq!(findings(|_| {}), []);
    }

    #[test]
    fn a_missing_label_map_or_channel_is_an_error() {
        let label = findings(|t| {
            t.image("imagesTr/b_0000.nii.gz", &[0.0, 1.0]);
            t.image("imagesTr/b_0001.nii.gz", &[0.0, 1.0]);
        });
        assert_eq!((label.len(), &*label[0].field), (1, "label map"));
        assert_eq!(label[0].severity, Severity::Error);
        let (severity, file, field, found) = finding(|t| {
            std::fs::remove_file(t.root().join("imagesTr/a_0001.nii.gz")).expect("it is there");
        });
        assert_eq!(
            (severity, &*file, &*field),
            (Severity::Error, "a_0001.nii.gz", "channel")
        );
        assert!(found.contains("channel 1 (PET)"), "{found}");
    }

    #[test]
    fn unreadable_files_are_errors_with_their_reason() {
        for name in ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"] {
            let (severity, file, field, found) = finding(|t| t.touch(name));
            assert_eq!((severity, &*field), (Severity::Error, "file"));
            assert!(name.ends_with(&file) && found.contains(&file), "{found}");
        }
    }

    #[test]
    fn samples_must_be_finite_and_not_constant() {
        let wild = finding(|t| t.image("imagesTr/a_0000.nii.gz", &[0.0, f32::NAN, f32::INFINITY]));
        assert_eq!((wild.0, &*wild.2), (Severity::Error, "samples"));
        assert!(wild.3.starts_with("2 samples"), "{}", wild.3);
        let flat = finding(|t| t.image("imagesTr/a_0001.nii.gz", &[4.0; 3]));
        assert_eq!((flat.0, &*flat.3), (Severity::Warning, "4 everywhere"));
    }

    #[test]
    fn grids_of_a_case_must_agree() {
        let shape = finding(|t| t.labels("labelsTr/a.nii.gz", &[0, 1]));
        assert_eq!(
            (shape.0, &*shape.2, &*shape.3),
            (Severity::Error, "shape", "[2, 1, 1]")
        );
        let shifted = |mm| move |t: &Trial| t.image_at("imagesTr/a_0001.nii.gz", &[0., 1., 2.], mm);
        let far = finding(shifted(1.0));
        assert_eq!((far.0, &*far.2), (Severity::Error, "affine"));
        assert!(
            far.3.contains("first voxel at (1.000, 0.000, 0.000)"),
            "{}",
            far.3
        );
        assert_eq!(finding(shifted(0.1)).0, Severity::Warning);
        assert_eq!(findings(shifted(0.005)), []);
    }

    #[test]
    fn label_values_must_be_known_whole_numbers() {
        let unknown = finding(|t| t.labels("labelsTr/a.nii.gz", &[0, 1, 9]));
        assert_eq!((unknown.0, &*unknown.2), (Severity::Error, "label values"));
        assert_eq!(unknown.3, "9 (1 voxels)");
        let fraction = finding(|t| t.image("labelsTr/a.nii.gz", &[0.0, 0.5, -1.0]));
        assert_eq!(
            (fraction.0, &*fraction.2),
            (Severity::Error, "label values")
        );
        assert!(fraction.3.starts_with("0.5 and 1 more"), "{}", fraction.3);
        let empty = finding(|t| t.labels("labelsTr/a.nii.gz", &[0, 0, 0]));
        assert_eq!((empty.0, &*empty.3), (Severity::Note, "background only"));
    }

    #[test]
    fn regions_and_ignored_voxels_are_legal_and_classes_not_drawn_are_not() {
        let of = |labels: &str, values: &[u16]| {
            let trial = Trial::described(&format!(
                r#"{{"channel_names": {{"0": "CT"}}, "file_ending": ".nii.gz", {labels}}}"#
            ));
            trial.image("imagesTr/a_0000.nii.gz", &[0.0, 1.0, 2.0, 3.0]);
            trial.labels("labelsTr/a.nii.gz", values);
            let found = check(&trial.open());
            found
                .into_iter()
                .map(|f| (f.found, f.expected))
                .collect::<Vec<_>>()
        };
        let regions = r#""labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
            "regions_class_order": [5, 6]"#;
        assert_eq!(of(regions, &[0, 1, 2, 3]), []);
        // What is written of a region is not what label maps hold.
        assert_eq!(of(regions, &[0, 1, 5, 3])[0].0, "5 (1 voxels)");
        let drawn = |class: &str| format!(r#"{regions}, "labelled": {{"a": ["{class}"]}}"#);
        assert_eq!(of(&drawn("whole"), &[0, 1, 2, 3]), []);
        let [(found, expected)] = &*of(&drawn("core"), &[0, 1, 2, 3]) else {
            unreachable!("one finding");
        };
        assert_eq!(found, "1 (1 voxels)");
        assert!(expected.ends_with("drawn: 0, 2, 3"), "{expected}");
        let plain = r#""labels": {"background": 0, "liver": 1, "spleen": 2},
            "labelled": {"a": ["spleen"]}"#;
        assert_eq!(of(plain, &[0, 2, 2, 0]), []);
        assert_eq!(of(plain, &[1, 1, 2, 0])[0].0, "1 (2 voxels)");
    }
}
