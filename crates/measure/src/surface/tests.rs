use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;
use proptest::prelude::*;
use serde_json::Value;

use super::area::areas_mm2;
use super::*;
use crate::{Metric, Settings, goldens, measures_of};

fn numbers<const N: usize>(value: &Value) -> [f64; N] {
    let list = value.as_array().expect("a list").iter();
    let list: Vec<f64> = list.map(|v| v.as_f64().expect("a number")).collect();
    list.try_into().expect("as many as expected")
}

fn mask(pair: &Value, key: &str) -> Labels {
    let shape = numbers(&pair["shape"]).map(|n| n as usize);
    let grid = Grid::with_spacing(shape, numbers(&pair["spacing_mm"])).expect("a grid");
    let digits = pair[key].as_str().expect("digits").bytes();
    Labels::new(grid, digits.map(|b| u16::from(b - b'0')).collect()).expect("labels")
}

fn close(found: Option<f64>, expected: &Value, what: &str) {
    match (found, expected.as_f64()) {
        (Some(a), Some(b)) => assert!(
            (a - b).abs() < 1e-5 * b.abs().max(1.0),
            "{what}: {a} not {b}"
        ),
        (a, b) => assert_eq!(a, b, "{what}"),
    }
}

/// Every code, for several spacings.
#[test]
fn areas_are_those_of_surface_distance() {
    let golden = goldens::read("metrics.json");
    for of_spacing in golden["areas"].as_array().expect("a list") {
        let found = areas_mm2(numbers(&of_spacing["spacing_mm"]));
        let expected: [f64; 256] = numbers(&of_spacing["mm2"]);
        for (code, (a, b)) in found.into_iter().zip(expected).enumerate() {
            assert!((a - b).abs() < 1e-12 * b.max(1.0), "{code}: {a} not {b}");
        }
    }
}

#[test]
fn metrics_are_those_of_surface_distance_monai_and_medpy() {
    let golden = goldens::read("metrics.json");
    let pairs = golden["pairs"].as_array().expect("a list");
    assert_eq!(pairs.len(), 8);
    for pair in pairs {
        let (prediction, truth) = (mask(pair, "prediction"), mask(pair, "truth"));
        let of = |surface| {
            let settings = Settings {
                surface,
                metrics: Metric::ALL.to_vec(),
                ..Settings::default()
            };
            let classes: [(u16, &[u16]); 1] = [(1, &[1])];
            let found = measures_of(&prediction, &truth, &classes, None, &settings);
            found.expect("one grid").remove(&1).expect("the class")
        };
        let name = pair["name"].as_str().expect("a name");
        for (library, surface) in [
            ("surface-distance", Surface::Elements),
            ("monai", Surface::Voxels),
            ("medpy", Surface::Voxels),
        ] {
            let found = of(surface);
            let surfaces = found.surface.as_ref().expect("measured");
            for (key, expected) in pair[library].as_object().expect("metrics") {
                let found = match &**key {
                    "prediction_to_truth_mm" => surfaces.prediction.mean(),
                    "truth_to_prediction_mm" => surfaces.truth.mean(),
                    "prediction_mm2" => Some(surfaces.prediction.size()),
                    "truth_mm2" => Some(surfaces.truth.size()),
                    key => {
                        let metric = Metric::ALL.into_iter().find(|metric| metric.key() == key);
                        found.get(metric.expect("a metric"), 1.5)
                    }
                };
                close(found, expected, &format!("{name}, {library}, {key}"));
            }
        }
    }
}

#[test]
fn empty_masks_are_as_the_documentation_says() {
    let row = |data: [u16; 4]| {
        let grid = Grid::with_spacing([4, 1, 1], [1.0; 3]).expect("a grid");
        Labels::new(grid, data.to_vec()).expect("labels")
    };
    let (some, none) = (row([0, 1, 1, 0]), row([0; 4]));
    let classes: [(u16, &[u16]); 2] = [(1, &[1]), (2, &[2])];
    for surface in [Surface::Elements, Surface::Voxels] {
        for (prediction, truth) in [(&some, &none), (&none, &some)] {
            let found = surfaces_of(prediction, truth, &classes, None, surface).expect("one grid");
            let lost = &found[&1];
            assert_eq!((lost.nsd(1e6), lost.hausdorff_mm()), (Some(0.0), None));
            assert_eq!(
                (lost.assd_mm(), lost.hausdorff_share_mm(0.95)),
                (None, None)
            );
            assert_eq!((found[&2].nsd(1.0), found[&2].hausdorff_mm()), (None, None));
        }
        // What is to be ignored is in neither.
        let judged = row([0, 1, 9, 0]);
        let found = surfaces_of(&some, &judged, &classes, Some(9), surface).expect("one grid");
        assert_eq!(
            (found[&1].nsd(0.0), found[&1].hausdorff_mm()),
            (Some(1.0), Some(0.0))
        );
    }
}

