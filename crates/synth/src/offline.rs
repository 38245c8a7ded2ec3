//! Images made ahead of training, as an nnU-Net dataset on disk.
//!
//! | file | holds |
//! |---|---|
//! | `recipe.toml` | the recipe, resolved |
//! | `imagesTr/CASE_nn_0000.nii.gz`, `labelsTr/CASE_nn.nii.gz` | image `nn` of a case and what is to be learnt of it |
//! | `records/CASE_nn.json` | how it was made; written last, so that what has one is whole |
//! | `dataset.json` | channel, labels and the number of images, once the first is there |
//!
//! What is there is not made again, so that a run that was interrupted goes on by running it once more.
//! A run can be shared out: shard `i` of `n` makes every `n`-th image, the same that one run makes.
//! Images are `f32`; where the recipe's channel is CT they are rounded to whole Hounsfield units.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crossmod_volume::io::{Dtype, Storage, write_atomic, write_image, write_labels};

use crate::{Error, Generator, LabelSource, Made, Progress, Result, SynthRecipe};
use description::Description;

mod description;
mod difference;

/// Which images are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Every how many-th image; all where not given.
    pub shard: Option<Shard>,
    /// At most so many images, of as many cases as there are; all where not given.
    pub most: Option<usize>,
}

/// One of several equal parts of the work, such as `2/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    of: usize,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Images made.
    pub made: usize,
    /// Images that were there already.
    pub kept: usize,
}

impl Shard {
    /// Part `number`, from 1, of `of`.
    ///
    /// # Errors
    /// [`Error::Recipe`] where there is no such part.
    pub fn new(number: usize, of: usize) -> Result<Self> {
        if (1..=of).contains(&number) {
            return Ok(Self { number, of });
        }
        Err(Error::Recipe(format!(
            "expected a shard such as 1/4, from 1 to the number of shards, found {number}/{of}"
        )))
    }

    fn holds(self, index: usize) -> bool {
        index % self.of == self.number - 1
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::Recipe(format!(
                "expected a shard such as 1/4, from 1 to the number of shards, found `{text}`"
            ))
        };
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        match (number.trim().parse(), of.trim().parse()) {
            (Ok(number), Ok(of)) => Self::new(number, of),
            _ => Err(wrong()),
        }
    }
}

