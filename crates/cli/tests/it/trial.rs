//! A temporary folder, the program run in it, and small files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crossmod_volume::io::{self, Storage};
use crossmod_volume::{Grid, Image, Labels};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Trial(TempDir);

/// What a run of the program gave.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Stdout as the one JSON object that `--json` promises.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Asserts the exit code.
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into(),
            stderr: String::from_utf8_lossy(&output.stderr).into(),
        }
    }
}

impl Trial {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The program with arguments split at spaces, in the trial's folder.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossmod"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.root());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Said {
        self.command(arguments)
            .output()
            .expect("the built program starts")
            .into()
    }

    pub(crate) fn write_text(&self, name: &str, text: &str) {
        std::fs::write(self.place(name), text).expect("a writable folder");
    }

    /// A row of voxels, 1 × 2 × 3 mm.
    pub(crate) fn write_labels(&self, name: &str, values: &[u16]) {
        let labels = Labels::new(row(values.len()), values.to_vec()).expect("a row");
        io::write_labels(&self.place(name), &labels).expect("a writable folder");
    }

    pub(crate) fn write_image(&self, name: &str, values: &[f32]) {
        let image = Image::new(row(values.len()), values.to_vec()).expect("a row");
        io::write_image(&self.place(name), &image, &Storage::default()).expect("a writable folder");
    }

    fn place(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        path
    }
}

fn row(length: usize) -> Grid {
    Grid::with_spacing([length, 1, 1], [1.0, 2.0, 3.0]).expect("a grid")
}
