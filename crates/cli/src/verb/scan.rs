//! `crossmod scan`: volumes in Hounsfield units go through a CT scanner.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use crossmod_learn::window::{Job, jobs};
use crossmod_learn::{Progress, fit};
use crossmod_scanner::geometry::PRESETS;
use crossmod_scanner::simulate::{ScanRecord, ScanSettings, expect_hu, simulate_labelled};
use crossmod_volume::dataset::stem_and_ending;
use crossmod_volume::io::{self, Dtype, Storage};
use crossmod_volume::rng::{Rng, case_id};
use crossmod_volume::{Image, Labels};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{refuse_same_place, train::positive};
use crate::bench::serve::peak_rss_mb;
use crate::context::{Context, Outcome};
use crate::error::Usage;
use crate::progress::{Bar, duration};

/// The `step` of the stream that gives each file of a folder its seed.
const SEEDS: u32 = 0x5CA7_0001;

/// Values that are kept as whole Hounsfield units; with others beside them, they are kept as `f32`.
const WHOLE: std::ops::RangeInclusive<f32> = -32768.0..=32767.0;

/// Scans volumes as a CT scanner does: projects them along a helix, counts photons and reconstructs
/// them on their own grids. Beside each result, NAME.scan.json holds every setting and what was
/// drawn; of a folder, running the command again scans what is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod scan ct.nii.gz low-dose.nii.gz --mas 20")]
pub(crate) struct Args {
    /// A volume in Hounsfield units, or a folder of them
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// A file, or a folder to write to
    #[arg(value_name = "OUT")]
    output: PathBuf,
    #[arg(long, value_name = "SCANNER", default_value = PRESETS[0].0, help = scanners())]
    scanner: String,
    /// Charge per turn, mAs [default: the file's, 200]
    #[arg(long, value_name = "MAS", value_parser = positive, allow_negative_numbers = true)]
    mas: Option<f64>,
    /// What all draws depend on; of a folder, each file's name besides
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Change a setting, such as --set helix.pitch=0.6, --set reconstruction.kernel=shepp-logan or
    /// --set physics.rings={}; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Keep the image as it is and add reconstructed noise alone: no blur, windmill or other artefact
    #[arg(long)]
    fast: bool,
    /// The charge per turn that IN was itself scanned with: only the noise that a lower --mas adds
    #[arg(long, value_name = "MAS", requires = "fast", value_parser = positive,
          allow_negative_numbers = true)]
    given_mas: Option<f64>,
    /// Label maps of IN, for contrast agent in organs (physics.iodine): a file, or a folder of files of
    /// the same names
    #[arg(long, value_name = "PATH")]
    labels: Option<PathBuf>,
    /// Scan values that do not look like Hounsfield units too
    #[arg(long)]
    any_values: bool,
}

/// What a scanner may be, and what those with names are.
fn scanners() -> String {
    let mut text =
        "A scanner, or a TOML file of settings ([scanner], [helix], [tube] …):".to_owned();
    for (name, what) in PRESETS {
        text.push_str(&format!("\n- {name}: {what}"));
    }
    text.push('\n');
    text
}

/// How a result was made; the file beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Sidecar {
    /// Version of this program.
    version: String,
    /// The volume's file.
    input: String,
    record: ScanRecord,
}

