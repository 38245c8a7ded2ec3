//! How intensities are brought to the range of nets, channel by channel.
//!
//! The rule that a channel's name decides is nnU-Net's: CT holds a physical quantity and is brought to
//! one scale for all cases, everything else to its own case's. Two things are told from the values
//! besides: pictures called CT, and CT called otherwise.

use crossmod_volume::intensity::Normalise;

use crate::segment::fingerprint::ChannelStatistics;

/// Below this share of voxels in the box of non-zero ones, statistics are taken over those alone.
const MASK_BELOW: f64 = 0.75;

/// Images within these values hold no HU: pictures of 8 bits.
const PICTURE: [f32; 2] = [0.0, 255.0];

/// No scale but HU goes as far below 0.
const AIR: f32 = -500.0;

/// The scheme that a channel's name and intensities ask for, and why.
pub(super) fn choose(channel: &ChannelStatistics, relative_size: f64) -> (Normalise, String) {
    let name = channel.name.to_lowercase();
    match &*name {
        "nonorm" => return (Normalise::None, "as they are, as the name asks".into()),
        "rescale_to_0_1" => return (Normalise::Rescale, "to 0 to 1, as the name asks".into()),
        _ => {}
    }
    let ct = named_ct(&name);
    if let (true, Some(found)) = (ct, channel.foreground)
        && !picture(channel)
    {
        let why = format!(
            "clip to [{:.0}, {:.0}] (0.5 and 99.5 % of the foreground), then (v - {:.1}) / {:.1} for \
             all cases, as CT holds a physical quantity",
            found.percentile_00_5, found.percentile_99_5, found.mean, found.sd
        );
        return (Normalise::Ct(found), why);
    }
    if channel.foreground.is_none() {
        let why = "to 0 to 1, each case by its own least and greatest value, as there are no scans to \
                   take a scale from; those that are made of label maps have blurred edges and \
                   noise where a scan is 0, and must not be told from it by that";
        return (Normalise::Rescale, why.into());
    }
    let within_nonzero = relative_size < MASK_BELOW;
    let over = if within_nonzero {
        let share = 100.0 * relative_size;
        format!("non-zero voxels, whose box is only {share:.0} % of the image")
    } else {
        "all voxels".to_owned()
    };
    let why = if ct {
        "CT by name, but of 8 bits, not HU"
    } else if channel.range.is_some_and(|[low, _]| low < AIR) {
        "its scale is taken for the scanner's; if these are HU, call the channel CT in dataset.json"
    } else {
        "its scale is the scanner's"
    };
    let why = format!("each case by its own mean and deviation over {over}; {why}");
    (Normalise::ZScore { within_nonzero }, why)
}

/// Whether a channel's name, in lower case, says that it holds CT.
fn named_ct(name: &str) -> bool {
    name.split(|c: char| !c.is_alphanumeric())
        .any(|word| word == "ct")
}

/// Whether a channel holds HU, by its name and its intensities.
pub(in crate::segment) fn holds_hu(channel: &ChannelStatistics) -> bool {
    named_ct(&channel.name.to_lowercase()) && !picture(channel)
}

/// Whether the images are pictures of 8 bits.
fn picture(channel: &ChannelStatistics) -> bool {
    channel
        .range
        .is_some_and(|[low, high]| low >= PICTURE[0] && high <= PICTURE[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::intensity::Statistics;

    #[test]
    fn names_and_values_choose_the_scheme() {
        let found = Statistics {
            max: 90.0,
            mean: 10.0,
            median: 9.0,
            min: 0.0,
            percentile_00_5: 1.0,
            percentile_99_5: 20.0,
            sd: 5.0,
        };
        let channel = |name: &str, range, foreground| ChannelStatistics {
            name: name.to_owned(),
            range,
            foreground,
        };
        let chosen = |name: &str, low, high, size| {
            choose(&channel(name, Some([low, high]), Some(found)), size)
        };
        // The foreground alone might be a picture's.
        let ct = Normalise::Ct(found);
        let whole = Normalise::default();
        let masked = Normalise::ZScore {
            within_nonzero: true,
        };
        assert_eq!(chosen("CT", -900.0, 2000.0, 0.5).0, ct);
        assert_eq!(chosen("low-dose ct", -900.0, 2000.0, 1.0).0, ct);
        assert_eq!(chosen("CT", 0.0, 255.0, 1.0).0, whole);
        assert_eq!(chosen("oct", -900.0, 2000.0, 1.0).0, whole);
        assert_eq!(chosen("T1", 0.0, 900.0, 0.74).0, masked);
        assert_eq!(chosen("noNorm", 0.0, 900.0, 0.5).0, Normalise::None);
        assert!(
            chosen("image", -1000.0, 900.0, 1.0)
                .1
                .contains("dataset.json")
        );
        assert_eq!(
            choose(&channel("CT", None, None), 1.0).0,
            Normalise::Rescale
        );
        assert_eq!(
            choose(&channel("T1", None, None), 0.3).0,
            Normalise::Rescale
        );
    }
}
