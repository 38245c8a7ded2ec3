//! Hounsfield units and linear attenuation.
//!
//! HU = 1000 (mu - mu_water) / mu_water, so mu = mu_water (1 + HU / 1000). Attenuation is in
//! mm^-1 at 70 keV, the effective energy of a 120 kVp beam behind about 30 cm of water; a
//! monochromatic beam has no beam hardening. Source of the constant: NIST tables of mass
//! attenuation (Hubbell and Seltzer, NISTIR 5632, 1995), water at 60 keV 0.2059 cm^2/g and at
//! 80 keV 0.1837 cm^2/g, interpolated in energy.

/// Linear attenuation of water at 70 keV, mm^-1.
pub const WATER_MM: f32 = 0.0193;

/// Attenuation (mm^-1) of a value in HU; never negative, so that reconstruction noise in air
/// does not create photons.
#[must_use]
pub fn from_hu(hu: f32) -> f32 {
    (WATER_MM * (1.0 + hu / 1000.0)).max(0.0)
}

/// HU of an attenuation in mm^-1.
#[must_use]
pub fn to_hu(attenuation_mm: f32) -> f32 {
    1000.0 * (attenuation_mm / WATER_MM - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn water_and_air_are_the_fixed_points_of_the_scale() {
        assert_eq!(from_hu(0.0), WATER_MM);
        assert_eq!(from_hu(-1000.0), 0.0);
        assert_eq!(from_hu(-1024.0), 0.0);
    }

    #[test]
    fn hu_survive_the_round_trip() {
        for hu in [-1000.0, -100.0, 0.0, 55.0, 700.0, 3000.0] {
            assert!((to_hu(from_hu(hu)) - hu).abs() < 1e-3, "{hu}");
        }
    }

    #[test]
    fn the_constant_lies_on_the_line_between_the_tabulated_energies() {
        let slope = (0.1837f64 / 0.2059).ln() / (80.0f64 / 60.0).ln();
        let interpolated_mm = 0.1 * 0.2059 * (70.0f64 / 60.0).powf(slope);
        assert!((f64::from(WATER_MM) / interpolated_mm - 1.0).abs() < 0.005);
    }
}
