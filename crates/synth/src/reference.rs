//! Where a recipe's CT intensities come from: the built-in tables, the case's own scan, a prior file,
//! or, for the body as a whole, a reference scan.
//!
//! In a recipe: `prior = "ct"`, `"scan"`, or the path of a prior (`.toml`) or of an image. What a prior
//! file does not know is taken from the tables.

use std::path::Path;

use crossmod_volume::io::read_image;
use crossmod_volume::rng::Rng;
use crossmod_volume::shape::{Extent, Neighbourhood, fill_holes, keep_largest};
use crossmod_volume::{Image, Labels};
use serde::{Deserialize, Serialize};

use crate::{Error, Phase, Prior, Quantiles, Result, Scene, Structure, tables};

/// The tables' name.
const TABLES: &str = "ct";

/// The case's own scan's name.
const SCAN: &str = "scan";

/// The class of a prior file that stands for all of the body.
pub(crate) const BODY: &str = "body";

/// What is not part of the body, HU.
const OUTSIDE_HU: f32 = -400.0;

/// Quantiles that stand for a scan.
const OF_A_SCAN: usize = 1025;

/// Where intensities come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Reference {
    name: String,
    prior: Prior,
    body: Option<Quantiles>,
}

impl From<String> for Reference {
    fn from(name: String) -> Self {
        Self {
            name,
            prior: Prior::default(),
            body: None,
        }
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.name
    }
}

impl Default for Reference {
    /// The built-in tables.
    fn default() -> Self {
        Self::from(TABLES.to_owned())
    }
}

/// A distribution as a record holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Distribution {
    /// Of the same voxels in the case's own scan.
    Scan,
    /// Normal.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        sd: f32,
    },
    /// Of these quantiles.
    Quantiles(Quantiles),
}

impl Reference {
    /// Reads the file that is named, if one is; `body` says that a scan will do.
    pub(crate) fn load(&mut self, key: &str, body: bool) -> Result<()> {
        let path = Path::new(&self.name);
        if self.name == TABLES || self.name == SCAN {
            return Ok(());
        }
        if self.name.ends_with(".toml") {
            self.prior = Prior::load(path)?;
            return Ok(());
        }
        if !path.exists() {
            let image = if body { ", or of a reference scan" } else { "" };
            return Err(Error::file(
                format!(
                    "expected {key} to be \"{TABLES}\", \"{SCAN}\" or the path of a prior \
                     (.toml){image}, found none of them"
                ),
                path,
            ));
        }
        if !body {
            return Err(Error::file(
                format!(
                    "expected {key} to be \"{TABLES}\", \"{SCAN}\" or a prior (.toml), found \
                     another file; measure a prior with `crossmod synth fit`"
                ),
                path,
            ));
        }
        let values = body_of(&read_image(path)?)?;
        let quantiles = Quantiles::of(values, OF_A_SCAN);
        let nothing = || {
            let message = format!("expected a CT with a body above {OUTSIDE_HU} HU, found none");
            Error::file(message, path)
        };
        self.body = Some(quantiles.ok_or_else(nothing)?);
        Ok(())
    }

    pub(crate) fn is_scan(&self) -> bool {
        self.name == SCAN
    }

    /// One value for all of a structure. `scan_mean` gives its mean in the case's own scan.
    pub(crate) fn constant(
        &self,
        structure: &Structure,
        value: u16,
        phase: Phase,
        scan_mean: impl FnOnce() -> Option<f32>,
        rng: &mut Rng,
    ) -> f32 {
        if let Some(class) = self.prior.of(&structure.class, &[value]) {
            return class.mean.draw(rng);
        }
        let hu = tables::ct(&[&structure.class, &structure.name], phase);
        let mean = if self.is_scan() { scan_mean() } else { None };
        mean.unwrap_or(hu.mean) + hu.between * rng.normal()
    }

    /// How a structure's voxels are distributed in this image.
    pub(crate) fn distribution(
        &self,
        structure: &Structure,
        value: u16,
        phase: Phase,
        rng: &mut Rng,
    ) -> Distribution {
        if self.is_scan() {
            return Distribution::Scan;
        }
        if let Some(class) = self.prior.of(&structure.class, &[value]) {
            let known = class.quantiles.clone().map(Quantiles::try_from);
            return match known {
                Some(Ok(quantiles)) => Distribution::Quantiles(quantiles),
                _ => Distribution::Normal {
                    mean: class.mean.draw(rng),
                    sd: class.sd.draw(rng).max(0.0),
                },
            };
        }
        let hu = tables::ct(&[&structure.class, &structure.name], phase);
        Distribution::Normal {
            mean: hu.mean + hu.between * rng.normal(),
            sd: hu.sd,
        }
    }

