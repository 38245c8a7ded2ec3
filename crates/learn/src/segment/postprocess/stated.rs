//! Rules that a recipe states, where there are no validation cases to choose them on.

use serde::{Deserialize, Serialize};

use super::{Postprocessing, Rules};
use crate::segment::plan::Class;
use crate::{Error, Result};

/// Stands for all labels but the background.
const ALL: &str = "*";

/// Names of labels, `*` for all, that rules are applied to; none by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostprocessConfig {
    /// Of these the largest connected part alone is kept.
    pub keep_largest: Vec<String>,
    /// Background that these enclose becomes theirs.
    pub fill_holes: Vec<String>,
}

impl PostprocessConfig {
    /// Whether it states nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.keep_largest.is_empty() && self.fill_holes.is_empty()
    }

    /// The rules for these classes. Parts are removed of every class before holes of any are filled,
    /// so that what one leaves can be filled by another.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a name that none of them has.
    pub fn rules(&self, classes: &[Class]) -> Result<Postprocessing> {
        let mut rules = of(&self.keep_largest, "keep_largest", classes)?;
        for rule in &mut rules {
            rule.keep_largest = true;
        }
        for filled in of(&self.fill_holes, "fill_holes", classes)? {
            rules.push(Rules {
                fill_holes: true,
                ..filled
            });
        }
        Ok(Postprocessing { classes: rules })
    }
}

/// No rules yet, for each class that is named.
fn of(names: &[String], key: &str, classes: &[Class]) -> Result<Vec<Rules>> {
    let able = || classes.iter().filter(|class| class.value != 0);
    let unknown = |name: &&String| *name != ALL && able().all(|class| class.name != **name);
    if let Some(name) = names.iter().find(unknown) {
        let known: Vec<&str> = able().map(|class| class.name.as_str()).collect();
        return Err(Error::Recipe(format!(
            "expected labels of the dataset ({}) or {ALL} for all, found `{name}`: \
             postprocess.{key}",
            known.join(", ")
        )));
    }
    let named = |class: &&Class| names.iter().any(|name| name == ALL || *name == class.name);
    Ok(able()
        .filter(named)
        .map(|class| Rules::none(class, classes))
        .collect())
}
