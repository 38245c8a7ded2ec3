//! What a detector element registers of the light behind a patient, for one energy or many.
//!
//! The detector adds up energies: with n_k photons of energy e_k (over the mean of the beam) its
//! signal is S = Σ n_k e_k and its variance V = Σ n_k e_k². It is counted as S² / V quanta of size
//! V / S, which has both right. With one energy quanta are photons.
//!
//! The water correction maps, channel by channel since the bow-tie filter changes the spectrum,
//! the line integral that a thickness of water measures to that thickness times water's
//! attenuation on the scale of HU.

use crossmod_volume::elementary::exp;

use super::Spectrum;
use super::material::Material;
use crate::attenuation::WATER_MM;
use crate::geometry::Scanner;
use crate::photons::Tube;
use crate::photons::quanta::{logarithm, transmit};
use crate::simd::{Kernel, Lanes, Level};

/// Rays that are computed together.
const TOGETHER: usize = 16;

/// Most materials of a patient.
const MATERIALS: usize = 8;

/// Thickest water of the correction, mm, and entries of its table.
const THICKEST_MM: f64 = 1200.0;
const ENTRIES: usize = 384;

/// Thickness whose line integral is kept where water is not corrected, mm.
const NOMINAL_MM: f64 = 200.0;

/// Light from the tube to the detector.
#[derive(Debug)]
pub(crate) struct Beam {
    /// Signal of each channel in air.
    air: Vec<f32>,
    energies: Option<Energies>,
}

#[derive(Debug)]
struct Energies {
    /// Energy of each bin over the mean.
    sizes: Vec<f32>,
    /// Photons in air, `[channel][bin]`.
    photons: Vec<f32>,
    /// Attenuation, mm^-1, `[material][bin]`.
    attenuation: Vec<Vec<f32>>,
    /// From a measured line integral to one of 70 keV.
    correction: Correction,
}

#[derive(Debug)]
enum Correction {
    /// One factor.
    Scale(f32),
    /// `[channel][entry]`, entries a distance apart.
    Water { table: Vec<f32>, per_entry: f32 },
}

impl Beam {
    /// The beam of a tube through `materials`; with one energy line integrals are of attenuation
    /// and there are no materials.
    pub(crate) fn new(
        tube: &Tube,
        scanner: &Scanner,
        spectrum: Option<&Spectrum>,
        materials: &[Material],
    ) -> Self {
        let Some(spectrum) = spectrum else {
            return Self {
                air: tube.incident(scanner),
                energies: None,
            };
        };
        let bins = spectrum.bins(tube.kvp);
        let mean: f64 = bins.iter().map(|b| b.kev * b.share).sum();
        let sizes: Vec<f64> = bins.iter().map(|b| b.kev / mean).collect();
        let all = tube.photons(scanner);
        let photons: Vec<f64> = (0..scanner.channels)
            .flat_map(|channel| {
                let angle = scanner.channel_angle(channel as f64);
                let thickness = tube.bowtie.thickness_mm(angle);
                bins.iter().map(move |b| {
                    let filter = thickness * Material::Aluminium.attenuation_mm(b.kev);
                    all * b.share * (-filter).exp()
                })
            })
            .collect();
        let table = |material: &Material| -> Vec<f64> {
            bins.iter()
                .map(|b| material.attenuation_mm(b.kev))
                .collect()
        };
        let water = table(&Material::Water);
        let behind = |photons: &[f64], mm: f64| -> f64 {
            let bins = photons.iter().zip(&sizes).zip(&water);
            bins.map(|((n, e), mu)| n * e * (-mu * mm).exp()).sum()
        };
        let channels = || photons.chunks_exact(bins.len());
        let correction = if spectrum.water_correction {
            let integral =
                |photons: &[f64], mm: f64| (behind(photons, 0.0) / behind(photons, mm)).ln();
            let least = channels().map(|photons| integral(photons, THICKEST_MM));
            let per_entry = least.fold(f64::INFINITY, f64::min) / (ENTRIES - 1) as f64;
            let table = channels()
                .flat_map(|photons| invert(|mm| integral(photons, mm), per_entry))
                .map(|mm| (mm * f64::from(WATER_MM)) as f32)
                .collect();
            Correction::Water {
                table,
                per_entry: per_entry as f32,
            }
        } else {
            let middle = (scanner.central_channel as usize).min(scanner.channels - 1);
            let photons = &photons[middle * bins.len()..][..bins.len()];
            let measured = (behind(photons, 0.0) / behind(photons, NOMINAL_MM)).ln();
            Correction::Scale((NOMINAL_MM * f64::from(WATER_MM) / measured) as f32)
        };
        let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        Self {
            air: channels()
                .map(|photons| behind(photons, 0.0) as f32)
                .collect(),
            energies: Some(Energies {
                sizes: single(&sizes),
                photons: single(&photons),
                attenuation: materials.iter().map(|m| single(&table(m))).collect(),
                correction,
            }),
        }
    }

