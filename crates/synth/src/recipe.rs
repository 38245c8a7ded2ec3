//! Recipes: a preset by its name or a TOML file, with overrides.
//!
//! ```
//! use crossmod_synth::SynthRecipe;
//! let recipe = SynthRecipe::parse(
//!     r#"
//!     seed = 7
//!     [[steps]]
//!     step = "bias"
//!     sd = [0.0, 0.3]
//!     "#,
//!     &["bias.p=1".into()],
//! )?;
//! assert_eq!(recipe.steps.len(), 1);
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{Error, Result, Step};

/// The recipes that the program brings, by name.
pub const PRESETS: &[(&str, &str)] = &[
    ("synthseg", include_str!("../presets/synthseg.toml")),
    ("lab2im", include_str!("../presets/lab2im.toml")),
    ("ct-cylinder", include_str!("../presets/ct-cylinder.toml")),
    ("ct-constants", include_str!("../presets/ct-constants.toml")),
    ("ct-textures", include_str!("../presets/ct-textures.toml")),
    ("mr-extra", include_str!("../presets/mr-extra.toml")),
    ("ct-extra", include_str!("../presets/ct-extra.toml")),
];

/// Likeness (Jaro–Winkler) from which on a mistyped name is taken for a known one.
const ALIKE: f64 = 0.6;

/// How images are made of label maps: steps in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SynthRecipe {
    /// Always `synth`.
    pub kind: Kind,
    /// What dataset.json says the images are: what is named `CT` is in Hounsfield units, and is
    /// written in whole ones.
    pub channel: String,
    /// What every draw depends on.
    pub seed: u64,
    /// Images of each case where nothing else is asked for.
    pub count: u32,
    /// What is done, in this order.
    pub steps: Vec<Step>,
}

/// What sort of recipe it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Labelled images from label maps.
    #[default]
    Synth,
}

impl Default for SynthRecipe {
    fn default() -> Self {
        Self {
            kind: Kind::Synth,
            channel: "MR".to_owned(),
            seed: 1,
            count: 1,
            steps: Vec::new(),
        }
    }
}

impl SynthRecipe {
    /// A preset by its name or the recipe of a `.toml` file, with overrides such as `seed=2` or, of
    /// all steps of a kind, `spatial.rotation_deg=20`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for an unknown preset, step, key or value, naming the nearest right one;
    /// [`Error::Volume`] where the file cannot be read.
    pub fn load(name: &str, overrides: &[String]) -> Result<Self> {
        if let Some((_, text)) = PRESETS.iter().find(|(known, _)| *known == name) {
            return Self::parse(text, overrides);
        }
        if !name.ends_with(".toml") {
            let known: Vec<&str> = PRESETS.iter().map(|(known, _)| *known).collect();
            return Err(Error::Recipe(format!(
                "expected a preset ({}) or the path of a .toml file, found `{name}`{}",
                known.join(", "),
                did_you_mean(name, known.iter().copied())
            )));
        }
        let path = Path::new(name);
        let text = fs::read_to_string(path).map_err(|e| Error::read(e, path))?;
        Self::parse(&text, overrides).map_err(|e| match e {
            Error::Recipe(message) => Error::Recipe(format!("{message}: {name}")),
            other => other,
        })
    }

    /// The recipe that a TOML text states.
    ///
    /// # Errors
    /// As [`SynthRecipe::load`].
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        let mut table: Table = text
            .parse()
            .map_err(|e| Error::Recipe(format!("expected TOML: {e}")))?;
        for text in overrides {
            set(&mut table, text)?;
        }
        check_keys(&table)?;
        let recipe: Self = table
            .try_into()
            .map_err(|e: toml::de::Error| Error::Recipe(e.to_string().trim_end().to_owned()))?;
        if recipe.count == 0 {
            return Err(Error::Recipe(
                "expected count to be at least 1, found 0".into(),
            ));
        }
        Ok(recipe)
    }
}

