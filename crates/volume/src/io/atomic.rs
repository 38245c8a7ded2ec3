//! Writes that happen whole or not at all.
//!
//! The content goes to a hidden file in the same folder, which is renamed over the target when
//! complete. A reader sees the old file or the new one; a failed or interrupted write leaves the
//! old one. Nothing is synced to disk: this guards against errors and interrupts, not power cuts.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Error, Result};

/// Writes a file by way of a temporary one beside it.
///
/// # Errors
/// [`Error::Io`] with the target's path where the folder does not exist, `content` fails or the
/// disk is full; the temporary file is then removed and the target is untouched.
pub fn write_atomic(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let run = || {
        let (temporary, file) = create_beside(path)?;
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        content(&mut writer)?;
        // Dropping a BufWriter would hide the error of a full disk.
        let file = writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        drop(file);
        fs::rename(&temporary.0, path)
    };
    run().map_err(|e| Error::io("write", e, path))
}

/// Removed when dropped, if still there: on failure and where `content` panics.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing to remove, and nobody to tell of another failure.
        let _ = fs::remove_file(&self.0);
    }
}

fn create_beside(path: &Path) -> io::Result<(Temporary, File)> {
    loop {
        let name = beside(path);
        match File::create_new(&name) {
            Ok(file) => return Ok((Temporary(name), file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

/// A hidden name in the same folder that this process has not used; short, since `path`'s own
/// name may be as long as the file system allows.
pub(super) fn beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".crossmod-{}-{count}.tmp", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a readable folder");
        entries
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_write_replaces_the_old_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.txt");
        for text in ["first", "second"] {
            write_atomic(&path, |w| w.write_all(text.as_bytes())).expect("a write");
            assert_eq!(fs::read_to_string(&path).expect("the file"), text);
        }
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_names_the_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.txt");
        fs::write(&path, "old").expect("a write");
        let error = write_atomic(&path, |w| {
            w.write_all(&vec![0; 1 << 20])?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .expect_err("a full disk");
        assert!(matches!(error, Error::Io { .. }));
        assert!(error.to_string().ends_with("a.txt"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "old");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_panic_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.txt");
        let result = std::panic::catch_unwind(|| write_atomic(&path, |_| panic!("on purpose")));
        assert!(result.is_err());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn missing_folders_and_folders_as_targets_are_errors() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(write_atomic(&folder.path().join("no/a"), |_| Ok(())).is_err());
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).expect("a folder");
        assert!(write_atomic(&taken, |_| Ok(())).is_err());
        assert_eq!(names(folder.path()), ["taken"]);
    }
}
