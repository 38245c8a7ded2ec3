//! Reading recipes of any kind: a built-in name or a TOML file, then `key=value` overrides.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{BUILT_IN, Kind, PseudoRecipe, Recipe, ShapeRecipe, StagesRecipe};
use crate::fit::RunFolder;
use crate::segment::SegmentRecipe;
use crate::segment::plan::Dims;
use crate::{Error, Result};

/// What a recipe file describes.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyRecipe {
    /// A segmentor of one modality by the labels of another, and its yardsticks.
    Adapt(Box<Recipe>),
    /// A segmenter that plans itself.
    Segment(Box<SegmentRecipe>),
    /// Translators and segmentors of whole volumes.
    Shape(Box<ShapeRecipe>),
    /// Labels of unlabelled images.
    Pseudo(Box<PseudoRecipe>),
    /// Several trainings, one after the other.
    Stages(Box<StagesRecipe>),
}

impl AnyRecipe {
    /// The recipe of a built-in name or a TOML file, with overrides such as
    /// `loss.lambda_cycle=5`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for an unknown name, key or value; the nearest right key is named.
    pub fn load(name: &str, overrides: &[String]) -> Result<Self> {
        Self::of(parse(&text_of(name)?, name)?, overrides, name)
    }

    /// The recipe of a table, such as [`AnyRecipe::table`] gives; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`AnyRecipe::load`].
    pub(crate) fn of(table: Table, overrides: &[String], name: &str) -> Result<Self> {
        Ok(match kind_of(&table, name, MAX_BASES)?.as_deref() {
            Some("segment") => Self::Segment(Box::new(resolve(table, overrides, name)?)),
            Some("shape-consistency") => Self::Shape(Box::new(resolve(table, overrides, name)?)),
            Some("pseudo-label") => Self::Pseudo(Box::new(resolve(table, overrides, name)?)),
            Some("stages") => Self::Stages(Box::new(resolve(table, overrides, name)?)),
            _ => Self::Adapt(Box::new(resolve(table, overrides, name)?)),
        })
    }

    /// The recipe of a run.
    ///
    /// # Errors
    /// [`Error::Run`] where it is missing or holds values that cannot be.
    pub fn of_run(run: &RunFolder) -> Result<Self> {
        let table: Table = run.read_toml("recipe.toml")?;
        Self::of(table, &[], "recipe.toml")
            .map_err(|e| Error::run(e.to_string(), &run.file("recipe.toml")))
    }

    /// Every value of the recipe.
    ///
    /// # Errors
    /// Never: every recipe can be written as TOML.
    pub(crate) fn table(&self) -> Result<Table> {
        match self {
            Self::Adapt(recipe) => Table::try_from(recipe),
            Self::Segment(recipe) => Table::try_from(recipe),
            Self::Shape(recipe) => Table::try_from(recipe),
            Self::Pseudo(recipe) => Table::try_from(recipe),
            Self::Stages(recipe) => Table::try_from(recipe),
        }
        .map_err(|e| Error::Recipe(e.to_string()))
    }
}

/// A recipe that is read from TOML on top of the values that are left out.
pub(crate) trait Readable: Serialize + DeserializeOwned {
    /// One with every key there is; none where keys are of the reader's choice.
    fn template() -> Option<Self>;
    /// Refuses values that cannot be.
    fn check(self) -> Result<Self>;
}

/// See [`AnyRecipe::load`].
fn resolve<T: Readable>(own: Table, overrides: &[String], name: &str) -> Result<T> {
    let keys = match T::template() {
        Some(template) => {
            let known = Table::try_from(template).map_err(|e| Error::Recipe(e.to_string()))?;
            let mut keys = Vec::new();
            leaves(&known, "", &mut keys);
            Some(keys)
        }
        None => None,
    };
    let mut table = above_base(own, keys.as_deref(), name, MAX_BASES)?;
    for text in overrides {
        set(&mut table, text, keys.as_deref())?;
    }
    let recipe: T = table
        .try_into()
        .map_err(|e: toml::de::Error| Error::Recipe(format!("{e} ({name})")))?;
    recipe.check()
}

/// The `kind` of a recipe, or of the one that it names as its `base`.
fn kind_of(table: &Table, name: &str, bases: usize) -> Result<Option<String>> {
    match (table.get("kind"), table.get("base")) {
        (Some(Value::String(kind)), _) => Ok(Some(kind.clone())),
        (None, Some(Value::String(base))) if bases > 0 => {
            kind_of(&parse(&text_of(base)?, name)?, base, bases - 1)
        }
        _ => Ok(None),
    }
}

/// What is said of a value that cannot be.
pub(crate) fn wrong(key: &str, expected: &str, found: impl Display) -> Error {
    Error::Recipe(format!("expected {key} to be {expected}, found {found}"))
}

impl Recipe {
    /// As [`AnyRecipe::load`], for recipes that adapt.
    ///
    /// # Errors
    /// As there; [`Error::Recipe`] where the recipe is of another kind.
    pub fn load(name: &str, overrides: &[String]) -> Result<Self> {
        resolve(parse(&text_of(name)?, name)?, overrides, name)
    }
}

