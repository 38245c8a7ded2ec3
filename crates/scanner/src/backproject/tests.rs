use super::nodes::Aperture;
use super::*;
use crate::geometry::{Helix, Scanner};
use crate::simd::Level;
use crossmod_volume::Grid;

fn scan(rows: usize, row_mm: f64, pitch: f64) -> Scan {
    let scanner = Scanner {
        rows,
        row_mm,
        channels: 128,
        channel_rad: 0.004,
        central_channel: 63.25,
        views_per_turn: 60,
        ..Scanner::default()
    };
    let helix = Helix {
        pitch,
        isocentre_mm: Some([0.0; 2]),
        field_radius_mm: Some(120.0),
        start_deg: 33.0,
    };
    let grid = Grid::with_spacing([3, 3, 40], [1.0, 1.0, 1.0]).expect("a grid");
    Scan::plan(&scanner, &helix, &grid).expect("a scan")
}

/// Values without any structure but smoothness along rows and nodes.
fn views(count: usize, nodes: usize, rows: usize) -> (Vec<f32>, usize) {
    let view_len = nodes * (rows + 2) + BEYOND;
    let mut data = vec![0.0; count * view_len];
    for (v, view) in data.chunks_exact_mut(view_len).enumerate() {
        for (t, column) in view.chunks_exact_mut(rows + 2).take(nodes).enumerate() {
            for row in 0..rows {
                let (v, t, r) = (v as f32, t as f32, row as f32);
                column[row + 1] =
                    (0.31 * v + 0.17 * t).sin() + (0.23 * r - 0.011 * v).cos() + 0.02 * r;
            }
            column[0] = column[1];
            column[rows + 1] = column[rows];
        }
    }
    (data, view_len)
}

/// The sum over directions by the formula, voxel by voxel, with the weight's own cosine.
fn exactly(of: &Backprojector, views: &Views<'_>, [x, y, z]: [f64; 3]) -> f64 {
    let aperture = Aperture {
        rows: of.rows,
        flat: of.aperture,
    };
    (0..of.half_turn)
        .map(|direction| {
            let (mut sum, mut weights) = (0.0, 0.0);
            let mut nearest = (f64::INFINITY, 0.0);
            for view in views.range.clone() {
                if view % of.half_turn != direction {
                    continue;
                }
                let (sin, cos) = of.angle(view).sin_cos();
                let (t, s) = (y * cos - x * sin, x * cos + y * sin);
                let depth = (of.source_mm.powi(2) - t * t).sqrt();
                let feed = of.z_per_view_mm * 2.0 * of.half_turn as f64;
                let source = of.z_mm(view) + feed / TAU * (t / of.source_mm).asin();
                let off = of.source_mm * (z - source) / (depth - s) / of.row_mm;
                let row = off + (of.rows - 1) as f64 / 2.0;
                let held = row.clamp(-0.5, of.rows as f64 - 0.5) + 1.0;
                let node = (t - of.first_t_mm) / of.t_step_mm;
                let at = |node: f64, row: f64| {
                    let place = node as usize * (of.rows + 2) + row as usize;
                    f64::from(views.get(view)[place])
                };
                let (ft, fr) = (node.fract(), held.fract());
                let (t0, r0) = (node.floor(), held.floor());
                let value = (1.0 - ft) * ((1.0 - fr) * at(t0, r0) + fr * at(t0, r0 + 1.0))
                    + ft * ((1.0 - fr) * at(t0 + 1.0, r0) + fr * at(t0 + 1.0, r0 + 1.0));
                let weight = aperture.weight(row);
                sum += weight * value;
                weights += weight;
                if off.abs() < nearest.0 {
                    nearest = (off.abs(), value);
                }
            }
            if weights > 1e-5 {
                sum / weights
            } else {
                nearest.1
            }
        })
        .sum()
}

