//! Which files of a folder make up which case.
//!
//! A case is one stem; with nnU-Net's convention the stem is followed by `_` and a four-digit
//! channel number. A name such as `case_0001` can be either; [`pair`] decides for a whole folder,
//! by the label maps first (their stems are the case ids) and by the number of channels second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Case;
use crate::{Error, Result};

/// Endings of the image files a dataset may hold, longest first. Of an image in two files it is that
/// of the header; the file with the samples has none of these.
pub const ENDINGS: [&str; 10] = [
    ".nii.gz", ".nrrd", ".nhdr", ".nii", ".hdr", ".mha", ".mhd", ".mgh", ".mgz", ".png",
];

/// Those of formats that are read and not written.
const READ_ONLY: [&str; 3] = [".nhdr", ".mgh", ".mgz"];

/// The ending of a result that belongs to an image: the image's own, or `.nii.gz` where the format is
/// only read.
#[must_use]
pub fn result_ending(ending: &'static str) -> &'static str {
    if READ_ONLY.contains(&ending) {
        ENDINGS[0]
    } else {
        ending
    }
}

/// The stem and the ending (one of [`ENDINGS`], whatever its case on disk) of an image file's
/// name; `None` for other files and for hidden ones.
#[must_use]
pub fn stem_and_ending(path: &Path) -> Option<(&str, &'static str)> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with('.') {
        return None;
    }
    ENDINGS.into_iter().find_map(|ending| {
        let at = name.len().checked_sub(ending.len())?;
        let tail = name.get(at..)?;
        tail.eq_ignore_ascii_case(ending)
            .then(|| (&name[..at], ending))
    })
}

/// The image files of one folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Stem to file.
    pub(super) files: BTreeMap<String, PathBuf>,
    /// Image files not listed: another ending than the one asked for, or a stem seen twice.
    pub(super) others: Vec<PathBuf>,
}

impl Listing {
    /// Image files of `folder`, only those ending in `ending` where it is given; `None` where
    /// there is no such folder.
    pub(super) fn of(folder: &Path, ending: Option<&str>) -> Result<Option<Self>> {
        if !folder.is_dir() {
            return Ok(None);
        }
        let mut paths = fs::read_dir(folder)
            .and_then(|entries| {
                entries
                    .map(|e| Ok(e?.path()))
                    .collect::<io::Result<Vec<_>>>()
            })
            .map_err(|e| Error::io("list the folder", e, folder))?;
        paths.sort();
        let mut listing = Self::default();
        for path in paths {
            let Some((stem, found)) = stem_and_ending(&path) else {
                continue;
            };
            let wanted = ending.is_none_or(|e| e == found) && path.is_file();
            if wanted && !listing.files.contains_key(stem) {
                listing.files.insert(stem.to_owned(), path);
            } else {
                listing.others.push(path);
            }
        }
        Ok(Some(listing))
    }
}

/// Whether names carry channel numbers, and how many channels there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) numbered: bool,
    pub(super) count: usize,
}

/// The cases of a folder and what was left over.
#[derive(Debug)]
pub(super) struct Paired {
    pub(super) cases: Vec<Case>,
    pub(super) stray_images: Vec<PathBuf>,
    pub(super) stray_labels: Vec<PathBuf>,
}

/// A stem's case and channel number.
fn channel_of(stem: &str) -> Option<(&str, usize)> {
    let (id, number) = stem.rsplit_once('_')?;
    let digits = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
    (digits && !id.is_empty()).then(|| Some((id, number.parse().ok()?)))?
}

/// Decides whether the stems of `images` carry channel numbers; `declared` is the number of
/// channels in `dataset.json`.
pub(super) fn channels(
    images: &Listing,
    labels: Option<&Listing>,
    declared: Option<usize>,
) -> Channels {
    let numbers: BTreeSet<usize> = images
        .files
        .keys()
        .filter_map(|stem| Some(channel_of(stem)?.1))
        .collect();
    let is_label = |id: &str| labels.is_some_and(|l| l.files.contains_key(id));
    let whole = images.files.keys().any(|stem| is_label(stem));
    let cut = images
        .files
        .keys()
        .filter_map(|s| channel_of(s))
        .any(|(id, _)| is_label(id));
    let all = images.files.keys().all(|stem| channel_of(stem).is_some());
    // Without a label map to tell, four digits are a channel number only where every file has
    // one, and one that exists.
    let plausible = all
        && numbers
            .last()
            .is_some_and(|&last| last < declared.unwrap_or(1));
    let numbered = !numbers.is_empty() && !whole && (cut || plausible);
    let count = declared.unwrap_or(if numbered { numbers.len() } else { 1 });
    Channels { numbered, count }
}

