//! What is done to intensities, and how often what is done.

use crossmod_volume::space::Displacement;

use super::*;

#[test]
fn changes_come_as_often_and_as_large_as_nnunet_makes_them() {
    let (study, mut plan) = coordinates([16, 16, 16]);
    plan.batch = 100;
    let patches = patches(&study, &plan, &PatchConfig::default());
    let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut n = 0.0;
    for step in 0..60 {
        for draw in drawn(&patches, step) {
            n += 1.0;
            let mut note = |name, value: Option<f64>| {
                found.entry(name).or_default().extend(value);
            };
            let matrix = draw.deformation.matrix;
            let scale = matrix.determinant().cbrt();
            note("scaling", Some(scale).filter(|s| (s - 1.0).abs() > 1e-9));
            let turned = (matrix.x_axis.x / scale).clamp(-1.0, 1.0);
            note("rotation", Some(turned).filter(|t| *t < 1.0 - 1e-9));
            note("mirror", draw.mirrored[1].then_some(0.0));
            note("noise", draw.noise.map(|noise| noise.sd));
            let channel = draw.channels[1];
            note("blur", channel.blur_vox.map(|sigma| sigma[2]));
            note("brightness", channel.brightness);
            note("contrast", channel.contrast);
            note("low resolution", channel.low_resolution);
            note("gamma inverted", channel.gamma_inverted);
            note("gamma", channel.gamma);
        }
    }
    // Name, probability, least, greatest and mean.
    let about_one = |low: f64, high: f64| (low + 2.0 + high) / 4.0;
    let expected = [
        ("scaling", 0.2, 0.7, 1.4, 1.05),
        ("rotation", 0.2, 0.74, 1.0, 0.91),
        ("mirror", 0.5, 0.0, 0.0, 0.0),
        ("noise", 0.1, 0.0, 0.1, 0.05),
        ("blur", 0.1, 0.5, 1.0, 0.75),
        ("brightness", 0.15, 0.75, 1.25, 1.0),
        ("contrast", 0.15, 0.75, 1.25, 1.0),
        ("low resolution", 0.125, 0.5, 1.0, 0.75),
        ("gamma inverted", 0.1, 0.7, 1.5, about_one(0.7, 1.5)),
        ("gamma", 0.3, 0.7, 1.5, about_one(0.7, 1.5)),
    ];
    for (name, p, low, high, mean) in expected {
        let values = &found[name];
        let share = values.len() as f64 / n;
        assert!((share - p).abs() < 0.02, "{name} {share}");
        assert!(values.iter().all(|v| (low..=high).contains(v)), "{name}");
        let found = values.iter().sum::<f64>() / values.len() as f64;
        let near = 0.06 * (high - low) + 1e-12;
        assert!((found - mean).abs() <= near, "{name} {found}");
    }
}

#[test]
fn thick_slices_are_changed_within_themselves() {
    let (study, mut plan) = coordinates([4, 16, 16]);
    plan.batch = 4;
    let patches = patches(&study, &plan, &wild());
    let mut turned = 0;
    for step in 0..10 {
        let batch = patches.batch(step).expect("a batch");
        for draw in cuts(&batch) {
            let m = draw.deformation.matrix;
            assert_eq!([m.z_axis.x, m.z_axis.y, m.x_axis.z, m.y_axis.z], [0.0; 4]);
            assert_eq!(m.z_axis.z, 1.0);
            turned += usize::from(m.x_axis.x < 0.5);
        }
    }
    assert!(turned > 2, "up to 180 degrees");
}

