//! Sheets of translations: what a run makes of images of either modality, and what comes back of it.

use crossmod_learn::device::Processor;
use crossmod_learn::plan::Domain;
use crossmod_learn::recipe::{self, Task};
use crossmod_learn::window::{Direction, Predictor, Translator};
use crossmod_learn::{Error, Progress};
use crossmod_measure::overlap;
use crossmod_report::case::window;
use crossmod_report::page::Picture;
use crossmod_report::{Plane, Sheet, Stack, Tile};
use crossmod_volume::dataset::{Case, Dataset};
use crossmod_volume::space::resample_labels_nearest;
use crossmod_volume::{Image, Labels, io};

use super::gather::Gathered;
use crate::progress::Bar;

/// Height of a tile, pixels.
const TILE_HEIGHT: usize = 180;

/// The sheets of the runs that translate and whose datasets are still there: at most `most` cases of
/// each modality, the least consistent first.
///
/// # Errors
/// [`Error::Interrupted`] where the user ends it; what drawing gives. A run that cannot translate has
/// no sheet.
pub(super) fn sheets(
    runs: &[Gathered],
    most: usize,
    processor: &Processor,
    progress: &mut Bar,
) -> anyhow::Result<Vec<Picture>> {
    let mut sheets = Vec::new();
    for run in runs {
        let translators = match Translators::of(run, processor) {
            Ok(Some(translators)) => translators,
            Ok(None) => continue,
            Err(error) => {
                progress.note(&format!("{}: no translations shown: {error}", run.name));
                continue;
            }
        };
        for domain in [Domain::Source, Domain::Target] {
            if let Some(cases) = cases_of(run, domain) {
                progress.stage(&format!("{}: translating", run.name));
                sheets.extend(translators.sheet(&run.name, domain, &cases, most, progress)?);
            }
        }
    }
    Ok(sheets)
}

/// The cases of one of the datasets that a run was trained on.
fn cases_of(run: &Gathered, domain: Domain) -> Option<Vec<Case>> {
    let manifest = run.manifest.as_ref()?;
    let folder = match domain {
        Domain::Source => manifest.source.as_ref()?,
        Domain::Target => manifest.target.as_ref()?,
    };
    let dataset = Dataset::open(folder).ok()?;
    Some(dataset.training).filter(|cases| !cases.is_empty())
}

/// The nets of a run that say what a translation is and what it kept.
struct Translators {
    to_target: Translator,
    to_source: Option<Translator>,
    /// Segments images of the target; those of the source, too, in some runs.
    segmentor: Option<Predictor>,
}

/// A case that was translated.
struct Shown {
    caption: String,
    tiles: Vec<Tile>,
    /// The higher the better.
    consistency: f64,
}

impl Translators {
    fn of(run: &Gathered, processor: &Processor) -> crossmod_learn::Result<Option<Self>> {
        let Ok(folder) = recipe::run_that(Task::Translate, &run.folder) else {
            return Ok(None);
        };
        let way = |direction| Translator::load(&folder, direction, processor);
        let to_target = match way(Direction::SourceToTarget) {
            // A run that has none, or has not saved them yet.
            Err(Error::Run { .. }) => return Ok(None),
            loaded => loaded?,
        };
        Ok(Some(Self {
            to_target,
            to_source: way(Direction::TargetToSource).ok(),
            segmentor: Predictor::load(&folder, Some(Domain::Target), processor).ok(),
        }))
    }

