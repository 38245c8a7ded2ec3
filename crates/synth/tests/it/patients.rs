use crossmod_synth::phantom::{LABELS, Modality, PhantomConfig, PhantomDraw, draw, render};
use crossmod_volume::{Image, Labels};

const CASES: u64 = 6;

fn patient(case: u64) -> PhantomDraw {
    draw(&PhantomConfig::default(), 1, case).expect("the defaults are valid")
}

fn scan(case: u64, modality: Modality) -> (Image, Labels) {
    render(&patient(case), modality).expect("a drawn patient can be rendered")
}

/// Mean intensity of each label, 0 first.
fn means(image: &Image, labels: &Labels) -> Vec<f64> {
    let mean = |label: u16| {
        let of = image
            .data()
            .iter()
            .zip(labels.data())
            .filter(|(_, l)| **l == label);
        let (sum, n) = of.fold((0.0, 0), |(sum, n), (v, _)| (sum + f64::from(*v), n + 1));
        sum / f64::from(n)
    };
    LABELS.iter().map(|&(label, _)| mean(label)).collect()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    values
        .iter()
        .map(|v| values.iter().filter(|w| *w < v).count() as f64)
        .collect()
}

/// Spearman's correlation (no ties).
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let squares: f64 = ranks(a)
        .iter()
        .zip(ranks(b))
        .map(|(x, y)| (x - y).powi(2))
        .sum();
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

#[test]
fn every_patient_has_every_organ_at_a_plausible_size() {
    // Millilitres; adult ranges widened for organs cut by the field of view.
    let plausible = [
        (1, 400.0..2200.0),
        (2, 40.0..450.0),
        (3, 35.0..320.0),
        (4, 35.0..320.0),
        (5, 60.0..600.0),
    ];
    for case in 0..CASES {
        for modality in [Modality::Ct, Modality::Mr] {
            let (_, labels) = scan(case, modality);
            let counts = labels.counts();
            assert!(
                counts.keys().copied().eq(LABELS.map(|l| l.0)),
                "{case} {modality:?} {counts:?}"
            );
            for (label, range) in &plausible {
                let volume_ml = counts[label] as f64 * labels.grid().voxel_volume_mm3() / 1000.0;
                assert!(
                    range.contains(&volume_ml),
                    "{case} {modality:?} {label}: {volume_ml} ml"
                );
            }
        }
    }
}

#[test]
fn organs_lie_on_the_sides_they_belong_to() {
    for case in 0..CASES {
        let record = patient(case);
        let (_, labels) = render(&record, Modality::Mr).expect("a scan");
        let [nx, ny, _] = labels.grid().shape();
        let mean_right = |label: u16| {
            let voxels = labels
                .data()
                .iter()
                .enumerate()
                .filter(|(_, l)| **l == label);
            let (sum, n) = voxels.fold((0.0, 0.0), |(sum, n), (i, _)| {
                let voxel = [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64);
                (sum + labels.grid().world(voxel)[0], n + 1.0)
            });
            sum / n - f64::from(record.anatomy.pose.translation_mm[0])
        };
        assert!(
            mean_right(1) > 15.0 && mean_right(4) > 15.0,
            "liver and right kidney, {case}"
        );
        assert!(
            mean_right(2) < -40.0 && mean_right(3) < -15.0,
            "spleen and left kidney, {case}"
        );
        assert!(mean_right(5) < 0.0, "stomach, {case}");
    }
}

#[test]
fn contrast_has_the_stated_order_and_the_orders_disagree() {
    let mut correlation = 0.0;
    for case in 0..CASES {
        let ct = scan(case, Modality::Ct);
        let mr = scan(case, Modality::Mr);
        let (ct, mr) = (means(&ct.0, &ct.1), means(&mr.0, &mr.1));
        let [_, liver, spleen, left, right, stomach] = ct[..] else {
            panic!("six labels")
        };
        assert!(
            stomach < liver && liver < left && spleen < left && spleen < right,
            "{ct:?}"
        );
        assert!(
            (70.0..130.0).contains(&liver) && (120.0..210.0).contains(&left),
            "{ct:?}"
        );
        let [_, liver, spleen, left, right, stomach] = mr[..] else {
            panic!("six labels")
        };
        assert!(liver < left && liver < right && left < spleen, "{mr:?}");
        assert!(
            spleen < stomach || patient(case).anatomy.organs[3].gas_level < 2.0,
            "{mr:?}"
        );
        correlation += rank_correlation(&ct[1..], &mr[1..]) / CASES as f64;
    }
    assert!(correlation < 0.3, "{correlation}");
}

