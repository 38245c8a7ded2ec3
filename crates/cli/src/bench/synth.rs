//! Making an image of a label map: this program and libraries of transforms in turns, each in
//! processes of their own.
//!
//! ```text
//! < {"make": "labels.nii.gz", "repeat": 3}
//! > {"ms": [...], "peak_rss_mb": 97.5}
//! ```

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use crossmod_learn::Progress;
use crossmod_learn::device::Kind;
use crossmod_synth::phantom::{self, FieldOfView, Modality, PhantomConfig};
use crossmod_synth::{Generator, LabelScheme, Scene, SynthRecipe};
use crossmod_volume::io;
use serde::Deserialize;
use serde_json::{Value, json};

use super::process::{PeerCommand, Process};
use super::report::Row;
use super::serve::peak_rss_mb;
use super::steps::{compare, runners};
use crate::output;

/// The recipe that all sides follow.
const RECIPE: &str = "synthseg";

/// The libraries of `benches/peers/synth.py`.
pub(crate) const LIBRARIES: [&str; 2] = ["torchio", "monai"];

/// Side of the phantom whose label map is painted where none is given.
const SIDE: usize = 160;

#[derive(Debug, Deserialize)]
struct Request {
    make: PathBuf,
    repeat: usize,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// Images of each side, the first of which is not timed.
    pub(crate) images: usize,
    pub(crate) threads: usize,
    pub(crate) peer: Option<PeerCommand<'a>>,
    pub(crate) labels: &'a Path,
}

/// A label map of the phantom's organs, written to a file.
pub(crate) fn phantom_labels(file: &Path) -> anyhow::Result<()> {
    let mr = FieldOfView {
        size: SIDE,
        slices: SIDE,
        spacing_mm: 2.0,
        slice_mm: 2.0,
    };
    let config = PhantomConfig {
        mr,
        ..PhantomConfig::default()
    };
    let (_, labels) = phantom::render(&phantom::draw(&config, 1, 0)?, Modality::Mr)?;
    Ok(io::write_labels(file, &labels)?)
}

/// A row of this program beside one library; without a peer, of this program alone.
pub(crate) fn row(plan: &Plan<'_>, progress: &dyn Progress) -> anyhow::Result<Row> {
    let (grid, _) = io::read_grid(plan.labels)?;
    let [x, y, z] = grid.shape();
    let mut ours = Process::ours("synth", plan.threads, Kind::Cpu)?;
    let mut peer = plan.peer.map(|peer| peer.start()).transpose()?;
    let (name, processes) = match peer.as_mut() {
        Some(peer) => (Some(peer.name.clone()), peer.processes.as_mut_slice()),
        None => (None, Default::default()),
    };
    let (names, mut sides) = runners(&mut ours, processes, "make", &plan.labels);
    let row = compare(&names, &mut sides, [plan.images, 1], progress)?;
    Ok(Row {
        name: format!("{RECIPE} {x}×{y}×{z}"),
        pass: "image",
        peer: name,
        ..row
    })
}

/// Answers requests on stdin until they end.
pub(crate) fn serve() -> anyhow::Result<()> {
    let mut held = None;
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&line?, &mut held)
            .unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        output::text(&answer.to_string())?;
    }
    Ok(())
}

/// The label map that was read last, and how often it was painted.
struct Held {
    path: PathBuf,
    scene: Scene,
    generator: Generator,
    made: u32,
}

fn answer(request: &str, held: &mut Option<Held>) -> anyhow::Result<Value> {
    let request: Request =
        serde_json::from_str(request).context("expected a request of `crossmod bench synth`")?;
    if held.as_ref().is_none_or(|held| held.path != request.make) {
        let labels = io::read_labels(&request.make)?;
        let (scheme, _) = LabelScheme::guess(labels.counts().into_keys(), None);
        *held = Some(Held {
            scene: scheme.scene(labels, None)?,
            generator: Generator::new(SynthRecipe::load(RECIPE, &[])?)?,
            path: request.make,
            made: 0,
        });
    }
    let held = held.as_mut().context("expected a label map")?;
    let mut times = Vec::new();
    for _ in 0..request.repeat {
        let start = Instant::now();
        let mut scene = held.scene.clone();
        // The whole map, as the peers paint it.
        scene.patch = Some(scene.grid().shape());
        held.generator.make("bench", held.made, scene)?;
        held.made += 1;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(json!({ "ms": times, "peak_rss_mb": peak_rss_mb() }))
}
