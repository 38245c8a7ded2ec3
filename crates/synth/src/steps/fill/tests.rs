use super::super::trial;
use super::*;
use crate::quantiles::tests::ks;
use crate::{Quantiles, Structure};

/// Soft tissue with a liver (1, 2: left and right organ are of class "organ") and a kidney, 4.
fn scene() -> Scene {
    let mut scene = trial::scene([50, 40, 30], [2.0; 3], |[x, y, z]| {
        match ((5..25).contains(&x), (30..45).contains(&x), y > 4 && z > 3) {
            (true, _, true) => 1,
            (_, true, true) => 4,
            _ => 0,
        }
    });
    let named = |name: &str, target| Structure {
        name: name.to_owned(),
        class: name.to_owned(),
        mirror: None,
        target,
    };
    scene.structures.insert(1, named("liver", 1));
    scene.structures.insert(4, named("kidney", 4));
    scene
}

fn of(scene: &Scene, image: &Image, value: u16) -> Vec<f32> {
    let voxels = image.data().iter().zip(scene.labels.data());
    voxels
        .filter(|&(_, &label)| label == value)
        .map(|(&v, _)| v)
        .collect()
}

#[test]
fn constants_are_one_value_each_and_follow_the_table() {
    let scene = scene();
    let step = Fill {
        phase: Phase::Native,
        ..Fill::default()
    };
    let (_, made) = trial::done(&step, &scene, 1);
    let image = made.image.expect("an image");
    for value in [0, 1, 4] {
        let values = of(&scene, &image, value);
        assert!(values.iter().all(|v| *v == values[0]), "{value}");
    }
    let n = 3000;
    let drawn: Vec<f64> = (0..n)
        .map(|seed| {
            let draw = step
                .draw(&scene, &mut Rng::new(seed, 0, 0))
                .expect("a draw");
            match draw.parts[&1] {
                Paint::Constant(hu) => f64::from(hu),
                Paint::Texture { .. } => panic!("expected a constant"),
            }
        })
        .collect();
    let mean = drawn.iter().sum::<f64>() / n as f64;
    let square = drawn.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
    // The table's liver: 58 ± 9 HU.
    assert!(
        (mean - 58.0).abs() < 0.6 && (square.sqrt() - 9.0).abs() < 0.4,
        "{mean} {square}"
    );
}

#[test]
fn textures_have_the_structures_histogram() {
    let scene = scene();
    let step = Fill {
        with: With::Texture,
        of: vec!["liver".into()],
        ..Fill::default()
    };
    let (draw, made) = trial::done(&step, &scene, 3);
    let image = made.image.expect("an image");
    let Paint::Texture {
        like: Distribution::Normal { mean, sd },
        ..
    } = draw.parts[&1]
    else {
        panic!("{draw:?}");
    };
    assert!(ks(&of(&scene, &image, 1), &Quantiles::normal(mean, sd)) < 0.002);
    // What was not asked for is air.
    assert!(of(&scene, &image, 4).iter().all(|v| *v == AIR));
}

#[test]
fn a_scan_gives_its_own_histogram_and_means() {
    let mut scene = scene();
    let mut rng = Rng::new(8, 0, 0);
    let scan: Vec<f32> = (0..scene.grid().len())
        .map(|_| 60.0 + 9.0 * rng.normal())
        .collect();
    scene.scan = Some(Image::new(scene.grid().clone(), scan).expect("an image"));
    let step = Fill {
        with: With::Texture,
        prior: Reference::from("scan".to_owned()),
        of: Vec::new(),
        ..Fill::default()
    };
    let (_, made) = trial::done(&step, &scene, 3);
    let image = made.image.expect("an image");
    let scan = scene.scan.as_ref().expect("a scan");
    let exact = Quantiles::of(of(&scene, scan, 4), 10_000).expect("finite");
    let far = ks(&of(&scene, &image, 4), &exact);
    assert!(far < 0.002, "{far}");

    let means = means(&scene).expect("means");
    assert!((means[&4] - 60.0).abs() < 0.5);
    scene.scan = None;
    let said = step.draw(&scene, &mut rng).map_err(|e| e.to_string());
    assert!(said.is_err_and(|e| e.contains("labels alone")));
}

#[test]
fn a_second_fill_paints_over_the_first() {
    let scene = scene();
    let (_, first) = trial::done(&Fill::default(), &scene, 1);
    let step = Fill {
        of: vec!["4".into()],
        ..Fill::default()
    };
    let (_, second) = trial::done(&step, &first, 2);
    let (first, second) = (
        first.image.expect("painted"),
        second.image.expect("painted"),
    );
    assert_eq!(of(&scene, &first, 1), of(&scene, &second, 1));
    assert_ne!(of(&scene, &first, 4), of(&scene, &second, 4));
}
