use super::*;
use crossmod_volume::Grid;

fn class(value: u16) -> Class {
    Class::new(value, "organ")
}

fn empty() -> Labels {
    let grid = Grid::with_spacing([20, 20, 20], [1.0, 1.0, 2.0]).expect("a grid");
    let data = vec![0; grid.len()];
    Labels::new(grid, data).expect("labels")
}

/// Gives a box of voxels a label.
fn with(mut labels: Labels, low: [usize; 3], side: usize, label: u16) -> Labels {
    for z in low[2]..low[2] + side {
        for y in low[1]..low[1] + side {
            for x in low[0]..low[0] + side {
                let i = labels.grid().index([x, y, z]);
                labels.data_mut()[i] = label;
            }
        }
    }
    labels
}

fn choose(classes: &[Class], pairs: &[[Labels; 2]]) -> Postprocessing {
    let drawn = vec![None; pairs.len()];
    Postprocessing::choose(classes, None, &drawn, |case| Ok(pairs[case].clone())).expect("rules")
}

fn only(found: &Postprocessing) -> &Rules {
    assert_eq!(found.classes.len(), 1, "{found:?}");
    &found.classes[0]
}

#[test]
fn a_stray_part_of_one_structure_is_removed() {
    let truth = with(empty(), [2, 2, 2], 8, 1);
    let prediction = with(truth.clone(), [14, 14, 14], 3, 1);
    let found = choose(
        &[class(0), class(1), class(2)],
        &[[prediction.clone(), truth.clone()]],
    );
    let rules = only(&found);
    assert!(rules.keep_largest && rules.least_mm3.is_none() && !rules.fill_holes);
    let [before, after] = rules.dice.expect("told");
    assert!((before - 1024.0 / (512.0 + 539.0)).abs() < 1e-12 && after == 1.0);
    let mut labels = prediction;
    found.apply(&mut labels).expect("applied");
    assert_eq!(labels, truth);
}

#[test]
fn a_rule_that_hurts_is_not_chosen() {
    // Two parts belong there: keeping the largest would lose one, and so would any volume above.
    let truth = with(with(empty(), [1, 1, 1], 7, 1), [12, 12, 12], 5, 1);
    let same = [truth.clone(), truth.clone()];
    assert_eq!(
        choose(&[class(1)], std::slice::from_ref(&same)),
        Postprocessing::default()
    );
    // With specks in the prediction, only the specks go: they are below what occurs.
    let specks = with(with(truth.clone(), [18, 1, 1], 1, 1), [1, 18, 18], 1, 1);
    let found = choose(&[class(1)], &[same, [specks.clone(), truth.clone()]]);
    let rules = only(&found);
    assert!(!rules.keep_largest && !rules.fill_holes);
    let least = rules.least_mm3.expect("a volume");
    assert!(least > 2.0 && least <= 250.0, "{least}");
    let mut labels = specks;
    found.apply(&mut labels).expect("applied");
    assert_eq!(labels, truth);
    // A rule that helps one case and hurts another more is not chosen.
    let one = with(empty(), [1, 1, 1], 7, 1);
    let helped = [with(one.clone(), [12, 12, 12], 1, 1), one];
    let hurt = [truth.clone(), truth];
    assert!(
        !choose(&[class(1)], &[helped, hurt])
            .classes
            .iter()
            .any(|r| r.keep_largest)
    );
}

