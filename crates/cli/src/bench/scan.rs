//! The scanner: projection and reconstruction beside RTK and XCIST, the use of dose, and whole scans.
//!
//! Rays, phantoms and grids are the same on both sides; errors are against the phantom's exact line
//! integrals and values. Speeds are by the processor's time of all threads, so that they hold on a
//! machine that does other things besides, as long as those leave the caches alone. Whole scans run
//! in a process of their own, whose peak memory is theirs:
//!
//! ```text
//! < {"scan": "clinical"}
//! > {"seconds": 50.2, "processor_s": 82.5, "peak_rss_mb": 1660.0}
//! ```

use std::f64::consts::TAU;
use std::io::BufRead as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use crossmod_learn::Progress;
use crossmod_learn::device::Kind;
use crossmod_scanner::filter::Kernel;
use crossmod_scanner::geometry::{Helix, Scan, Scanner};
use crossmod_scanner::phantom::{Phantom, PhantomRays};
use crossmod_scanner::project::{Body, Projector, Strides, SubRays};
use crossmod_scanner::reconstruct::{
    Projections as _, Reconstruction, StoredProjections, reconstruct,
};
use crossmod_scanner::simulate::{ScanSettings, simulate};
use crossmod_scanner::{attenuation, photons};
use crossmod_volume::space::{Interpolation, resample_image};
use crossmod_volume::{Grid, Image};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::machine::processor_s;
use super::process::{PeerCommand, Process};
use super::serve::peak_rss_mb;
use crate::output;

/// The parts of the table, by the words that choose them.
pub(crate) const PARTS: [&str; 4] = ["projection", "reconstruction", "dose", "whole"];

/// Photons that enter a ray where noise is measured.
const PHOTONS: f64 = 2e5;

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) theirs: Option<f64>,
    /// How many times better ours is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) better: Option<f64>,
}

impl Line {
    fn new(what: impl Into<String>, unit: &'static str, ours: f64) -> Self {
        Self {
            what: what.into(),
            unit,
            ours,
            peer: None,
            theirs: None,
            better: None,
        }
    }

    /// Beside a peer, where less is better, or more.
    fn beside(mut self, peer: &Tool, theirs: f64, more: bool) -> Self {
        self.better = Some(if more {
            self.ours / theirs
        } else {
            theirs / self.ours
        });
        self.peer = Some(peer.name.clone());
        self.theirs = Some(theirs);
        self
    }
}

/// A running peer.
pub(crate) struct Tool {
    name: String,
    process: Process,
}

impl Tool {
    pub(crate) fn start(command: &PeerCommand<'_>) -> anyhow::Result<Self> {
        let (process, who) = command.start_one(None)?;
        let name = who["peer"].as_str().unwrap_or("unnamed").to_owned();
        Ok(Self { name, process })
    }

    /// Seconds of the processor that a request took.
    fn ask(&mut self, request: &Value) -> anyhow::Result<f64> {
        let answer = self.process.ask(request)?;
        let ms = answer["cpu_ms"].as_f64();
        Ok(ms.with_context(|| format!("expected `cpu_ms`, found {answer}"))? / 1e3)
    }
}

/// What peers are told of a scanner.
fn described(scanner: &Scanner) -> Value {
    json!({
        "source": scanner.source_to_isocentre_mm,
        "detector": scanner.source_to_detector_mm,
        "channels": scanner.channels,
        "channel": scanner.channel_rad,
        "centre": scanner.central_channel,
        "rows": scanner.rows,
        "row": scanner.row_mm,
    })
}

/// A request: a scanner's description and what there is to do with it.
fn request(what: &str, scanner: &Scanner, rest: &Value) -> Value {
    let mut fields = described(scanner);
    if let (Some(fields), Some(rest)) = (fields.as_object_mut(), rest.as_object()) {
        fields.extend(rest.clone());
    }
    json!({ what: fields })
}

/// Seconds of the processor that work takes, all threads together; by the clock where the system
/// does not tell.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let (clock, before) = (Instant::now(), processor_s());
    let done = work();
    let used = processor_s()
        .zip(before)
        .map(|(after, before)| after - before);
    let threads = rayon::current_num_threads() as f64;
    (
        done,
        used.unwrap_or_else(|| clock.elapsed().as_secs_f64() * threads),
    )
}

