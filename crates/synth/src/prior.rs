//! What is known of intensities before an image is drawn: for each class, how its mean and its
//! spread vary from scan to scan.
//!
//! SynthSeg's code names the two forms: bounds of a uniform distribution, or the mean and standard
//! deviation of a normal one (Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789). A class may add 65 quantiles of its intensities, which a step
//! matches textures to.
//!
//! ```
//! let prior = crossmod_synth::Prior::parse(r#"
//! unit = "HU"
//! [[class]]
//! name = "liver"
//! labels = [5]
//! mean = { mu = 60.0, sigma = 8.0 }
//! sd = { low = 10.0, high = 20.0 }
//! [[class]]
//! name = "*"            # any class that is not named
//! mean = { low = -100.0, high = 100.0 }
//! sd = { low = 5.0, high = 25.0 }
//! "#)?;
//! assert_eq!(prior.of("liver", &[]).map(|class| class.mean.centre()), Some(60.0));
//! assert_eq!(prior.of("spleen", &[1]).map(|class| class.mean.centre()), Some(0.0));
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::fs;
use std::path::Path;

use crossmod_volume::io::write_atomic;
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Quantiles of a class, at equal steps from its least to its greatest intensity.
pub const QUANTILES: usize = 65;

/// The name of a class that stands for all that are not named.
const ANY: &str = "*";

/// The classes of a prior file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    /// What intensities are in, such as `HU`; nothing follows from it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// The classes.
    #[serde(rename = "class")]
    pub classes: Vec<PriorClass>,
}

/// What is known of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorClass {
    /// The class, as a label scheme names it; `*` for any that is not named.
    pub name: String,
    /// The values that it was measured of; a class of another name that has one of them takes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<u16>,
    /// The mean of its intensities in an image.
    pub mean: Spread,
    /// Their standard deviation in an image.
    pub sd: Spread,
    /// [`QUANTILES`] quantiles of its intensities over all images, rising.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Vec<f32>>,
}

/// How a number varies from image to image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Spread {
    /// Evenly between two bounds.
    Uniform {
        /// The least.
        low: f32,
        /// The greatest.
        high: f32,
    },
    /// Normally.
    Normal {
        /// The mean.
        mu: f32,
        /// The standard deviation.
        sigma: f32,
    },
}

impl Spread {
    /// A number.
    pub fn draw(self, rng: &mut Rng) -> f32 {
        match self {
            Self::Uniform { low, high } => rng.uniform(low, high),
            Self::Normal { mu, sigma } => mu + sigma * rng.normal(),
        }
    }

    /// The number about which it varies.
    #[must_use]
    pub fn centre(self) -> f32 {
        match self {
            Self::Uniform { low, high } => 0.5 * (low + high),
            Self::Normal { mu, .. } => mu,
        }
    }

    fn is_sound(self) -> bool {
        match self {
            Self::Uniform { low, high } => low.is_finite() && high.is_finite() && low <= high,
            Self::Normal { mu, sigma } => mu.is_finite() && sigma.is_finite() && sigma >= 0.0,
        }
    }
}

