//! What a run was made with, read back: both files may have been edited by hand.

use super::{Kind, Readable as _, Recipe};
use crate::fit::RunFolder;
use crate::net::ResNet;
use crate::plan::Plan;
use crate::{Error, Result};

impl Recipe {
    /// The recipe and the plan of a run.
    ///
    /// # Errors
    /// [`Error::Run`] where one is missing, cannot be read, or holds values that cannot be or that
    /// do not fit the other's.
    pub fn of_run(run: &RunFolder) -> Result<(Self, Plan)> {
        let recipe: Self = run.read_toml("recipe.toml")?;
        let plan: Plan = run.read_toml("plan.toml")?;
        let recipe = recipe
            .check()
            .map_err(|e| Error::run(e.to_string(), &run.file("recipe.toml")))?;
        plan.check(recipe.multiple(), recipe.kind.segments())
            .map_err(|message| Error::run(message, &run.file("plan.toml")))?;
        Ok((recipe, plan))
    }

    /// Image sides in the nets are multiples of this.
    #[must_use]
    pub fn multiple(&self) -> usize {
        let segmentor = self.segmentor.multiple();
        match self.kind {
            // Both are powers of two, so the larger is a multiple of the other. Translators alone
            // are trained on patches that suit the segmentor of what they translate as well.
            Kind::Synseg | Kind::Cyclegan | Kind::Cut | Kind::Translated => {
                segmentor.max(ResNet::MULTIPLE)
            }
            Kind::SourceOnly | Kind::TargetSupervised => segmentor,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn edited_files_are_checked() -> Result<()> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = RunFolder::create(folder.path())?;
        run.write_toml("recipe.toml", &Recipe::default())?;
        let plan = "fit = \"spacing\"\nspacing_mm = 1.5\npatch = 64\nload = 72\nreasons = []\n\
                    dims = { kind = \"2d\" }\n\
                    classes = [{ value = 0, name = \"background\" }, { value = 1, name = \"a\" }]\n";
        let with = |from: &str, to: &str| {
            assert!(plan.contains(from), "{from}");
            fs::write(run.file("plan.toml"), plan.replace(from, to)).expect("written");
            Recipe::of_run(&run).map_err(|e| e.to_string())
        };
        assert_eq!(with("64", "64").expect("as it was").1.patch, 64);
        for (from, to, said) in [
            ("1.5", "0.0", "spacing_mm"),
            ("1.5", "nan", "spacing_mm"),
            ("64", "62", "multiple of 4"),
            ("64", "0", "patch"),
            ("72", "60", "load"),
            ("value = 1", "value = 0", "classes"),
            ("patch", "pach", "pach"),
            ("\"2d\"", "\"2.5d\", context = 16", "dims.context"),
            ("\"2d\"", "\"3d\"", "block"),
        ] {
            let error = with(from, to).expect_err(to);
            assert!(
                error.contains(said) && error.contains("plan.toml"),
                "{error}"
            );
        }
        Ok(())
    }
}
