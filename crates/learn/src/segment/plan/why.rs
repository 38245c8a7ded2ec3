//! The words of a plan's reasons.

use super::room::Room;
use super::{Dims, Net};
use crate::segment::fingerprint::Fingerprint;

/// `1 × 2 × 3`, without needless digits.
pub(super) fn times<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = values.into_iter().map(|v| v.to_string()).collect();
    texts.join(" × ")
}

/// Figures of at most four decimals, without needless zeros.
pub(super) fn figure(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

/// A list with commas.
pub(super) fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = values.into_iter().map(|v| v.to_string()).collect();
    texts.join(", ")
}

/// `3 s`, `0.4 s`, `5 min`.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

/// Why a spacing, `rule` being what led to it.
pub(super) fn spacing(spacing_mm: [f64; 3], dims: Dims, rule: &str) -> String {
    match dims {
        Dims::Three => format!("spacing {} mm: {rule}", times(spacing_mm.map(figure))),
        Dims::Two | Dims::TwoAndHalf { .. } => format!(
            "spacing {} mm in-plane: {rule}; slices stay where they are",
            times([1, 2].map(|a| figure(spacing_mm[a])))
        ),
    }
}

/// Why a patch, `first` being the one that was tried first.
pub(super) fn patch(
    [patch, first]: [[usize; 3]; 2],
    median_shape: [f64; 3],
    dims: Dims,
    least: usize,
    room: &Room,
) -> String {
    let axes = dims.axes();
    let shown = |values: [usize; 3]| times(axes.iter().map(|&a| values[a]));
    let median = times(axes.iter().map(|&a| figure(median_shape[a])));
    let chosen = shown(patch);
    let whole = axes.iter().all(|&a| patch[a] as f64 >= median_shape[a]);
    if patch == first && whole {
        return format!(
            "patch {chosen}: the median case, {median} voxels, enlarged to what the net divides by"
        );
    }
    let share: f64 = axes
        .iter()
        .map(|&a| patch[a] as f64 / median_shape[a])
        .product();
    let percent = (100.0 * share).min(100.0);
    if patch == first {
        return format!(
            "patch {chosen}: the largest there is, in the proportions of the spacing; {percent:.0} % \
             of the median case ({median})"
        );
    }
    format!(
        "patch {chosen}: {} shortened, always the side longest beside the median case ({median}), \
         until a batch of {least} fits {}; {percent:.0} % of the median case",
        shown(first),
        room.words(),
    )
}

/// Why a net.
pub(super) fn net(net: &Net, spacing_mm: [f64; 3], dims: Dims, min_edge: usize) -> String {
    let axes = dims.axes();
    let multiples = net.multiples();
    let mut text = format!(
        "net: {} stages of {} features; {} are halved {} times, as long as {} voxels are left",
        net.features.len(),
        list(&net.features),
        if axes.len() == 3 {
            "z, y and x"
        } else {
            "y and x"
        },
        list(axes.iter().map(|&a| multiples[a].ilog2())),
        2 * min_edge,
    );
    let flat = net.kernels.iter().take_while(|k| k[0] == 1).count();
    if dims == Dims::Three && flat > 0 {
        let in_plane = spacing_mm[1].min(spacing_mm[2]);
        text.push_str(&format!(
            "; slices are {:.1} times as far apart as pixels, so kernels are 1 × 3 × 3 in the first \
             {flat} of them, which are halved in-plane only",
            spacing_mm[0] / in_plane
        ));
    }
    text
}

/// What the classes ask for, where they are not plain labels.
pub(super) fn classes(fingerprint: &Fingerprint) -> Vec<String> {
    let classes = fingerprint.classes();
    let mut reasons = Vec::new();
    if classes.iter().any(|class| class.members().len() > 1) {
        let names = classes.iter().skip(1).map(|class| &class.name);
        reasons.push(format!(
            "classes: {} regions, {}; they may overlap, so each is told by itself; where several are \
             found, the last is written",
            classes.len() - 1,
            list(names)
        ));
    }
    if let Some(value) = fingerprint.ignore {
        reasons.push(format!(
            "ignore: nobody has judged the voxels of label {value}, so no loss and no score counts \
             them"
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(times([40, 56, 40]), "40 × 56 × 40");
        assert_eq!(["1", "0.9766", "5"], [1.0, 0.976_562_5, 5.0].map(figure));
        assert_eq!(["0.3 s", "12 s", "3 min"], [0.34, 12.2, 180.0].map(seconds));
    }
}
