//! Views as the detector measures them.

use std::ops::Range;

use rayon::prelude::*;

use super::{ScanRecord, ScanSettings};
use crate::geometry::Scan;
use crate::photons::quanta::View;
use crate::photons::{LowerDose, smooth_weak};
use crate::physics::{Beam, Material, ScatterField, continue_view};
use crate::reconstruct::Projections;
use crate::{Error, Result};

/// Signal that the logarithm sees at least where nothing is counted.
const NOISELESS_FLOOR: f32 = 1e-9;

/// Line integrals through one material.
pub(crate) struct Path<'a> {
    pub(crate) projections: Box<dyn Projections + 'a>,
    /// What they are multiplied by.
    pub(crate) scale: f32,
}

/// What is drawn once for a scan.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    seed: u64,
    /// Of the body in each view.
    pub(crate) lifts_mm: Option<Vec<f32>>,
    breathing_phase: Option<f64>,
    gains: Option<Vec<f32>>,
}

impl Draw {
    pub(crate) fn new(settings: &ScanSettings, scan: &Scan, seed: u64) -> Self {
        let physics = &settings.physics;
        let breathing = physics.breathing.as_ref().map(|b| b.lifts(scan, seed));
        let (lifts_mm, breathing_phase) = breathing.unzip();
        Self {
            seed,
            lifts_mm,
            breathing_phase,
            gains: physics
                .rings
                .as_ref()
                .map(|r| r.gains(scan.view_len(), seed)),
        }
    }
}

/// The measured projections of a scan.
pub(crate) struct Measured<'a> {
    scan: &'a Scan,
    paths: Vec<Path<'a>>,
    beam: Beam,
    draw: &'a Draw,
    noise: bool,
    noise_alone: bool,
    /// Photons that entered each channel in the scan that the volume comes from, and the share of
    /// its charge that is left.
    given: Option<(Vec<f32>, f64)>,
    electronic: f32,
    weak: f32,
    smallest: f32,
    currents: Option<Vec<f32>>,
    scatter: Option<(ScatterField, f32)>,
    truncation: Option<Vec<(usize, f32)>>,
}

/// Memory of a thread.
#[derive(Default)]
struct Scratch {
    sizes: Vec<f32>,
    scattered: Vec<f32>,
    copy: Vec<f32>,
    clean: Vec<f32>,
}

impl<'a> Measured<'a> {
    /// Measures `paths` through `materials`, one each.
    pub(crate) fn new(
        scan: &'a Scan,
        settings: &ScanSettings,
        paths: Vec<Path<'a>>,
        materials: &[Material],
        draw: &'a Draw,
    ) -> Result<Self> {
        let (physics, scanner) = (&settings.physics, scan.scanner());
        let beam = Beam::new(
            &settings.tube,
            scanner,
            physics.spectrum.as_ref(),
            materials,
        );
        let scatter = physics.scatter.as_ref().map(|scatter| {
            let field = ScatterField::new(scatter, scanner, beam.air().to_vec());
            (field, scatter.corrected as f32)
        });
        let given = settings.given_mas.map(|given| {
            let share = settings.tube.mas / given;
            let incident = beam.air().iter().map(|n| n / share as f32);
            (incident.collect(), share)
        });
        let mut measured = Self {
            scan,
            paths,
            beam,
            given,
            draw,
            noise: settings.noise,
            noise_alone: false,
            electronic: settings.detector.electronic_noise as f32,
            weak: settings.detector.weak_signal as f32,
            smallest: settings.detector.smallest_signal as f32,
            currents: None,
            scatter,
            truncation: physics.truncation.as_ref().map(|t| t.weights(scanner)),
        };
        if let Some(modulation) = &physics.modulation {
            let largest: Vec<f32> = modulation
                .scouts(scan)
                .map(|view| measured.largest(view))
                .collect::<Result<_>>()?;
            measured.currents = Some(modulation.currents(scan, &largest)?);
        }
        Ok(measured)
    }

    /// What noise adds to the line integrals, in place of them.
    pub(crate) fn noise_alone(mut self) -> Self {
        self.noise_alone = true;
        self
    }

    /// What decided the measurements.
    pub(crate) fn record(&self, settings: &ScanSettings) -> ScanRecord {
        let range = |currents: &Vec<f32>| {
            let fold =
                |start, pick: fn(f32, f32) -> f32| currents.iter().copied().fold(start, pick);
            [fold(f32::INFINITY, f32::min), fold(0.0, f32::max)]
        };
        let middle = self.scan.scanner().central_channel as usize;
        ScanRecord {
            seed: self.draw.seed,
            settings: settings.clone(),
            scan: self.scan.clone(),
            photons_per_ray: self.beam.air().get(middle).map_or(0.0, |&n| f64::from(n)),
            effective_mas: settings.tube.mas / self.scan.pitch(),
            breathing_phase: self.draw.breathing_phase,
            current_range: self.currents.as_ref().map(range),
        }
    }