/// Tiles against the formula: rows finer and coarser than the voxels, near the axis and at the rim,
/// all instruction sets. What differs is the interpolation along s, which nodes close together do
/// away with.
#[test]
fn tiles_agree_with_the_formula() {
    for (rows, row_mm, pitch, z_step_mm) in [(16, 2.0, 1.0, 1.5), (24, 1.0, 0.7, 2.7)] {
        let scan = scan(rows, row_mm, pitch);
        let nodes = 2 * (120.0 / scan.scanner().ray_spacing_mm()).ceil() as usize + 1;
        let first_t = -((nodes / 2) as f64) * scan.scanner().ray_spacing_mm();
        let coarse = Backprojector::new(&scan, first_t, nodes, 0.6);
        let fine = Backprojector {
            s_step_mm: coarse.s_step_mm / 32.0,
            ..Backprojector::new(&scan, first_t, nodes, 0.6)
        };
        let (data, view_len) = views(scan.views() - 2 * scan.fan_margin(), nodes, rows);
        let pixels = Pixels {
            origin_mm: [-100.0, -50.0],
            along_a_mm: [11.0, 3.0],
            along_b_mm: [-2.5, 12.0],
            first_z_mm: 4.0,
            z_step_mm,
            depth: 13,
        };
        let top = 4.0 + 12.0 * z_step_mm;
        let views = Views {
            range: coarse.seeing(4.0, top, data.len() / view_len),
            data: &data,
            view_len,
        };
        // Errors of sums of 30 values about 1 that differ between partners by as much.
        for (of, most_rms, most) in [(&coarse, 0.3, 1.0), (&fine, 1e-3, 0.01)] {
            let mut portable = None;
            for level in Level::all() {
                let mut tile = Tile::default();
                let out = tile.backproject(level, of, &views, &pixels, [2..18, 1..11], 16);
                let (mut square, mut worst, mut inside) = (0.0, 0.0f64, 0);
                for (number, column) in out.chunks_exact(16).enumerate() {
                    let [x, y] = pixels.place_mm(2 + number % 16, 1 + number / 16);
                    if x.hypot(y) > 120.0 {
                        assert!(column.iter().all(|v| *v == 0.0));
                        continue;
                    }
                    inside += 1;
                    for (z, &found) in column.iter().take(13).enumerate() {
                        let z = 4.0 + z as f64 * z_step_mm;
                        let error = (f64::from(found) - exactly(of, &views, [x, y, z])).abs();
                        square += error * error;
                        worst = worst.max(error);
                    }
                }
                let rms = (square / f64::from(inside * 13)).sqrt();
                println!("{level:?}: {inside} rms {rms} worst {worst}");
                assert!(
                    inside > 80 && rms < most_rms && worst < most,
                    "{rms} {worst}"
                );
                let twin = portable.get_or_insert_with(|| out.to_vec());
                for (a, b) in out.iter().zip(twin.iter()) {
                    assert!((a - b).abs() < 2e-4, "{level:?}: {a} against {b}");
                }
            }
        }
    }
}

/// Voxels that no view sees take the nearest row.
#[test]
fn what_is_not_seen_is_held() {
    let scan = scan(16, 2.0, 1.0);
    let nodes = 2 * (120.0 / scan.scanner().ray_spacing_mm()).ceil() as usize + 1;
    let first_t = -((nodes / 2) as f64) * scan.scanner().ray_spacing_mm();
    let of = Backprojector::new(&scan, first_t, nodes, 0.6);
    let (data, view_len) = views(scan.views(), nodes, 16);
    let pixels = Pixels {
        origin_mm: [10.0, 20.0],
        along_a_mm: [1.0, 0.0],
        along_b_mm: [0.0, 1.0],
        first_z_mm: 60.0,
        z_step_mm: 5.0,
        depth: 4,
    };
    // Half a turn of views: above it nothing is seen.
    let views = Views {
        data: &data,
        view_len,
        range: 20..50,
    };
    let mut tile = Tile::default();
    let out = tile.backproject(Level::best(), &of, &views, &pixels, [0..1, 0..1], 16);
    for (z, &found) in out.iter().take(4).enumerate() {
        let exact = exactly(&of, &views, [10.0, 20.0, 60.0 + 5.0 * z as f64]);
        assert!((f64::from(found) - exact).abs() < 0.05, "{found} {exact}");
    }
}
