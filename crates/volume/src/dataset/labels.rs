//! What the values of label maps mean: `labels`, `regions_class_order` and `labelled` of
//! `dataset.json`.
//!
//! As nnU-Net's second version (Isensee et al., doi:10.1038/s41592-020-01008-z) has it:
//!
//! ```json
//! {"labels": {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [2, 3], "ignore": 4},
//!  "regions_class_order": [1, 2]}
//! ```
//!
//! - A name may stand for a **region**, several values that are learnt as one class; regions may
//!   overlap. As soon as one does, every name but the background is a region, in the order of the
//!   file, and `regions_class_order` says which value each is written as; where regions overlap the
//!   later one is written.
//! - The value named **ignore** marks voxels that nobody has judged. It is one above all others.
//!
//! One key is crossmod's own, for cases in which only some classes were drawn:
//! `"labelled": {"CASE": ["liver", "spleen"]}`. Elsewhere in such a case the others may be present.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Case;

/// Several label values that are one class; see the description of regions at the dataset's
/// [`regions`](super::Dataset::regions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// What it is.
    pub name: String,
    /// The values of label maps that it is made of, in order.
    pub values: Vec<u16>,
    /// The value that is written where it is found.
    pub value: u16,
}

/// The meaning of the values of label maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelTable {
    /// Value to name, background included; not the value to ignore.
    pub names: BTreeMap<u16, String>,
    /// The value of voxels that nobody has judged.
    pub ignore: Option<u16>,
    /// In the order of the file; empty where every name is one value.
    pub regions: Vec<Region>,
    /// The classes that were drawn, in order, by the value that they are written as, of each case
    /// in which not all were.
    pub labelled: BTreeMap<String, Vec<u16>>,
}

/// The classes that were drawn in each case that is named.
pub(super) type Labelled = BTreeMap<String, Vec<String>>;

type Told<T> = Result<T, String>;

impl LabelTable {
    /// Understands the values of `labels` and `regions_class_order`.
    pub(super) fn parse(labels: &Value, order: Option<&Value>) -> Told<Self> {
        let Value::Object(map) = labels else {
            return Err(format!(
                "expected labels such as {{\"background\": 0, \"liver\": 1}}, found {labels}; \
                 correct them"
            ));
        };
        let (ignored, named): (Vec<Named>, Vec<Named>) = named(map)?
            .into_iter()
            .partition(|of| of.name.eq_ignore_ascii_case("ignore"));
        let overlap = named.iter().any(|of| of.values.len() > 1);
        let highest = named.iter().flat_map(|of| &of.values).copied().max();
        let mut table = if overlap {
            Self::of_regions(named, order)?
        } else {
            Self::of_labels(named)?
        };
        let background = || "background".to_owned();
        table.names.entry(0).or_insert_with(background);
        table.ignore = match ignored.as_slice() {
            [] => None,
            [one] => Some(ignore(one, highest.unwrap_or(0))?),
            _ => return Err("expected one label \"ignore\", found several; keep one".into()),
        };
        let taken = |region: &&Region| Some(region.value) == table.ignore;
        if let Some(region) = table.regions.iter().find(taken) {
            return Err(format!(
                "expected regions_class_order without the value of \"ignore\", found {} for \"{}\"; \
                 write another",
                region.value, region.name
            ));
        }
        Ok(table)
    }

    fn of_labels(named: Vec<Named>) -> Told<Self> {
        let mut names = BTreeMap::new();
        for Named { name, values } in named {
            for value in values {
                if let Some(other) = names.insert(value, name.clone()) {
                    return Err(format!(
                        "expected one name per label value, found \"{other}\" and \"{name}\" for \
                         {value}; give each its own value"
                    ));
                }
            }
        }
        Ok(Self {
            names,
            ..Self::default()
        })
    }

    fn of_regions(named: Vec<Named>, order: Option<&Value>) -> Told<Self> {
        let mut names = BTreeMap::new();
        for of in &named {
            for &value in &of.values {
                names
                    .entry(value)
                    .or_insert_with(|| format!("label {value}"));
            }
        }
        for of in &named {
            if let [value] = *of.values {
                names.insert(value, of.name.clone());
            }
        }
        let foreground: Vec<Named> = named.into_iter().filter(|of| of.values != [0]).collect();
        if let Some(of) = foreground.iter().find(|of| of.values.contains(&0)) {
            return Err(format!(
                "expected regions of values above 0, found the background in \"{}\"; leave it out",
                of.name
            ));
        }
        let values = written(order, foreground.len())?;
        let region = |(Named { name, values }, value)| Region {
            name,
            values,
            value,
        };
        Ok(Self {
            names,
            regions: foreground.into_iter().zip(values).map(region).collect(),
            ..Self::default()
        })
    }

    /// The values that the classes of this name are written as.
    fn classes(&self, name: &str) -> Vec<u16> {
        if self.regions.is_empty() {
            let same = self.names.iter().filter(|(_, n)| *n == name);
            same.map(|(&value, _)| value).collect()
        } else {
            let same = self.regions.iter().filter(|region| region.name == name);
            same.map(|region| region.value).collect()
        }
    }

