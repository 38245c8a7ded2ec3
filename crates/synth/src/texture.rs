//! Textures that fill a volume: drawn ones that need no data, and pictures and films of the user's.
//!
//! | name | what | source |
//! |---|---|---|
//! | `dead-leaves` | things that hide each other | Lee, Mumford and Huang 2001 |
//! | `spectral` | noise with a spectrum that falls with frequency | Field 1987 |
//! | `perlin` | gradient noise in octaves | Perlin 1985, 2002 |
//! | `worley` | cells and their walls | Worley 1996 |
//! | `mixture` | the sum of two of them | |
//! | a path | frames of a film, time along z | Tsanda et al. 2024 |
//!
//! A path is a folder of PNG frames, a `.y4m` film, any other film (read through `ffmpeg` where that is
//! installed), or a folder of such folders and films, one of which is drawn for each texture.
//!
//! What values a texture has means nothing: it gets a tissue's distribution by
//! [`Quantiles::impose`](crate::Quantiles::impose). Lengths are in mm, arrays x fastest. The ranges of
//! the drawn numbers are chosen, so that features are of 2 mm to the size of an organ.

use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

mod cells;
mod clip;
mod gradient;
mod leaves;
mod spectral;

use clip::Clip;
pub use clip::ClipDraw;

/// The names of the textures that need no data.
const NAMES: [&str; 5] = ["dead-leaves", "spectral", "perlin", "worley", "mixture"];

/// Which textures a step may draw, as a recipe names them: each as likely as the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Textures {
    names: Vec<String>,
    /// For each name that is a path, what was found there.
    clips: Vec<Vec<Clip>>,
}

impl From<Vec<String>> for Textures {
    fn from(names: Vec<String>) -> Self {
        let clips = vec![Vec::new(); names.len()];
        Self { names, clips }
    }
}

impl From<Textures> for Vec<String> {
    fn from(textures: Textures) -> Self {
        textures.names
    }
}

impl Default for Textures {
    /// Those that look most like pictures, and the smooth ones between.
    fn default() -> Self {
        Self::from(NAMES.map(str::to_owned).to_vec())
    }
}

impl Textures {
    /// Finds the films that are named; `ffmpeg` is the program that reads those it must.
    pub(crate) fn load(&mut self, ffmpeg: &str) -> Result<()> {
        if self.names.is_empty() {
            return Err(Error::Recipe(format!(
                "expected at least one texture, found none; name some of {}",
                NAMES.join(", ")
            )));
        }
        for (name, clips) in self.names.iter().zip(&mut self.clips) {
            if !NAMES.contains(&&name[..]) {
                *clips = clip::find(name, ffmpeg)?;
            }
        }
        Ok(())
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> TextureDraw {
        let at = rng.below(self.names.len());
        let film = self.clips.get(at).and_then(|c| c.get(rng.below(c.len())));
        match film {
            Some(film) => TextureDraw::Clip(film.draw(rng)),
            None => TextureDraw::named(self.names.get(at).map_or("", |n| n), rng),
        }
    }
}

/// A texture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "texture", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TextureDraw {
    /// Balls that hide each other, of radii with density 1/r⁴.
    DeadLeaves {
        /// The stream of the balls.
        seed: u64,
        /// The least and the greatest radius, mm.
        radius_mm: [f32; 2],
        /// How much longer they are along z.
        stretch: f32,
    },
    /// Noise of power 1/f^β above a longest wave.
    Spectral {
        /// The stream of the waves.
        seed: u64,
        /// β.
        beta: f32,
        /// Waves longer than this have no more power, mm.
        longest_mm: f32,
    },
    /// Gradient noise.
    Perlin {
        /// Of the gradients.
        seed: u64,
        /// Side of the largest cells, mm.
        cell_mm: f32,
        /// How much each octave has of the one before.
        persistence: f32,
    },
    /// Distance to the nearest wall between cells.
    Worley {
        /// Of the cells' middles.
        seed: u64,
        /// Mean side of a cell, mm.
        cell_mm: f32,
    },
    /// A sum of two, each first brought to standard deviation 1.
    Mixture {
        /// How much of it is the first.
        share: f32,
        /// The two.
        parts: Box<[TextureDraw; 2]>,
    },
    /// Frames of a film.
    Clip(ClipDraw),
}

impl TextureDraw {
    /// A texture of a name that [`Textures::load`] knows.
    fn named(name: &str, rng: &mut Rng) -> Self {
        let seed = seed(rng);
        match name {
            "dead-leaves" => Self::DeadLeaves {
                seed,
                radius_mm: [rng.uniform(2.0, 4.0), rng.uniform(40.0, 100.0)],
                stretch: rng.uniform(1.0, 3.0),
            },
            "spectral" => Self::Spectral {
                seed,
                beta: rng.uniform(2.0, 4.0),
                longest_mm: rng.uniform(50.0, 300.0),
            },
            "perlin" => Self::Perlin {
                seed,
                cell_mm: rng.uniform(10.0, 80.0),
                persistence: rng.uniform(0.4, 0.7),
            },
            "worley" => Self::Worley {
                seed,
                cell_mm: rng.uniform(8.0, 40.0),
            },
            _ => {
                let share = rng.uniform(0.3, 0.7);
                let first = rng.below(4);
                let second = (first + 1 + rng.below(3)) % 4;
                let parts = [first, second].map(|i| Self::named(NAMES[i], rng));
                Self::Mixture {
                    share,
                    parts: Box::new(parts),
                }
            }
        }
    }

