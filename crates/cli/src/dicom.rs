//! What verbs share that take DICOM: which series is meant, and objects that refer to one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use crossmod_volume::Labels;
use crossmod_volume::io::{self, DicomObject, DicomOptions};

use crate::error::Usage;

/// Of a DICOM input, which series is read and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "DICOM")]
pub(crate) struct DicomArgs {
    /// Of a DICOM folder with several series, the one of this number or UID
    #[arg(long, value_name = "SERIES")]
    series: Option<String>,
    /// Put a DICOM series right that is no regular stack (gantry tilt, uneven, missing or doubled
    /// slices, overviews) by leaving out and resampling, rather than refuse it
    #[arg(long)]
    resample_irregular: bool,
}

impl DicomArgs {
    pub(crate) fn options(&self) -> DicomOptions {
        DicomOptions {
            series: self.series.clone(),
            resample_irregular: self.resample_irregular,
        }
    }
}

/// Of a DICOM output, what it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "DICOM")]
pub(crate) struct ObjectArgs {
    /// Write OUT (.dcm) as this DICOM object [default: seg]
    #[arg(long, value_enum, value_name = "OBJECT")]
    to: Option<Object>,
    /// The name of a label in OUT (.dcm), such as 1=liver; may be repeated
    #[arg(long, value_name = "VALUE=NAME", value_parser = name)]
    name: Vec<(u16, String)>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Object {
    /// A segmentation, DICOM-SEG
    Seg,
    /// A structure set, RTSTRUCT
    Rtstruct,
}

fn name(text: &str) -> Result<(u16, String), String> {
    text.split_once('=')
        .and_then(|(value, name)| Some((value.trim().parse().ok()?, name.trim().to_owned())))
        .filter(|(_, name)| !name.is_empty())
        .ok_or_else(|| "expected a value and a name, such as 1=liver".into())
}

impl ObjectArgs {
    /// Refuses what only a DICOM object has, for other outputs.
    pub(crate) fn fit(&self, output: &Path) -> anyhow::Result<()> {
        if is_dicom_name(output) || (self.to.is_none() && self.name.is_empty()) {
            return Ok(());
        }
        Err(Usage::error(format!(
            "expected OUT to end in .dcm with --to and --name, found {}",
            output.display()
        )))
    }

    /// Writes labels as an object of the series' patient.
    pub(crate) fn write(
        &self,
        output: &Path,
        labels: &Labels,
        reference: &Path,
        options: &DicomOptions,
    ) -> anyhow::Result<()> {
        let names: BTreeMap<u16, String> = self.name.iter().cloned().collect();
        let object = match self.to {
            None | Some(Object::Seg) => DicomObject::Segmentation,
            Some(Object::Rtstruct) => DicomObject::StructureSet,
        };
        Ok(io::write_dicom_labels(
            output, labels, &names, object, reference, options,
        )?)
    }
}

pub(crate) fn is_dicom_name(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("dcm"))
}

/// A hidden folder beside the results, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn beside(output: &Path) -> anyhow::Result<Self> {
        let name = format!(".crossmod-series-{}", std::process::id());
        let folder = output.with_file_name(name);
        let made = std::fs::create_dir_all(&folder);
        made.map_err(|e| crossmod_volume::Error::io("make a folder", e, &folder))?;
        Ok(Self(folder))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The result or the first error is what counts.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