    /// Signal of each channel in air.
    pub(crate) fn air(&self) -> &[f32] {
        &self.air
    }

    /// Replaces the line integrals of a view (of attenuation, or mm of the first material; `rest`
    /// are mm of the others) by the expected signal at `current` times the tube's, and fills
    /// `sizes` with the size of a quantum, or leaves it empty where all are 1.
    pub(crate) fn expect(
        &self,
        first: &mut [f32],
        rest: &[&[f32]],
        current: f32,
        sizes: &mut Vec<f32>,
    ) {
        sizes.clear();
        let rows = first.len() / self.air.len();
        match &self.energies {
            None => {
                let incident: Vec<f32> = self.air.iter().map(|a| a * current).collect();
                transmit(first, &incident, rows);
            }
            Some(energies) => {
                sizes.resize(first.len(), 1.0);
                Level::best().run(Expect {
                    energies,
                    first,
                    rest,
                    sizes,
                    current,
                    rows,
                });
            }
        }
    }

    /// Replaces the signal of a view by line integrals on the scale of HU.
    pub(crate) fn measure(&self, signal: &mut [f32], current: f32, smallest: f32) {
        let rows = signal.len() / self.air.len();
        let incident: Vec<f32> = self.air.iter().map(|a| a * current).collect();
        logarithm(signal, &incident, rows, smallest);
        match self.energies.as_ref().map(|e| &e.correction) {
            None => {}
            Some(Correction::Scale(scale)) => signal.iter_mut().for_each(|v| *v *= scale),
            Some(Correction::Water { table, per_entry }) => {
                let tables = table.chunks_exact(ENTRIES);
                for (values, table) in signal.chunks_exact_mut(rows).zip(tables) {
                    for value in values {
                        let place = *value / per_entry;
                        // Beyond either end the line goes on.
                        let i = (place as usize).min(ENTRIES - 2);
                        let part = place - i as f32;
                        *value = table[i] + part * (table[i + 1] - table[i]);
                    }
                }
            }
        }
    }
}

/// The thickness (mm) at which `integral`, which rises, is each multiple of `per_entry`.
fn invert(integral: impl Fn(f64) -> f64, per_entry: f64) -> Vec<f64> {
    let mut mm = 0.0;
    (0..ENTRIES)
        .map(|entry| {
            let wanted = entry as f64 * per_entry;
            // Newton with the chord's slope: the curve is nearly straight.
            for _ in 0..12 {
                let here = integral(mm);
                let slope = (integral(mm + 0.1) - here) / 0.1;
                let step = (wanted - here) / slope;
                mm += step;
                if step.abs() < 1e-6 {
                    break;
                }
            }
            mm
        })
        .collect()
}

struct Expect<'a> {
    energies: &'a Energies,
    first: &'a mut [f32],
    rest: &'a [&'a [f32]],
    sizes: &'a mut [f32],
    current: f32,
    rows: usize,
}

