//! All metrics of two label maps of many labels.

use std::path::{Path, PathBuf};

use crossmod_measure::{Metric, Settings, measures_of};
use crossmod_volume::{Grid, Labels, io};
use serde_json::json;

use super::volumes::Task;

/// Labels of the pair.
const LABELS: u16 = 21;

/// The libraries that measure surfaces, of `benches/peers/measure.py`.
const LIBRARIES: [&str; 2] = ["surface-distance", "monai"];

/// A prediction and a truth, in memory.
pub(super) struct Held {
    paths: [PathBuf; 2],
    prediction: Labels,
    truth: Labels,
}

impl Held {
    pub(super) fn read(prediction: &Path, truth: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            paths: [prediction.to_owned(), truth.to_owned()],
            prediction: io::read_labels(prediction)?,
            truth: io::read_labels(truth)?,
        })
    }

    pub(super) fn is_of(&self, prediction: &Path, truth: &Path) -> bool {
        self.paths.each_ref().map(PathBuf::as_path) == [prediction, truth]
    }

    /// Every metric of every label.
    pub(super) fn measure(&self) -> anyhow::Result<()> {
        let values: Vec<u16> = (1..=LABELS).collect();
        let classes: Vec<(u16, &[u16])> = values
            .iter()
            .map(|v| (*v, std::slice::from_ref(v)))
            .collect();
        let settings = Settings {
            metrics: Metric::ALL.to_vec(),
            ..Settings::default()
        };
        let found = measures_of(&self.prediction, &self.truth, &classes, None, &settings)?;
        for measures in found.values() {
            std::hint::black_box(Metric::ALL.map(|metric| measures.get(metric, 1.0)));
        }
        Ok(())
    }
}

/// Writes a pair of label maps of a shape, and tells what to do with them.
pub(crate) fn tasks(shape: [usize; 3], folder: &Path) -> anyhow::Result<Vec<Task>> {
    let [prediction, truth] = [("prediction", 1.7), ("truth", 0.0)].map(|(name, shift)| {
        let path = folder.join(format!("{name}.nii.gz"));
        let written =
            ellipsoids(shape, shift).and_then(|labels| Ok(io::write_labels(&path, &labels)?));
        written.map(|()| path)
    });
    let with = json!({ "prediction": prediction?, "truth": truth? });
    let [x, y, z] = shape;
    let task = |library| Task {
        name: format!("all metrics {x}×{y}×{z}, {LABELS} labels"),
        what: "measure",
        with: with.clone(),
        library,
    };
    Ok(LIBRARIES.map(task).to_vec())
}

/// Ellipsoids side by side, of many sizes, moved by `shift` voxels.
fn ellipsoids(shape: [usize; 3], shift: f64) -> anyhow::Result<Labels> {
    let grid = Grid::with_spacing(shape, [0.8, 0.8, 1.5])?;
    let mut data = vec![0u16; grid.len()];
    for label in 0..LABELS {
        let cell = shape.map(|n| n as f64 / 3.0);
        let at = [label % 3, label / 3 % 3, label / 9].map(f64::from);
        let size = 1.0 - 0.03 * f64::from(label);
        let centre =
            [0, 1, 2].map(|a| (at[a] + 0.5) * cell[a] + if a == 1 { -shift } else { shift });
        let radii = [0, 1, 2].map(|a| [0.4, 0.35, 0.45][a] * size * cell[a]);
        for z in 0..shape[2] {
            for y in 0..shape[1] {
                let across = ((y as f64 - centre[1]) / radii[1]).powi(2)
                    + ((z as f64 - centre[2]) / radii[2]).powi(2);
                if across < 1.0 {
                    let half = radii[0] * (1.0 - across).sqrt();
                    let low = (centre[0] - half).ceil().max(0.0) as usize;
                    let high = ((centre[0] + half).floor().max(0.0) as usize).min(shape[0] - 1);
                    let start = grid.index([0, y, z]);
                    data[start + low.min(high)..=start + high].fill(label + 1);
                }
            }
        }
    }
    Ok(Labels::new(grid, data)?)
}
