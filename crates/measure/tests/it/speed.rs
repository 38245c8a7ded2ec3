//! How long the metrics of a large volume take; run by hand.

use std::time::Instant;

use crossmod_measure::{Metric, Settings, measures_of};
use crossmod_volume::{Grid, Labels};

/// Twenty-one ellipsoids, the prediction's a little elsewhere.
fn labels(shift: f64) -> Labels {
    let shape @ [nx, ny, nz] = [512, 512, 300];
    let grid = Grid::with_spacing(shape, [0.8, 0.8, 1.5]).expect("a grid");
    let mut data = vec![0u16; grid.len()];
    for label in 0..21u16 {
        let place = |n: usize, i: u16, of: u16| n as f64 * (f64::from(i) + 0.5) / f64::from(of);
        let centre = [
            place(nx, label % 3, 3) + shift,
            place(ny, label / 3 % 3, 3) - shift,
            place(nz, label / 9, 3) + shift,
        ];
        let radii = [0.4, 0.35, 0.45].map(|r| r * (1.0 - 0.03 * f64::from(label)));
        let radii = [
            radii[0] * nx as f64 / 3.0,
            radii[1] * ny as f64 / 3.0,
            radii[2] * nz as f64 / 3.0,
        ];
        for z in 0..nz {
            for y in 0..ny {
                let across = ((y as f64 - centre[1]) / radii[1]).powi(2)
                    + ((z as f64 - centre[2]) / radii[2]).powi(2);
                if across >= 1.0 {
                    continue;
                }
                let half = radii[0] * (1.0 - across).sqrt();
                let low = (centre[0] - half).ceil().max(0.0) as usize;
                let high = ((centre[0] + half).floor() as usize).min(nx - 1);
                let start = grid.index([0, y, z]);
                data[start + low..=start + high].fill(label + 1);
            }
        }
    }
    Labels::new(grid, data).expect("labels")
}

#[test]
#[ignore = "takes seconds and tells times"]
fn a_large_volume_of_many_labels() {
    let (truth, prediction) = (labels(0.0), labels(1.7));
    let classes: Vec<u16> = (1..=21).collect();
    let classes: Vec<(u16, &[u16])> = classes
        .iter()
        .map(|v| (*v, std::slice::from_ref(v)))
        .collect();
    let settings = Settings {
        metrics: Metric::ALL.to_vec(),
        ..Settings::default()
    };
    for _ in 0..2 {
        let start = Instant::now();
        let found = measures_of(&prediction, &truth, &classes, None, &settings).expect("one grid");
        println!(
            "{:.2} s, {:?}",
            start.elapsed().as_secs_f64(),
            found[&1].get(Metric::AssdMm, 1.0)
        );
    }
}