/// Makes the images of a source's cases, as many of each as the recipe's `count` says, into a folder.
///
/// # Errors
/// [`Error::File`] where the folder holds something else or was made by another recipe, naming what
/// differs; [`Error::Interrupted`] where the user asked to stop; what reading, making and writing
/// give. Images that are written are whole, and are kept when the work is taken up again.
pub fn write(
    generator: &Generator,
    source: &LabelSource,
    out: &Path,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Written> {
    let recipe = generator.recipe();
    claim(out, recipe)?;
    let count = recipe.count as usize;
    let cases = source.cases.len();
    let most = options.most.unwrap_or(usize::MAX).min(cases * count);
    let wanted = |case: usize, number: usize| {
        let index = case * count + number;
        number * cases + case < most && options.shard.is_none_or(|shard| shard.holds(index))
    };
    let all: usize = (0..cases)
        .map(|case| (0..count).filter(|&number| wanted(case, number)).count())
        .sum();
    let mut description = Description::open(out, &recipe.channel, most)?;
    let mut written = Written { made: 0, kept: 0 };
    progress.stage("making images");
    for (index, case) in source.cases.iter().enumerate() {
        let places = (0..count)
            .filter(|&number| wanted(index, number))
            .map(|number| (number, Place::of(out, &case.id, number)));
        let (kept, mut left): (Vec<_>, Vec<_>) = places.partition(|(_, place)| place.is_whole());
        written.kept += kept.len();
        // The last image takes the scene, the others a copy.
        left.reverse();
        if left.is_empty() {
            continue;
        }
        if progress.cancelled() {
            return Err(interrupted(written));
        }
        let (scene, overlap) = case.scene(source.scheme())?;
        if overlap > 0 {
            progress.note(&format!(
                "{}: {overlap} voxels lie in several masks; the later name is kept",
                case.id
            ));
        }
        let mut scene = Some(scene);
        while let Some((number, place)) = left.pop() {
            if progress.cancelled() {
                return Err(interrupted(written));
            }
            let taken = if left.is_empty() {
                scene.take()
            } else {
                scene.clone()
            };
            let Some(taken) = taken else { break };
            let made = generator.make(&case.id, number as u32, taken)?;
            description.add(&made, source)?;
            place.save(&made, &recipe.channel)?;
            written.made += 1;
            let done = written.made + written.kept;
            let message = format!("{done} of {all}: {}", place.name);
            progress.update(done as f64 / all as f64, &message);
        }
    }
    description.save()?;
    Ok(written)
}

fn interrupted(written: Written) -> Error {
    Error::Interrupted { made: written.made }
}

/// Makes the folder one of the recipe's, if it is not yet.
fn claim(out: &Path, recipe: &SynthRecipe) -> Result<()> {
    let file = out.join("recipe.toml");
    if file.exists() {
        let own = SynthRecipe::load(&file.to_string_lossy(), &[])?;
        if let Some(difference) = difference::of(&own, recipe)? {
            return Err(Error::file(
                format!(
                    "expected a folder of this recipe, found one of another: {difference}; name \
                     another folder, or make the recipes the same"
                ),
                &file,
            ));
        }
        if own == *recipe {
            return folders(out);
        }
    } else if out.exists() && holds_anything(out)? {
        return Err(Error::file(
            "expected a new folder, an empty one or one that synth made, found other files; name \
             another",
            out,
        ));
    }
    create(out)?;
    let text = toml::to_string(recipe).map_err(|e| Error::Recipe(e.to_string()))?;
    write_atomic(&file, |to| to.write_all(text.as_bytes()))?;
    folders(out)
}

fn folders(out: &Path) -> Result<()> {
    let names = ["imagesTr", "labelsTr", "records"];
    names
        .into_iter()
        .try_for_each(|name| create(&out.join(name)))
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .map_err(|e| crossmod_volume::Error::io("create the folder", e, folder).into())
}

/// Hidden files, such as those of a write that goes on beside, do not count.
fn holds_anything(folder: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(folder).map_err(|e| Error::read(e, folder))?;
    Ok(entries.any(|entry| {
        entry.map_or(true, |entry| {
            !entry.file_name().to_string_lossy().starts_with('.')
        })
    }))
}

/// Where an image goes.
struct Place {
    name: String,
    image: PathBuf,
    labels: PathBuf,
    record: PathBuf,
}

impl Place {
    fn of(out: &Path, case: &str, number: usize) -> Self {
        let name = format!("{case}_{number:02}");
        Self {
            image: out.join("imagesTr").join(format!("{name}_0000.nii.gz")),
            labels: out.join("labelsTr").join(format!("{name}.nii.gz")),
            record: out.join("records").join(format!("{name}.json")),
            name,
        }
    }

    fn is_whole(&self) -> bool {
        [&self.record, &self.image, &self.labels]
            .iter()
            .all(|path| path.is_file())
    }

    fn save(&self, made: &Made, channel: &str) -> Result<()> {
        let storage = Storage {
            dtype: if is_ct(channel) {
                Dtype::I16
            } else {
                Dtype::F32
            },
            ..Storage::default()
        };
        let (image, labels) = rayon::join(
            || write_image(&self.image, &made.image, &storage),
            || write_labels(&self.labels, &made.labels),
        );
        image?;
        labels?;
        let text =
            serde_json::to_string(&made.record).map_err(|e| Error::record(e, &self.record))?;
        Ok(write_atomic(&self.record, |to| {
            to.write_all(text.as_bytes())
        })?)
    }
}

/// Whether a channel's name says that values are Hounsfield units.
pub(crate) fn is_ct(channel: &str) -> bool {
    channel
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| word.eq_ignore_ascii_case("ct"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_parts_that_make_a_whole() {
        let shards: Vec<Shard> = (1..=3).map(|i| Shard::new(i, 3).expect("a part")).collect();
        for index in 0..20 {
            let holders = shards.iter().filter(|shard| shard.holds(index)).count();
            assert_eq!(holders, 1, "{index}");
        }
        assert_eq!("2/3".parse::<Shard>().expect("a shard"), shards[1]);
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"] {
            let error = wrong.parse::<Shard>().expect_err(wrong).to_string();
            assert!(error.contains("such as 1/4"), "{error}");
        }
    }

    #[test]
    fn channels_are_ct_by_a_word() {
        assert!(is_ct("CT") && is_ct("ct (portal venous)"));
        assert!(!is_ct("MR") && !is_ct("T1 perfect"));
    }
}