    /// How the voxels of a body are distributed.
    pub(crate) fn body(&self, phase: Phase) -> Distribution {
        let of_prior = || {
            let class = self.prior.classes.iter().find(|c| c.name == BODY)?;
            class.quantiles.clone()?.try_into().ok()
        };
        match self.body.clone().or_else(of_prior) {
            _ if self.is_scan() => Distribution::Scan,
            Some(quantiles) => Distribution::Quantiles(quantiles),
            None => Distribution::Quantiles(tables::body(phase)),
        }
    }
}

impl Distribution {
    /// Its quantiles; `scan` gives the voxels of the case's own scan that it is of.
    pub(crate) fn quantiles(
        &self,
        scan: impl FnOnce() -> Result<Vec<f32>>,
    ) -> Result<Option<Quantiles>> {
        Ok(match self {
            Self::Scan => Quantiles::of(scan()?, OF_A_SCAN),
            Self::Normal { mean, sd } => Some(Quantiles::normal(*mean, *sd)),
            Self::Quantiles(quantiles) => Some(quantiles.clone()),
        })
    }
}

/// The case's own scan, for a step that learns from it.
pub(crate) fn scan_of<'a>(scene: &'a Scene, step: &str) -> Result<&'a Image> {
    scene.scan.as_ref().ok_or_else(|| {
        Error::Recipe(format!(
            "expected a scan of the case, which {step} learns from, found labels alone; give images \
             too, or set {step}'s prior to \"{TABLES}\""
        ))
    })
}

/// The voxels of a CT that are of the body: the largest part above −400 HU, what it encloses in each
/// slice included.
pub(crate) fn body_of(scan: &Image) -> Result<Vec<f32>> {
    let inside = scan.data().iter().map(|&v| u16::from(v > OUTSIDE_HU));
    let mut labels = Labels::new(scan.grid().clone(), inside.collect())?;
    keep_largest(&mut labels, |label| label == 1, Neighbourhood::Faces);
    fill_holes(&mut labels, |label| label == 1, 1, Extent::SlicesZ);
    let inside = scan
        .data()
        .iter()
        .zip(labels.data())
        .filter(|&(_, &label)| label == 1);
    Ok(inside.map(|(&v, _)| v).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::Grid;

    #[test]
    fn the_body_is_what_the_skin_encloses() {
        let grid = Grid::with_spacing([20, 20, 3], [1.0; 3]).expect("a grid");
        let value = |i: usize| match (i % 20, i / 20 % 20) {
            // A ring of tissue about a lung, and a table beside it.
            (x, y) if (8..12).contains(&x) && (8..12).contains(&y) => -800.0,
            (x, y) if (5..15).contains(&x) && (5..15).contains(&y) => 40.0,
            (_, 18) => 100.0,
            _ => -1000.0,
        };
        let scan = Image::new(grid, (0..1200).map(value).collect()).expect("an image");
        let body = body_of(&scan).expect("a body");
        assert_eq!(body.len(), 300);
        assert_eq!(body.iter().filter(|&&v| v == -800.0).count(), 48);
    }

    #[test]
    fn a_prior_stands_before_the_tables() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("prior.toml");
        let text =
            "[[class]]\nname = \"liver\"\nmean = { mu = 7, sigma = 0 }\nsd = { mu = 3, sigma = 0 }";
        std::fs::write(&path, text).expect("written");
        let mut reference = Reference::from(path.display().to_string());
        reference.load("fill.prior", false).expect("a prior");
        let mut rng = Rng::new(1, 0, 0);
        let structure = |class: &str| Structure {
            class: class.to_owned(),
            ..Structure::unnamed(1)
        };
        let mut value = |reference: &Reference, class: &str| {
            let n = 200;
            let draw =
                |_| reference.constant(&structure(class), 1, Phase::Native, || None, &mut rng);
            (0..n).map(draw).sum::<f32>() / n as f32
        };
        assert_eq!(value(&reference, "liver"), 7.0);
        assert!((value(&reference, "spleen") - 47.0).abs() < 2.0);
        assert!((value(&Reference::default(), "liver") - 58.0).abs() < 3.0);
        let shape = reference.distribution(
            &structure("liver"),
            1,
            Phase::Native,
            &mut Rng::new(1, 0, 0),
        );
        assert_eq!(shape, Distribution::Normal { mean: 7.0, sd: 3.0 });
        for wrong in ["nothing", "/"] {
            assert!(
                Reference::from(wrong.to_owned())
                    .load("fill.prior", false)
                    .is_err()
            );
        }
    }
}
