//! `crossmod plan`: how a dataset is to be segmented, and why.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use crossmod_kernels::fma_peak;
use crossmod_learn::segment::plan::{Dims, nnunet::Plans};
use crossmod_learn::segment::{Fingerprint, PlanConfig, SegmentationPlan};
use crossmod_volume::dataset::Dataset;
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::error::Usage;

/// Reads every labelled case of a dataset, decides how it is to be segmented and says why. Writes
/// fingerprint.json, plan.toml, which may be edited, and nnUNetPlans.json, which nnU-Net trains from;
/// where patches show little of a case, plan_coarse.toml too, for a first look at a coarser
/// resolution.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod plan ct/ --out plan\n  \
    crossmod plan ct/ --out plan --ram 4GB")]
pub(crate) struct Args {
    /// The dataset's folder, or a folder of label maps to synthesise images from
    dataset: PathBuf,
    /// Where the files are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// What the net sees [default: volumes where there are any]
    #[arg(long, value_enum)]
    dims: Option<Kind>,
    /// Neighbours on each side that 2.5d sees of a slice
    #[arg(long, value_name = "C", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=127))]
    context: u8,
    /// Memory that training on the CPU may take, such as 8GB or 500MB [default: three quarters of
    /// this machine's, 8 GB at most]
    #[arg(long, value_name = "SIZE", value_parser = megabytes)]
    ram: Option<usize>,
    /// Memory of the graphics card to plan for by nnU-Net's rule, such as 8GB; without --ram the only
    /// limit
    #[arg(long, value_name = "SIZE", value_parser = megabytes)]
    vram: Option<usize>,
    /// Take the plan from nnU-Net's plans.json instead of making one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ram", "vram"])]
    nnunet: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Single slices
    #[value(name = "2d")]
    Two,
    /// A slice and its neighbours
    #[value(name = "2.5d")]
    TwoAndHalf,
    /// Volumes
    #[value(name = "3d")]
    Three,
}

/// The most memory that is planned for unasked, MB: what nnU-Net plans for.
const UNASKED_MB: usize = 8000;

/// Share of the multiply-adds a machine can do that training reaches; `doc/performance.md`.
const EFFICIENCY: f64 = 0.85;

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let files = Files::of(&args.out)?;
    let mut progress = context.progress()?;
    let fingerprint = match Dataset::open(&args.dataset) {
        Ok(dataset) => Fingerprint::of(&dataset, &mut progress)?,
        // Label maps alone are no dataset; what is neither is told as a dataset's fault.
        Err(problem) => match Fingerprint::of_label_maps(&args.dataset, &mut progress) {
            Err(crossmod_learn::Error::Synth(_)) => return Err(problem.into()),
            found => found?,
        },
    };
    drop(progress);
    let config = config(args);
    let plan = match &args.nnunet {
        Some(file) => taken(file, &fingerprint, &config)?,
        None => SegmentationPlan::make(&fingerprint, &config)?,
    };
    let coarse = match args.nnunet {
        None => SegmentationPlan::make_coarser(&plan, &fingerprint, &config)?,
        Some(_) => None,
    };
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("could not make the folder: {}", args.out.display()))?;
    let mut written = Vec::new();
    fingerprint.save(&files.fingerprint)?;
    written.push(&files.fingerprint);
    plan.save(&files.plan)?;
    written.push(&files.plan);
    if let Some(coarse) = &coarse {
        coarse.save(&files.coarse)?;
        written.push(&files.coarse);
    }
    if args.nnunet.is_none() {
        for_nnunet(&plan, coarse.as_ref(), &fingerprint, &config)?.save(&files.nnunet)?;
        written.push(&files.nnunet);
    }
    context.result(
        &json!({ "plan": plan, "coarse": coarse, "files": written }),
        || text(&plan, coarse.as_ref(), &fingerprint, &written),
    )?;
    Ok(Outcome::Done)
}

/// What is written.
struct Files {
    fingerprint: PathBuf,
    plan: PathBuf,
    coarse: PathBuf,
    nnunet: PathBuf,
}

impl Files {
    /// Refuses to replace a plan, which may have been edited.
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let files = Self {
            fingerprint: folder.join("fingerprint.json"),
            plan: folder.join("plan.toml"),
            coarse: folder.join("plan_coarse.toml"),
            nnunet: folder.join("nnUNetPlans.json"),
        };
        if let Some(there) = [&files.plan, &files.coarse]
            .into_iter()
            .find(|f| f.exists())
        {
            return Err(Usage::error(format!(
                "expected no plan where one is to be written, found one that may have been edited; \
                 give another --out, or remove it: {}",
                there.display()
            )));
        }
        Ok(files)
    }
}