    /// The largest line integral of a view, without noise, mean over the rows.
    fn largest(&self, view: Range<usize>) -> Result<f32> {
        let rows = self.scan.rows();
        let mut first = vec![0.0; self.scan.view_len()];
        let rest = self.paths(view, &mut first)?;
        let rest: Vec<&[f32]> = rest.iter().map(Vec::as_slice).collect();
        let mut sizes = Vec::new();
        self.beam.expect(&mut first, &rest, 1.0, &mut sizes);
        self.beam.measure(&mut first, 1.0, NOISELESS_FLOOR);
        let means = first
            .chunks_exact(rows)
            .map(|row| row.iter().sum::<f32>() / rows as f32);
        Ok(means.fold(0.0, f32::max))
    }

    /// Line integrals of all paths: the first to `out`, the others returned.
    fn paths(&self, range: Range<usize>, out: &mut [f32]) -> Result<Vec<Vec<f32>>> {
        let Some((first, rest)) = self.paths.split_first() else {
            out.fill(0.0);
            return Ok(Vec::new());
        };
        first.read(range.clone(), out)?;
        rest.iter()
            .map(|path| {
                let mut other = vec![0.0; out.len()];
                path.read(range.clone(), &mut other)?;
                Ok(other)
            })
            .collect()
    }

    /// Replaces the line integrals of a view by measured ones.
    fn measure(
        &self,
        view: usize,
        noise: bool,
        values: &mut [f32],
        rest: &[&[f32]],
        scratch: &mut Scratch,
    ) {
        let Scratch {
            sizes,
            scattered,
            copy,
            ..
        } = scratch;
        let rows = self.scan.rows();
        let current = self.currents.as_ref().map_or(1.0, |c| c[view]);
        self.beam.expect(values, rest, current, sizes);
        if let Some((field, _)) = &self.scatter {
            field.estimate(values, current, scattered);
            for (values, scattered) in values.chunks_exact_mut(rows).zip(scattered.iter()) {
                values.iter_mut().for_each(|v| *v += scattered);
            }
        }
        if noise {
            View {
                seed: self.draw.seed,
                view: view as u64,
                electronic: self.electronic,
            }
            .count(values, sizes);
        }
        if let Some(gains) = &self.draw.gains {
            values.iter_mut().zip(gains).for_each(|(v, g)| *v *= g);
        }
        if let Some((_, corrected)) = &self.scatter {
            for (values, scattered) in values.chunks_exact_mut(rows).zip(scattered.iter()) {
                values.iter_mut().for_each(|v| *v -= corrected * scattered);
            }
        }
        let mut smallest = NOISELESS_FLOOR;
        if noise {
            smooth_weak(values, rows, self.weak, copy);
            smallest = self.smallest;
        }
        self.beam.measure(values, current, smallest);
        if let Some(weights) = &self.truncation {
            continue_view(values, weights);
        }
    }
}

impl Measured<'_> {
    /// Adds to the line integrals of a view the noise that a lower charge has more of.
    fn lower(&self, view: usize, share: f64, incident: &[f32], values: &mut [f32]) -> Result<()> {
        let current = self.currents.as_ref().map_or(1.0, |c| c[view]);
        let incident: Vec<f32> = incident.iter().map(|n| n * current).collect();
        LowerDose {
            share,
            incident: &incident,
            electronic_noise: self.electronic.into(),
            seed: self.draw.seed,
        }
        .apply(values, view as u64)
    }
}

impl Path<'_> {
    fn read(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.projections.views(range, out)?;
        if self.scale != 1.0 {
            out.iter_mut().for_each(|v| *v *= self.scale);
        }
        Ok(())
    }
}

impl Projections for Measured<'_> {
    fn views(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        let len = self.scan.view_len();
        if range.end > self.scan.views() || Some(out.len()) != range.len().checked_mul(len) {
            return Err(Error::Setting(format!(
                "expected views below {} and room for them, found {range:?} and {} samples",
                self.scan.views(),
                out.len()
            )));
        }
        let others = self.paths(range.clone(), out)?;
        out.par_chunks_exact_mut(len).enumerate().try_for_each_init(
            Scratch::default,
            |scratch, (i, values)| {
                let rest: Vec<&[f32]> = others.iter().map(|o| &o[i * len..][..len]).collect();
                let view = range.start + i;
                if !self.noise_alone {
                    self.measure(view, self.noise, values, &rest, scratch);
                    return Ok(());
                }
                let mut clean = std::mem::take(&mut scratch.clean);
                clean.clear();
                clean.extend_from_slice(values);
                self.measure(view, false, &mut clean, &rest, scratch);
                match &self.given {
                    Some((incident, share)) if self.noise => {
                        values.copy_from_slice(&clean);
                        self.lower(view, *share, incident, values)?;
                    }
                    _ => self.measure(view, self.noise, values, &rest, scratch),
                }
                values.iter_mut().zip(&clean).for_each(|(v, c)| *v -= c);
                scratch.clean = clean;
                Ok(())
            },
        )
    }
}
