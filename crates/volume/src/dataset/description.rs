//! `dataset.json`: what nnU-Net and the Medical Segmentation Decathlon say about a dataset.
//!
//! Version 2 of nnU-Net has `channel_names` ({"0": "CT"}), `labels` ({"background": 0}) and
//! `file_ending`; version 1 and the Decathlon have `modality` and `labels` the other way round
//! ({"0": "background"}); [`labels`](super::labels) tells more of them. Keys not used here are
//! ignored: the file is not ours to define.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::labels::{LabelTable, Labelled, labelled};
use crate::{Error, Result};

/// Longest `dataset.json` read, bytes; a list of a hundred thousand cases is about a tenth.
const LONGEST: u64 = 64 << 20;

/// The parts of `dataset.json` that crossmod uses; `None` where the key is absent.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) name: Option<String>,
    pub(super) channels: Option<Vec<String>>,
    pub(super) labels: Option<LabelTable>,
    pub(super) labelled: Labelled,
    pub(super) file_ending: Option<String>,
    pub(super) num_training: Option<u64>,
}

/// What a `dataset.json` says of the values of label maps; `None` where it has no `labels`.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read, [`Error::Dataset`] where it is not a
/// `dataset.json` that crossmod understands.
pub fn read_label_table(path: &Path) -> Result<Option<LabelTable>> {
    let Description {
        labels, labelled, ..
    } = Description::read(path)?;
    let Some(mut table) = labels else {
        return Ok(None);
    };
    table.labelled = table
        .drawn(&labelled)
        .map_err(|message| Error::dataset(message, path))?;
    Ok(Some(table))
}

impl Description {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let size = fs::metadata(path)
            .map_err(|e| Error::io("read dataset.json", e, path))?
            .len();
        if size > LONGEST {
            return Err(Error::dataset(
                format!("expected a dataset.json of at most {LONGEST} bytes, found {size}"),
                path,
            ));
        }
        let text = fs::read_to_string(path).map_err(|e| Error::io("read dataset.json", e, path))?;
        Self::parse(&text).map_err(|message| Error::dataset(message, path))
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        // Some editors write a byte order mark, which JSON does not allow.
        let value: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|e| format!("expected JSON, found an error ({e}); repair the file"))?;
        let Value::Object(map) = value else {
            return Err(
                "expected a JSON object with channel_names and labels, found another \
                        kind of value; see the nnU-Net dataset format"
                    .into(),
            );
        };
        let channels = map.get("channel_names").or_else(|| map.get("modality"));
        let order = map.get("regions_class_order");
        let labels = map
            .get("labels")
            .map(|labels| LabelTable::parse(labels, order));
        Ok(Self {
            name: map.get("name").and_then(Value::as_str).map(str::to_owned),
            channels: channels.map(channel_names).transpose()?,
            labels: labels.transpose()?,
            labelled: map
                .get("labelled")
                .map(labelled)
                .transpose()?
                .unwrap_or_default(),
            file_ending: map
                .get("file_ending")
                .and_then(Value::as_str)
                .map(str::to_owned),
            num_training: map.get("numTraining").and_then(number),
        })
    }
}

/// A whole number, also where it is written as a string.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn channel_names(value: &Value) -> std::result::Result<Vec<String>, String> {
    let names = match value {
        Value::Object(map) => (0..map.len())
            .map(|i| map.get(&i.to_string()).and_then(Value::as_str))
            .collect(),
        Value::Array(list) => list.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    match names {
        Some(names) if !names.is_empty() => Ok(names.into_iter().map(str::to_owned).collect()),
        _ => Err(format!(
            "expected channel_names such as {{\"0\": \"CT\"}}, numbered from 0 without a gap, \
             found {value}; correct them"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Description::parse(text).expect_err("a description that must be refused")
    }

    #[test]
    fn both_versions_say_the_same() {
        let two = Description::parse(
            r#"{"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0,
                "liver": 1}, "numTraining": 3, "file_ending": ".nii.gz", "name": "x"}"#,
        )
        .expect("version 2");
        let one = Description::parse(
            r#"{"modality": {"1": "PET", "0": "CT"}, "labels": {"1": "liver",
                "0": "background"}, "numTraining": "3", "training": []}"#,
        )
        .expect("version 1");
        assert_eq!(two.channels, one.channels);
        assert_eq!(two.channels, Some(vec!["CT".to_owned(), "PET".to_owned()]));
        assert_eq!(two.labels, one.labels);
        assert_eq!(two.num_training, Some(3));
        assert_eq!(one.num_training, Some(3));
        assert_eq!(two.file_ending.as_deref(), Some(".nii.gz"));
        assert_eq!(one.file_ending, None);
    }

    #[test]
    fn a_table_tells_regions_what_to_ignore_and_what_was_drawn() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("dataset.json");
        let read = |text: &str| {
            fs::write(&path, text).expect("a writable folder");
            read_label_table(&path)
        };
        let text = r#"{"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
            "regions_class_order": [1, 2], "labelled": {"a": ["core"]}}"#;
        let table = read(text).expect("readable").expect("labels");
        assert_eq!((table.ignore, table.regions.len()), (Some(3), 2));
        assert_eq!(table.labelled["a"], [2]);
        assert_eq!(read(r#"{"name": "x"}"#).expect("readable"), None);
        let message = read(&text.replace("[\"core\"]", "[\"cor\"]"))
            .expect_err("no such label")
            .to_string();
        assert!(
            message.contains("\"cor\" for case a") && message.ends_with("dataset.json"),
            "{message}"
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert!(error("{").contains("expected JSON"));
        assert!(error("[]").contains("JSON object"));
        assert!(error(r#"{"channel_names": {"1": "CT"}}"#).contains("numbered from 0"));
        assert!(error(r#"{"channel_names": {}}"#).contains("numbered from 0"));
    }
}
