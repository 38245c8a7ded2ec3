//! The steps of a recipe, one file each.
//!
//! A step is a struct of ranges and switches, as a recipe's TOML states it. `Random::draw` makes of
//! it a record of what happens this time, and `Apply::apply` does what the record says, which needs
//! no more random numbers than the seeds in it. Steps find files that they name in `Random::load`.

use crossmod_volume::rng::Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Result, Scene};

mod axial;
mod body;
mod chosen;
mod encoding;
mod lattice;
mod level;
mod parts;
mod place;
#[cfg(test)]
mod processor;
mod published;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trial;

pub use parts::{Target, TargetWord};
pub use published::Published;

/// A step's ranges and switches.
pub(crate) trait Random: Serialize + DeserializeOwned + Default {
    /// What happens this time.
    type Draw: Apply;

    /// Whether it cuts a scene to the patch that a trainer wants.
    const CUTS: bool = false;

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

            pub(crate) fn cuts(&self) -> bool {
                match self {
                    $(Self::$name(_) => <$module::$config as Random>::CUTS,)*
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
    /// Puts everything on another grid.
    Grid: grid::{Grid, GridDraw},
    /// Says what is to be learnt.
    Target: target::{Targets, TargetsDraw},
    /// Turns, stretches, bends and cuts.
    Spatial: spatial::{Spatial, SpatialDraw},
    /// Flips left to right.
    Flip: flip::{Flip, FlipDraw},
    /// Paints each class by a Gaussian.
    Intensities: intensities::{Intensities, IntensitiesDraw},
    /// Adds a bias field, as of a receive coil.
    Bias: bias::{Bias, BiasDraw},
    /// Brings the image to 0 to 1 and bends its contrast.
    Gamma: gamma::{Gamma, GammaDraw},
    /// Makes slices thicker and farther apart.
    Resolution: resolution::{Resolution, ResolutionDraw},
    /// Parts structures by the intensities of the case's scan.
    Clusters: clusters::{Clusters, ClustersDraw},
    /// Parts structures by depth.
    Shells: shells::{Shells, ShellsDraw},
    /// Pastes lesions into structures.
    Lesions: lesions::{Lesions, LesionsDraw},
    /// Pastes trees of vessels into structures.
    Vessels: vessels::{Vessels, VesselsDraw},
    /// Grows or shrinks structures.
    Swell: swell::{Swell, SwellDraw},
    /// Cuts away what lies around structures, such as the skull.
    Strip: strip::{Strip, StripDraw},
    /// Mixes intensities at borders, as larger voxels see them.
    PartialVolume: partial_volume::{PartialVolume, PartialVolumeDraw},
    /// Moves the patient during an MR scan.
    Motion: motion::{Motion, MotionDraw},
    /// Adds copies along the phase direction of an MR scan.
    Ghosting: ghosting::{Ghosting, GhostingDraw},
    /// Adds waves, as of bad samples of an MR scan.
    Spikes: spikes::{Spikes, SpikesDraw},
    /// Adds the sensitivity of an array of MR coils.
    Receive: receive::{Receive, ReceiveDraw},
    /// Adds the noise of MR magnitude images.
    Rician: rician::{Rician, RicianDraw},
    /// Moves a CT image to another phase of contrast.
    ContrastPhase: contrast_phase::{ContrastPhase, ContrastPhaseDraw},
    /// Puts metal and its streaks into a CT image.
    Metal: metal::{Metal, MetalDraw},
    /// Puts a table under the patient of a CT image.
    Table: table::{PatientTable, PatientTableDraw},
    /// Puts arms at the sides of the patient of a CT image.
    Arms: arms::{Arms, ArmsDraw},
    /// Cuts a CT image to a circle.
    Truncation: truncation::{Truncation, TruncationDraw},
    /// Leaves structures out.
    Drop: drop::{Drop, DropDraw},
    /// Gives what nobody segmented classes.
    Unsegmented: unsegmented::{Unsegmented, UnsegmentedDraw},
    /// Paints a textured cylinder for a body.
    Cylinder: cylinder::{Cylinder, CylinderDraw},
    /// Paints structures with constants or textures.
    Fill: fill::{Fill, FillDraw},
    /// Adds the noise of a CT scan.
    Noise: noise::{Noise, NoiseDraw},
    /// Scans what is painted as a CT scanner does.
    Scan: scan::{Scan, ScanDraw},
}
