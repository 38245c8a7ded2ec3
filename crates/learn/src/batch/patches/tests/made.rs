//! Patches of images that are made of label maps.

use crossmod_synth::{Generator, LabelScheme, Scene, SynthRecipe};
use crossmod_volume::{Grid, Labels};

use super::*;
use crate::segment::store::tests::{Study, halves, plan};

const SHAPE: [usize; 3] = [14, 12, 10];

fn scene() -> Scene {
    let grid = Grid::with_spacing(SHAPE, [1.0; 3]).expect("a grid");
    let label = halves(SHAPE);
    let value = |i: usize| label([i % 14, i / 14 % 12, i / 168]);
    let labels = Labels::new(grid, (0..14 * 12 * 10).map(value).collect()).expect("labels");
    let (scheme, _) = LabelScheme::guess([0, 1, 2], None);
    scheme.scene(labels, None).expect("a scene")
}

fn generator(steps: &str) -> Generator {
    Generator::new(SynthRecipe::parse(steps, &[]).expect("a recipe")).expect("a generator")
}

/// Each class gets one value.
const FLAT: &str = r#"
[[steps]]
step = "intensities"
sd = [0.0, 0.0]
black = 0.0
dark = 0.0
"#;

fn synthetic(plan: &SegmentationPlan, steps: &str) -> Arc<Synthetic> {
    let mut synthetic = Synthetic::new(plan).expect("one channel");
    let part = synthetic.begin(generator(steps));
    synthetic.add(part, "a", scene()).expect("a case");
    synthetic.add(part, "b", scene()).expect("a case");
    Arc::new(synthetic)
}

fn of_study(study: &Study, plan: &SegmentationPlan, steps: &str) -> Patches {
    let store = Arc::new(study.store(plan, None).expect("a store"));
    let patches = Patches::new(store, plan, &PatchConfig::plain(), 7, "train");
    patches
        .expect("patches")
        .with_synthetic(synthetic(plan, steps))
}

#[test]
fn every_class_has_the_value_it_was_painted_with() {
    let mut plan = plan([6, 8, 8]);
    plan.channels[0].normalisation = Normalise::ZScore {
        within_nonzero: false,
    };
    let patches = of_study(&Study::new(), &plan, FLAT);
    let mut different = std::collections::BTreeSet::new();
    for step in 0..4 {
        let batch = patches.batch(step).expect("a batch");
        for i in 0..batch.len {
            let image = &batch.images[i * 384..][..384];
            let labels = &batch.labels[i * 384..][..384];
            let mut values: BTreeMap<u16, f32> = BTreeMap::new();
            for (&label, &v) in labels.iter().zip(image) {
                assert_eq!(*values.entry(label).or_insert(v), v);
            }
            assert!(values.len() > 1, "a patch of 8 meets both halves of 14");
            let mean = image.iter().sum::<f32>() / 384.0;
            assert!(mean.abs() < 1e-4, "normalised: {mean}");
            different.extend(image.iter().map(|v| v.to_bits()));
        }
    }
    assert!(different.len() > 40, "painted anew each time");
}

#[test]
fn shares_hold_and_batches_repeat_on_any_threads() {
    let mut study = Study::new();
    study.add([12, 10, 8], &[&place], halves([12, 10, 8]));
    let plan = plan([6, 8, 8]);
    let bent = format!("[[steps]]\nstep = \"spatial\"\n{FLAT}");
    let patches = of_study(&study, &plan, &bent);
    let patches = patches.weighted(&[0.5, 0.25, 0.25]).expect("weights");
    let mut counts = [0; 3];
    for step in 0..200 {
        let cases = patches.draw(step).expect("drawn");
        cases.iter().for_each(|drawn| counts[drawn.case()] += 1);
    }
    let all: i32 = counts.iter().sum();
    let shares = counts.map(|n| f64::from(n) / f64::from(all));
    assert!(
        (shares[0] - 0.5).abs() < 0.06 && (shares[1] - 0.25).abs() < 0.06,
        "{shares:?}"
    );
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("a pool")
            .install(|| patches.batch(3).expect("a batch"))
    };
    assert_eq!(on(1), on(3));
    let again = of_study(&study, &plan, &bent).weighted(&[0.5, 0.25, 0.25]);
    assert_eq!(again.expect("weights").batch(3).expect("a batch"), on(2));
}

#[test]
fn what_the_plan_does_not_know_is_refused() {
    let mut plan = plan([6, 8, 8]);
    plan.classes.truncate(2);
    let mut synthetic = Synthetic::new(&plan).expect("one channel");
    let part = synthetic.begin(generator(FLAT));
    let error = synthetic.add(part, "a", scene()).expect_err("label 2");
    assert!(error.to_string().contains("found 2"), "{error}");

    // What a target step merges is learnt as something that the plan knows.
    let merged = format!("[[steps]]\nstep = \"target\"\nmerge = {{ \"2\" = 1 }}\n{FLAT}");
    let part = synthetic.begin(generator(&merged));
    synthetic.add(part, "a", scene()).expect("a known label");
}
