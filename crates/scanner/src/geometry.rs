//! The scanner's geometry: a focused cylindrical detector that turns about the table.
//!
//! World axes are RAS millimetres and z is the axis of rotation. About the isocentre, the source of
//! view `v` stands at
//!
//! a(λ) = (R cos λ, R sin λ, z₀ + h v / V),   λ = λ₀ + 2π v / V,
//!
//! with R the distance from source to isocentre, h the table feed per turn and V the views per
//! turn. The ray of channel angle γ and detector height ν (mm at the detector, D from the source)
//! leaves along −cos γ e_r(λ) + sin γ e_t(λ) in the plane, e_r = (cos λ, sin λ),
//! e_t = (−sin λ, cos λ), and climbs ν / D per millimetre of it: D is the same for all channels
//! because the detector is focused on the source. Its distance from the axis is t = R sin γ.
//!
//! Projections are stored `[view][channel][row]`, row fastest; a row's height is stated where it
//! crosses the isocentre, ν R / D.

mod presets;
mod scan;
mod scanner;

pub use presets::PRESETS;
pub(crate) use scan::bounds;
pub use scan::{Helix, Scan, largest_pitch};
pub use scanner::Scanner;
