//! Whether nets of several plans can be averaged.

use super::{Class, SegmentationPlan};

impl SegmentationPlan {
    /// Whether another plan's nets are shown the same patches and give the same classes.
    pub(crate) fn suits_nets_of(&self, other: &Self) -> bool {
        self.spacing_mm == other.spacing_mm
            && self.patch == other.patch
            && self.dims == other.dims
            && self.transpose == other.transpose
            && self.channels == other.channels
            && self.classes == other.classes
            && self.mirror_axes == other.mirror_axes
    }

    /// What keeps another plan's nets from being averaged with this one's, if something does: they
    /// are for other images or give other labels. How images are prepared may differ.
    pub(crate) fn cannot_join(&self, other: &Self) -> Option<String> {
        let names = |plan: &Self| plan.channels.iter().map(|c| c.name.clone()).collect();
        let labels = |plan: &Self| plan.classes.iter().map(told).collect();
        differ("channels", names(self), names(other))
            .or_else(|| differ("labels", labels(self), labels(other)))
    }
}

/// Where two lists differ first, if they do.
fn differ(what: &str, ours: Vec<String>, theirs: Vec<String>) -> Option<String> {
    let longest = ours.len().max(theirs.len());
    let at = (0..longest).find(|&i| ours.get(i) != theirs.get(i))?;
    let told = |list: &[String]| {
        list.get(at)
            .map_or("none".to_owned(), |v| format!("\"{v}\""))
    };
    Some(format!(
        "expected runs of the same {what}, found {} where the first run has {}; segment with each \
         run by itself",
        told(&theirs),
        told(&ours)
    ))
}

/// Such as `1 liver`, or `1 tumour of [1, 2]`.
fn told(class: &Class) -> String {
    let Class { value, name, .. } = class;
    match class.members() {
        [member] if member == value => format!("{value} {name}"),
        members => format!("{value} {name} of {members:?}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::segment::plan::{Class, Dims};
    use crate::window::sliding::tests::plan;

    #[test]
    fn plans_join_where_they_give_the_same_labels_of_the_same_channels() {
        let volumes = plan(Dims::Three, [8, 8, 8], &[0]);
        let mut slices = plan(Dims::Two, [1, 16, 16], &[]);
        slices.spacing_mm = [5.0, 1.0, 1.0];
        assert!(volumes.suits_nets_of(&volumes) && !volumes.suits_nets_of(&slices));
        assert_eq!(volumes.cannot_join(&slices), None);

        let mut other = slices.clone();
        other.classes.push(Class::new(4, "spleen"));
        let message = volumes.cannot_join(&other).expect("one more label");
        assert!(
            message.contains("labels, found \"4 spleen\" where the first run has none"),
            "{message}"
        );
        other.classes.pop();
        other.classes[1].values = vec![3, 4];
        let message = volumes.cannot_join(&other).expect("a region");
        assert!(message.contains("\"3 organ of [3, 4]\""), "{message}");
        slices.channels[0].name = "T2".into();
        let message = volumes.cannot_join(&slices).expect("another channel");
        assert!(message.contains("channels, found \"T2\""), "{message}");
    }
}
