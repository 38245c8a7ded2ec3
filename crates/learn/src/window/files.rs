//! Which file becomes which: one file, or every image of a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::{ENDINGS, stem_and_ending};

use crate::{Error, Progress, Result};

/// One image to read and one file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The image.
    pub input: PathBuf,
    /// The result.
    pub output: PathBuf,
}

/// The jobs of `input` → `output`, each a file or a folder; a folder's are sorted by name.
/// `keep_channel` keeps nnU-Net's channel number (`_0000`) in the result's name.
///
/// # Errors
/// Where the input is missing or holds no image, or the output's kind does not fit.
pub fn jobs(input: &Path, output: &Path, keep_channel: bool) -> Result<Vec<Job>> {
    let named = |file: &Path| {
        let (stem, ending) = stem_and_ending(file)?;
        let stem = if keep_channel {
            stem
        } else {
            without_channel(stem)
        };
        Some(output.join(format!("{stem}{ending}")))
    };
    if input.is_file() {
        let output = if stem_and_ending(output).is_some() {
            output.to_owned()
        } else {
            named(input).ok_or_else(|| unknown_ending(input))?
        };
        make_folder(output.parent())?;
        return Ok(vec![Job {
            input: input.to_owned(),
            output,
        }]);
    }
    let entries = fs::read_dir(input).map_err(|e| Error::io("read the input", e, input))?;
    let mut jobs = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|e| Error::io("read the input", e, input))?
            .path();
        if let (true, Some(output)) = (path.is_file(), named(&path)) {
            jobs.push(Job {
                input: path,
                output,
            });
        }
    }
    if jobs.is_empty() {
        let message = format!("expected images ({}), found none", ENDINGS.join(", "));
        return Err(Error::data(message, input));
    }
    if stem_and_ending(output).is_some() && !output.is_dir() {
        let message = "expected a folder to write to, as the input is a folder";
        return Err(Error::data(message, output));
    }
    jobs.sort_by(|a, b| a.input.cmp(&b.input));
    make_folder(Some(output))?;
    Ok(jobs)
}

/// Does every job in turn, reporting each; stops between two where the caller cancels, the files
/// written so far being whole.
///
/// # Errors
/// [`Error::Interrupted`] where cancelled, and the first error of a job.
pub(super) fn each(
    jobs: &[Job],
    progress: &mut dyn Progress,
    mut work: impl FnMut(&Job) -> Result<()>,
) -> Result<usize> {
    for (i, job) in jobs.iter().enumerate() {
        if progress.cancelled() {
            return Err(Error::Interrupted { step: i as u64 });
        }
        work(job)?;
        let name = job.output.file_name().unwrap_or_default().to_string_lossy();
        progress.update((i + 1) as f64 / jobs.len() as f64, &name);
    }
    Ok(jobs.len())
}

fn make_folder(folder: Option<&Path>) -> Result<()> {
    match folder {
        Some(folder) if !folder.as_os_str().is_empty() => {
            fs::create_dir_all(folder).map_err(|e| Error::io("make the output folder", e, folder))
        }
        _ => Ok(()),
    }
}

fn unknown_ending(file: &Path) -> Error {
    Error::data(
        format!(
            "expected an image ({}), found another ending",
            ENDINGS.join(", ")
        ),
        file,
    )
}

/// The stem without nnU-Net's channel number.
fn without_channel(stem: &str) -> &str {
    match stem.rsplit_once('_') {
        Some((case, channel))
            if channel.len() == 4 && channel.bytes().all(|b| b.is_ascii_digit()) =>
        {
            case
        }
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_files_are_paired() -> Result<()> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        fs::create_dir(root.join("in")).expect("made");
        for name in ["b_0000.nii.gz", "a_0000.nii.gz", "notes.txt"] {
            fs::write(root.join("in").join(name), b"x").expect("written");
        }
        let found = jobs(&root.join("in"), &root.join("out"), false)?;
        let names: Vec<_> = found.iter().map(|j| j.output.file_name()).collect();
        assert_eq!(
            names,
            [Some("a.nii.gz".as_ref()), Some("b.nii.gz".as_ref())]
        );
        let one = jobs(
            &root.join("in/a_0000.nii.gz"),
            &root.join("out/x.nii"),
            false,
        )?;
        assert_eq!(one[0].output, root.join("out/x.nii"));
        let one = jobs(&root.join("in/a_0000.nii.gz"), &root.join("deep/er"), true)?;
        assert_eq!(one[0].output, root.join("deep/er/a_0000.nii.gz"));
        Ok(())
    }

    #[test]
    fn missing_and_empty_inputs_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(jobs(&folder.path().join("no"), folder.path(), false).is_err());
        assert!(jobs(folder.path(), &folder.path().join("out"), false).is_err());
    }
}