    /// The sheet of one modality's images.
    fn sheet(
        &self,
        run: &str,
        domain: Domain,
        cases: &[Case],
        most: usize,
        progress: &mut Bar,
    ) -> anyhow::Result<Option<Picture>> {
        let (there, back) = match domain {
            Domain::Source => (Some(&self.to_target), self.to_source.as_ref()),
            Domain::Target => (self.to_source.as_ref(), Some(&self.to_target)),
        };
        let Some(there) = there else {
            return Ok(None);
        };
        let taken = most.min(cases.len());
        let mut rows = Vec::new();
        for i in 0..taken {
            // Evenly across the dataset.
            let case = &cases[i * cases.len() / taken];
            progress.update(i as f64 / taken as f64, &case.id);
            if progress.cancelled() {
                anyhow::bail!("interrupted; nothing was written");
            }
            rows.extend(self.shown(case, domain, there, back)?);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        rows.sort_by(|a, b| a.consistency.total_cmp(&b.consistency));
        let columns = [there_name(domain), "translated", "and back"];
        let columns = &columns[..rows.iter().map(|row| row.tiles.len()).max().unwrap_or(0)];
        let mut sheet = Sheet::new(columns).tile_height(TILE_HEIGHT);
        for row in rows {
            sheet = sheet.row(&row.caption, row.tiles);
        }
        Ok(Some(Picture {
            title: format!("{run}: {} as {}", there_name(domain), there.to()),
            text: if self.segmentor.is_some() || back.is_some() {
                let all = cases.len();
                format!("{taken} of {all} training cases, the least consistent first. {MEANING}")
            } else {
                format!("{taken} of {} training cases.", cases.len())
            },
            png: sheet.png()?,
        }))
    }

    /// A case in its fullest slice; nothing where it has no image.
    fn shown(
        &self,
        case: &Case,
        domain: Domain,
        there: &Translator,
        back: Option<&Translator>,
    ) -> anyhow::Result<Option<Shown>> {
        let Some(path) = case.images.first() else {
            return Ok(None);
        };
        let image = io::read_image(path)?;
        let truth = case.label.as_deref().map(io::read_labels).transpose()?;
        let truth = truth.map(|truth| resample_labels_nearest(&truth, image.grid()));
        let translated = there.translate(image.clone())?;
        let returned = back.map(|back| back.translate(translated.clone()));
        let returned = returned.transpose()?;
        let kept = match (&self.segmentor, &truth, domain) {
            (Some(segmentor), Some(truth), Domain::Source) => {
                mean_dice(&segmentor.segment(translated.clone())?, truth)?
            }
            _ => None,
        };
        let change = returned.as_ref().map(|r| cycle_error(&image, r));
        let maps: Vec<&Labels> = truth.iter().collect();
        let planes = Plane::worth_showing(image.grid())?;
        let plane = planes.first().copied().unwrap_or(Plane::Axial);
        let level = Stack::new(plane, &image, &maps)?.fullest();
        let (own, other) = (window(&image), window(&translated));
        let pictures = [(&image, own), (&translated, other)];
        let pictures = pictures
            .into_iter()
            .chain(returned.as_ref().map(|r| (r, own)));
        let tiles: crossmod_report::Result<Vec<Tile>> = pictures
            .map(|(image, window)| Stack::new(plane, image, &[])?.tile(level, window, None))
            .collect();
        let figure = match (kept, change) {
            (Some(dice), _) => format!("Dice {dice:.2}"),
            (None, Some(change)) => format!("cycle {change:.3}"),
            (None, None) => String::new(),
        };
        Ok(Some(Shown {
            caption: format!("{} {figure}", case.id),
            tiles: tiles?,
            consistency: kept.or(change.map(|change| -change)).unwrap_or(0.0),
        }))
    }
}

/// What the figures beside the pictures are.
const MEANING: &str = "Dice: of what the run's segmentor finds in the translation with the labels of \
                       the image; without labels, cycle: mean difference of what comes back, by the \
                       window shown.";

fn there_name(domain: Domain) -> &'static str {
    match domain {
        Domain::Source => "source",
        Domain::Target => "target",
    }
}

/// Mean over the labels that the truth has; none where it has none.
fn mean_dice(found: &Labels, truth: &Labels) -> anyhow::Result<Option<f64>> {
    let mut labels: Vec<u16> = truth.data().to_vec();
    labels.sort_unstable();
    labels.dedup();
    labels.retain(|&label| label != 0);
    let dice: Vec<f64> = overlap(found, truth, &labels)?
        .values()
        .filter_map(|overlap| overlap.dice())
        .collect();
    Ok((!dice.is_empty()).then(|| dice.iter().sum::<f64>() / dice.len() as f64))
}

/// Mean absolute difference inside the window that the image is shown in, by its width.
fn cycle_error(image: &Image, returned: &Image) -> f64 {
    let (low, high) = window(image);
    let width = f64::from((high - low).max(f32::MIN_POSITIVE));
    let shown = |v: f32| f64::from(v.clamp(low, high.max(low)));
    let pairs = image.data().iter().zip(returned.data());
    let sum: f64 = pairs.map(|(a, b)| (shown(*a) - shown(*b)).abs()).sum();
    sum / (width * image.data().len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::Grid;

    #[test]
    fn what_is_kept_is_measured_by_label_and_by_window() {
        let grid = Grid::with_spacing([4, 1, 1], [1.0; 3]).expect("a grid");
        let labels = |values: [u16; 4]| Labels::new(grid.clone(), values.into()).expect("labels");
        let dice = mean_dice(&labels([1, 1, 0, 2]), &labels([1, 0, 0, 2])).expect("one grid");
        assert!((dice.expect("labels") - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
        assert_eq!(
            mean_dice(&labels([1; 4]), &labels([0; 4])).expect("one grid"),
            None
        );
        let image = |values: [f32; 4]| Image::new(grid.clone(), values.into()).expect("an image");
        let original = image([0.0, 0.0, 10.0, 10.0]);
        assert_eq!(cycle_error(&original, &original), 0.0);
        let off = cycle_error(&original, &image([0.0, 0.0, 10.0, 0.0]));
        assert!((off - 0.25).abs() < 0.01, "{off}");
    }
}
