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
    Postprocessing::choose(classes, None, pairs.len(), |case| Ok(pairs[case].clone()))
        .expect("rules")
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

#[test]
fn ignored_voxels_do_not_count_and_shapes_must_agree() {
    let truth = with(with(empty(), [1, 1, 1], 6, 1), [12, 12, 12], 4, 9);
    let prediction = with(with(empty(), [1, 1, 1], 6, 1), [13, 13, 13], 2, 1);
    let choose = |ignore| {
        let pair = |_| Ok([prediction.clone(), truth.clone()]);
        Postprocessing::choose(&[class(1)], ignore, 1, pair).expect("rules")
    };
    assert!(only(&choose(None)).keep_largest);
    assert_eq!(choose(Some(9)), Postprocessing::default());
    let small = Grid::with_spacing([2; 3], [1.0; 3]).expect("a grid");
    let small = Labels::new(small, vec![0; 8]).expect("labels");
    let pair = |_| Ok([small.clone(), truth.clone()]);
    assert!(Postprocessing::choose(&[class(1)], None, 1, pair).is_err());
}

#[test]
fn rules_are_a_file() {
    let rules = Postprocessing {
        classes: vec![Rules {
            value: 3,
            name: "liver".into(),
            keep_largest: true,
            least_mm3: Some(12.5),
            fill_holes: false,
            dice: Some([0.5, 0.75]),
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
    let wrong = toml::from_str::<Postprocessing>("[[classes]]\nvalue = 3\nfill = true\n");
    assert!(wrong.is_err());
}