impl Sidecar {
    fn path(output: &Path) -> PathBuf {
        let stem = stem_and_ending(output).map_or_else(
            || output.file_name().unwrap_or_default().to_string_lossy(),
            |(stem, _)| stem.into(),
        );
        output.with_file_name(format!("{stem}.scan.json"))
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    refuse_same_place(&args.input, &args.output)?;
    let settings = settings(args)?;
    let jobs = jobs(&args.input, &args.output, true)?;
    let folder = !args.input.is_file();
    let mut progress = context.progress()?;
    progress.stage("scanning");
    let settings = settings
        .calibrated()
        .map_err(|e| Usage::error(e.to_string()))?;
    let (mut files, mut kept, start) = (Vec::new(), 0, Instant::now());
    for (index, job) in jobs.iter().enumerate() {
        if progress.cancelled() {
            anyhow::bail!(
                "interrupted after {} scans; those written are whole; run the command again to make \
                 them all",
                files.len()
            );
        }
        let seed = if folder {
            own_seed(args.seed, &job.input)
        } else {
            args.seed
        };
        if folder && is_made(job, &settings, seed)? {
            kept += 1;
            continue;
        }
        let name = job.input.file_name().unwrap_or_default().to_string_lossy();
        let tell = |bar: &mut Bar, done: f64| {
            bar.update((index as f64 + done) / jobs.len() as f64, &name);
        };
        let record = scan(args, context, job, &settings, seed, &mut |done| {
            tell(&mut progress, done);
        })?;
        tell(&mut progress, 1.0);
        files.push(json!({
            "out": job.output.display().to_string(),
            "seed": seed,
            "views": record.scan.views(),
            "effective_mas": record.effective_mas,
            "photons_per_ray": record.photons_per_ray,
        }));
    }
    drop(progress);
    let (seconds, memory) = (start.elapsed(), peak_rss_mb());
    let out = args.output.display();
    let value = json!({
        "scanned": files.len(),
        "kept": kept,
        "out": out.to_string(),
        "seconds": seconds.as_secs_f64(),
        "peak_rss_mb": memory,
        "files": files,
    });
    context.result(&value, || {
        let memory = memory.map_or(String::new(), |mb| {
            format!(", at most {mb:.0} MB of memory")
        });
        let kept = if kept > 0 {
            format!(", {kept} already there")
        } else {
            String::new()
        };
        let took = duration(seconds);
        format!("{} scanned in {took}{memory}{kept}: {out}", files.len())
    })?;
    Ok(Outcome::Done)
}

/// The settings that the options state together.
fn settings(args: &Args) -> anyhow::Result<ScanSettings> {
    let given = [
        args.mas.map(|mas| format!("tube.mas={mas:?}")),
        args.fast.then(|| "fast=true".to_owned()),
        args.given_mas.map(|mas| format!("given_mas={mas:?}")),
    ];
    let overrides: Vec<String> = args
        .set
        .iter()
        .cloned()
        .chain(given.into_iter().flatten())
        .collect();
    let settings = ScanSettings::load(&args.scanner, &overrides);
    let settings = settings.map_err(|e| Usage::error(e.to_string()))?;
    if !settings.physics.iodine.is_empty() && args.labels.is_none() {
        return Err(Usage::error(
            "expected --labels with physics.iodine, whose organs they tell, found none",
        ));
    }
    Ok(settings)
}

/// A file's own seed: of the seed and its name alone, whatever else the folder holds.
fn own_seed(seed: u64, file: &Path) -> u64 {
    let name = stem_and_ending(file).map_or("", |(stem, _)| stem);
    let mut rng = Rng::new(seed, case_id(name), SEEDS);
    // Numbers that JSON keeps whole in any reader.
    u64::from(rng.bits())
}

/// Whether a result is there already, made alike.
fn is_made(job: &Job, settings: &ScanSettings, seed: u64) -> anyhow::Result<bool> {
    let path = Sidecar::path(&job.output);
    if !(path.is_file() && job.output.exists()) {
        return Ok(false);
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("could not read: {}", path.display()))?;
    let found: Sidecar = serde_json::from_str(&text)
        .with_context(|| format!("expected the record of a scan: {}", path.display()))?;
    let mut own = found.record.settings;
    if own.draw_start {
        own.helix.start_deg = settings.helix.start_deg;
    }
    // Through text, as the record has gone.
    let wanted: ScanSettings = serde_json::from_str(&serde_json::to_string(settings)?)?;
    if own == wanted && found.record.seed == seed {
        return Ok(true);
    }
    anyhow::bail!(
        "expected a scan of these settings and seed, found one of others; name another OUT, or remove \
         it: {}",
        path.display()
    )
}

/// Scans one volume.
fn scan(
    args: &Args,
    context: &Context,
    job: &Job,
    settings: &ScanSettings,
    seed: u64,
    on_progress: &mut dyn FnMut(f64),
) -> anyhow::Result<ScanRecord> {
    let of_file = |e: crossmod_scanner::Error| anyhow::anyhow!("{e}: {}", job.input.display());
    let (volume, storage) = io::read_image_stored(&job.input)?;
    if volume.grid().shape().contains(&1) {
        anyhow::bail!(
            "expected a volume of several slices, found {:?} voxels: {}",
            volume.grid().shape(),
            job.input.display()
        );
    }
    if !args.any_values {
        expect_hu(&volume).map_err(|e| {
            anyhow::anyhow!(
                "{e}; convert it, or scan it all the same with --any-values: {}",
                job.input.display()
            )
        })?;
    }
    let labels = labels(args, job)?;
    let scanned = simulate_labelled(&volume, labels.as_ref(), settings, seed, on_progress);
    let (image, record) = scanned.map_err(of_file)?;
    drop(volume);
    let radius = record.scan.field_radius_mm();
    if settings.helix.field_radius_mm.is_none() && reaches_past(&image, &record) && !settings.fast {
        context.note(&format!(
            "beyond {radius:.0} mm of the axis, where the scanner's field of view ends, the result is \
             air: {}",
            job.output.display()
        ));
    }
    io::write_image(&job.output, &image, &stored(&image, storage))?;
    let sidecar = Sidecar {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        input: job.input.display().to_string(),
        record,
    };
    fit::write_json(&Sidecar::path(&job.output), &sidecar)?;
    Ok(sidecar.record)
}

/// The label map of a volume, where there is to be one.
fn labels(args: &Args, job: &Job) -> anyhow::Result<Option<Labels>> {
    let Some(path) = &args.labels else {
        return Ok(None);
    };
    let file = match job.input.file_name() {
        Some(name) if path.is_dir() => path.join(name),
        _ => path.clone(),
    };
    Ok(Some(io::read_labels(&file)?))
}

/// Whether a corner of an image lies beyond the field of view.
fn reaches_past(image: &Image, record: &ScanRecord) -> bool {
    let last = image.grid().shape().map(|n| (n - 1) as f64);
    let [cx, cy] = record.scan.isocentre_mm();
    (0..8).any(|corner| {
        let voxel = [0, 1, 2].map(|axis| {
            if corner >> axis & 1 == 1 {
                last[axis]
            } else {
                0.0
            }
        });
        let [x, y, _] = image.grid().world(voxel);
        (x - cx).hypot(y - cy) > record.scan.field_radius_mm() + 1e-6
    })
}

/// How a result is kept: whole Hounsfield units where the volume's samples are whole and these fit.
fn stored(image: &Image, volume: Storage) -> Storage {
    let whole = !matches!(volume.dtype, Dtype::F32 | Dtype::F64);
    let fits = image.data().iter().all(|v| WHOLE.contains(v));
    Storage {
        dtype: if whole && fits {
            Dtype::I16
        } else {
            Dtype::F32
        },
        slope: 1.0,
        intercept: 0.0,
        ..volume
    }
}
