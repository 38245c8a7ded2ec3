//! Patches of images that are made of label maps when training asks for them.
//!
//! Every patch is an image of its own ([`crossmod_synth`]): drawn, painted and degraded at the size
//! of the patch, on the plan's working grid, then normalised as the plan says. What a patch is depends
//! on the recipe, the seed, the case and the patch's number, so that it is the same on any number of
//! threads and after any restart. Unlike a scan, which is normalised whole, a synthetic patch is
//! normalised by its own values, as there is no more of it. Augmentation is the recipe's matter:
//! the trainer adds none.

use crossmod_synth::{Generator, Scene};
use crossmod_volume::intensity::Normalise;
use crossmod_volume::rng::{Rng, case_id};
use crossmod_volume::space::{Cut, Frame};

use super::place;
use crate::segment::SegmentationPlan;
use crate::segment::plan::{Class, Dims};
use crate::{Error, Result};

/// Label maps and how images are made of them.
#[derive(Debug)]
pub struct Synthetic {
    parts: Vec<Part>,
    normalisation: Normalise,
    values: Vec<u16>,
    /// Voxels along (x, y, z), neighbouring slices counted.
    patch: [usize; 3],
    plan: SegmentationPlan,
}

/// Cases of one recipe.
#[derive(Debug)]
struct Part {
    generator: Generator,
    cases: Vec<(String, Scene)>,
}

impl Synthetic {
    /// None yet, for a plan of one channel.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the plan has more channels.
    pub fn new(plan: &SegmentationPlan) -> Result<Self> {
        let [channel] = plan.channels.as_slice() else {
            return Err(Error::Recipe(format!(
                "expected a plan of one channel, which is what synthesis makes, found {}; leave \
                 synth out or plan for one channel",
                plan.channels.len()
            )));
        };
        let [z, y, x] = plan.patch;
        let depth = if plan.dims == Dims::Three {
            z
        } else {
            plan.dims.slices()
        };
        let members = plan.classes.iter().flat_map(Class::members);
        Ok(Self {
            parts: Vec::new(),
            normalisation: channel.normalisation,
            values: members.copied().chain([0]).chain(plan.ignore).collect(),
            patch: [x, y, depth],
            plan: plan.clone(),
        })
    }

    /// Adds a case to those of a recipe, brought to the plan's grid; `part` counts recipes from 0.
    ///
    /// # Errors
    /// [`Error::Recipe`] where what is to be learnt of the case is not in the plan.
    pub fn add(&mut self, part: usize, id: &str, scene: Scene) -> Result<()> {
        let scene = self.plan.scene(scene)?;
        for structure in self.parts[part].generator.learnt(&scene)?.into_values() {
            if !self.values.contains(&structure.target) {
                return Err(Error::Recipe(format!(
                    "expected labels of the plan, {:?}, to be learnt of {id}, found {} for {}; \
                     change the recipe's target step or plan again",
                    self.values, structure.target, structure.name
                )));
            }
        }
        self.parts[part].cases.push((id.to_owned(), scene));
        Ok(())
    }

    /// Begins the cases of another recipe, and returns its number.
    pub fn begin(&mut self, generator: Generator) -> usize {
        self.parts.push(Part {
            generator,
            cases: Vec::new(),
        });
        self.parts.len() - 1
    }

    /// Number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.cases.len()).sum()
    }

    /// Whether there are no cases.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the cases take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let scenes = self.parts.iter().flat_map(|part| &part.cases);
        scenes
            .map(|(_, scene)| {
                let each = 2 + scene.scan.as_ref().map_or(0, |_| 4);
                scene.grid().len() as u64 * each
            })
            .sum()
    }

    /// Fills `images`, `[slices][z][y][x]`, and `labels`, `[z][y][x]`, with image `number` of a case.
    pub(super) fn make(
        &self,
        case: usize,
        number: u32,
        images: &mut [f32],
        labels: &mut [u16],
    ) -> Result<()> {
        let (part, id, scene) = self.case(case)?;
        let mut scene = scene.clone();
        scene.patch = Some(self.patch);
        if !part.generator.cuts() {
            let key = case_id(id) ^ u64::from(number);
            scene = cut(
                scene,
                self.patch,
                &mut Rng::new(part.generator.recipe().seed, key, u32::MAX),
            )?;
        }
        let made = part.generator.make(id, number, scene)?;
        if made.image.grid().shape() != self.patch {
            return Err(Error::Recipe(format!(
                "expected the synthesis recipe to make patches of {:?} voxels, found {:?}; leave \
                 steps out that change the grid after it is cut",
                self.patch,
                made.image.grid().shape()
            )));
        }
        let mut values = made.image.into_parts().1;
        let inside: Option<Vec<bool>> = matches!(
            self.normalisation,
            Normalise::ZScore {
                within_nonzero: true
            }
        )
        .then(|| values.iter().map(|v| *v != 0.0).collect());
        self.normalisation.apply(&mut values, inside.as_deref());
        images.copy_from_slice(&values);
        let middle = (made.labels.data().len() - labels.len()) / 2;
        labels.copy_from_slice(&made.labels.data()[middle..middle + labels.len()]);
        Ok(())
    }

    fn case(&self, case: usize) -> Result<(&Part, &str, &Scene)> {
        let mut left = case;
        for part in &self.parts {
            match part.cases.get(left) {
                Some((id, scene)) => return Ok((part, id, scene)),
                None => left -= part.cases.len(),
            }
        }
        Err(Error::Recipe(format!(
            "expected one of {} cases to make images of, found {case}",
            self.len()
        )))
    }
}

/// Cuts a patch out of a scene, anywhere.
fn cut(scene: Scene, patch: [usize; 3], rng: &mut Rng) -> Result<Scene> {
    let shape = scene.grid().shape();
    let start = [0, 1, 2].map(|axis| place::origin(shape[axis], patch[axis], None, rng));
    let frame = Frame {
        start,
        shape: patch,
    };
    let cut = Cut::new(scene.grid(), frame)?;
    let lowest =
        |image: &crossmod_volume::Image| image.data().iter().copied().fold(f32::INFINITY, f32::min);
    Ok(Scene {
        labels: cut.labels(&scene.labels, 0),
        scan: scene.scan.map(|scan| cut.image(&scan, lowest(&scan))),
        image: scene.image.map(|image| cut.image(&image, lowest(&image))),
        patch: None,
        ..scene
    })
}