#[test]
fn a_record_gives_the_same_bytes_on_any_number_of_threads() {
    let record = patient(3);
    for modality in [Modality::Ct, Modality::Mr] {
        let [one, two] = [1, 2].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            pool.install(|| render(&record, modality).expect("a scan"))
        });
        assert_eq!(one, two);
    }
}

#[test]
fn seeds_and_cases_differ_and_repeat() {
    let config = PhantomConfig::default();
    let of = |seed, case| draw(&config, seed, case).expect("a patient");
    assert_eq!(of(1, 0), of(1, 0));
    assert_ne!(of(1, 0).anatomy, of(2, 0).anatomy);
    assert_ne!(of(1, 0).anatomy, of(1, 1).anatomy);
}

#[test]
fn a_record_survives_json_to_the_byte() {
    let record = patient(5);
    let text = serde_json::to_string(&record).expect("records are serialisable");
    let read: PhantomDraw = serde_json::from_str(&text).expect("a record");
    for modality in [Modality::Ct, Modality::Mr] {
        assert_eq!(render(&read, modality).ok(), render(&record, modality).ok());
    }
}

/// The anatomy is a function of the world: twice the resolution shows the same organs.
#[test]
fn volumes_do_not_depend_on_the_grid() {
    let mut fine = PhantomConfig::default();
    fine.ct.size *= 2;
    fine.ct.slices *= 2;
    fine.ct.spacing_mm /= 2.0;
    fine.ct.slice_mm /= 2.0;
    let volumes = |config: &PhantomConfig| {
        let record = draw(config, 1, 2).expect("a patient");
        let (_, labels) = render(&record, Modality::Ct).expect("a scan");
        let voxel = labels.grid().voxel_volume_mm3();
        LABELS.map(|(label, _)| labels.counts()[&label] as f64 * voxel)
    };
    let (coarse, fine) = (volumes(&PhantomConfig::default()), volumes(&fine));
    for label in 1..6 {
        let ratio = fine[label] / coarse[label];
        assert!((0.93..1.07).contains(&ratio), "label {label}: {ratio}");
    }
}

/// Noise falls with the root of the photons: the same patient at two exposures.
#[test]
fn more_photons_give_less_noise() {
    let [low, high, none] = [1e5, 1e7, 1e15].map(|photons| {
        let config = PhantomConfig {
            ct_photons: photons,
            ..PhantomConfig::default()
        };
        let record = draw(&config, 1, 0).expect("a patient");
        render(&record, Modality::Ct).expect("a scan")
    });
    let noise = |scan: &(Image, Labels)| {
        let pairs = scan.0.data().iter().zip(none.0.data()).zip(none.1.data());
        let liver: Vec<f64> = pairs
            .filter(|(_, l)| **l == 1)
            .map(|((a, b), _)| f64::from(a - b))
            .collect();
        (liver.iter().map(|d| d * d).sum::<f64>() / liver.len() as f64).sqrt()
    };
    let ratio = noise(&low) / noise(&high);
    assert!((8.5..10.5).contains(&ratio), "{ratio}");
}

#[test]
fn settings_out_of_range_are_named() {
    let config = PhantomConfig {
        variation: -1.0,
        ..PhantomConfig::default()
    };
    assert!(
        draw(&config, 1, 0)
            .expect_err("negative")
            .to_string()
            .contains("variation")
    );
    let mut config = PhantomConfig::default();
    config.mr.size = 0;
    assert!(
        draw(&config, 1, 0)
            .expect_err("empty")
            .to_string()
            .contains("mr.size")
    );
}