impl Prior {
    /// The prior of a `.toml` file.
    ///
    /// # Errors
    /// [`Error::Read`] where it cannot be read, [`Error::File`] where it is not a prior.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::read(e, path))?;
        Self::parse(&text).map_err(|e| match e {
            Error::Recipe(message) => Error::file(message, path),
            other => other,
        })
    }

    /// The prior that a TOML text states.
    ///
    /// # Errors
    /// [`Error::Recipe`] where it is not a prior: a range the wrong way round, other than
    /// [`QUANTILES`] quantiles or such as fall, two classes of one name.
    pub fn parse(text: &str) -> Result<Self> {
        let prior: Self = toml::from_str(text).map_err(|e| {
            Error::Recipe(format!("expected a prior: {}", e.to_string().trim_end()))
        })?;
        prior.check()?;
        Ok(prior)
    }

    /// Writes the prior as a `.toml` file.
    ///
    /// # Errors
    /// [`Error::Volume`] where it cannot be written; nothing is left behind then.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|e| Error::Recipe(e.to_string()))?;
        Ok(write_atomic(path, |to| to.write_all(text.as_bytes()))?)
    }

    /// What is known of a class: the entry of its name, else one that was measured of any of its
    /// values, else the entry `*`.
    #[must_use]
    pub fn of(&self, class: &str, values: &[u16]) -> Option<&PriorClass> {
        let named = |name: &str| self.classes.iter().find(|c| c.name == name);
        let of_value = || {
            let has = |c: &&PriorClass| c.labels.iter().any(|v| values.contains(v));
            self.classes.iter().find(has)
        };
        named(class).or_else(of_value).or_else(|| named(ANY))
    }

    fn check(&self) -> Result<()> {
        for (i, class) in self.classes.iter().enumerate() {
            let name = &class.name;
            if self.classes[..i].iter().any(|before| before.name == *name) {
                return Err(Error::Recipe(format!(
                    "expected each class once, found `{name}` twice"
                )));
            }
            if !class.mean.is_sound() || !class.sd.is_sound() {
                return Err(Error::Recipe(format!(
                    "expected mean and sd of class `{name}` to be low <= high or mu with sigma of \
                     at least 0, found {:?} and {:?}",
                    class.mean, class.sd
                )));
            }
            let quantiles = class.quantiles.as_deref().unwrap_or(&[0.0; QUANTILES]);
            if quantiles.len() != QUANTILES || !quantiles.is_sorted() {
                return Err(Error::Recipe(format!(
                    "expected {QUANTILES} rising quantiles of class `{name}`, found {}",
                    quantiles.len()
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        Prior::parse(text).map_or_else(|e| e.to_string(), |p| panic!("expected an error: {p:?}"))
    }

    #[test]
    fn what_is_no_prior_is_refused() {
        let class = |rest: &str| format!("[[class]]\nname = \"a\"\n{rest}\n");
        let good = "mean = { low = 1, high = 2 }\nsd = { mu = 1, sigma = 2 }";
        assert!(Prior::parse(&class(good)).is_ok());
        assert!(
            message(&class(
                "mean = { low = 3, high = 2 }\nsd = { mu = 1, sigma = 2 }"
            ))
            .contains("low <= high")
        );
        assert!(
            message(&class(
                "mean = { low = 1, high = 2 }\nsd = { mu = 1, sigma = -2 }"
            ))
            .contains("at least 0")
        );
        assert!(
            message(&class(
                "mean = { low = 1, sigma = 2 }\nsd = { mu = 1, sigma = 2 }"
            ))
            .contains("expected a prior")
        );
        assert!(message(&class(&format!("{good}\nquantiles = [1, 2]"))).contains("65 rising"));
        assert!(message(&format!("{0}{0}", class(good))).contains("twice"));
    }

    #[test]
    fn a_prior_states_itself() {
        let prior = Prior {
            unit: "HU".into(),
            classes: vec![PriorClass {
                name: "liver".into(),
                labels: vec![5],
                mean: Spread::Normal {
                    mu: 60.0,
                    sigma: 8.0,
                },
                sd: Spread::Uniform {
                    low: 5.0,
                    high: 9.0,
                },
                quantiles: Some((0u8..65).map(f32::from).collect()),
            }],
        };
        let text = toml::to_string(&prior).expect("a text");
        assert_eq!(Prior::parse(&text).expect("a prior"), prior);
        assert_eq!(
            prior.of("other", &[4, 5]).map(|c| &c.name[..]),
            Some("liver")
        );
        assert!(prior.of("other", &[4]).is_none());
    }

    #[test]
    fn draws_follow_their_spread() {
        let mut rng = Rng::new(1, 2, 3);
        let n = 20_000;
        let moments = |of: Spread, rng: &mut Rng| {
            let drawn: Vec<f64> = (0..n).map(|_| f64::from(of.draw(rng))).collect();
            let mean = drawn.iter().sum::<f64>() / f64::from(n);
            let square = drawn.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
            (mean, square.sqrt())
        };
        let (mean, sd) = moments(
            Spread::Normal {
                mu: 3.0,
                sigma: 2.0,
            },
            &mut rng,
        );
        assert!(
            (mean - 3.0).abs() < 0.06 && (sd - 2.0).abs() < 0.05,
            "{mean} {sd}"
        );
        let (mean, sd) = moments(
            Spread::Uniform {
                low: 1.0,
                high: 7.0,
            },
            &mut rng,
        );
        assert!(
            (mean - 4.0).abs() < 0.06 && (sd - 3f64.sqrt()).abs() < 0.03,
            "{mean} {sd}"
        );
    }
}