impl Readable for Recipe {
    fn template() -> Option<Self> {
        let mut full = Self {
            translate: Some(PathBuf::new()),
            ..Self::default()
        };
        full.plan.dims = Dims::TwoAndHalf { context: 1 };
        Some(full)
    }

    fn check(self) -> Result<Self> {
        let wrong = |key: &str, expected: &str, found: String| Err(wrong(key, expected, found));
        if self.batch == 0 {
            return wrong("batch", "at least 1", "0".into());
        }
        if self.plan.max_patch < 32 {
            return wrong(
                "plan.max_patch",
                "at least 32",
                self.plan.max_patch.to_string(),
            );
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.checkpoint_minutes) {
            return wrong(
                "checkpoint_minutes",
                "above 0",
                self.checkpoint_minutes.to_string(),
            );
        }
        if !positive(f64::from(self.optimizer.learning_rate)) {
            let found = self.optimizer.learning_rate.to_string();
            return wrong("optimizer.learning_rate", "above 0", found);
        }
        let shares = [
            ("augment.ratio_crop", self.augment.ratio_crop, 0.05..=1.0),
            ("augment.mirror", self.augment.mirror, 0.0..=1.0),
        ];
        if let Some((key, found, range)) = shares.into_iter().find(|(_, v, r)| !r.contains(v)) {
            let expected = format!("{} to {}", range.start(), range.end());
            return wrong(key, &expected, found.to_string());
        }
        if !self.kind.segments() && !self.postprocess.is_none() {
            let found = "rules".into();
            return wrong(
                "postprocess",
                "empty, as this recipe segments nothing",
                found,
            );
        }
        if self.kind == Kind::Translated && self.translate.is_none() {
            return wrong("translate", "the run that translates", "none".into());
        }
        let widths = [
            ("generator.width", self.generator.width),
            ("discriminator.width", self.discriminator.width),
            ("segmentor.resnet.width", self.segmentor.resnet.width),
            ("segmentor.unet.width", self.segmentor.unet.width),
            ("segmentor.unet.max_width", self.segmentor.unet.max_width),
        ];
        if let Some((key, found)) = widths.into_iter().find(|(_, w)| !(1..=4096).contains(w)) {
            return wrong(key, "1 to 4096", found.to_string());
        }
        if !(2..=8).contains(&self.segmentor.unet.levels) {
            return wrong(
                "segmentor.unet.levels",
                "2 to 8",
                self.segmentor.unet.levels.to_string(),
            );
        }
        Ok(self)
    }
}

/// How many recipes may build on each other: no sensible chain is longer, and a circle ends.
const MAX_BASES: usize = 8;

/// The recipe's table, on top of the one it names as its `base`.
fn above_base(mut own: Table, keys: Option<&[String]>, name: &str, bases: usize) -> Result<Table> {
    let base = own.remove("base");
    if let Some(keys) = keys {
        check_keys(&own, "", keys, name)?;
    }
    match base {
        None => Ok(own),
        Some(_) if bases == 0 => Err(Error::Recipe(format!(
            "expected at most {MAX_BASES} recipes that build on each other, found more or a \
             circle of `base` ({name})"
        ))),
        Some(Value::String(base)) => {
            let below = parse(&text_of(&base)?, &base)?;
            let mut table = above_base(below, keys, &base, bases - 1)?;
            merge(&mut table, own);
            Ok(table)
        }
        Some(other) => Err(Error::Recipe(format!(
            "expected `base` to be the name of a recipe, found {other} ({name})"
        ))),
    }
}

/// Puts the values of `over` in place of those of `table`.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn text_of(name: &str) -> Result<String> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return Ok((*text).to_owned());
    }
    if name.ends_with(".toml") {
        let path = Path::new(name);
        return fs::read_to_string(path).map_err(|e| Error::io("read the recipe", e, path));
    }
    let known: Vec<&str> = BUILT_IN.iter().map(|(known, _)| *known).collect();
    let near = nearest(name, known.iter().copied())
        .map_or(String::new(), |n| format!("; did you mean `{n}`?"));
    Err(Error::Recipe(format!(
        "expected a recipe ({}) or the path of a .toml file, found `{name}`{near}",
        known.join(", "),
    )))
}

fn parse(text: &str, name: &str) -> Result<Table> {
    text.parse()
        .map_err(|e| Error::Recipe(format!("expected TOML: {e} ({name})")))
}

/// Paths of all values, such as `loss.lambda_cycle`.
fn leaves(table: &Table, prefix: &str, out: &mut Vec<String>) {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => leaves(inner, &format!("{path}."), out),
            _ => out.push(path),
        }
    }
}

fn check_keys(table: &Table, prefix: &str, known: &[String], file: &str) -> Result<()> {
    let mut given = Vec::new();
    leaves(table, prefix, &mut given);
    match given.iter().find(|key| !known.contains(key)) {
        Some(key) => Err(unknown(key, known, file)),
        None => Ok(()),
    }
}