#[test]
fn holes_are_filled_where_structures_are_solid() {
    let solid = with(empty(), [3, 3, 3], 9, 4);
    let hollow = with(solid.clone(), [6, 6, 6], 3, 0);
    let found = choose(&[class(4)], &[[hollow.clone(), solid.clone()]]);
    let rules = only(&found);
    assert!(rules.fill_holes && !rules.keep_largest && rules.least_mm3.is_none());
    let [before, after] = rules.dice.expect("told");
    assert!(before < 0.99 && after == 1.0);
    let mut labels = hollow.clone();
    found.apply(&mut labels).expect("applied");
    assert_eq!(labels, solid);
    assert_eq!(
        choose(&[class(4)], &[[hollow.clone(), hollow]]),
        Postprocessing::default()
    );
    // A ring in one slice has no hole in a volume, though its box is one slice thick.
    let ring = |middle: u16| {
        let mut labels = empty();
        for (dx, dy) in (0..9).map(|i| (i % 3, i / 3)) {
            let i = labels.grid().index([5 + dx, 5 + dy, 8]);
            labels.data_mut()[i] = if (dx, dy) == (1, 1) { middle } else { 4 };
        }
        labels
    };
    let mut open = ring(0);
    found.apply(&mut open).expect("applied");
    assert_eq!(open, ring(0));
}

#[test]
fn classes_do_not_touch_each_other_and_false_finds_count() {
    let truth = with(with(empty(), [1, 1, 1], 6, 1), [10, 10, 10], 6, 2);
    // Class 3 is found where it never is: nothing tells how small it may be.
    let prediction = with(with(truth.clone(), [17, 1, 1], 2, 1), [1, 17, 17], 2, 3);
    let classes = [class(1), class(2), class(3)];
    let found = choose(&classes, &[[prediction.clone(), truth.clone()]]);
    assert_eq!(only(&found).value, 1);
    // It occurs in another case, larger: then the small find goes.
    let other = with(empty(), [4, 4, 4], 6, 3);
    let pairs = [[prediction.clone(), truth.clone()], [other.clone(), other]];
    let found = choose(&classes, &pairs);
    assert_eq!(
        found.classes.iter().map(|r| r.value).collect::<Vec<_>>(),
        [1, 3]
    );
    let mut labels = prediction;
    found.apply(&mut labels).expect("applied");
    assert_eq!(labels, truth);
}

/// A tumour of labels 1 and 2, whose core is label 2.
fn nested() -> [Class; 3] {
    let mut whole = Class::new(1, "whole");
    whole.values = vec![1, 2];
    [class(0), whole, Class::new(2, "core")]
}

/// Specks of a region go back to the region around, holes are filled from it, and a part of the
/// larger one takes along what is in it.
#[test]
fn regions_are_judged_as_unions() {
    let truth = with(with(empty(), [2, 2, 2], 12, 1), [4, 4, 4], 6, 2);
    let mut prediction = with(truth.clone(), [6, 6, 6], 2, 1);
    prediction = with(prediction, [12, 12, 12], 2, 2);
    prediction = with(with(prediction, [16, 16, 16], 3, 1), [17, 17, 17], 2, 2);
    let found = choose(&nested(), &[[prediction.clone(), truth.clone()]]);
    let [whole, core] = &found.classes[..] else {
        panic!("rules of two regions, found {found:?}");
    };
    assert_eq!((whole.members(), whole.instead), (&[1, 2][..], 0));
    assert!(whole.keep_largest && !whole.fill_holes);
    assert_eq!((core.members(), core.instead), (&[2][..], 1));
    assert!(core.keep_largest && core.fill_holes);
    // Without the far speck, which the rules of the whole have taken already.
    let [before, after] = core.dice.expect("told");
    assert!((before - 2.0 * 208.0 / (208.0 + 8.0 + 216.0)).abs() < 1e-12 && after == 1.0);
    let mut labels = prediction;
    found.apply(&mut labels).expect("applied");
    assert_eq!(labels, truth);
}

#[test]
fn what_was_not_drawn_is_not_judged() {
    let truth = with(empty(), [2, 2, 2], 8, 1);
    // Label 2 was found where nobody drew it; in the other case it is small as well as right.
    let prediction = with(truth.clone(), [14, 14, 14], 3, 2);
    let other = with(empty(), [14, 14, 14], 5, 2);
    let pairs = [[prediction, truth], [other.clone(), other]];
    let classes = [class(0), class(1), class(2)];
    let rules_of_2 = |drawn: [Option<Vec<bool>>; 2]| {
        let pair = |case: usize| Ok(pairs[case].clone());
        let found = Postprocessing::choose(&classes, None, &drawn, pair).expect("rules");
        found
            .classes
            .iter()
            .filter(|rules| rules.value == 2)
            .count()
    };
    assert_eq!(rules_of_2([None, None]), 1);
    assert_eq!(rules_of_2([Some(vec![true, true, false]), None]), 0);
}

