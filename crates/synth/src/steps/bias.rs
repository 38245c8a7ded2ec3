//! A bias field: the image times a smooth field, as of a receive coil.
//!
//! As SynthSeg's (Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789) and lab2im's code: the logarithm of the field is normal on a small
//! grid, grown linearly to the image's. Draws whether, the standard deviation and the small grid's
//! seed. Intensities are taken as proportions: 0 stays 0.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "bias"
//! p = 0.95
//! sd = [0.0, 0.7]      # of the field's logarithm
//! scale = 0.025        # the small grid's side by the image's
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::lattice::Lattice;
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Result, Scene};

/// When and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bias {
    /// Probability of a field.
    pub p: f32,
    /// Range of the standard deviation of the field's logarithm.
    pub sd: [f32; 2],
    /// Side of the small grid by the image's.
    pub scale: f32,
}

impl Default for Bias {
    /// SynthSeg's values.
    fn default() -> Self {
        Self {
            p: 0.95,
            sd: [0.0, 0.7],
            scale: 0.025,
        }
    }
}

/// A field, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasDraw {
    field: Option<Lattice>,
}

impl Random for Bias {
    type Draw = BiasDraw;

    fn load(&mut self) -> Result<()> {
        probability("bias.p", self.p)?;
        range("bias.sd", self.sd, 0.0..=10.0)?;
        range("bias.scale", [self.scale; 2], 1e-3..=1.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<BiasDraw> {
        let given = rng.chance(self.p);
        let sd = rng.uniform(self.sd[0], self.sd[1]);
        let field = Lattice::draw(scene.grid().shape(), self.scale, sd, rng);
        Ok(BiasDraw {
            field: given.then_some(field),
        })
    }
}

impl Apply for BiasDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let image = scene.painted()?;
        let Some(field) = &self.field else {
            return Ok(());
        };
        let shape = image.grid().shape();
        let field = field.grown(shape)?;
        let values = image.data_mut().par_iter_mut();
        values.zip(field).for_each(|(v, log)| *v *= log.exp());
        Ok(())
    }
}