fn unknown(key: &str, known: &[String], place: &str) -> Error {
    let near = nearest(key, known.iter().map(String::as_str))
        .map_or(String::new(), |n| format!("; did you mean `{n}`?"));
    Error::Recipe(format!("unknown key `{key}`{near} ({place})"))
}

/// The known name nearest to a mistyped one, compared whole and by its last part.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    known
        .into_iter()
        .map(|k| {
            let whole = strsim::jaro_winkler(name, k);
            (whole.max(strsim::jaro_winkler(&last(name), &last(k))), k)
        })
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

fn set(table: &mut Table, text: &str, known: Option<&[String]>) -> Result<()> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Error::Recipe(format!(
            "expected --set key=value, found `{text}`"
        )));
    };
    let (key, value) = (key.trim(), value.trim());
    if let Some(known) = known.filter(|known| !known.iter().any(|k| k == key)) {
        return Err(unknown(key, known, "--set"));
    }
    // A bare word is a string, so that `segmentor.kind=unet` needs no quotes.
    let parsed = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut at = table;
    let mut parts: Vec<&str> = key.split('.').collect();
    let leaf = parts.pop().unwrap_or(key);
    for part in parts {
        let entry = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = entry else {
            return Err(Error::Recipe(format!("expected `{part}` to be a table")));
        };
        at = inner;
    }
    at.insert(leaf.to_owned(), parsed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::SegmentorKind;

    fn load(overrides: &[&str]) -> Result<Recipe> {
        let overrides: Vec<String> = overrides.iter().map(|&s| s.to_owned()).collect();
        Recipe::load("synseg", &overrides)
    }

    #[test]
    fn the_built_in_synseg_is_the_published_one() -> Result<()> {
        assert_eq!(load(&[])?, Recipe::default());
        assert_eq!(Recipe::load("source-only", &[])?.kind, Kind::SourceOnly);
        assert_eq!(
            Recipe::load("target-supervised", &[])?.kind,
            Kind::TargetSupervised
        );
        Ok(())
    }

    #[test]
    fn a_recipe_builds_on_its_base() -> Result<()> {
        let small = Recipe::load("synseg-small", &[])?;
        for (name, kind) in [
            ("source-only-small", Kind::SourceOnly),
            ("target-supervised-small", Kind::TargetSupervised),
        ] {
            assert_eq!(
                Recipe::load(name, &[])?,
                Recipe {
                    kind,
                    ..small.clone()
                }
            );
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("own.toml");
        let name = path.to_str().expect("a name").to_owned();
        let text = "base = \"synseg-small\"\n[loss]\nlambda_cycle = 3.0\n";
        fs::write(&path, text).expect("written");
        let own = Recipe::load(&name, &["pool=7".into()])?;
        assert_eq!((own.loss.lambda_cycle, own.pool), (3.0, 7));
        assert_eq!(own.segmentor, small.segmentor);
        fs::write(&path, format!("base = {name:?}\n")).expect("written");
        assert!(Recipe::load(&name, &[]).is_err_and(|e| e.to_string().contains("circle")));
        Ok(())
    }

    #[test]
    fn every_built_in_recipe_can_be_read_and_written() -> Result<()> {
        for (name, _) in BUILT_IN {
            let recipe = AnyRecipe::load(name, &[])?;
            assert_eq!(AnyRecipe::of(recipe.table()?, &[], name)?, recipe, "{name}");
        }
        let published = AnyRecipe::Shape(Box::default());
        assert_eq!(AnyRecipe::load("shape-consistency-joint", &[])?, published);
        let AnyRecipe::Adapt(cut) = AnyRecipe::load("cut", &[])? else {
            panic!("cut adapts");
        };
        assert_eq!((cut.kind, cut.contrast), (Kind::Cut, Default::default()));
        Ok(())
    }

    #[test]
    fn overrides_reach_nested_keys() -> Result<()> {
        let recipe = load(&["segmentor.kind=unet", "loss.lambda_cycle = 5", "batch=1"])?;
        assert_eq!(recipe.segmentor.kind, SegmentorKind::UNet);
        assert_eq!((recipe.loss.lambda_cycle, recipe.batch), (5.0, 1));
        Ok(())
    }

    #[test]
    fn a_wrong_key_names_the_nearest_right_one() {
        let said = |o: &str| load(&[o]).expect_err("refused").to_string();
        assert!(
            said("lamda=10").contains("did you mean `loss.lambda_"),
            "{}",
            said("lamda=10")
        );
        assert!(said("optimiser.learning_rate=1").contains("`optimizer.learning_rate`"));
        assert!(said("batch").contains("key=value"));
        assert!(said("batch=many").contains("batch"));
        assert!(said("batch=0").contains("at least 1"));
        let stated = ["postprocess.keep_largest=[\"*\"]".to_owned()];
        let said = Recipe::load("cyclegan", &stated).expect_err("refused");
        assert!(said.to_string().contains("segments nothing"), "{said}");
        let said = Recipe::load("synsge", &[])
            .expect_err("refused")
            .to_string();
        assert!(said.contains("did you mean `synseg`"), "{said}");
    }
}
