//! Says what of a scene is to be learnt: structures merged into others, or dropped.
//!
//! As SynthSeg's segmentation labels (Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789): what a structure looks like and what is learnt of it are two
//! things. Structures are given by value, name or class; nothing is drawn and no voxel changes.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "target"
//! merge = { "left kidney" = 1, "right kidney" = 1, "cyst" = "left kidney" }
//! keep = ["left kidney", "right kidney", "cyst", "liver"]   # all others become background
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::{Apply, Random};
use crate::{Error, Result, Scene, Structure};

/// What becomes what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Structures (left) that are learnt as others, or as a value, are (right); 0 for background.
    pub merge: BTreeMap<String, Which>,
    /// The structures that are learnt at all; none named: all.
    pub keep: Vec<Which>,
}

/// A structure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Which {
    /// By its value.
    Value(u16),
    /// By its name or class, or its value as text.
    Name(String),
}

/// What each value is learnt as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetsDraw {
    /// Value and target, of those that change.
    targets: Vec<[u16; 2]>,
}

impl Random for Targets {
    type Draw = TargetsDraw;

    fn load(&mut self) -> Result<()> {
        Ok(())
    }

    fn draw(&self, scene: &Scene, _: &mut Rng) -> Result<TargetsDraw> {
        let structures = everything(scene);
        let mut targets: BTreeMap<u16, u16> = structures
            .iter()
            .map(|(&value, s)| (value, s.target))
            .collect();
        for (from, to) in &self.merge {
            let to = match to {
                // A value that nothing has yet is a target all the same.
                Which::Value(value) => structures.get(value).map_or(*value, |s| s.target),
                Which::Name(name) => {
                    let found = named(&structures, name)?;
                    let learnt: BTreeSet<u16> =
                        found.iter().map(|v| structures[v].target).collect();
                    match learnt.into_iter().collect::<Vec<u16>>()[..] {
                        [one] => one,
                        _ => {
                            return Err(Error::Recipe(format!(
                                "expected one target for target.merge of `{from}`, found that \
                                 `{name}` has several; name one structure, or a value"
                            )));
                        }
                    }
                }
            };
            for value in named(&structures, from)? {
                targets.insert(value, to);
            }
        }
        if !self.keep.is_empty() {
            let mut kept = BTreeSet::new();
            for which in &self.keep {
                match which {
                    Which::Value(value) => kept.extend([*value]),
                    Which::Name(name) => kept.extend(named(&structures, name)?),
                }
            }
            let dropped = targets
                .iter_mut()
                .filter(|(value, _)| !kept.contains(value));
            dropped.for_each(|(_, target)| *target = 0);
        }
        targets.retain(|value, target| structures[value].target != *target);
        Ok(TargetsDraw {
            targets: targets
                .into_iter()
                .map(|(value, target)| [value, target])
                .collect(),
        })
    }
}

/// All that a scene's labels hold or may hold.
fn everything(scene: &Scene) -> BTreeMap<u16, Structure> {
    let mut structures = scene.structures.clone();
    for value in scene.labels.counts().into_keys() {
        structures
            .entry(value)
            .or_insert_with(|| Structure::unnamed(value));
    }
    structures
}

/// The values of a name, a class, or a number as text.
fn named(structures: &BTreeMap<u16, Structure>, name: &str) -> Result<Vec<u16>> {
    let number: Option<u16> = name.parse().ok();
    let is_meant = |&(&value, s): &(&u16, &Structure)| {
        s.name == name || s.class == name || Some(value) == number
    };
    let found: Vec<u16> = structures
        .iter()
        .filter(is_meant)
        .map(|(&value, _)| value)
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let alike = structures
        .values()
        .flat_map(|s| [&s.name, &s.class])
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = alike.map_or(String::new(), |(_, known)| {
        format!("; did you mean `{known}`?")
    });
    Err(Error::Recipe(format!(
        "expected step `target` to name structures of the scene, found `{name}`{hint}"
    )))
}

impl Apply for TargetsDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        for &[value, target] in &self.targets {
            let unnamed = || Structure::unnamed(value);
            scene.structures.entry(value).or_insert_with(unnamed).target = target;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::trial;

    fn step(toml: &str) -> Targets {
        toml::from_str(toml).expect("a step")
    }

    fn learnt(toml: &str) -> Vec<u16> {
        let mut scene = trial::scene([6, 1, 1], [1.0; 3], |[x, _, _]| x as u16);
        scene.structures.remove(&5);
        let (_, scene) = trial::done(&step(toml), &scene, 1);
        (0..6).map(|value| scene.structure(value).target).collect()
    }

    #[test]
    fn structures_are_merged_and_dropped() {
        assert_eq!(learnt(""), [0, 1, 2, 3, 4, 5]);
        assert_eq!(
            learnt("merge = { \"right organ\" = 1, \"4\" = 0 }"),
            [0, 1, 1, 3, 0, 5]
        );
        assert_eq!(
            learnt("merge = { organ = 7, \"label 3\" = \"left organ\" }"),
            [0, 7, 7, 1, 4, 5]
        );
        assert_eq!(learnt("keep = [\"organ\", 3]"), [0, 1, 2, 3, 0, 0]);
        assert_eq!(
            learnt("merge = { organ = 1 }\nkeep = [\"organ\"]"),
            [0, 1, 1, 0, 0, 0]
        );
    }

    #[test]
    fn unknown_and_unclear_names_are_refused() {
        let scene = trial::scene([6, 1, 1], [1.0; 3], |[x, _, _]| x as u16);
        let said = |toml: &str| {
            let draw = step(toml).draw(&scene, &mut Rng::new(1, 0, 0));
            draw.map_or_else(
                |e| e.to_string(),
                |d| panic!("expected an error, found {d:?}"),
            )
        };
        assert!(said("keep = [\"left orgn\"]").contains("did you mean `left organ`?"));
        assert!(said("merge = { \"label 3\" = \"organ\" }").contains("several"));
    }
}
