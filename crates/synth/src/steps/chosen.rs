//! Which structures a step is about: the `of` of a recipe.
//!
//! An entry is a class, a name, the beginning of one and a `*`, or a value written as text; case and
//! whether words are joined by `_` or spaces make no difference. What a case does not hold is passed
//! over, since not every patient has every structure.

use std::collections::BTreeMap;

use crate::Scene;

/// The values in a scene's labels that are meant, by class; none named: all that are learnt.
pub(super) fn chosen(of: &[String], scene: &Scene) -> BTreeMap<String, Vec<u16>> {
    let mut classes: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for value in scene.labels.counts().into_keys() {
        let structure = scene.structure(value);
        let named = |entry: &String| {
            alike(entry, &structure.class)
                || alike(entry, &structure.name)
                || entry.parse().is_ok_and(|number: u16| number == value)
        };
        let meant = match of {
            [] => structure.target != 0,
            of => of.iter().any(named),
        };
        if meant {
            classes.entry(structure.class).or_default().push(value);
        }
    }
    classes
}

fn alike(entry: &str, name: &str) -> bool {
    let plain = |text: &str| text.replace('_', " ").to_lowercase();
    match entry.strip_suffix('*') {
        Some(beginning) => plain(name).starts_with(&plain(beginning)),
        None => plain(name) == plain(entry),
    }
}

/// For every value, 1 + the place in `groups` that holds it; 0 where none does.
pub(super) fn places<'a>(groups: impl IntoIterator<Item = &'a [u16]>) -> Vec<u16> {
    let mut places = vec![0; usize::from(u16::MAX) + 1];
    for (place, group) in (1..=u16::MAX).zip(groups) {
        for &value in group {
            places[usize::from(value)] = place;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn by_class_name_and_value() {
        let scene = trial::scene([4, 1, 1], [1.0; 3], |[x, _, _]| x as u16);
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
            let found = chosen(&names, &scene);
            let mut values: Vec<u16> = found.into_values().flatten().collect();
            values.sort_unstable();
            values
        };
        assert_eq!(of(&[]), [1, 2, 3]);
        assert_eq!(of(&["organ"]), [1, 2]);
        assert_eq!(of(&["Right_organ", "background"]), [0, 2]);
        assert_eq!(of(&["3", "9", "spleen"]), [3]);
        assert_eq!(of(&["Left*", "label*"]), [1, 3]);
        assert_eq!(of(&["*"]), [0, 1, 2, 3]);
        let places = places([&[2, 3][..], &[1]]);
        assert_eq!(places[..5], [0, 2, 1, 1, 0]);
    }
}
