//! The side of the body in a structure's name.

/// A name without its side.
pub(super) struct Sided {
    /// Which side.
    pub(super) right: bool,
    /// The rest of the name.
    pub(super) rest: String,
}

const SEPARATORS: [char; 4] = [' ', '_', '-', '.'];

/// The side that a name states, unless the structure has no twin on the other side.
pub(super) fn sided(name: &str) -> Option<Sided> {
    if of_the_heart(name) {
        return None;
    }
    let mut start = 0;
    let mut parts = Vec::new();
    for part in name.split(SEPARATORS) {
        parts.push((start, part));
        start += part.len() + 1;
    }
    let last = parts.len() - 1;
    let at_an_end = |i: usize| i == 0 || i == last;
    let found = parts.iter().enumerate().find_map(|(i, &(at, part))| {
        let right = side(part, at_an_end(i))?;
        (last > 0).then_some((at, part.len(), right))
    });
    let (rest, right) = match found {
        // With the side goes the separator behind it, or before it where it is last.
        Some((0, length, right)) => (name[length + 1..].to_owned(), right),
        Some((at, length, right)) => {
            let (before, after) = (&name[..at - 1], &name[at + length..]);
            (format!("{before}{after}"), right)
        }
        None => joined(name)?,
    };
    (!rest.is_empty()).then_some(Sided { right, rest })
}

/// The side that a part of a name is; single letters only where they are first or last.
fn side(part: &str, at_an_end: bool) -> Option<bool> {
    match part.to_lowercase().as_str() {
        "left" | "lt" | "lh" => Some(false),
        "right" | "rt" | "rh" => Some(true),
        "l" if at_an_end => Some(false),
        "r" if at_an_end => Some(true),
        _ => None,
    }
}

/// Names such as `LeftLung`.
fn joined(name: &str) -> Option<(String, bool)> {
    [("Left", false), ("Right", true)]
        .into_iter()
        .find_map(|(word, right)| {
            let rest = name.strip_prefix(word)?;
            let next_word = rest.starts_with(char::is_uppercase);
            next_word.then(|| (rest.to_owned(), right))
        })
}

/// Chambers and appendages of the heart, of which the left is no mirror image of the right. The
/// brain's ventricles say which they are.
fn of_the_heart(name: &str) -> bool {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let heart = [
        "heart", "atrium", "atrial", "auric", "cardiac", "myocard", "epicard", "endocard",
    ];
    has(&heart) || (has(&["ventric"]) && !has(&["lat", "temp", "inf", "brain", "cereb"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_found_wherever_names_put_them() {
        for (name, right, rest) in [
            ("left hippocampus", false, "hippocampus"),
            ("Right-Thalamus-Proper", true, "Thalamus-Proper"),
            ("kidney_left", false, "kidney"),
            ("lung_upper_lobe_right", true, "lung_upper_lobe"),
            ("Parotid-Lt", false, "Parotid"),
            ("ctx-rh-insula", true, "ctx-insula"),
            ("Parotid_L", false, "Parotid"),
            ("LeftLung", false, "Lung"),
            ("left lateral ventricle", false, "lateral ventricle"),
        ] {
            let found = sided(name).map(|s| (s.right, s.rest));
            assert_eq!(found, Some((right, rest.to_owned())), "{name}");
        }
    }

    #[test]
    fn names_without_a_twin_have_no_side() {
        for name in [
            "left ventricle",
            "heart_atrium_left",
            "left myocardium",
            "brain-stem",
            "vertebrae_L1",
            "left",
            "bright",
            "Leftover",
            "",
        ] {
            assert!(sided(name).is_none(), "{name}");
        }
    }
}
