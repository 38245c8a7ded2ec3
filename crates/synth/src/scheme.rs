//! What the values of label maps stand for: names, sides, what looks alike, what is learnt.
//!
//! Sides are found in names: a part such as `left`, `Lt`, `lh` or a first or last `L`, with a second
//! structure whose name differs in nothing but the side. Such a pair is one class (it gets one draw of
//! intensities) and its values trade places when an image is flipped. Chambers of the heart are no
//! pair: a heart in a mirror has its left ventricle on the left.
//!
//! A scheme of one's own is a TOML file:
//!
//! ```
//! let scheme = crossmod_synth::LabelScheme::parse(r#"
//! [[label]]
//! value = 1
//! name = "left kidney"    # class "kidney", mirror 2: from the names
//! [[label]]
//! value = 2
//! name = "right kidney"
//! [[label]]
//! value = 3
//! name = "cyst"
//! class = "fluid"         # looks like other fluid
//! target = 0              # painted, but not learnt
//! "#)?;
//! assert_eq!(scheme.of(1).class, "kidney");
//! assert_eq!(scheme.of(2).mirror, Some(1));
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crossmod_volume::{Image, Labels};
use serde::Deserialize;

use crate::{Error, Result, Scene, Structure};
use side::sided;

mod freesurfer;
mod side;
mod totalsegmentator;

/// Values of which all must be FreeSurfer's, and at least so many, for a label map without names to
/// be taken for one of its.
const ENOUGH: usize = 10;

/// What the values of a dataset's label maps stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelScheme {
    structures: BTreeMap<u16, Structure>,
}

/// A scheme as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    label: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    value: u16,
    name: String,
    class: Option<String>,
    mirror: Option<u16>,
    target: Option<u16>,
}

impl LabelScheme {
    /// Values by their names: sides and classes as the names say, every value learnt as it is.
    #[must_use]
    pub fn named(names: &BTreeMap<u16, String>) -> Self {
        let mut by_rest: BTreeMap<(bool, String), u16> = BTreeMap::new();
        for (&value, name) in names.iter().rev() {
            if let Some(part) = sided(name) {
                by_rest.insert((part.right, part.rest.to_lowercase()), value);
            }
        }
        let mut structures: BTreeMap<u16, Structure> = names
            .iter()
            .map(|(&value, name)| {
                let pair = sided(name).and_then(|part| {
                    let other = by_rest.get(&(!part.right, part.rest.to_lowercase()))?;
                    Some((part.rest, *other))
                });
                let (class, mirror) = match pair {
                    Some((rest, other)) => (rest, Some(other)),
                    None => (name.clone(), None),
                };
                let structure = Structure {
                    name: name.clone(),
                    class,
                    mirror,
                    target: value,
                };
                (value, structure)
            })
            .collect();
        structures.entry(0).or_insert_with(|| Structure::unnamed(0));
        Self { structures }
    }

    /// Values of which nothing is known.
    #[must_use]
    pub fn unnamed(values: impl IntoIterator<Item = u16>) -> Self {
        let values = values.into_iter().chain([0]);
        Self {
            structures: values.map(|v| (v, Structure::unnamed(v))).collect(),
        }
    }

    /// FreeSurfer's values, with the classes and targets that SynthSeg trains on and the values
    /// above 500 that it gives to what lies around the brain.
    #[must_use]
    pub fn freesurfer() -> Self {
        Self {
            structures: freesurfer::structures(),
        }
    }

    /// The values of TotalSegmentator's task `total`, version 2.
    #[must_use]
    pub fn totalsegmentator() -> Self {
        Self::named(&totalsegmentator::names())
    }

