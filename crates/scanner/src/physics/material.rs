//! Attenuation of what patients and tubes are made of, by energy.
//!
//! Mass attenuation coefficients (cm²/g) from the tables of Hubbell and Seltzer (NISTIR 5632,
//! 1995, doi:10.18434/T4D01F), interpolated as powers of the energy between their entries. Results
//! are mm^-1 at the density stated with each.

use serde::{Deserialize, Serialize};

/// keV at which most materials are tabulated.
const ENERGIES: [f64; 8] = [20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0];

const WATER: [f64; 8] = [
    0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505,
];
const BONE: [f64; 8] = [4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480];
const ALUMINIUM: [f64; 8] = [3.441, 1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378];
const TITANIUM: [f64; 8] = [15.85, 4.972, 2.214, 1.213, 0.7661, 0.4052, 0.2721, 0.1649];
const IRON: [f64; 8] = [25.68, 8.176, 3.629, 1.958, 1.205, 0.5952, 0.3717, 0.1964];

/// Iodine below and above its edge of 33.17 keV.
const IODINE_BELOW: [(f64, f64); 3] = [(20.0, 25.43), (30.0, 8.561), (33.17, 6.553)];
const IODINE_ABOVE: [(f64, f64); 7] = [
    (33.17, 35.82),
    (40.0, 22.10),
    (50.0, 12.32),
    (60.0, 7.579),
    (80.0, 3.510),
    (100.0, 1.942),
    (150.0, 0.6978),
];

/// A material with known attenuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Material {
    /// 1 g/cm³; soft tissue is water of another density.
    Water,
    /// Cortical bone, 1.92 g/cm³.
    Bone,
    /// One gram per cm³ of iodine, as what is dissolved in blood.
    Iodine,
    /// 2.699 g/cm³.
    Aluminium,
    /// 4.54 g/cm³: implants.
    Titanium,
    /// 7.874 g/cm³: steel.
    Iron,
}

impl Material {
    /// Linear attenuation (mm^-1) at an energy (keV), held at the ends of the tables, 20 and 150.
    #[must_use]
    pub fn attenuation_mm(self, kev: f64) -> f64 {
        let table = |values: &[f64; 8]| {
            let pairs: [(f64, f64); 8] = std::array::from_fn(|i| (ENERGIES[i], values[i]));
            power_law(&pairs, kev)
        };
        let (mass, density) = match self {
            Self::Water => (table(&WATER), 1.0),
            Self::Bone => (table(&BONE), 1.92),
            Self::Iodine if kev < IODINE_ABOVE[0].0 => (power_law(&IODINE_BELOW, kev), 1.0),
            Self::Iodine => (power_law(&IODINE_ABOVE, kev), 1.0),
            Self::Aluminium => (table(&ALUMINIUM), 2.699),
            Self::Titanium => (table(&TITANIUM), 4.54),
            Self::Iron => (table(&IRON), 7.874),
        };
        0.1 * mass * density
    }
}

fn power_law(table: &[(f64, f64)], kev: f64) -> f64 {
    let after = table.partition_point(|(energy, _)| *energy <= kev);
    let i = after.clamp(1, table.len() - 1) - 1;
    let [(e0, v0), (e1, v1)] = [table[i], table[i + 1]];
    let place = (kev.clamp(e0, e1) / e0).ln() / (e1 / e0).ln();
    v0 * (v1 / v0).powf(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_met_and_fall_between() {
        for (material, kev, expected) in [
            (Material::Water, 60.0, 0.02059),
            (Material::Bone, 60.0, 0.1 * 0.3148 * 1.92),
            (Material::Iodine, 33.18, 3.58),
            (Material::Iodine, 33.16, 0.656),
            (Material::Titanium, 80.0, 0.1 * 0.4052 * 4.54),
        ] {
            let found = material.attenuation_mm(kev);
            assert!(
                (found / expected - 1.0).abs() < 3e-3,
                "{material:?} {found}"
            );
        }
        let mut last = f64::INFINITY;
        for kev in 40..150 {
            let now = Material::Iron.attenuation_mm(f64::from(kev));
            assert!(now < last);
            last = now;
        }
        assert_eq!(
            Material::Water.attenuation_mm(5.0),
            Material::Water.attenuation_mm(20.0)
        );
    }

    #[test]
    fn water_at_70_kev_is_the_scale_of_hu() {
        let found = Material::Water.attenuation_mm(70.0);
        assert!((found / f64::from(crate::attenuation::WATER_MM) - 1.0).abs() < 5e-3);
    }
}