fn write(path: &Path, values: &[f32]) -> anyhow::Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, bytes).with_context(|| format!("could not write: {}", path.display()))
}

fn read(path: &Path, count: usize) -> anyhow::Result<Vec<f32>> {
    let bytes =
        std::fs::read(path).with_context(|| format!("could not read: {}", path.display()))?;
    let (values, rest) = bytes.as_chunks::<4>();
    anyhow::ensure!(
        values.len() == count && rest.is_empty(),
        "expected {count} samples, found {} bytes: {}",
        bytes.len(),
        path.display()
    );
    Ok(values.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    (mean, square.sqrt())
}

/// Rays per second of balls in water on 512 × 512 × 160 voxels of a millimetre, and the error of
/// their line integrals.
pub(crate) fn projection(tools: &mut [Tool], scratch: &Path) -> anyhow::Result<Vec<Line>> {
    // The views of a turn stand for all directions.
    let scanner = Scanner::parse("preset = \"ge-like\"\nrows = 64\nviews_per_turn = 72\n")?;
    let shape = [512, 512, 160];
    let grid = Grid::with_spacing(shape, [1.0; 3])?;
    let middle = middle(&grid);
    let scan = Scan::plan(&scanner, &Helix::default(), &grid)?;
    let phantom = Phantom::three_balls(middle);
    let volume = phantom.voxels(&grid, 3);
    let values: Vec<f32> = volume
        .data()
        .iter()
        .map(|&hu| attenuation::from_hu(hu))
        .collect();
    drop(volume);
    let body = Body::new(
        &values,
        Strides::of(shape),
        shape,
        [1.0; 3],
        [0.0; 3],
        |v| v,
    )?;
    let projector = Projector::new(&body, &scan, SubRays::default())?;
    let len = scan.view_len();
    let first = scan.views() / 2 - 36;
    let mut ours = vec![0.0f32; 72 * len];
    let (done, seconds) = timed(|| projector.views(first..first + 72, &mut ours));
    done?;
    // A third of a turn is enough of the peers' time.
    let views = first..first + 24;
    let mut exact = vec![0.0f32; 24 * len];
    PhantomRays::new(&scan, &phantom).views(views.clone(), &mut exact)?;
    let rms = |found: &[f32]| {
        let pairs = found.iter().zip(&exact);
        let sum: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (sum / exact.len() as f64).sqrt()
    };
    let speed = Line::new(
        "project 512×512×160 along 64×900 rays a view",
        "Mray/s per core",
        ours.len() as f64 / seconds / 1e6,
    );
    let error = Line::new("  error of line integrals", "rms", rms(&ours[..24 * len]));
    let (file, out) = (scratch.join("volume.f32"), scratch.join("projected.f32"));
    write(&file, &values)?;
    let place = |v: usize| {
        (
            scan.angle_rad(v as f64),
            scan.source_z_mm(v as f64) - middle[2],
        )
    };
    let (angles, heights): (Vec<f64>, Vec<f64>) = views.map(place).unzip();
    let rest = json!({
        "volume": file, "shape": shape, "spacing": [1.0, 1.0, 1.0],
        "angles": angles, "heights": heights, "out": out,
    });
    let mut lines = Vec::new();
    for tool in &mut *tools {
        let seconds = tool.ask(&request("project", &scanner, &rest))?;
        let theirs = rms(&read(&out, exact.len())?);
        let rate = exact.len() as f64 / seconds / 1e6;
        lines.push(speed.clone().beside(tool, rate, true));
        lines.push(error.clone().beside(tool, theirs, false));
    }
    if tools.is_empty() {
        lines = vec![speed, error];
    }
    Ok(lines)
}

/// The scanner of the reconstructions: 16 rows of 1.25 mm, 420 channels, 720 views a turn.
fn coarse_scanner() -> anyhow::Result<Scanner> {
    let text = format!(
        "rows = 16\nrow_mm = 1.25\nchannels = 420\nchannel_rad = {:?}\n",
        2.0 * (190.0f64 / 570.0).asin() / 420.0
    );
    Ok(Scanner::parse(&text)?)
}

/// The middle of a grid, mm.
fn middle(grid: &Grid) -> [f64; 3] {
    grid.world(grid.shape().map(|n| (n - 1) as f64 / 2.0))
}

/// A scan about the middle of a grid whose first and last view stand at opposite heights and angles, as
/// XCIST's do.
fn symmetric_scan(scanner: &Scanner, pitch: f64, target: &Grid) -> anyhow::Result<Scan> {
    let mut helix = Helix {
        pitch,
        field_radius_mm: Some(175.0),
        ..Helix::default()
    };
    let views = Scan::plan(scanner, &helix, target)?.views();
    helix.start_deg = -180.0 * (views - 1) as f64 / scanner.views_per_turn as f64;
    Ok(Scan::plan(scanner, &helix, target)?)
}

/// What a reconstruction is asked for beside the projections.
struct Wanted<'a> {
    scan: &'a Scan,
    grid: &'a Grid,
}

