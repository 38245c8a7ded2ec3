//! A phantom's line integrals, as projections.

use std::ops::Range;

use rayon::prelude::*;

use super::Phantom;
use crate::geometry::Scan;
use crate::reconstruct::Projections;
use crate::{Error, Result, attenuation};

/// The exact line integrals of a phantom along the rays of a scan, from the focal spot's centre to
/// the middle of each detector element, at the attenuation of 70 keV.
#[derive(Debug, Clone, Copy)]
pub struct PhantomRays<'a> {
    scan: &'a Scan,
    phantom: &'a Phantom,
}

impl<'a> PhantomRays<'a> {
    /// A phantom in a scanner.
    #[must_use]
    pub fn new(scan: &'a Scan, phantom: &'a Phantom) -> Self {
        Self { scan, phantom }
    }

    fn view(&self, view: usize, out: &mut [f32]) {
        let scanner = self.scan.scanner();
        let water = f64::from(attenuation::WATER_MM);
        let source = self.scan.source(view);
        let rows = self.scan.rows();
        let slopes: Vec<f64> = (0..rows).map(|r| scanner.row_slope(r as f64)).collect();
        let shadows: Vec<_> = self.phantom.objects().iter().map(|o| o.shadow()).collect();
        let mut met = Vec::new();
        for (channel, out) in out.chunks_exact_mut(rows).enumerate() {
            let [dx, dy] = self.scan.direction(view, channel as f64);
            met.clear();
            for (object, &([x, y], radius)) in self.phantom.objects().iter().zip(&shadows) {
                let distance = (x - source[0]) * dy - (y - source[1]) * dx;
                if distance.abs() <= radius {
                    met.push(object);
                }
            }
            for (out, &slope) in out.iter_mut().zip(&slopes) {
                let level = 1.0 / slope.hypot(1.0);
                let direction = [dx * level, dy * level, slope * level];
                let line: f64 = met
                    .iter()
                    .map(|o| o.value() * o.chord_mm(source, direction))
                    .sum();
                *out = (line * water) as f32;
            }
        }
    }
}

impl Projections for PhantomRays<'_> {
    fn views(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        let len = self.scan.view_len();
        if range.end > self.scan.views() || Some(out.len()) != range.len().checked_mul(len) {
            return Err(Error::Setting(format!(
                "expected room for views among {} of {len} samples, found {range:?} and {}",
                self.scan.views(),
                out.len()
            )));
        }
        out.par_chunks_exact_mut(len)
            .zip(range)
            .for_each(|(out, view)| self.view(view, out));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Helix, Scanner};
    use crate::phantom::Object;
    use crossmod_volume::Grid;

    /// A long cylinder about the axis looks the same from everywhere: twice √(r² − t²), longer by
    /// the slope.
    #[test]
    fn a_centred_cylinder_has_the_chords_of_a_circle() {
        let grid = Grid::with_spacing([101, 101, 3], [4.0, 4.0, 1.5]).expect("a grid");
        let scan = Scan::plan(&Scanner::default(), &Helix::default(), &grid).expect("a scan");
        let [x, y] = scan.isocentre_mm();
        let phantom = Phantom::new().with(Object::cylinder(
            [x, y, 0.0],
            [150.0; 2],
            f64::INFINITY,
            1.0,
        ));
        let mut out = vec![0.0; 2 * scan.view_len()];
        PhantomRays::new(&scan, &phantom)
            .views(33..35, &mut out)
            .expect("views");
        let scanner = scan.scanner();
        for (i, &found) in out.iter().enumerate() {
            let (channel, row) = (i / 32 % 512, i % 32);
            let t = 570.0 * scanner.channel_angle(channel as f64).sin();
            let chord = 2.0 * (150.0f64 * 150.0 - t * t).max(0.0).sqrt();
            let expected = chord * scanner.row_slope(row as f64).hypot(1.0) * 0.0193;
            assert!(
                (f64::from(found) - expected).abs() < 1e-5,
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn views_that_are_not_there_are_refused() {
        let grid = Grid::with_spacing([11, 11, 3], [4.0, 4.0, 1.5]).expect("a grid");
        let scan = Scan::plan(&Scanner::default(), &Helix::default(), &grid).expect("a scan");
        let phantom = Phantom::new();
        let rays = PhantomRays::new(&scan, &phantom);
        let mut out = vec![0.0; scan.view_len()];
        assert!(rays.views(0..1, &mut out).is_ok());
        assert!(rays.views(0..2, &mut out).is_err());
        assert!(
            rays.views(scan.views()..scan.views() + 1, &mut out)
                .is_err()
        );
    }
}