#[test]
fn ignored_voxels_do_not_count_and_shapes_must_agree() {
    let truth = with(with(empty(), [1, 1, 1], 6, 1), [12, 12, 12], 4, 9);
    let prediction = with(with(empty(), [1, 1, 1], 6, 1), [13, 13, 13], 2, 1);
    let choose = |ignore| {
        let pair = |_| Ok([prediction.clone(), truth.clone()]);
        Postprocessing::choose(&[class(1)], ignore, &[None], pair).expect("rules")
    };
    assert!(only(&choose(None)).keep_largest);
    assert_eq!(choose(Some(9)), Postprocessing::default());
    let small = Grid::with_spacing([2; 3], [1.0; 3]).expect("a grid");
    let small = Labels::new(small, vec![0; 8]).expect("labels");
    let pair = |_| Ok([small.clone(), truth.clone()]);
    assert!(Postprocessing::choose(&[class(1)], None, &[None], pair).is_err());
}

#[test]
fn rules_are_a_file() {
    let rules = Postprocessing {
        classes: vec![Rules {
            value: 3,
            name: "liver".into(),
            keep_largest: true,
            least_mm3: Some(12.5),
            dice: Some([0.5, 0.75]),
            ..Rules::default()
        }],
    };
    let text = toml::to_string(&rules).expect("written");
    assert_eq!(
        toml::from_str::<Postprocessing>(&text).expect("read"),
        rules
    );
    let short: Postprocessing =
        toml::from_str("[[classes]]\nvalue = 3\nfill_holes = true\n").expect("read");
    assert!(short.classes[0].fill_holes && !short.classes[0].keep_largest);
    assert_eq!(short.classes[0].members(), [3]);
    let region = "value = 3\nvalues = [3, 4]\ninstead = 1\nkeep_largest = true\n";
    let region: Rules = toml::from_str(region).expect("read");
    assert_eq!((region.members(), region.instead), (&[3, 4][..], 1));
    let wrong = toml::from_str::<Postprocessing>("[[classes]]\nvalue = 3\nfill = true\n");
    assert!(wrong.is_err());
}

#[test]
fn stated_rules_take_parts_away_before_they_fill() {
    // A ring of 2 about 1, in which a stray part of 2 leaves a hole that 1 fills.
    let ring = with(with(empty(), [2, 2, 2], 12, 2), [4, 4, 4], 8, 1);
    let found = with(ring.clone(), [7, 7, 7], 2, 2);
    let classes = [class(0), Class::new(1, "brain"), Class::new(2, "skull")];
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let stated = PostprocessConfig {
        keep_largest: names(&["*"]),
        fill_holes: names(&["brain"]),
    };
    let rules = stated.rules(&classes).expect("rules");
    let what = rules
        .classes
        .iter()
        .map(|r| (r.value, r.keep_largest, r.fill_holes));
    let expected = [(1, true, false), (2, true, false), (1, false, true)];
    assert_eq!(what.collect::<Vec<_>>(), expected);
    let mut labels = found;
    rules.apply(&mut labels).expect("applied");
    assert_eq!(labels, ring);

    let nothing = PostprocessConfig::default();
    assert!(nothing.is_none() && nothing.rules(&classes).expect("none").classes.is_empty());
    for wrong in ["bone", "organ"] {
        let stated = PostprocessConfig {
            fill_holes: names(&["brain", wrong]),
            ..PostprocessConfig::default()
        };
        let error = stated.rules(&classes).expect_err(wrong).to_string();
        let said = ["brain, skull", wrong, "postprocess.fill_holes"];
        assert!(said.iter().all(|s| error.contains(s)), "{error}");
    }
}