impl Wanted<'_> {
    /// Ours, and the seconds it takes.
    fn ours(&self, projections: &StoredProjections) -> anyhow::Result<(Image, f64)> {
        let settings = Reconstruction {
            kernel: Kernel::Ramp,
            ..Reconstruction::default()
        };
        let work = || reconstruct(self.scan, projections, &settings, self.grid, &mut |_| {});
        let (image, seconds) = timed(work);
        Ok((image?, seconds))
    }

    /// A peer's, and the seconds it takes.
    fn theirs(
        &self,
        tool: &mut Tool,
        projections: &StoredProjections,
        scratch: &Path,
    ) -> anyhow::Result<(Image, f64)> {
        let (file, out) = (scratch.join("projections.f32"), scratch.join("image.f32"));
        write(&file, projections.data())?;
        let ([pixels, _, slices], [pixel, _, slice]) = (self.grid.shape(), self.grid.spacing_mm());
        let rest = json!({
            "projections": file, "views": self.scan.views(),
            "views_per_turn": self.scan.scanner().views_per_turn, "feed": self.scan.feed_mm(),
            "pixels": pixels, "pixel": pixel, "slices": slices, "slice": slice, "out": out,
        });
        let seconds = tool.ask(&request("reconstruct", self.scan.scanner(), &rest))?;
        let values = read(&out, self.grid.len())?;
        let hu = values.into_iter().map(attenuation::to_hu).collect();
        Ok((Image::new(self.grid.clone(), hu)?, seconds))
    }
}

/// The values of an image at the distances from the axis that are wanted, x and y.
fn values(image: &Image, wanted: impl Fn(f64, f64) -> bool) -> Vec<f64> {
    let [nx, ny, _] = image.grid().shape();
    let [cx, cy, _] = middle(image.grid());
    let voxels = image.data().iter().enumerate();
    voxels
        .filter(|(i, _)| {
            let voxel = [i % nx, i / nx % ny, i / nx / ny].map(|v| v as f64);
            let [x, y, _] = image.grid().world(voxel);
            wanted(x - cx, y - cy)
        })
        .map(|(_, &hu)| f64::from(hu))
        .collect()
}

/// Quarters of a turn by which the balls are turned: what they leave in the water, and with it the
/// water's mean, depends on where the tube starts.
const QUARTERS: usize = 4;

/// What one reconstruction of balls in water came to.
struct Balls {
    seconds: f64,
    /// Mean and standard deviation of the water away from the balls, HU.
    water: (f64, f64),
    /// Mean of the ball of +1000 HU.
    ball: f64,
}

impl Balls {
    fn of((image, seconds): (Image, f64), turn_rad: f64) -> Self {
        let (sin, cos) = turn_rad.sin_cos();
        let turned = |x: f64, y: f64| (x * cos + y * sin, y * cos - x * sin);
        let from = |[x, y, _]: [f64; 3], (px, py): (f64, f64)| (px - x).hypot(py - y);
        let water = |x: f64, y: f64| {
            let mut balls = Phantom::BALLS.iter();
            x.hypot(y) < 140.0 && balls.all(|(at, r, _)| from(*at, turned(x, y)) > r + 8.0)
        };
        let (at, radius, _) = Phantom::BALLS[0];
        let ball = |x: f64, y: f64| from(at, turned(x, y)) < radius - 10.0;
        Self {
            seconds,
            water: moments(&values(&image, water)),
            ball: moments(&values(&image, ball)).0,
        }
    }
}