fn config(args: &Args) -> PlanConfig {
    let dims = args.dims.map(|kind| match kind {
        Kind::Two => Dims::Two,
        Kind::TwoAndHalf => Dims::TwoAndHalf {
            context: args.context.into(),
        },
        Kind::Three => Dims::Three,
    });
    let unasked = || {
        let most = memory_mb().map_or(UNASKED_MB, |mb| mb * 3 / 4);
        most.min(UNASKED_MB)
    };
    PlanConfig {
        dims,
        ram_mb: match (args.ram, args.vram) {
            (None, Some(_)) => None,
            (asked, _) => Some(asked.unwrap_or_else(unasked)),
        },
        vram_gb: args.vram.map(|mb| mb as f64 / 1000.0),
        gflops: EFFICIENCY * fma_peak(rayon::current_num_threads()),
        ..PlanConfig::default()
    }
}

/// This machine's memory, MB (10⁶ bytes), where it is told.
fn memory_mb() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = total.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024 / 1_000_000)
}

/// `8GB`, `8`, `500MB`: MB of 10⁶ bytes.
pub(super) fn megabytes(text: &str) -> Result<usize, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match lower[digits.len()..].trim() {
        "" | "g" | "gb" => 1e3,
        "gib" => 1_073.741_824,
        "m" | "mb" => 1.0,
        "mib" => 1.048_576,
        "t" | "tb" => 1e6,
        // Another word: no size at all.
        _ => 0.0,
    };
    match digits.trim().parse::<f64>() {
        Ok(number) if number * scale > 0.0 && number * scale < 1e12 => {
            Ok((number * scale).round().max(1.0) as usize)
        }
        _ => Err(format!(
            "expected a size such as 8GB or 500MB, found {text}"
        )),
    }
}

/// The plan in nnU-Net's file: its 3-D one at full resolution unless another is asked for.
fn taken(
    file: &Path,
    fingerprint: &Fingerprint,
    config: &PlanConfig,
) -> anyhow::Result<SegmentationPlan> {
    let plans = Plans::load(file)?;
    let name = match config.dims {
        Some(Dims::Two) => "2d",
        Some(Dims::TwoAndHalf { .. }) => {
            return Err(Usage::error(
                "expected --dims 2d or 3d with --nnunet, found 2.5d, which nnU-Net does not have",
            ));
        }
        Some(Dims::Three) => "3d_fullres",
        None if plans.configurations.contains_key("3d_fullres") => "3d_fullres",
        None => "2d",
    };
    let plan = plans.plan(name, fingerprint, config);
    plan.with_context(|| format!("could not take the plan from nnU-Net's: {}", file.display()))
}

/// The plans that nnU-Net has names for: those made and, where it can be, the other of 2-D and 3-D.
fn for_nnunet(
    plan: &SegmentationPlan,
    coarse: Option<&SegmentationPlan>,
    fingerprint: &Fingerprint,
    config: &PlanConfig,
) -> anyhow::Result<Plans> {
    let made = |dims| {
        let config = PlanConfig {
            dims: Some(dims),
            ..config.clone()
        };
        SegmentationPlan::make(fingerprint, &config).ok()
    };
    let others: Vec<SegmentationPlan> = [Dims::Two, Dims::Three]
        .into_iter()
        .filter(|dims| *dims != plan.dims)
        .filter_map(made)
        .collect();
    let own = Some(plan).filter(|plan| matches!(plan.dims, Dims::Two | Dims::Three));
    let all: Vec<&SegmentationPlan> = own.into_iter().chain(coarse).chain(&others).collect();
    Ok(Plans::of(fingerprint, &all)?)
}

fn text(
    plan: &SegmentationPlan,
    coarse: Option<&SegmentationPlan>,
    fingerprint: &Fingerprint,
    written: &[&PathBuf],
) -> String {
    let names: Vec<&str> = fingerprint.classes.iter().map(|c| &*c.class.name).collect();
    let mut text = format!(
        "{}: {} cases, {} classes ({})\n\n",
        plan.dataset,
        fingerprint.cases.len(),
        names.len(),
        shortened(&names)
    );
    let mut part = |title: &str, plan: &SegmentationPlan| {
        text.push_str(&format!("{title}\n"));
        for reason in &plan.reasons {
            text.push_str(&format!("  {reason}\n"));
        }
        text.push('\n');
    };
    part("plan", plan);
    if let Some(coarse) = coarse {
        part("coarse plan", coarse);
    }
    for file in written {
        text.push_str(&format!("wrote {}\n", file.display()));
    }
    text
}

/// The first few names.
fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    match names.len() {
        0..=SHOWN => names.join(", "),
        n => format!("{}, and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let sizes = ["8GB", "8", "500MB", "1.5g", "2GiB", " 16 gb "].map(megabytes);
        let expected = [8000, 8000, 500, 1500, 2147, 16000].map(Ok);
        assert_eq!(sizes, expected);
        for wrong in ["", "GB", "-1GB", "8XB", "nan", "1e30"] {
            assert!(megabytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn long_lists_are_shortened() {
        assert_eq!(shortened(&["a", "b"]), "a, b");
        assert_eq!(shortened(&["a"; 8]), "a, a, a, a, a, a, and 2 more");
    }
}