/// The cases of one folder of images and its folder of label maps; `subject` is left empty.
pub(super) fn pair(
    folder: &Path,
    images: &Listing,
    labels: Option<&Listing>,
    channels: Channels,
) -> Paired {
    let mut found: BTreeMap<&str, BTreeMap<usize, &PathBuf>> = BTreeMap::new();
    let mut stray_images = images.others.clone();
    for (stem, path) in &images.files {
        let named = if channels.numbered {
            channel_of(stem)
        } else {
            Some((stem.as_str(), 0))
        };
        match named {
            Some((id, channel)) if channel < channels.count => {
                found.entry(id).or_default().insert(channel, path);
            }
            _ => stray_images.push(path.clone()),
        }
    }
    let mut stray_labels = labels.map(|l| l.others.clone()).unwrap_or_default();
    for (stem, path) in labels.iter().flat_map(|l| &l.files) {
        if !found.contains_key(stem.as_str()) {
            stray_labels.push(path.clone());
        }
    }
    let cases = found
        .into_iter()
        .map(|(id, files)| {
            let ending = files
                .values()
                .find_map(|p| stem_and_ending(p))
                .map_or("", |(_, e)| e);
            let image = |channel| match files.get(&channel) {
                Some(path) => (*path).clone(),
                None => folder.join(format!("{id}_{channel:04}{ending}")),
            };
            Case {
                id: id.to_owned(),
                subject: String::new(),
                images: (0..channels.count).map(image).collect(),
                label: labels.and_then(|l| l.files.get(id)).cloned(),
                labelled: None,
            }
        })
        .collect();
    Paired {
        cases,
        stray_images,
        stray_labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(stems: &[&str]) -> Listing {
        let file = |stem: &&str| ((*stem).to_owned(), PathBuf::from(format!("{stem}.nii.gz")));
        Listing {
            files: stems.iter().map(file).collect(),
            others: Vec::new(),
        }
    }

    #[test]
    fn endings_are_found_whatever_their_case() {
        let of = |name: &'static str| stem_and_ending(Path::new(name));
        assert_eq!(of("a/p01_0000.nii.gz"), Some(("p01_0000", ".nii.gz")));
        assert_eq!(of("p01.v2.NII"), Some(("p01.v2", ".nii")));
        assert_eq!(of("p01.PNG"), Some(("p01", ".png")));
        assert_eq!(of("p01.mhd"), Some(("p01", ".mhd")));
        for other in ["._p01.nii.gz", "p01.zraw", "p01.img", "nii", "é.nii.g", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn every_ending_of_a_result_can_be_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let grid = crate::Grid::with_spacing([2, 1, 1], [1.0; 3]).expect("a grid");
        let labels = crate::Labels::new(grid, vec![0, 1]).expect("labels");
        for ending in ENDINGS {
            let path = folder.path().join(format!("a{}", result_ending(ending)));
            crate::io::write_labels(&path, &labels).expect(ending);
            let other = folder.path().join(format!("b{ending}"));
            let refused = crate::io::write_labels(&other, &labels).is_err();
            assert_eq!(refused, result_ending(ending) != ending, "{ending}");
        }
    }

    #[test]
    fn label_maps_tell_channel_numbers_from_case_numbers() {
        let images = listing(&["case_0000", "case_0001"]);
        let of = |labels: Option<Listing>, declared| channels(&images, labels.as_ref(), declared);
        let channels = |numbered, count| Channels { numbered, count };
        assert_eq!(of(Some(listing(&["case"])), None), channels(true, 2));
        assert_eq!(of(Some(listing(&["case_0001"])), None), channels(false, 1));
        assert_eq!(of(None, Some(2)), channels(true, 2));
        assert_eq!(of(None, Some(1)), channels(false, 1));
        assert_eq!(of(None, None), channels(false, 1));
        let single = listing(&["a_0000", "b_0000"]);
        assert_eq!(super::channels(&single, None, None), channels(true, 1));
    }

    #[test]
    fn a_missing_channel_keeps_its_path_and_a_surplus_one_is_stray() {
        let images = listing(&["a_0000", "a_0001", "a_0002", "b_0001", "c"]);
        let labels = listing(&["a", "d"]);
        let two = channels(&images, Some(&labels), Some(2));
        assert_eq!(
            two,
            Channels {
                numbered: true,
                count: 2
            }
        );
        let paired = pair(Path::new("imagesTr"), &images, Some(&labels), two);
        let ids: Vec<_> = paired.cases.iter().map(|case| &*case.id).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(
            paired.cases[1].images[0],
            Path::new("imagesTr/b_0000.nii.gz")
        );
        assert_eq!(
            paired.cases[0].label.as_deref(),
            Some(Path::new("a.nii.gz"))
        );
        assert_eq!(paired.cases[1].label, None);
        assert_eq!(
            paired.stray_images,
            [Path::new("a_0002.nii.gz"), Path::new("c.nii.gz")]
        );
        assert_eq!(paired.stray_labels, [Path::new("d.nii.gz")]);
    }
}