/// Balls in water, reconstructed with a plain ramp at pitch 1: time, bias, and what the balls leave
/// in the water around them; and water by itself.
pub(crate) fn reconstruction(
    mut tool: Option<&mut Tool>,
    scratch: &Path,
) -> anyhow::Result<Vec<Line>> {
    let scanner = coarse_scanner()?;
    let grid = Grid::with_spacing([150, 150, 5], [2.2, 2.2, 3.0])?;
    let scan = symmetric_scan(&scanner, 1.0, &grid)?;
    let wanted = Wanted {
        scan: &scan,
        grid: &grid,
    };
    let project =
        |phantom: &Phantom| StoredProjections::collect(&scan, &PhantomRays::new(&scan, phantom));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for quarter in 0..QUARTERS {
        let turn_rad = TAU * quarter as f64 / QUARTERS as f64;
        let projections = project(&Phantom::three_balls_turned(middle(&grid), turn_rad))?;
        ours.push(Balls::of(wanted.ours(&projections)?, turn_rad));
        if let Some(tool) = tool.as_deref_mut() {
            let found = wanted.theirs(tool, &projections, scratch)?;
            theirs.push(Balls::of(found, turn_rad));
        }
    }
    let [x, y, _] = middle(&grid);
    let plain = project(&Phantom::water_cylinder([x, y], 300.0))?;
    let inner = |x: f64, y: f64| x.hypot(y) < 140.0;
    let bias = |(image, _): (Image, f64)| moments(&values(&image, inner)).0.abs();
    let our_bias = bias(wanted.ours(&plain)?);
    let their_bias = match tool.as_deref_mut() {
        Some(tool) => Some(bias(wanted.theirs(tool, &plain, scratch)?)),
        None => None,
    };
    let mean =
        |of: fn(&Balls) -> f64, all: &[Balls]| all.iter().map(of).sum::<f64>() / all.len() as f64;
    let rms = |of: fn(&Balls) -> f64, all: &[Balls]| {
        let sum: f64 = all.iter().map(|balls| of(balls).powi(2)).sum();
        (sum / all.len() as f64).sqrt()
    };
    let all = |all: &[Balls], bias: f64| {
        [
            mean(|b| b.seconds, all),
            bias,
            rms(|b| b.water.0, all),
            rms(|b| b.ball - 1000.0, all),
            mean(|b| b.water.1, all),
        ]
    };
    let ours = all(&ours, our_bias);
    let theirs = their_bias.map(|bias| all(&theirs, bias));
    let names = [
        ("reconstruct 150×150×5, pitch 1", "s of processor"),
        ("  bias of water alone", "HU"),
        ("  bias of water about balls, rms of 4 turns", "HU"),
        ("  bias of a ball of +1000 HU, likewise", "HU"),
        ("  windmill", "HU"),
    ];
    let lines = names.into_iter().enumerate().map(|(i, (name, unit))| {
        let line = Line::new(name, unit, ours[i]);
        match (&tool, theirs) {
            (Some(tool), Some(theirs)) => line.beside(tool, theirs[i], false),
            _ => line,
        }
    });
    Ok(lines.collect())
}

