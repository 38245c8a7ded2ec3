//! In what two recipes differ.

use toml::{Table, Value};

use crate::{Error, Result, SynthRecipe};

/// The first difference of a recipe from the one that was found, in words; `None` where images of one
/// number are the same by both. The number of images is no difference.
pub(super) fn of(found: &SynthRecipe, wanted: &SynthRecipe) -> Result<Option<String>> {
    let table = |recipe: &SynthRecipe| {
        let mut table =
            Table::try_from(recipe).map_err(|e| Error::Recipe(e.to_string().trim_end().into()))?;
        table.remove("count");
        Ok::<_, Error>(Value::Table(table))
    };
    Ok(between("", &table(found)?, &table(wanted)?))
}

fn between(place: &str, found: &Value, wanted: &Value) -> Option<String> {
    if found == wanted {
        return None;
    }
    let inner = |key: &str| match place {
        "" => key.to_owned(),
        _ => format!("{place}.{key}"),
    };
    match (found, wanted) {
        (Value::Table(found), Value::Table(wanted)) => {
            let keys = found.keys().chain(wanted.keys());
            let differing = keys.filter(|&key| found.get(key) != wanted.get(key));
            // What a step is comes before how it is.
            let key = differing.min_by_key(|&key| key != "step")?;
            match (found.get(key), wanted.get(key)) {
                (Some(a), Some(b)) => between(&inner(key), a, b),
                (a, b) => Some(said(&inner(key), a, b)),
            }
        }
        (Value::Array(found), Value::Array(wanted)) if found.iter().all(Value::is_table) => {
            let n = (0..found.len().max(wanted.len())).find(|&i| found.get(i) != wanted.get(i))?;
            let name = |steps: &[Value]| steps.get(n)?.get("step")?.as_str().map(str::to_owned);
            match (name(found), name(wanted)) {
                (Some(a), Some(b)) if a == b => {
                    between(&format!("step {} ({a})", n + 1), &found[n], &wanted[n])
                }
                (a, b) => {
                    let text = |name: Option<String>| name.map_or(Value::from("none"), Value::from);
                    let place = format!("step {}", n + 1);
                    Some(said(&place, Some(&text(a)), Some(&text(b))))
                }
            }
        }
        (a, b) => Some(said(place, Some(a), Some(b))),
    }
}

fn said(place: &str, found: Option<&Value>, wanted: Option<&Value>) -> String {
    let text = |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
    format!("{place} is {} there and {} here", text(found), text(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(a: &str, b: &str) -> Option<String> {
        let parse = |text| SynthRecipe::parse(text, &[]).expect("a recipe");
        of(&parse(a), &parse(b)).expect("two recipes")
    }

    #[test]
    fn the_first_difference_is_named() {
        let steps = "[[steps]]\nstep = \"bias\"\nsd = [0.0, 0.5]\n";
        assert_eq!(difference(steps, &format!("count = 3\n{steps}")), None);
        let said = |a: &str, b: &str| difference(a, b).expect("a difference");
        assert_eq!(said("seed = 1", "seed = 2"), "seed is 1 there and 2 here");
        let other = steps.replace("0.5", "0.75");
        assert_eq!(
            said(steps, &other),
            "step 1 (bias).sd is [0.0, 0.5] there and [0.0, 0.75] here"
        );
        assert_eq!(
            said(steps, ""),
            "step 1 is \"bias\" there and \"none\" here"
        );
    }
}
