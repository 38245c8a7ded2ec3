//! The `dataset.json` of images that are made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::read_label_table;
use crossmod_volume::io::write_atomic;
use serde_json::{Map, Value, json};

use crate::{Error, LabelSource, Made, Result, Structure};

/// What `dataset.json` says, and whether the file says it yet.
pub(super) struct Description {
    path: PathBuf,
    channel: String,
    images: usize,
    labels: BTreeMap<u16, String>,
    saved: bool,
}

impl Description {
    /// Goes on from the file that is there, if one is.
    pub(super) fn open(out: &Path, channel: &str, images: usize) -> Result<Self> {
        let mut description = Self {
            path: out.join("dataset.json"),
            channel: channel.to_owned(),
            images,
            labels: BTreeMap::new(),
            saved: false,
        };
        description.take_in_file()?;
        Ok(description)
    }

    /// Takes over the labels of an image, and writes the file where they are news.
    pub(super) fn add(&mut self, made: &Made, source: &LabelSource) -> Result<()> {
        let mut names = names(&made.structures, source);
        for value in made.labels.counts().into_keys().filter(|&v| v > 0) {
            names
                .entry(value)
                .or_insert_with(|| format!("label {value}"));
        }
        let known = self.labels.len();
        for (value, name) in names {
            self.labels.entry(value).or_insert(name);
        }
        if self.saved && self.labels.len() == known {
            return Ok(());
        }
        self.save()
    }

    /// Writes the file.
    pub(super) fn save(&mut self) -> Result<()> {
        // Another shard may have written in the meantime.
        self.take_in_file()?;
        let value = json!({
            "channel_names": {"0": self.channel},
            "labels": labels(&self.labels),
            "numTraining": self.images,
            "file_ending": ".nii.gz",
        });
        let text =
            serde_json::to_string_pretty(&value).map_err(|e| Error::record(e, &self.path))?;
        write_atomic(&self.path, |to| to.write_all(text.as_bytes()))?;
        self.saved = true;
        Ok(())
    }

    fn take_in_file(&mut self) -> Result<()> {
        if !self.path.is_file() {
            return Ok(());
        }
        let Some(table) = read_label_table(&self.path)? else {
            return Ok(());
        };
        let ignored = table.ignore.map(|value| (value, "ignore".to_owned()));
        for (value, name) in table.names.into_iter().chain(ignored) {
            if value > 0 {
                self.labels.entry(value).or_insert(name);
            }
        }
        Ok(())
    }
}

/// Name to value; where a name was met before, the value follows it.
fn labels(names: &BTreeMap<u16, String>) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert("background".into(), json!(0));
    for (value, name) in names {
        let name = if labels.contains_key(name) {
            format!("{name} {value}")
        } else {
            name.clone()
        };
        labels.insert(name, json!(value));
    }
    labels
}

/// What is to be learnt, by value: of one structure its name, of several their class, where they are
/// of one, else the name of the one whose value they have been given.
fn names(structures: &BTreeMap<u16, Structure>, source: &LabelSource) -> BTreeMap<u16, String> {
    let known = source.scheme().structures();
    let mut members: BTreeMap<u16, Vec<&Structure>> = BTreeMap::new();
    for (value, structure) in structures {
        // Schemes may know more than label maps hold; what steps have added counts.
        let occurs = !known.contains_key(value) || source.may_hold(*value);
        if structure.target > 0 && occurs {
            members.entry(structure.target).or_default().push(structure);
        }
    }
    let name = |(target, members): (u16, Vec<&Structure>)| {
        let classes: BTreeSet<&str> = members.iter().map(|s| s.class.as_str()).collect();
        let own = structures.get(&target);
        let name = match members.as_slice() {
            [one] => &one.name,
            [first, ..] if classes.len() == 1 => &first.class,
            [first, ..] => own.map_or(&first.name, |own| &own.name),
            [] => return (target, format!("label {target}")),
        };
        (target, name.clone())
    };
    members.into_iter().map(name).collect()
}
