use super::*;
use crate::steps::trial;
use crate::steps::trial::voxels;

/// 0, 1, 2 (of one class) and 3, in blocks.
fn blocks() -> Scene {
    trial::scene([40, 40, 40], [1.0; 3], |[x, _, z]| {
        (x / 20 + 2 * (z / 20)) as u16
    })
}

fn drawn(step: &Intensities, scene: &Scene, i: u64) -> IntensitiesDraw {
    step.draw(scene, &mut Rng::new(11, i, 0)).expect("a draw")
}

fn of(draw: &IntensitiesDraw, value: u16) -> &Paint {
    let mut paints = draw.paints.iter();
    paints
        .find(|p| p.labels.contains(&value))
        .expect("a paint for each value")
}

#[test]
fn each_label_has_the_moments_of_its_class() {
    let scene = blocks();
    let step = Intensities {
        black: 0.0,
        dark: 0.0,
        ..Intensities::default()
    };
    let (draw, painted) = trial::done(&step, &scene, 4);
    assert_eq!(of(&draw, 1), of(&draw, 2), "both sides are of one class");
    let image = painted.image.as_ref().expect("an image");
    for value in 0..4 {
        let here = scene.labels.data().iter().zip(image.data());
        let values: Vec<f64> = here
            .filter(|&(&label, _)| label == value)
            .map(|(_, &v)| f64::from(v))
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        let paint = of(&draw, value);
        let expected = (f64::from(paint.mean), f64::from(paint.sd));
        // Five standard errors.
        assert!(
            (mean - expected.0).abs() < 5.0 * expected.1 / n.sqrt(),
            "{value} {mean}"
        );
        assert!(
            (sd / expected.1 - 1.0).abs() < 5.0 / (2.0 * n).sqrt(),
            "{value} {sd}"
        );
    }
    // Neighbours along each axis know nothing of each other.
    let paint = of(&draw, 0);
    let noise =
        |p: [usize; 3]| f64::from((image.data()[scene.grid().index(p)] - paint.mean) / paint.sd);
    for step in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
        let pairs = voxels([19, 19, 19]);
        let product = |p: [usize; 3]| noise(p) * noise([0, 1, 2].map(|a| p[a] + step[a]));
        let correlation = pairs.map(product).sum::<f64>() / 6859.0;
        assert!(correlation.abs() < 5.0 / 6859f64.sqrt(), "{correlation}");
    }
}

#[test]
fn draws_are_even_over_the_published_ranges() {
    let scene = blocks();
    for (ranges, mean, sd) in [
        (Published::Documented, [25.0, 225.0], [5.0, 25.0]),
        (Published::Code, [0.0, 250.0], [0.0, 30.0]),
    ] {
        let step = Intensities {
            ranges,
            ..Intensities::default()
        };
        let n = 3000;
        let draws: Vec<IntensitiesDraw> = (0..n).map(|i| drawn(&step, &scene, i)).collect();
        let part = |[low, high]: [f32; 2], get: &dyn Fn(&Paint) -> f32| {
            let of_class = |d| (get(of(d, 3)) - low) / (high - low);
            let mut shares: Vec<f32> = draws.iter().map(of_class).collect();
            shares.sort_by(f32::total_cmp);
            let distance = |(i, v): (usize, &f32)| (v - (i as f32 + 0.5) / n as f32).abs();
            shares.iter().enumerate().map(distance).fold(0.0, f32::max)
        };
        // Exceeded by chance once in a thousand.
        let bound = 1.95 / (n as f32).sqrt();
        assert!(part(mean, &|p| p.mean) < bound && part(sd, &|p| p.sd) < bound);
        let black = draws
            .iter()
            .filter(|d| of(d, 0).mean == 0.0 && of(d, 0).sd == 0.0)
            .count();
        assert!((90..=210).contains(&black), "{black} of 150");
        let low = |d: &&IntensitiesDraw| of(d, 0).mean <= 15.0 && of(d, 0).sd <= 5.0;
        let dark = draws.iter().filter(low).count() - black;
        // Of the others 1 % are as dark by chance (with the code's ranges).
        assert!((630..=900).contains(&dark), "{dark} of 750");
    }
}

#[test]
fn priors_are_followed_and_a_class_they_lack_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("prior.toml");
    let class = |name: &str, mu: f32| {
        format!(
            "[[class]]\nname = \"{name}\"\nmean = {{ mu = {mu}, sigma = 0.5 }}\n\
             sd = {{ low = 1.0, high = 1.0 }}\n"
        )
    };
    std::fs::write(&path, class("organ", -300.0) + &class("*", 40.0)).expect("written");
    let mut step = Intensities {
        prior: Some(path.clone()),
        nonnegative: false,
        black: 0.0,
        dark: 0.0,
        ..Intensities::default()
    };
    step.load().expect("a prior");
    let scene = blocks();
    let draw = drawn(&step, &scene, 0);
    assert!((of(&draw, 1).mean + 300.0).abs() < 4.0 && of(&draw, 1).sd == 1.0);
    assert!((of(&draw, 3).mean - 40.0).abs() < 4.0);
    step.nonnegative = true;
    assert_eq!(of(&drawn(&step, &scene, 0), 2).mean, 0.0);
    step.mixed = true;
    let from_range = (0..400)
        .filter(|&i| of(&drawn(&step, &scene, i), 1).mean > 0.0)
        .count();
    assert!((150..=250).contains(&from_range), "{from_range} of 200");
    std::fs::write(&path, class("organ", -300.0)).expect("written");
    step.load().expect("a prior");
    let said = step
        .draw(&scene, &mut Rng::new(1, 0, 0))
        .map_err(|e| e.to_string());
    assert!(
        said.as_ref().is_err_and(|e| e.contains("`background`")),
        "{said:?}"
    );
}

#[test]
fn labels_can_be_painted_apart() {
    let step = Intensities {
        by: By::Label,
        ..Intensities::default()
    };
    let draw = drawn(&step, &blocks(), 0);
    assert_eq!(draw.paints.len(), 4);
    assert_ne!(of(&draw, 1).mean, of(&draw, 2).mean);
}

#[test]
fn probabilities_must_leave_room_for_each_other() {
    let mut step = Intensities {
        black: 0.6,
        dark: 0.6,
        ..Intensities::default()
    };
    assert!(step.load().is_err());
}
