//! The steps of a recipe, one file each.
//!
//! A step is a struct of ranges and switches, as a recipe's TOML states it. [`Random::draw`] makes of
//! it a record of what happens this time, and [`Apply::apply`] does what the record says, which needs
//! no more random numbers than the seeds in it. Steps find files that they name in [`Random::load`].

use crossmod_volume::rng::Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Result, Scene};

mod lattice;

/// A step's ranges and switches.
pub(crate) trait Random: Serialize + DeserializeOwned + Default {
    /// What happens this time.
    type Draw: Apply;

    /// Checks the ranges, and reads the files that the step names.
    fn load(&mut self) -> Result<()>;

    /// Draws what is to happen to a scene.
    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<Self::Draw>;
}

/// What a step does.
pub(crate) trait Apply: Serialize + DeserializeOwned {
    /// Does it.
    fn apply(&self, scene: &mut Scene) -> Result<()>;
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident: $module:ident::{$config:ident, $draw:ident},)*) => {
        $(pub mod $module;)*

        /// A step of a recipe.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "step", rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Step {
            $($(#[$doc])* $name($module::$config),)*
        }

        /// What a step did.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "step", rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Draw {
            $($(#[$doc])* $name($module::$draw),)*
        }

        impl Step {
            /// Every step with its own values, in the order of a reader's interest.
            #[must_use]
            pub fn all() -> Vec<Self> {
                vec![$(Self::$name($module::$config::default()),)*]
            }

            pub(crate) fn load(&mut self) -> Result<()> {
                match self {
                    $(Self::$name(step) => step.load(),)*
                }
            }

            pub(crate) fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<Draw> {
                Ok(match self {
                    $(Self::$name(step) => Draw::$name(step.draw(scene, rng)?),)*
                })
            }
        }

        impl Draw {
            pub(crate) fn apply(&self, scene: &mut Scene) -> Result<()> {
                match self {
                    $(Self::$name(draw) => draw.apply(scene),)*
                }
            }
        }
    };
}

steps! {
    /// Adds a bias field, as of a receive coil.
    Bias: bias::{Bias, BiasDraw},
}