    /// The values of the classes that were drawn in each case that is named.
    pub(super) fn drawn(&self, labelled: &Labelled) -> Told<BTreeMap<String, Vec<u16>>> {
        let mut all = BTreeMap::new();
        for (id, names) in labelled {
            let mut drawn = BTreeSet::new();
            for name in names {
                let classes = self.classes(name);
                if classes.is_empty() {
                    let known: Vec<&String> = match &*self.regions {
                        [] => self.names.values().collect(),
                        regions => regions.iter().map(|region| &region.name).collect(),
                    };
                    return Err(format!(
                        "expected labelled to hold names of labels ({known:?}), found \"{name}\" \
                         for case {id}; correct it"
                    ));
                }
                drawn.extend(classes.into_iter().filter(|&value| value != 0));
            }
            all.insert(id.clone(), drawn.into_iter().collect());
        }
        Ok(all)
    }

    /// Tells each case which of its classes were drawn.
    pub(super) fn mark(&self, labelled: &Labelled, cases: &mut [&mut Case]) -> Told<()> {
        for (id, drawn) in self.drawn(labelled)? {
            let mut found = false;
            for case in cases.iter_mut().filter(|case| case.id == id) {
                case.labelled = Some(drawn.clone());
                found = true;
            }
            if !found {
                return Err(format!(
                    "expected labelled to name cases of the dataset, found \"{id}\", which has no \
                     image; correct it, or remove it"
                ));
            }
        }
        Ok(())
    }
}

/// A name and its values, in order and each once.
struct Named {
    name: String,
    values: Vec<u16>,
}

/// The names, whichever way round the file has them.
fn named(map: &Map<String, Value>) -> Told<Vec<Named>> {
    let reversed = !map.is_empty()
        && map
            .iter()
            .all(|(key, value)| key.parse::<u16>().is_ok() && value.is_string());
    map.iter()
        .map(|(key, value)| {
            let wrong = |found: &Value| {
                format!(
                    "expected a whole number from 0 to 65535 for label \"{key}\", found {found}; \
                     correct it"
                )
            };
            let (name, mut values) = match value {
                Value::String(name) if reversed => {
                    let value = key.parse().map_err(|_| wrong(value))?;
                    (name, vec![value])
                }
                Value::Array(list) => {
                    let values = list
                        .iter()
                        .map(|value| whole(value).ok_or_else(|| wrong(value)));
                    (key, values.collect::<Told<Vec<u16>>>()?)
                }
                _ => (key, vec![whole(value).ok_or_else(|| wrong(value))?]),
            };
            values.sort_unstable();
            values.dedup();
            if values.is_empty() {
                return Err(format!(
                    "expected values for label \"{key}\", found an empty list; add them, or remove \
                     the label"
                ));
            }
            let name = name.clone();
            Ok(Named { name, values })
        })
        .collect()
}

/// A value, also where it is written as a string.
fn whole(value: &Value) -> Option<u16> {
    super::description::number(value).and_then(|n| u16::try_from(n).ok())
}

fn ignore(of: &Named, highest: u16) -> Told<u16> {
    let expected = u32::from(highest) + 1;
    match *of.values {
        [value] if u32::from(value) == expected => Ok(value),
        _ => Err(format!(
            "expected label \"ignore\" to be {expected}, one above all others, found {:?}; change it, \
             and with it the label maps",
            of.values
        )),
    }
}

/// The values of `regions_class_order`, one for each region.
fn written(order: Option<&Value>, regions: usize) -> Told<Vec<u16>> {
    let wrong = |found: &str| {
        let example: Vec<usize> = (1..=regions).collect();
        format!(
            "expected regions_class_order, the value that is written for each of the {regions} \
             regions, such as {example:?}, each above 0 and once, found {found}; correct it"
        )
    };
    let order = order.ok_or_else(|| wrong("none"))?;
    let values: Option<Vec<u16>> = order.as_array().and_then(|list| {
        let values = list.iter().map(whole);
        values.collect()
    });
    let values = values.ok_or_else(|| wrong(&order.to_string()))?;
    let distinct: BTreeSet<&u16> = values.iter().filter(|value| **value > 0).collect();
    if values.len() != regions || distinct.len() != regions {
        return Err(wrong(&order.to_string()));
    }
    Ok(values)
}