    /// The scheme of a `.toml` file.
    ///
    /// # Errors
    /// [`Error::Read`] where it cannot be read, [`Error::File`] where it is not a scheme.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::read(e, path))?;
        Self::parse(&text).map_err(|e| match e {
            Error::Recipe(message) => Error::file(message, path),
            other => other,
        })
    }

    /// The scheme that a TOML text states. What a label does not say is as [`LabelScheme::named`]
    /// finds it.
    ///
    /// # Errors
    /// [`Error::Recipe`] where it is not a scheme: a value twice, a mirror that is not there or has
    /// another mirror.
    pub fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|e| {
            Error::Recipe(format!(
                "expected a label scheme, [[label]] with value and name: {}",
                e.to_string().trim_end()
            ))
        })?;
        let mut names = BTreeMap::new();
        for entry in &file.label {
            if names.insert(entry.value, entry.name.clone()).is_some() {
                return Err(Error::Recipe(format!(
                    "expected each value once, found {} twice",
                    entry.value
                )));
            }
        }
        let mut scheme = Self::named(&names);
        // What was said last stands against what names let guess.
        let said = file.label.iter().filter_map(|e| Some((e.value, e.mirror?)));
        for (value, mirror) in said.clone() {
            scheme.pair(value, mirror)?;
        }
        for (value, mirror) in said {
            let back = scheme.of(mirror).mirror;
            if back != Some(value) {
                return Err(Error::Recipe(format!(
                    "expected the mirror of {mirror} to be {value}, whose mirror it is, found \
                     {back:?}"
                )));
            }
        }
        for entry in file.label {
            if let Some(structure) = scheme.structures.get_mut(&entry.value) {
                structure.target = entry.target.unwrap_or(entry.value);
                structure.class = entry.class.unwrap_or_else(|| structure.class.clone());
            }
        }
        Ok(scheme)
    }

    /// Makes two values each other's mirror.
    fn pair(&mut self, value: u16, mirror: u16) -> Result<()> {
        for (of, is) in [(value, mirror), (mirror, value)] {
            let structure = self.structures.get_mut(&of).ok_or_else(|| {
                Error::Recipe(format!(
                    "expected {of}, the mirror of {is}, to be a label too, found none of that value"
                ))
            })?;
            structure.mirror = Some(is);
        }
        Ok(())
    }

    /// The scheme of label maps that hold `values`, as far as can be known, and a sentence that says
    /// what it was taken from: names where there are any, FreeSurfer's table where all values are in
    /// it and there are at least ten, TotalSegmentator's where they are in its, at least twenty and one
    /// of them a rib, else nothing.
    #[must_use]
    pub fn guess(
        values: impl IntoIterator<Item = u16>,
        names: Option<&BTreeMap<u16, String>>,
    ) -> (Self, String) {
        let values: Vec<u16> = values.into_iter().collect();
        if let Some(names) = names.filter(|names| names.keys().any(|&v| v > 0)) {
            let mut scheme = Self::named(names);
            let pairs = scheme.structures.values().filter(|s| s.mirror.is_some());
            let told = format!(
                "labels by the dataset's {} names, {} left-right pairs",
                names.len(),
                pairs.count() / 2
            );
            for value in values {
                let structure = || Structure::unnamed(value);
                scheme.structures.entry(value).or_insert_with(structure);
            }
            return (scheme, told);
        }
        let known = Self::freesurfer();
        if values.len() >= ENOUGH && values.iter().all(|v| known.structures.contains_key(v)) {
            let told = format!(
                "labels taken for FreeSurfer's: all {} values are",
                values.len()
            );
            return (known, told);
        }
        if totalsegmentator::alike(&values) {
            let told = format!(
                "labels taken for TotalSegmentator's (task total, version 2): all {} values are",
                values.len()
            );
            return (Self::totalsegmentator(), told);
        }
        let told = format!(
            "labels without names: {} values, each a class of its own, none swapped in flips; a \
             label scheme can say more",
            values.len()
        );
        (Self::unnamed(values), told)
    }

    /// What a value stands for; one that is not known is named by its number, and learnt.
    #[must_use]
    pub fn of(&self, value: u16) -> Structure {
        let structure = self.structures.get(&value).cloned();
        structure.unwrap_or_else(|| Structure::unnamed(value))
    }

    /// All values.
    #[must_use]
    pub fn structures(&self) -> &BTreeMap<u16, Structure> {
        &self.structures
    }

    /// The scene of a case before any step: its labels, and its scan where there is one.
    ///
    /// # Errors
    /// [`Error::Recipe`] where scan and labels do not lie on one grid.
    pub fn scene(&self, labels: Labels, scan: Option<Image>) -> Result<Scene> {
        let foreign = |scan: &&Image| !scan.grid().matches(labels.grid(), 0.1);
        if let Some(scan) = scan.as_ref().filter(foreign) {
            return Err(Error::Recipe(format!(
                "expected the scan on the grid of its labels, {:?}, found {:?} elsewhere; resample \
                 one of them",
                labels.grid().shape(),
                scan.grid().shape()
            )));
        }
        Ok(Scene {
            labels,
            structures: self.structures.clone(),
            scan,
            image: None,
            patch: None,
        })
    }
}

#[cfg(test)]
mod tests;