/// Puts `key=value` or `step.key=value` in place.
fn set(table: &mut Table, text: &str) -> Result<()> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Error::Recipe(format!(
            "expected --set key=value, found `{text}`"
        )));
    };
    let (key, value) = (key.trim(), value.trim());
    // A bare word is a string, so that it needs no quotes.
    let parsed = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let Some((name, key)) = key.split_once('.') else {
        table.insert(key.to_owned(), parsed);
        return Ok(());
    };
    let steps = table.get_mut("steps").and_then(Value::as_array_mut);
    let mut of_kind = steps
        .into_iter()
        .flatten()
        .filter_map(Value::as_table_mut)
        .filter(|step| step.get("step").and_then(Value::as_str) == Some(name))
        .peekable();
    if of_kind.peek().is_none() {
        return Err(Error::Recipe(format!(
            "expected --set to name a step of the recipe, found `{name}` in `{text}`"
        )));
    }
    for step in of_kind {
        step.insert(key.to_owned(), parsed.clone());
    }
    Ok(())
}

/// Refuses a key that no recipe or step has, naming the nearest right one.
fn check_keys(table: &Table) -> Result<()> {
    let own = ["kind", "channel", "seed", "count", "steps"];
    if let Some(key) = table.keys().find(|key| !own.contains(&key.as_str())) {
        return Err(unknown("key", key, own));
    }
    let known: Vec<Table> = Step::all()
        .into_iter()
        .filter_map(|step| Table::try_from(step).ok())
        .collect();
    let name_of = |step: &Table| step.get("step").and_then(Value::as_str).map(str::to_owned);
    let names: Vec<String> = known.iter().filter_map(name_of).collect();
    let steps = table.get("steps").and_then(Value::as_array);
    for step in steps.into_iter().flatten().filter_map(Value::as_table) {
        let Some(name) = name_of(step) else { continue };
        let Some(template) = known.iter().find(|t| name_of(t).as_ref() == Some(&name)) else {
            return Err(unknown("step", &name, names.iter().map(String::as_str)));
        };
        // Keys whose own value is "none" are not in the template: serde knows them.
        if let Some(key) = step.keys().find(|key| !template.contains_key(*key)) {
            let keys: Vec<&str> = template.keys().map(String::as_str).collect();
            let likely = nearest(key, keys.iter().copied());
            if likely.is_some_and(|(likeness, _)| likeness > 0.85) {
                return Err(unknown(&format!("key of step `{name}`"), key, keys));
            }
        }
    }
    Ok(())
}

fn unknown<'a>(what: &str, found: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Error {
    let hint = did_you_mean(found, known.clone());
    let known: Vec<&str> = known.into_iter().collect();
    Error::Recipe(format!(
        "unknown {what} `{found}`{hint}; expected one of {}",
        known.join(", ")
    ))
}

pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known)
        .filter(|(likeness, _)| *likeness > ALIKE)
        .map_or(String::new(), |(_, k)| format!("; did you mean `{k}`?"))
}

fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(f64, &'a str)> {
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(name, k), k))
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        match SynthRecipe::parse(text, &overrides) {
            Err(e) => e.to_string(),
            Ok(recipe) => panic!("expected an error, found {recipe:?}"),
        }
    }

    #[test]
    fn wrong_names_are_answered_with_right_ones() {
        let said = message("sed = 1", &[]);
        assert!(said.contains("`sed`; did you mean `seed`?"), "{said}");
        let said = message("[[steps]]\nstep = \"bais\"", &[]);
        assert!(said.contains("did you mean `bias`?"), "{said}");
        let said = message("[[steps]]\nstep = \"bias\"\nscaale = 1", &[]);
        assert!(said.contains("did you mean `scale`?"), "{said}");
        let said = message("", &["bias.p=1"]);
        assert!(said.contains("expected --set to name a step"), "{said}");
        let said = message("count = 0", &[]);
        assert!(said.contains("at least 1"), "{said}");
        let said = SynthRecipe::load("nothing", &[]).map_err(|e| e.to_string());
        assert!(said.is_err_and(|e| e.contains("expected a preset")));
    }

    #[test]
    fn presets_state_themselves() {
        for (name, text) in PRESETS {
            let recipe = SynthRecipe::parse(text, &[]).expect(name);
            let again = toml::to_string(&recipe).expect(name);
            assert_eq!(
                SynthRecipe::parse(&again, &[]).expect(name),
                recipe,
                "{name}"
            );
        }
    }
}