/// The value of `labelled`.
pub(super) fn labelled(value: &Value) -> Told<Labelled> {
    serde_json::from_value(value.clone()).map_err(|_| {
        format!(
            "expected labelled to be the names of the labels that were drawn, by case, such as \
             {{\"case_01\": [\"liver\"]}}, found {value}; correct it"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(labels: Value, order: Option<Value>) -> Told<LabelTable> {
        LabelTable::parse(&labels, order.as_ref())
    }

    fn error(labels: Value, order: Option<Value>) -> String {
        parse(labels, order).expect_err("labels that must be refused")
    }

    #[test]
    fn background_is_added() {
        let table = parse(json!({"liver": 1}), None).expect("labels");
        assert_eq!(table.names[&0], "background");
    }

    /// The names are in no order of the alphabet, nor of the values.
    #[test]
    fn regions_keep_their_order_and_name_their_values() {
        let labels = json!({"background": 0, "whole": [3, 1, 2, 3], "core": [2, 3], "active": 3,
            "ignore": 4});
        let table = parse(labels, Some(json!([2, 1, "9"]))).expect("regions");
        let region = |name: &str, values: &[u16], value| Region {
            name: name.into(),
            values: values.to_vec(),
            value,
        };
        let expected = [
            region("whole", &[1, 2, 3], 2),
            region("core", &[2, 3], 1),
            region("active", &[3], 9),
        ];
        assert_eq!(table.regions, expected);
        assert_eq!(table.ignore, Some(4));
        let names: Vec<&str> = table.names.values().map(|n| &**n).collect();
        assert_eq!(names, ["background", "label 1", "label 2", "active"]);
        assert!(table.names.keys().copied().eq(0..=3));
    }

    #[test]
    fn lists_of_one_value_are_plain_labels() {
        let table = parse(json!({"background": [0], "liver": [1]}), None).expect("labels");
        assert_eq!(table.names[&1], "liver");
        assert_eq!((table.regions.len(), table.ignore), (0, None));
    }

    #[test]
    fn the_value_to_ignore_is_one_above_all_others() {
        let table = parse(
            json!({"0": "background", "1": "liver", "2": "ignore"}),
            None,
        );
        let table = table.expect("labels the other way round");
        assert_eq!((table.ignore, table.names.len()), (Some(2), 2));
        for value in [json!(0), json!(1), json!(3), json!([2, 3])] {
            let message = error(json!({"a": 1, "ignore": value}), None);
            assert!(message.contains("\"ignore\" to be 2"), "{message}");
        }
        let message = error(
            json!({"a": [1, 2], "b": 2, "ignore": 2}),
            Some(json!([1, 2])),
        );
        assert!(message.contains("\"ignore\" to be 3"), "{message}");
        let message = error(
            json!({"a": [1, 2], "b": 2, "ignore": 3}),
            Some(json!([1, 3])),
        );
        assert!(message.contains("found 3 for \"b\""), "{message}");
        let message = error(json!({"a": 1, "Ignore": 2, "ignore": 2}), None);
        assert!(message.contains("found several"), "{message}");
    }

    #[test]
    fn regions_need_a_value_each() {
        let labels = || json!({"a": [1, 2], "b": 2});
        assert!(error(labels(), None).contains("each of the 2 regions, such as [1, 2]"));
        let wrong = [
            json!([1]),
            json!([1, 1]),
            json!([0, 1]),
            json!([1, -2]),
            json!({"a": 1}),
        ];
        for order in wrong {
            let message = error(labels(), Some(order.clone()));
            assert!(message.contains(&format!("found {order}")), "{message}");
        }
        let message = error(json!({"a": [0, 1]}), Some(json!([1])));
        assert!(message.contains("background in \"a\""), "{message}");
        assert!(error(json!({"a": []}), None).contains("an empty list"));
    }

    #[test]
    fn what_is_no_value_is_named() {
        assert!(error(json!({"a": 1, "b": 1}), None).contains("\"a\" and \"b\" for 1"));
        assert!(error(json!({"a": 1.5}), None).contains("found 1.5"));
        assert!(error(json!({"a": -1}), None).contains("found -1"));
        assert!(error(json!({"a": [1, 70000]}), None).contains("found 70000"));
        assert!(error(json!([1]), None).contains("expected labels such as"));
    }

    #[test]
    fn cases_are_marked_with_the_classes_that_were_drawn() {
        let case = |id: &str| Case {
            id: id.into(),
            ..Case::default()
        };
        let mark = |table: &LabelTable, of: Value| -> Told<Vec<Option<Vec<u16>>>> {
            let mut cases = [case("a"), case("b"), case("a")];
            let mut all: Vec<&mut Case> = cases.iter_mut().collect();
            table.mark(&labelled(&of)?, &mut all)?;
            Ok(cases.map(|case| case.labelled).to_vec())
        };
        let plain = parse(
            json!({"0": "air", "1": "lung", "2": "lung", "3": "liver"}),
            None,
        );
        let plain = plain.expect("labels");
        assert_eq!(
            mark(&plain, json!({"a": ["lung", "air"], "b": []})),
            Ok(vec![Some(vec![1, 2]), Some(vec![]), Some(vec![1, 2])])
        );
        let regions = parse(json!({"w": [1, 2], "c": 2}), Some(json!([7, 5]))).expect("regions");
        assert_eq!(
            mark(&regions, json!({"b": ["c", "w"]})),
            Ok(vec![None, Some(vec![5, 7]), None])
        );
        let refused = |of: Value| mark(&plain, of).expect_err("what is not there");
        let message = refused(json!({"a": ["spleen"]}));
        assert!(message.contains("found \"spleen\" for case a"), "{message}");
        assert!(refused(json!({"c": ["liver"]})).contains("found \"c\""));
        assert!(refused(json!({"a": "liver"})).contains("such as {\"case_01\""));
        assert!(mark(&regions, json!({"a": ["label 1"]})).is_err());
    }
}
