//! Small label maps on disk, and looking at what was made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crossmod_synth::{Generator, LabelSource, SynthRecipe};
use crossmod_volume::io::write_labels;
use crossmod_volume::{Grid, Labels};
use tempfile::TempDir;

/// Three cases of two organs in a folder of their own.
pub(crate) fn labels() -> (TempDir, LabelSource) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for case in 0..3u16 {
        let grid = Grid::with_spacing([12, 10, 8], [1.0, 1.5, 2.0]).expect("a grid");
        let values = (0..grid.len()).map(|i| match i % 12 {
            2..5 => 1,
            x if x == usize::from(7 + case) => 2,
            _ => 0,
        });
        let labels = Labels::new(grid.clone(), values.collect()).expect("labels");
        let path = folder.path().join(format!("case_{case}.nii.gz"));
        write_labels(&path, &labels).expect("a write");
    }
    let source = LabelSource::open(folder.path()).expect("label maps");
    (folder, source)
}

/// Three images of each case, each painted by chance.
pub(crate) fn generator(overrides: &[&str]) -> Generator {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let text = "count = 3\n[[steps]]\nstep = \"intensities\"\n[[steps]]\nstep = \"bias\"\n";
    let recipe = SynthRecipe::parse(text, &overrides).expect("a recipe");
    Generator::new(recipe).expect("a recipe that can be")
}

/// Every file below a folder, by its path.
pub(crate) fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).expect("inside");
            let bytes = fs::read(&path).expect("a file");
            found.insert(name.to_string_lossy().into_owned(), bytes);
        }
    }
    found
}
