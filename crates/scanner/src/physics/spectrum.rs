//! The energies of a tube.
//!
//! Bremsstrahlung of a thick target (Kramers, Phil. Mag. 46:836, 1923): the number of photons of
//! energy E is in proportion to E₀/E − 1, E₀ the tube voltage; tungsten's K lines at 59 and 67 keV
//! above 70 kV; both behind aluminium, whose thickness (the stated filter and 8 mm in place of
//! the target's own absorption, which Kramers' law leaves out) was chosen to meet the mean
//! energies behind 3 mm of aluminium that tabulated spectra have: 50, 57, 63 and 68 keV at 80, 100,
//! 120 and 140 kV.

use serde::{Deserialize, Serialize};

use super::material::Material;
use super::within;
use crate::Result;

/// Lowest energy that passes the filter in numbers, keV.
const LOWEST_KEV: f64 = 20.0;

/// Aluminium in place of the target's own absorption, mm.
const TARGET_MM: f64 = 8.0;

/// keV and relative strength of tungsten's K lines, pairs taken together.
const LINES: [(f64, f64); 2] = [(58.9, 1.0), (67.6, 0.35)];

/// Photons of the lines over those of the continuum, both before filters, per part of the voltage
/// above 69.5 kV.
const LINE_SHARE: f64 = 0.06;

/// Steps in which the continuum is summed, keV.
const STEP_KEV: f64 = 0.25;

/// A beam of all the tube's energies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spectrum {
    /// Energies that stand for all.
    pub bins: usize,
    /// Aluminium at the tube, mm.
    pub filter_mm: f64,
    /// Whether line integrals are corrected so that water of any thickness measures alike.
    pub water_correction: bool,
    /// HU above which a voxel is partly bone.
    pub bone_from_hu: f64,
}

impl Default for Spectrum {
    /// 3 mm of aluminium, as the fluxes of [`crate::photons::Tube`] are stated for.
    fn default() -> Self {
        Self {
            bins: 10,
            filter_mm: 3.0,
            water_correction: true,
            bone_from_hu: 150.0,
        }
    }
}

/// Photons of similar energy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bin {
    /// Their mean energy.
    pub(crate) kev: f64,
    /// Their share of all photons.
    pub(crate) share: f64,
}

impl Spectrum {
    /// Refuses values that no tube can have.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        within("physics.spectrum.bins", self.bins as f64, 2.0, 64.0)?;
        within("physics.spectrum.filter_mm", self.filter_mm, 0.0, 50.0)?;
        within(
            "physics.spectrum.bone_from_hu",
            self.bone_from_hu,
            0.0,
            1000.0,
        )
    }

    /// The bins of equal width for a tube voltage; shares sum to 1.
    pub(crate) fn bins(&self, kvp: f64) -> Vec<Bin> {
        let filter = |kev: f64| {
            let thickness = self.filter_mm + TARGET_MM;
            (-thickness * Material::Aluminium.attenuation_mm(kev)).exp()
        };
        let width = (kvp - LOWEST_KEV) / self.bins as f64;
        let mut sums = vec![(0.0, 0.0); self.bins];
        let mut add = |kev: f64, photons: f64| {
            let bin = ((kev - LOWEST_KEV) / width) as usize;
            let (number, energy) = &mut sums[bin.min(self.bins - 1)];
            *number += photons;
            *energy += photons * kev;
        };
        let mut continuum = 0.0;
        let steps = ((kvp - LOWEST_KEV) / STEP_KEV) as usize;
        for i in 0..steps {
            let kev = LOWEST_KEV + (i as f64 + 0.5) * STEP_KEV;
            let photons = (kvp / kev - 1.0) * STEP_KEV;
            continuum += photons;
            add(kev, photons * filter(kev));
        }
        let lines = LINE_SHARE * (kvp / 69.5 - 1.0).max(0.0) * continuum;
        for (kev, strength) in LINES.into_iter().filter(|(kev, _)| *kev < kvp) {
            add(kev, lines * strength * filter(kev));
        }
        let total: f64 = sums.iter().map(|(number, _)| number).sum();
        sums.iter()
            .filter(|(number, _)| *number > 0.0)
            .map(|(number, energy)| Bin {
                kev: energy / number,
                share: number / total,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_energies_are_those_of_tabulated_spectra() {
        for (kvp, expected) in [(80.0, 50.0), (100.0, 57.0), (120.0, 63.0), (140.0, 68.0)] {
            let bins = Spectrum::default().bins(kvp);
            let mean: f64 = bins.iter().map(|b| b.kev * b.share).sum();
            assert!((mean - expected).abs() < 1.5, "{kvp}: {mean}");
            let total: f64 = bins.iter().map(|b| b.share).sum();
            assert!((total - 1.0).abs() < 1e-12);
        }
    }

    /// −ln of the transmitted energy over the thickness, at 120 kV: 0.01966 mm^-1 behind 20 cm of
    /// water, 0.01939 behind 30 and 0.01917 behind 40 (computed from XCIST's spectrum).
    #[test]
    fn water_hardens_the_beam_as_it_should() {
        let bins = Spectrum::default().bins(120.0);
        let energy = |mm: f64| -> f64 {
            let light =
                |b: &Bin| b.share * b.kev * (-mm * Material::Water.attenuation_mm(b.kev)).exp();
            bins.iter().map(light).sum()
        };
        for (mm, expected) in [(200.0, 0.01966), (300.0, 0.01939), (400.0, 0.01917)] {
            let found = -(energy(mm) / energy(0.0)).ln() / mm;
            assert!((found / expected - 1.0).abs() < 0.02, "{mm}: {found}");
        }
    }

    #[test]
    fn few_bins_stand_for_many() {
        let light = |bins: usize| -> f64 {
            let spectrum = Spectrum {
                bins,
                ..Spectrum::default()
            };
            let bins = spectrum.bins(120.0);
            let behind =
                |b: &Bin| b.share * b.kev * (-300.0 * Material::Water.attenuation_mm(b.kev)).exp();
            bins.iter().map(behind).sum()
        };
        assert!((light(10) / light(60)).ln().abs() < 0.05);
    }
}
