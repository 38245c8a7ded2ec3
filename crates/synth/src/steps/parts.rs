//! New label values: parts of a class, and what is pasted into structures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Result, Scene, Structure};

/// What a segmenter is to learn of something pasted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// As a word.
    Word(TargetWord),
    /// A value of its own, the same for all cases.
    Value(u16),
}

/// Targets that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetWord {
    /// What it lies in: it is part of the organ.
    Parent,
    /// Nothing: it is cut out of the organ.
    Background,
}

/// Makes parts of the values of a class: of each, the value of every part, the first its own.
pub(super) fn split_class(
    scene: &mut Scene,
    values: &[u16],
    parts: usize,
    word: &str,
) -> Result<Vec<Vec<u16>>> {
    let mut all: Vec<Vec<u16>> = values.iter().map(|&value| vec![value]).collect();
    for part in 2..=parts {
        let made = add(scene, values, |parent| Structure {
            name: format!("{}, {word} {part}", parent.name),
            class: format!("{}, {word} {part}", parent.class),
            ..parent
        })?;
        for (parts, value) in all.iter_mut().zip(values) {
            parts.push(made[value]);
        }
    }
    Ok(all)
}

/// Makes a value of a class for each value that it is to be pasted into.
pub(super) fn pasted(
    scene: &mut Scene,
    parents: &[u16],
    class: &str,
    target: Target,
) -> Result<BTreeMap<u16, u16>> {
    add(scene, parents, |parent| Structure {
        name: format!("{class} in {}", parent.name),
        class: class.to_owned(),
        target: match target {
            Target::Word(TargetWord::Parent) => parent.target,
            Target::Word(TargetWord::Background) => 0,
            Target::Value(value) => value,
        },
        mirror: parent.mirror,
    })
}

/// Adds a value for each of `parents`, by them; sides mirror each other as their parents do.
fn add(
    scene: &mut Scene,
    parents: &[u16],
    of: impl Fn(Structure) -> Structure,
) -> Result<BTreeMap<u16, u16>> {
    let mut made = BTreeMap::new();
    for &parent in parents {
        let value = scene.new_value()?;
        scene.structures.insert(value, of(scene.structure(parent)));
        made.insert(parent, value);
    }
    for value in made.values() {
        if let Some(structure) = scene.structures.get_mut(value) {
            structure.mirror = structure.mirror.and_then(|m| made.get(&m).copied());
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn parts_keep_targets_and_mirror_each_other() -> Result<()> {
        let mut scene = trial::scene([3, 1, 1], [1.0; 3], |[x, _, _]| x as u16);
        let parts = split_class(&mut scene, &[1, 2], 3, "part")?;
        assert_eq!((parts[0][0], parts[1][0]), (1, 2));
        let sides = parts[0].iter().zip(&parts[1]).enumerate().skip(1);
        for (part, (&left, &right)) in sides {
            assert!(left != right && left > 3 && right > 3);
            let structure = scene.structure(left);
            assert_eq!(structure.mirror, Some(right));
            assert_eq!(scene.structure(right).mirror, Some(left));
            assert_eq!((structure.target, scene.structure(right).target), (1, 2));
            assert_eq!(structure.class, format!("organ, part {}", part + 1));
        }
        Ok(())
    }

    #[test]
    fn targets_of_what_is_pasted() -> Result<()> {
        for (text, expected) in [("\"parent\"", 1), ("\"background\"", 0), ("7", 7)] {
            let target: Target = serde_json::from_str(text).expect("a target");
            let mut scene = trial::scene([3, 1, 1], [1.0; 3], |[x, _, _]| x as u16);
            let made = pasted(&mut scene, &[1], "lesion", target)?;
            let structure = scene.structure(made[&1]);
            assert_eq!(structure.target, expected);
            assert_eq!(
                (structure.class.as_str(), structure.mirror),
                ("lesion", None)
            );
        }
        Ok(())
    }
}
