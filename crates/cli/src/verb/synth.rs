//! `crossmod synth`: label maps in, labelled images out; and how images look, measured on real ones.

use std::path::{Path, PathBuf};

use crossmod_synth::offline::{self, Options, Shard, Written};
use crossmod_synth::sheet::{self, SheetOptions};
use crossmod_synth::{
    Generator, LabelScheme, LabelSource, PRESETS, SourceOptions, SynthRecipe, fit,
};
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::error::Usage;

/// Makes labelled images of label maps, by a recipe. OUT is an nnU-Net dataset with a record for each
/// image; running the command again makes what is missing.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "Examples:\n  \
    crossmod synth synthseg --labels maps/ --sheet look.png\n  \
    crossmod synth ct-textures --labels maps/ --out made --count 4\n  \
    crossmod synth fit --labels ct/labelsTr --images ct/imagesTr --out prior.toml")]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    #[arg(required = true, help = recipes())]
    recipe: Option<String>,
    #[command(flatten)]
    labels: Labels,
    /// The folder that images are written to
    #[arg(long, value_name = "DIR", required_unless_present = "sheet")]
    out: Option<PathBuf>,
    /// Images of each case [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// What every image depends on [default: the recipe's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Make every N-th image only, from the I-th on, such as 2/8: for several machines
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
    /// Change a value of the recipe, such as --set seed=2 or --set bias.p=0; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Also draw 24 slices of images, to look at
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// Outline what is to be learnt in the sheet
    #[arg(long, requires = "sheet")]
    contours: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Measure how classes look in real scans, for recipes that paint by a prior file
    Fit(Fit),
}

#[derive(Debug, clap::Args)]
struct Fit {
    #[command(flatten)]
    labels: Labels,
    /// The prior file
    #[arg(long, value_name = "FILE.toml")]
    out: PathBuf,
}

/// Which label maps, and what is known of them.
#[derive(Debug, clap::Args)]
struct Labels {
    /// Label maps: a file, a dataset, a folder of them, or a folder of a folder for each case, with a
    /// label map or a mask for each organ
    #[arg(long, value_name = "PATH", required = true)]
    labels: Option<PathBuf>,
    /// Scans of the same cases, where they do not lie beside the label maps
    #[arg(long, value_name = "PATH")]
    images: Option<PathBuf>,
    /// What the label values stand for: freesurfer, totalsegmentator, or a TOML file [default:
    /// names in the dataset, else guessed]
    #[arg(long, value_name = "SCHEME")]
    scheme: Option<String>,
    /// Only cases with this text in their paths, such as a rater's name
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

impl Labels {
    fn open(&self, context: &Context) -> anyhow::Result<LabelSource> {
        let Some(path) = &self.labels else {
            return Err(Usage::error("expected --labels PATH, found none"));
        };
        let scheme = match self.scheme.as_deref() {
            None => None,
            Some("freesurfer") => Some(LabelScheme::freesurfer()),
            Some("totalsegmentator") => Some(LabelScheme::totalsegmentator()),
            Some(file) => Some(LabelScheme::load(Path::new(file))?),
        };
        let options = SourceOptions {
            images: self.images.clone(),
            scheme,
            only: self.only.clone(),
        };
        let source = LabelSource::open_as(path, &options)?;
        for note in &source.notes {
            context.note(note);
        }
        Ok(source)
    }
}

/// What a recipe may be.
fn recipes() -> String {
    let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
    format!("{}, or a TOML file", names.join(", "))
}

fn shard(text: &str) -> Result<Shard, String> {
    text.parse()
        .map_err(|e: crossmod_synth::Error| e.to_string())
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(Other::Fit(fit)) = &args.other {
        return run_fit(fit, context);
    }
    let name = args.recipe.as_deref().unwrap_or_default();
    let given = [
        args.count.map(|count| format!("count={count}")),
        args.seed.map(|seed| format!("seed={seed}")),
    ];
    let overrides: Vec<String> = args
        .set
        .iter()
        .cloned()
        .chain(given.into_iter().flatten())
        .collect();
    let generator = Generator::new(SynthRecipe::load(name, &overrides)?)?;
    let source = args.labels.open(context)?;
    let mut progress = context.progress()?;
    if let Some(path) = &args.sheet {
        let options = SheetOptions {
            contours: args.contours,
            ..SheetOptions::default()
        };
        sheet::write(&generator, &source, path, &options, &mut progress)?;
    }
    let options = Options {
        shard: args.shard,
        most: None,
    };
    let written = args
        .out
        .as_deref()
        .map(|out| offline::write(&generator, &source, out, &options, &mut progress))
        .transpose()?;
    drop(progress);
    tell(args, context, &source, written)?;
    Ok(Outcome::Done)
}

fn tell(
    args: &Args,
    context: &Context,
    source: &LabelSource,
    written: Option<Written>,
) -> anyhow::Result<()> {
    let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let (out, drawn) = (text(&args.out), text(&args.sheet));
    let value = json!({
        "cases": source.cases.len(),
        "made": written.map(|w| w.made),
        "kept": written.map(|w| w.kept),
        "out": out,
        "sheet": drawn,
    });
    context.result(&value, || {
        let mut lines = Vec::new();
        if let (Some(written), Some(out)) = (written, &out) {
            lines.push(format!(
                "{} made, {} already there: {out}",
                written.made, written.kept
            ));
        }
        lines.extend(drawn.as_ref().map(|path| format!("sheet: {path}")));
        lines.join("\n")
    })
}

fn run_fit(args: &Fit, context: &Context) -> anyhow::Result<Outcome> {
    let source = args.labels.open(context)?;
    let cases = source.cases.iter().filter(|case| case.scan.is_some());
    let cases = cases.count();
    if cases == 0 {
        return Err(Usage::error(format!(
            "expected scans to measure, found label maps alone; name the scans' folder with \
             --images: {}",
            source.root.display()
        )));
    }
    let prior = fit(source.pairs(), source.scheme())?;
    prior.save(&args.out)?;
    let out = args.out.display();
    let value = json!({
        "cases": cases,
        "classes": prior.classes.len(),
        "out": out.to_string(),
    });
    context.result(&value, || {
        format!(
            "{} classes of {cases} cases measured: {out}",
            prior.classes.len()
        )
    })?;
    Ok(Outcome::Done)
}