    /// The texture on voxels of a spacing, x fastest; no two of its values are equal but by chance.
    ///
    /// # Errors
    /// What reading a film gives.
    pub fn on(&self, shape: [usize; 3], spacing_mm: [f64; 3]) -> Result<Vec<f32>> {
        let spacing = spacing_mm.map(|s| s as f32);
        match self {
            Self::DeadLeaves {
                seed,
                radius_mm,
                stretch,
            } => Ok(leaves::on(shape, spacing, *seed, *radius_mm, *stretch)),
            Self::Spectral {
                seed,
                beta,
                longest_mm,
            } => spectral::on(shape, spacing, *seed, *beta, *longest_mm),
            Self::Perlin {
                seed,
                cell_mm,
                persistence,
            } => Ok(gradient::on(shape, spacing, *seed, *cell_mm, *persistence)),
            Self::Worley { seed, cell_mm } => Ok(cells::on(shape, spacing, *seed, *cell_mm)),
            Self::Mixture { share, parts } => {
                let mut sum = parts[0].on(shape, spacing_mm)?;
                let other = parts[1].on(shape, spacing_mm)?;
                let (a, b) = (share / sd(&sum), (1.0 - share) / sd(&other));
                for (sum, other) in sum.iter_mut().zip(other) {
                    *sum = a * *sum + b * other;
                }
                Ok(sum)
            }
            Self::Clip(clip) => clip.on(shape, spacing_mm),
        }
    }
}

/// The seed of a stream of its own.
pub(crate) fn seed(rng: &mut Rng) -> u64 {
    u64::from(rng.bits()) << 32 | u64::from(rng.bits())
}

/// Standard deviation, at least a little.
fn sd(values: &[f32]) -> f32 {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let square: f64 = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    ((square / n).sqrt() as f32).max(1e-6)
}

/// A random word for a lattice point: rounds of multiply and xor-shift.
fn hash(seed: u64, point: [i32; 3]) -> u32 {
    let mut h = seed as u32 ^ (seed >> 32) as u32;
    for (value, factor) in point
        .into_iter()
        .zip([0x8da6_b343u32, 0xd816_3841, 0xcb1a_b31f])
    {
        h = (h ^ (value as u32).wrapping_mul(factor)).wrapping_mul(0x7feb_352d);
        h ^= h >> 15;
    }
    h = h.wrapping_mul(0x846c_a68b);
    h ^ h >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quantiles;
    use crate::quantiles::tests::ks;

    fn each() -> Vec<TextureDraw> {
        let mut rng = Rng::new(11, 0, 0);
        NAMES
            .map(|name| TextureDraw::named(name, &mut rng))
            .to_vec()
    }

    #[test]
    fn every_texture_is_matched_to_a_tissue() {
        let reference = Quantiles::of_mixture(&[(0.3, -100.0, 15.0), (0.7, 50.0, 20.0)]);
        for texture in each() {
            for (shape, spacing) in [([61, 50, 47], [1.5; 3]), ([80, 70, 12], [0.8, 0.8, 5.0])] {
                let mut values = texture.on(shape, spacing).expect("a texture");
                assert_eq!(values.len(), shape.iter().product::<usize>());
                assert!(values.iter().all(|v| v.is_finite()), "{texture:?}");
                reference.impose(&mut values);
                assert!(ks(&values, &reference) < 0.002, "{texture:?}");
            }
        }
    }

    #[test]
    fn textures_repeat_on_any_number_of_threads_and_differ_by_seed() {
        for texture in each() {
            let made = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.expect("threads")
                    .install(|| texture.on([40, 33, 21], [1.0, 1.5, 2.0]))
                    .expect("a texture")
            };
            assert_eq!(made(1), made(2), "{texture:?}");
        }
        let mut rng = Rng::new(12, 0, 0);
        for (name, texture) in NAMES.iter().zip(each()) {
            let other = TextureDraw::named(name, &mut rng);
            let on = |t: &TextureDraw| t.on([20; 3], [2.0; 3]).expect("a texture");
            assert_ne!(on(&texture), on(&other), "{name}");
        }
    }

    /// Values beside each other are much more alike than values far apart.
    #[test]
    fn textures_have_structure() {
        for texture in each() {
            let n = 64;
            let values = texture.on([n; 3], [2.0; 3]).expect("a texture");
            let scale = f64::from(sd(&values));
            let differ = |step: usize| {
                let pairs = values.iter().zip(&values[step..]);
                let sum: f64 = pairs.map(|(a, b)| f64::from((a - b).powi(2))).sum();
                (sum / (values.len() - step) as f64).sqrt() / scale
            };
            for step in [1, n, n * n] {
                assert!(differ(step) < 0.9, "{texture:?} {step}: {}", differ(step));
            }
            assert!(differ(n * n * 30 + n * 30 + 30) > 1.1, "{texture:?}");
        }
    }

    #[test]
    fn names_are_checked_and_records_are_read_again() {
        let mut none = Textures::from(Vec::new());
        assert!(none.load("ffmpeg").is_err());
        let mut wrong = Textures::from(vec!["dead-leafs".to_owned()]);
        let said = wrong.load("ffmpeg").map_err(|e| e.to_string());
        assert!(
            said.clone()
                .is_err_and(|e| e.contains("did you mean `dead-leaves`")),
            "{said:?}"
        );
        for texture in each() {
            let text = serde_json::to_string(&texture).expect("written");
            let again: TextureDraw = serde_json::from_str(&text).expect("read");
            assert_eq!(again, texture);
        }
    }
}
