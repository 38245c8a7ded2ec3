//! What every target does with its bytes.

use std::{cell::OnceCell, fs, path::PathBuf};

use crossmod_volume::io::{DicomOptions, read_grid, read_image_with, read_labels};

thread_local! {
    /// In memory where the system has such a place.
    static FOLDER: OnceCell<PathBuf> = const { OnceCell::new() };
}

/// Reads the bytes as a file of this name in every way there is.
pub fn read(name: &str, bytes: &[u8]) {
    let path = FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| {
            let memory = PathBuf::from("/dev/shm");
            let root = if memory.is_dir() {
                memory
            } else {
                std::env::temp_dir()
            };
            let folder = root.join(format!("crossmod-fuzz-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("a temporary folder");
            folder
        });
        folder.join(name)
    });
    fs::write(&path, bytes).expect("a temporary file");
    let options = DicomOptions {
        series: None,
        resample_irregular: true,
    };
    let _ = read_grid(&path);
    let _ = read_image_with(&path, &options);
    let _ = read_labels(&path);
}