#[test]
fn regions_are_unions_and_parts_are_pooled() {
    let labels = |data: Vec<u16>| {
        let grid = Grid::with_spacing([6, 5, 4], [1.0, 2.0, 3.0]).expect("a grid");
        Labels::new(grid, data).expect("labels")
    };
    let mut rng = Rng::new(4, 0, 0);
    let mut random = || labels((0..120).map(|_| rng.below(4) as u16).collect());
    let (prediction, truth) = (random(), random());
    let union = |map: &Labels| labels(map.data().iter().map(|l| u16::from(*l >= 2)).collect());
    let of = |p: &Labels, t: &Labels, values: &[u16]| {
        let found = surfaces_of(p, t, &[(7, values)], None, Surface::Elements);
        found.expect("one grid").remove(&7).expect("the class")
    };
    let region = of(&prediction, &truth, &[2, 3]);
    assert_eq!(region, of(&union(&prediction), &union(&truth), &[1]));
    let other = of(&prediction, &truth, &[1]);
    let mut both = region.clone();
    both.pool(&other);
    let greatest = [&region, &other].map(|d| d.hausdorff_mm().expect("surfaces"));
    assert_eq!(both.hausdorff_mm(), Some(greatest[0].max(greatest[1])));
    let sum = region.truth.size() + other.truth.size();
    assert!((both.truth.size() - sum).abs() < 1e-9);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Turning and mirroring the patient changes no distance, and swapping the two swaps them.
    #[test]
    fn distances_do_not_depend_on_axes(
        seed in any::<u64>(),
        shape in prop::array::uniform3(1usize..9),
        spacing in prop::array::uniform3(0.4f64..3.0),
        voxels in any::<bool>(),
    ) {
        let surface = if voxels { Surface::Voxels } else { Surface::Elements };
        let mut rng = Rng::new(seed, 0, 0);
        let grid = Grid::with_spacing(shape, spacing).expect("a grid");
        let random = |rng: &mut Rng| -> Vec<u16> { (0..grid.len()).map(|_| u16::from(rng.chance(0.3))).collect() };
        let (p, t) = (random(&mut rng), random(&mut rng));
        let turned_grid = Grid::with_spacing([shape[2], shape[0], shape[1]], [spacing[2], spacing[0], spacing[1]]).expect("a grid");
        let turned = |data: &[u16]| {
            let mut out = vec![0; data.len()];
            for z in 0..shape[2] { for y in 0..shape[1] { for x in 0..shape[0] {
                out[turned_grid.index([z, shape[0] - 1 - x, y])] = data[grid.index([x, y, z])];
            }}}
            Labels::new(turned_grid.clone(), out).expect("labels")
        };
        let plain = |data: &[u16]| Labels::new(grid.clone(), data.to_vec()).expect("labels");
        let of = |p: &Labels, t: &Labels| {
            surfaces_of(p, t, &[(1, &[1])], None, surface).expect("one grid").remove(&1).expect("the class")
        };
        let (a, b, c) = (of(&plain(&p), &plain(&t)), of(&turned(&p), &turned(&t)), of(&plain(&t), &plain(&p)));
        for other in [&b, &c] {
            for (x, y) in [
                (a.hausdorff_mm(), other.hausdorff_mm()),
                (a.hausdorff_share_mm(0.95), other.hausdorff_share_mm(0.95)),
                (a.assd_mm(), other.assd_mm()),
                (a.nsd(0.9), other.nsd(0.9)),
            ] {
                prop_assert!(x == y || (x.unwrap_or(-1.0) - y.unwrap_or(-1.0)).abs() < 1e-4, "{x:?} {y:?}");
            }
        }
        prop_assert_eq!(&a.prediction, &c.truth);
    }
}