impl Kernel for Expect<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Energies {
            sizes: energy,
            photons,
            attenuation,
            ..
        } = self.energies;
        let bins = energy.len();
        let materials = attenuation.len().min(1 + self.rest.len()).min(MATERIALS);
        for (channel, photons) in photons.chunks_exact(bins).enumerate() {
            for start in (0..self.rows).step_by(TOGETHER) {
                let at = channel * self.rows + start;
                let len = TOGETHER.min(self.rows - start);
                let mut paths = [[0.0; TOGETHER]; MATERIALS];
                paths[0][..len].copy_from_slice(&self.first[at..at + len]);
                for (path, other) in paths[1..].iter_mut().zip(self.rest) {
                    path[..len].copy_from_slice(&other[at..at + len]);
                }
                let (mut signal, mut variance) = ([0.0; TOGETHER], [0.0; TOGETHER]);
                for bin in 0..bins {
                    let mut weaker = [0.0f32; TOGETHER];
                    for (path, attenuation) in paths.iter().zip(attenuation).take(materials) {
                        for i in 0..TOGETHER {
                            weaker[i] -= attenuation[bin] * path[i];
                        }
                    }
                    let (light, size) = (self.current * photons[bin], energy[bin]);
                    for i in 0..TOGETHER {
                        let part = light * size * exp(weaker[i]);
                        signal[i] += part;
                        variance[i] += part * size;
                    }
                }
                self.first[at..at + len].copy_from_slice(&signal[..len]);
                for i in 0..len {
                    // Nothing arrives: any size does.
                    let size = variance[i] / signal[i].max(f32::MIN_POSITIVE);
                    self.sizes[at + i] = size.max(1e-3);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beam(spectrum: Spectrum) -> (Beam, Scanner) {
        let scanner = Scanner {
            channels: 40,
            central_channel: 19.5,
            channel_rad: 0.02,
            rows: 20,
            ..Scanner::default()
        };
        let materials = [Material::Water, Material::Bone];
        let beam = Beam::new(&Tube::default(), &scanner, Some(&spectrum), &materials);
        (beam, scanner)
    }

    /// Water of any thickness in any channel measures its thickness; bone behind water does not.
    #[test]
    fn corrected_water_is_linear_and_bone_is_not() {
        let (beam, scanner) = beam(Spectrum::default());
        let measure = |water: f32, bone: f32| {
            let (mut a, b) = (vec![water; 800], vec![bone; 800]);
            let mut sizes = Vec::new();
            beam.expect(&mut a, &[&b], 0.7, &mut sizes);
            beam.measure(&mut a, 0.7, 1e-6);
            a
        };
        for mm in [0.0, 1.0, 55.0, 200.0, 431.0] {
            for (i, p) in measure(mm, 0.0).iter().enumerate() {
                let error = (p / WATER_MM - mm).abs();
                assert!(
                    error < 0.002 * mm + 0.02,
                    "{mm} in {}: {p}",
                    i / scanner.rows
                );
            }
        }
        let thin = measure(0.0, 5.0)[400];
        let thick = measure(300.0, 50.0)[400] - measure(300.0, 0.0)[400];
        assert!(thick < 0.97 * 10.0 * thin, "{thick} of {thin}");
    }

    /// The sums over bins in double precision.
    #[test]
    fn signal_and_size_are_the_moments_of_the_energies() {
        let spectrum = Spectrum::default();
        let (beam, scanner) = beam(spectrum.clone());
        let (mut a, b) = (vec![180.0; 800], vec![12.0; 800]);
        let mut sizes = Vec::new();
        beam.expect(&mut a, &[&b], 1.0, &mut sizes);
        let tube = Tube::default();
        let bins = spectrum.bins(120.0);
        let mean: f64 = bins.iter().map(|b| b.kev * b.share).sum();
        for channel in [0, 19, 39] {
            let angle = scanner.channel_angle(channel as f64);
            let (mut signal, mut variance) = (0.0, 0.0);
            for bin in &bins {
                let weaker = 180.0 * Material::Water.attenuation_mm(bin.kev)
                    + 12.0 * Material::Bone.attenuation_mm(bin.kev)
                    + tube.bowtie.thickness_mm(angle) * Material::Aluminium.attenuation_mm(bin.kev);
                let photons = tube.photons(&scanner) * bin.share * (-weaker).exp();
                signal += photons * bin.kev / mean;
                variance += photons * (bin.kev / mean).powi(2);
            }
            let found = a[channel * 20 + 7];
            assert!((f64::from(found) / signal - 1.0).abs() < 1e-4);
            let size = f64::from(sizes[channel * 20 + 7]);
            assert!((size / (variance / signal) - 1.0).abs() < 1e-4);
        }
        // What adding energies costs over counting photons, 5 to 10 % in air (the gain of variance
        // of an integrating detector).
        let (mut a, b) = (vec![0.0; 800], vec![0.0; 800]);
        beam.expect(&mut a, &[&b], 1.0, &mut sizes);
        assert!((1.02..1.12).contains(&sizes[400]), "{}", sizes[400]);
    }

    #[test]
    fn without_correction_thick_water_measures_less() {
        let (beam, _) = beam(Spectrum {
            water_correction: false,
            ..Spectrum::default()
        });
        let measure = |mm: f32| {
            let mut a = vec![mm; 800];
            beam.expect(&mut a, &[], 1.0, &mut Vec::new());
            beam.measure(&mut a, 1.0, 1e-6);
            a[400] / (mm * WATER_MM)
        };
        assert!((measure(200.0) - 1.0).abs() < 1e-4);
        assert!(measure(400.0) < 0.985 && measure(50.0) > 1.015);
    }

    #[test]
    fn one_energy_comes_back_as_it_went() {
        let scanner = Scanner::default();
        let beam = Beam::new(&Tube::default(), &scanner, None, &[]);
        let mut values: Vec<f32> = (0..512 * 32).map(|i| (i % 700) as f32 * 0.01).collect();
        let before = values.clone();
        let mut sizes = vec![3.0];
        beam.expect(&mut values, &[], 1.3, &mut sizes);
        assert!(sizes.is_empty());
        beam.measure(&mut values, 1.3, 1e-6);
        for (a, b) in values.iter().zip(&before) {
            assert!((a - b).abs() < 1e-5);
        }
    }
}