/// Noise in the middle of 300 mm of water at pitch 1 and 0.5: the second has twice the photons.
pub(crate) fn dose(mut tool: Option<&mut Tool>, scratch: &Path) -> anyhow::Result<Vec<Line>> {
    let scanner = coarse_scanner()?;
    let grid = Grid::with_spacing([48, 48, 4], [0.8, 0.8, 3.0])?;
    let inner = |x: f64, y: f64| x.hypot(y) < 17.0;
    let mut lines: Vec<Line> = Vec::new();
    for pitch in [1.0, 0.5] {
        let scan = symmetric_scan(&scanner, pitch, &grid)?;
        let [x, y, _] = middle(&grid);
        let phantom = Phantom::water_cylinder([x, y], 300.0);
        let mut noisy = StoredProjections::collect(&scan, &PhantomRays::new(&scan, &phantom))?;
        let views = noisy.data_mut().chunks_exact_mut(scan.view_len());
        for (view, values) in views.enumerate() {
            for (ray, value) in values.iter_mut().enumerate() {
                let line = f64::from(*value);
                *value = photons::measure(PHOTONS, line, 1, view as u64, ray as u32) as f32;
            }
        }
        let wanted = Wanted {
            scan: &scan,
            grid: &grid,
        };
        let sd = moments(&values(&wanted.ours(&noisy)?.0, inner)).1;
        let mut line = Line::new(format!("noise, pitch {pitch}"), "HU", sd);
        if let Some(tool) = tool.as_deref_mut() {
            let theirs = moments(&values(&wanted.theirs(tool, &noisy, scratch)?.0, inner)).1;
            line = line.beside(tool, theirs, false);
        }
        lines.push(line);
    }
    let share = |of: fn(&Line) -> Option<f64>| Some(of(&lines[1])? / of(&lines[0])?);
    let ours = share(|line| Some(line.ours)).unwrap_or(f64::NAN);
    let mut ratio = Line::new("  of that at pitch 1 (whole dose: 0.71)", "", ours);
    if let (Some(tool), Some(theirs)) = (tool, share(|line| line.theirs)) {
        ratio = ratio.beside(tool, theirs, false);
    }
    lines.push(ratio);
    Ok(lines)
}

/// Volumes that are scanned as a whole: preset, voxels, and their size in mm.
const WHOLE: [(&str, [usize; 3], [f64; 3]); 2] = [
    ("matched-1.5mm", [333, 333, 300], [1.5, 1.5, 1.5]),
    ("clinical", [512, 512, 300], [0.9, 0.9, 1.0]),
];

/// Whole scans of a chest: time on all threads, and memory.
pub(crate) fn whole(threads: usize, progress: &dyn Progress) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (preset, [x, y, z], _) in WHOLE {
        if progress.cancelled() {
            anyhow::bail!("interrupted");
        }
        let mut ours = Process::ours("scan", threads, Kind::Cpu)?;
        let answer = ours.ask(&json!({ "scan": preset }))?;
        let number = |key: &str| answer[key].as_f64().unwrap_or(f64::NAN);
        let share = number("processor_s") / threads as f64;
        lines.extend([
            Line::new(
                format!("scan {x}×{y}×{z}, {preset}"),
                "s by the clock",
                number("seconds"),
            ),
            Line::new(format!("  processor over {threads} threads"), "s", share),
            Line::new("  memory", "MB", number("peak_rss_mb")),
        ]);
    }
    Ok(lines)
}

#[derive(Debug, Deserialize)]
struct Request {
    scan: String,
}

/// Answers requests on stdin until they end.
pub(crate) fn serve() -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let answer =
            answer(&line?).unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        output::text(&answer.to_string())?;
    }
    Ok(())
}

fn answer(request: &str) -> anyhow::Result<Value> {
    let request: Request =
        serde_json::from_str(request).context("expected a request of `crossmod bench scan`")?;
    let known = WHOLE.iter().find(|(preset, ..)| *preset == request.scan);
    let &(preset, shape, spacing) = known.context("expected a scanner of the table")?;
    let settings = ScanSettings::load(preset, &[])?;
    // Drawn coarsely, or the chest would take longer than its scan.
    let coarse = Grid::with_spacing(shape.map(|n| n.div_ceil(4)), spacing.map(|s| 4.0 * s))?;
    let chest = Phantom::thorax(middle(&coarse)).voxels(&coarse, 1);
    let grid = Grid::with_spacing(shape, spacing)?;
    let volume = resample_image(&chest, &grid, Interpolation::Linear, -1000.0);
    let clock = Instant::now();
    let (scanned, processor_s) = timed(|| simulate(&volume, &settings, 1, &mut |_| {}));
    scanned?;
    Ok(json!({
        "seconds": clock.elapsed().as_secs_f64(),
        "processor_s": processor_s,
        "peak_rss_mb": peak_rss_mb(),
    }))
}