#[test]
fn intensities_are_changed_as_recorded() {
    let mut study = Study::new();
    let mut rng = Rng::new(1, 1, 1);
    let values: Vec<f32> = (0..4096).map(|_| 1.0 + rng.unit()).collect();
    let image = |[x, y, z]: [usize; 3]| values[x + 16 * (y + 16 * z)];
    study.add([16; 3], &[&image], |_| 1);
    let plan = plan([16; 3]);
    let patches = patches(&study, &plan, &PatchConfig::plain());
    let with = |change: &dyn Fn(&mut PatchDraw)| {
        let mut draw = still([7.5; 3], 1);
        change(&mut draw);
        patches
            .make(vec![Drawn::Cut(draw)])
            .expect("a patch")
            .images
    };
    assert_eq!(with(&|_| ()), values);
    let sd = |values: &[f32]| {
        let mean = values.iter().sum::<f32>() / 4096.0;
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 4096.0).sqrt()
    };
    let bright = with(&|draw| draw.channels[0].brightness = Some(1.25));
    assert!(bright.iter().zip(&values).all(|(b, v)| *b == 1.25 * v));
    let blurred = with(&|draw| draw.channels[0].blur_vox = Some([0.8; 3]));
    // White noise through a Gaussian keeps (2 √π σ)^(−3/2) of its deviation, a little less sampled.
    let expected = (2.0 * std::f32::consts::PI.sqrt() * 0.8).powf(-1.5);
    let found = sd(&blurred) / sd(&values);
    assert!((found / expected - 1.0).abs() < 0.15, "{found} {expected}");
    let coarse = with(&|draw| draw.channels[0].low_resolution = Some(0.5));
    // Every second voxel, and between them straight lines: at a quarter from the nearer one.
    let kept = |i: usize, j: usize, k: usize| image([2 * i + 1, 2 * j + 1, 2 * k + 1]);
    let mut expected = 0.0;
    for corner in 0..8 {
        let [i, j, k] = [0, 1, 2].map(|a| corner >> a & 1);
        let weight: f32 = [i, j, k]
            .iter()
            .map(|&c| if c == 1 { 0.25 } else { 0.75 })
            .product();
        expected += weight * kept(2 + i, 2 + j, 2 + k);
    }
    let found = coarse[5 + 16 * (5 + 16 * 5)];
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    let noisy = with(&|draw| draw.noise = Some(Noise { sd: 0.05, seed: 9 }));
    let added: Vec<f32> = noisy.iter().zip(&values).map(|(n, v)| n - v).collect();
    assert!((sd(&added) - 0.05).abs() < 0.003);
}

#[test]
fn nothing_appears_where_nothing_was_shown() {
    let mut study = Study::new();
    let inside = |at: [usize; 3]| at.iter().all(|v| (3..13).contains(v)) || at == [0; 3];
    let image = |at: [usize; 3]| if inside(at) { place(at) } else { 0.0 };
    study.add([16; 3], &[&image], |at| u16::from(at == [8; 3]));
    let mut plan = plan([16; 3]);
    plan.channels[0].normalisation = Normalise::ZScore {
        within_nonzero: true,
    };
    let patches = patches(&study, &plan, &PatchConfig::plain());
    let mut draw = still([6.5; 3], 1);
    draw.noise = Some(Noise { sd: 0.1, seed: 1 });
    let batch = patches.make(vec![Drawn::Cut(draw)]).expect("a patch");
    for i in 0..2744 {
        let at = [i % 14, i / 14 % 14, i / 196];
        // The case was cut to 13 voxels, and the patch, of 16, begins 1 before it.
        let at = at.map(|v| v as i64);
        let value = batch.images[(at[0] + 1 + 16 * (at[1] + 1 + 16 * (at[2] + 1))) as usize];
        let shown = inside(at.map(|v| v as usize));
        assert_eq!(value != 0.0, shown, "{at:?}");
    }
    assert!(batch.labels.iter().all(|&label| label < 2));
    assert_eq!(batch.labels.iter().filter(|&&label| label == 1).count(), 1);
}

#[test]
fn bends_stay_within_their_bound() {
    let plan = plan([16, 24, 32]);
    let config = PatchConfig {
        elastic_p: 1.0,
        ..PatchConfig::plain()
    };
    let ranges = Ranges::new(&plan, &config, None);
    for step in 0..20 {
        let draw = ranges.draw(0, [0.0; 3], &mut Rng::new(1, 2, step));
        let bend = draw.expect("drawn").deformation.displacement.expect("bent");
        let text = serde_json::to_value(&bend).expect("written");
        let points: [usize; 3] = serde_json::from_value(text["shape"].clone()).expect("a shape");
        let vectors: Vec<[f32; 3]> =
            serde_json::from_value(text["vectors"].clone()).expect("vectors");
        for (axis, side) in [32.0, 24.0, 16.0].into_iter().enumerate() {
            assert!((4..=13).contains(&points[axis]), "{points:?}");
            let apart = (side - 1.0) / (points[axis] - 1) as f32;
            let longest = vectors.iter().map(|v| v[axis].abs()).fold(0.0, f32::max);
            assert!(longest <= 0.2501 * apart, "{longest} {apart}");
        }
        assert!(Displacement::new(points, vectors).is_ok());
    }
}
