//! Wrong keys of an edited plan, and the right ones they are nearest to.

use crossmod_volume::intensity::{Normalise, Statistics};
use toml::{Table, Value};

use super::{Channel, Class, Dims, Net, NetKind, SegmentationPlan, Transpose};

/// # Errors
/// The first key that no plan has.
pub(super) fn check(table: &Table) -> Result<(), String> {
    let known = Table::try_from(every_key()).map_err(|e| e.to_string())?;
    walk(table, &known, "")
}

fn walk(given: &Table, known: &Table, prefix: &str) -> Result<(), String> {
    for (key, value) in given {
        let Some(model) = known.get(key) else {
            let near = nearest(key, known.keys()).map_or(String::new(), |near| {
                format!("; did you mean `{prefix}{near}`?")
            });
            return Err(format!("unknown key `{prefix}{key}`{near}"));
        };
        let inner = format!("{prefix}{key}.");
        match (value, model) {
            (Value::Table(value), Value::Table(model)) => walk(value, model, &inner)?,
            (Value::Array(values), Value::Array(models)) => {
                let mut model = Table::new();
                models
                    .iter()
                    .filter_map(Value::as_table)
                    .for_each(|m| merge(&mut model, m));
                for value in values.iter().filter_map(Value::as_table) {
                    walk(value, &model, &inner)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Adds the keys of another.
fn merge(table: &mut Table, other: &Table) {
    for (key, value) in other {
        match (table.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    known
        .map(|k| (strsim::jaro_winkler(name, k), k))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// A plan in which no key is left out.
fn every_key() -> SegmentationPlan {
    let channel = |normalisation| Channel {
        name: String::new(),
        normalisation,
    };
    SegmentationPlan {
        dataset: String::new(),
        spacing_mm: [1.0; 3],
        patch: [1; 3],
        batch: 1,
        batch_dice: false,
        mirror_axes: Vec::new(),
        ignore: Some(255),
        ram_mb: 0,
        median_shape: [1; 3],
        reasons: Vec::new(),
        dims: Dims::TwoAndHalf { context: 1 },
        transpose: Transpose {
            orientation: Some(crossmod_volume::space::Orientation::RAS),
            forward: [0, 1, 2],
        },
        net: Net {
            kind: NetKind::PlainConv,
            features: Vec::new(),
            strides: Vec::new(),
            kernels: Vec::new(),
            convs_per_stage: Vec::new(),
            convs_per_stage_decoder: Vec::new(),
            deep_supervision: false,
        },
        // No single scheme has them all.
        channels: vec![
            channel(Normalise::ZScore {
                within_nonzero: true,
            }),
            channel(Normalise::Ct(Statistics {
                mean: 0.0,
                sd: 1.0,
                min: 0.0,
                percentile_00_5: 0.0,
                median: 0.0,
                percentile_99_5: 0.0,
                max: 0.0,
            })),
        ],
        classes: vec![Class {
            value: 0,
            name: String::new(),
            values: vec![0],
        }],
    }
}
