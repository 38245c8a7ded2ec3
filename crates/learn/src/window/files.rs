//! Which file becomes which: one file, or every image of a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::{ENDINGS, result_ending, stem_and_ending};

use crate::{Error, Progress, Result};

/// One image to read and one file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The image.
    pub input: PathBuf,
    /// The result.
    pub output: PathBuf,
}

/// The jobs of `input` → `output`, each a file or a folder; a folder's are sorted by name. A result
/// in a folder is of its image's format, or NIfTI where that is only read. `keep_channel` keeps
/// nnU-Net's channel number (`_0000`) in the result's name.
///
/// # Errors
/// Where the input is missing or holds no image, two images would have one result, or the output's
/// kind does not fit.
pub fn jobs(input: &Path, output: &Path, keep_channel: bool) -> Result<Vec<Job>> {
    let jobs = listed(input, output, keep_channel)?;
    let mut made = BTreeSet::new();
    let twice = jobs.iter().find(|job| !made.insert(&job.output));
    match twice.map(|job| second(&job.input)) {
        Some(error) => Err(error),
        None => Ok(jobs),
    }
}

/// A second file of what is to have one result.
fn second(file: &Path) -> Error {
    let message = "expected one image for each result, found another of the same name; move it to a \
                   folder of its own";
    Error::data(message, file)
}

fn listed(input: &Path, output: &Path, keep_channel: bool) -> Result<Vec<Job>> {
    let named = |file: &Path| {
        let (stem, ending) = stem_and_ending(file)?;
        let stem = if keep_channel {
            stem
        } else {
            without_channel(stem)
        };
        Some(output.join(format!("{stem}{}", result_ending(ending))))
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

/// One case to segment and one file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseJob {
    /// The case's name.
    pub case: String,
    /// One file per channel.
    pub inputs: Vec<PathBuf>,
    /// The result.
    pub output: PathBuf,
}

/// The cases of `input`, a file or a folder, of `channels` files each, in order of name. Files are
/// named as nnU-Net's, `CASE_0000`, `CASE_0001` …; of a case of several channels, any of its files
/// names it, and of a case of one channel the number may be left out.
///
/// # Errors
/// As [`jobs`]; where a channel of a case is missing or there is one more, or another file of the
/// case, naming its file.
pub fn case_jobs(input: &Path, output: &Path, channels: usize) -> Result<Vec<CaseJob>> {
    let mut cases: Vec<CaseJob> = Vec::new();
    for Job { input, output } in listed(input, output, false)? {
        let Some((stem, ending)) = stem_and_ending(&input) else {
            return Err(unknown_ending(&input));
        };
        let case = without_channel(stem);
        if channels > 1 && case == stem {
            let message = format!(
                "expected {channels} files a case, named CASE_0000 to CASE_{:04}, found one \
                 without number",
                channels - 1
            );
            return Err(Error::data(message, &input));
        }
        if let Some(known) = cases.iter().find(|known| known.output == output) {
            if !known.inputs.contains(&input) {
                return Err(second(&input));
            }
            continue;
        }
        let file = |channel: usize| input.with_file_name(format!("{case}_{channel:04}{ending}"));
        let inputs = if channels == 1 {
            vec![input.clone()]
        } else {
            (0..channels).map(file).collect()
        };
        if let Some(missing) = inputs.iter().find(|path| !path.is_file()) {
            let message = format!("expected {channels} channels of case {case}, found one missing");
            return Err(Error::data(message, missing));
        }
        let more = file(channels);
        if case != stem && more.is_file() {
            let message = format!("expected {channels} channels of case {case}, found one more");
            return Err(Error::data(message, &more));
        }
        cases.push(CaseJob {
            case: case.to_owned(),
            inputs,
            output,
        });
    }
    Ok(cases)
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
    fn results_are_of_their_images_format_where_it_can_be_written() -> Result<()> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let input = folder.path();
        let write = |name: &str| fs::write(input.join(name), b"x").expect("written");
        ["a.mgz", "b.mhd", "b.zraw", "c.mha"]
            .iter()
            .for_each(|name| write(name));
        let out = input.join("out");
        let outputs = |found: Vec<CaseJob>| -> Vec<PathBuf> {
            found.into_iter().map(|job| job.output).collect()
        };
        let expected = ["a.nii.gz", "b.mhd", "c.mha"].map(|name| out.join(name));
        assert_eq!(outputs(case_jobs(input, &out, 1)?), expected);
        write("a.nii.gz");
        for refused in [
            jobs(input, &out, true).err(),
            case_jobs(input, &out, 1).err(),
        ] {
            let message = refused.expect("two of one name").to_string();
            assert!(message.contains("one image for each result"), "{message}");
        }
        Ok(())
    }

    #[test]
    fn channels_of_a_case_belong_together() -> Result<()> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        let input = root.join("in");
        fs::create_dir(&input).expect("made");
        let write = |name: &str| fs::write(input.join(name), b"x").expect("written");
        let names = [
            "b_0000.nii.gz",
            "b_0001.nii.gz",
            "a_0001.nii.gz",
            "a_0000.nii.gz",
        ];
        names.iter().for_each(|name| write(name));
        let found = case_jobs(&input, &root.join("out"), 2)?;
        let names: Vec<&str> = found.iter().map(|job| &*job.case).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(
            found[0].inputs,
            ["a_0000.nii.gz", "a_0001.nii.gz"].map(|n| input.join(n))
        );
        assert_eq!(found[1].output, root.join("out/b.nii.gz"));
        let one = case_jobs(&input.join("b_0001.nii.gz"), &root.join("x.nii.gz"), 2)?;
        assert_eq!(one[0].inputs, found[1].inputs);
        assert_eq!(one[0].output, root.join("x.nii.gz"));

        let message = |channels| {
            let refused = case_jobs(&input, &root.join("out"), channels);
            refused.expect_err("refused").to_string()
        };
        assert!(message(3).ends_with("a_0002.nii.gz"));
        assert!(message(1).contains("one more") && message(1).ends_with("a_0001.nii.gz"));
        write("plain.nii.gz");
        assert!(message(2).ends_with("plain.nii.gz"));
        let plain = case_jobs(&input.join("plain.nii.gz"), &root.join("out"), 1)?;
        assert_eq!(plain[0].case, "plain");
        Ok(())
    }

    #[test]
    fn missing_and_empty_inputs_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(jobs(&folder.path().join("no"), folder.path(), false).is_err());
        assert!(jobs(folder.path(), &folder.path().join("out"), false).is_err());
    }
}
