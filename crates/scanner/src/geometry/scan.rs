//! A helix planned over a volume.
//!
//! A voxel at (x, y, z) is seen by the source while it travels through
//! |z − z_s| < (H / 2) (L / R), H the collimation at isocentre and L ≤ R + r the distance in the
//! plane from the source to the voxel. The source therefore starts and ends (H / 2) (1 + r / R)
//! beyond the volume, and asin(r / R) plus half the fan earlier and later so that whole parallel
//! views can be sorted out of the fans.
//!
//! Two opposite rays at distance t from the axis lie L₊ + L₋ = 2 √(R² − t²) apart in the plane,
//! and their sources half a turn more or less 2 asin(t / R); every voxel within radius r is seen
//! from every direction of a half turn where
//!
//! pitch (1/2 + asin(r / R) / π) ≤ √(1 − (r / R)²).

use std::f64::consts::{PI, TAU};

use crossmod_volume::Grid;
use serde::{Deserialize, Serialize};

use super::Scanner;
use crate::{Error, Result};

/// Most views of a scan: a thousand turns of a thousand views.
const MOST_VIEWS: f64 = 1e6;

/// How the table moves and where the patient lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Helix {
    /// Table feed per turn over the collimation.
    pub pitch: f64,
    /// Angle of the first view's source from the world's x towards y, degrees.
    pub start_deg: f64,
    /// World x and y of the axis of rotation, mm; the middle of the volume where not stated.
    pub isocentre_mm: Option<[f64; 2]>,
    /// Radius that is reconstructed, mm: what lies beyond is air. The scanner's field of view, or
    /// the corners of the volume where they are nearer, where not stated.
    pub field_radius_mm: Option<f64>,
}

impl Default for Helix {
    /// Pitch 1, the head of the helix on the patient's right.
    fn default() -> Self {
        Self {
            pitch: 1.0,
            start_deg: 0.0,
            isocentre_mm: None,
            field_radius_mm: None,
        }
    }
}

/// A scanner's way around and along a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Scan {
    scanner: Scanner,
    pitch: f64,
    first_angle_rad: f64,
    first_z_mm: f64,
    views: usize,
    isocentre_mm: [f64; 2],
    field_radius_mm: f64,
    z_range_mm: [f64; 2],
}

/// A scan as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    scanner: Scanner,
    pitch: f64,
    first_angle_rad: f64,
    first_z_mm: f64,
    views: usize,
    isocentre_mm: [f64; 2],
    field_radius_mm: f64,
    z_range_mm: [f64; 2],
}

impl TryFrom<Unchecked> for Scan {
    type Error = Error;

    fn try_from(raw: Unchecked) -> Result<Self> {
        let scan = Self {
            scanner: raw.scanner,
            pitch: raw.pitch,
            first_angle_rad: raw.first_angle_rad,
            first_z_mm: raw.first_z_mm,
            views: raw.views,
            isocentre_mm: raw.isocentre_mm,
            field_radius_mm: raw.field_radius_mm,
            z_range_mm: raw.z_range_mm,
        };
        scan.check_field()?;
        scan.check_pitch()?;
        let numbers = [scan.first_angle_rad, scan.first_z_mm].into_iter();
        let numbers = numbers.chain(scan.isocentre_mm).chain(scan.z_range_mm);
        if !numbers.into_iter().all(f64::is_finite) {
            return Err(Error::Setting(
                "expected finite angles and places of a scan".into(),
            ));
        }
        if scan.views <= scan.fan_margin() * 2 || scan.views as f64 > MOST_VIEWS {
            return Err(Error::Setting(format!(
                "expected from {} to {MOST_VIEWS} views in a scan, found {}",
                scan.fan_margin() * 2 + 1,
                scan.views
            )));
        }
        Ok(scan)
    }
}

/// The largest pitch at which every place within `radius_mm` of the axis is seen from every
/// direction.
#[must_use]
pub fn largest_pitch(scanner: &Scanner, radius_mm: f64) -> f64 {
    let ratio = radius_mm / scanner.source_to_isocentre_mm;
    (1.0 - ratio * ratio).max(0.0).sqrt() / (0.5 + ratio.min(1.0).asin() / PI)
}

impl Scan {
    /// The scan of a volume.
    ///
    /// # Errors
    /// [`Error::Setting`] where the pitch leaves gaps within the field of view (the message names
    /// the largest that leaves none), or where a value is none that a scan can have.
    pub fn plan(scanner: &Scanner, helix: &Helix, volume: &Grid) -> Result<Self> {
        scanner.check()?;
        let (low, high) = bounds(volume);
        let isocentre_mm = helix
            .isocentre_mm
            .unwrap_or([0, 1].map(|axis| (low[axis] + high[axis]) / 2.0));
        if !isocentre_mm.iter().all(|v| v.is_finite()) || !helix.start_deg.is_finite() {
            return Err(Error::Setting(format!(
                "expected a finite isocentre_mm and start_deg, found {isocentre_mm:?} and {}",
                helix.start_deg
            )));
        }
        let corner = (0..2)
            .map(|axis| {
                let centre = isocentre_mm[axis];
                (high[axis] - centre).max(centre - low[axis]).powi(2)
            })
            .sum::<f64>()
            .sqrt();
        let field_radius_mm = helix.field_radius_mm.unwrap_or_else(|| {
            corner
                .max(scanner.ray_spacing_mm())
                .min(scanner.field_radius_mm())
        });
        let mut scan = Self {
            scanner: scanner.clone(),
            pitch: helix.pitch,
            first_angle_rad: helix.start_deg.to_radians(),
            first_z_mm: 0.0,
            views: 0,
            isocentre_mm,
            field_radius_mm,
            z_range_mm: [low[2], high[2]],
        };
        scan.check_field()?;
        scan.check_pitch()?;
        let source = scanner.source_to_isocentre_mm;
        let ratio = field_radius_mm / source;
        let per_view = scan.feed_mm() / scanner.views_per_turn as f64;
        let reach = scanner.collimation_mm() / 2.0 * (1.0 + ratio);
        let lead = ratio.asin() / TAU * scanner.views_per_turn as f64;
        // One more at each end, for the rounding of the places.
        let lead = lead.ceil() as usize + scan.fan_margin() + 1;
        let travel = (high[2] - low[2] + 2.0 * reach) / per_view;
        if travel > MOST_VIEWS {
            return Err(Error::Setting(format!(
                "expected a scan of at most {MOST_VIEWS} views, found {travel:.0} at a pitch of \
                 {}; choose a larger pitch",
                helix.pitch
            )));
        }
        scan.views = travel.ceil() as usize + 1 + 2 * lead;
        let middle = (low[2] + high[2]) / 2.0;
        scan.first_z_mm = middle - per_view * (scan.views - 1) as f64 / 2.0;
        Ok(scan)
    }

    fn check_field(&self) -> Result<()> {
        let most = self.scanner.field_radius_mm();
        if self.field_radius_mm > 0.0 && self.field_radius_mm <= most {
            return Ok(());
        }
        Err(Error::Setting(format!(
            "expected field_radius_mm above 0 and at most {most:.1}, which this scanner sees, \
             found {}",
            self.field_radius_mm
        )))
    }

    fn check_pitch(&self) -> Result<()> {
        let most = largest_pitch(&self.scanner, self.field_radius_mm);
        if self.pitch > 0.01 && self.pitch <= most {
            return Ok(());
        }
        Err(Error::Setting(format!(
            "expected a pitch from 0.01 to {:.3}, the largest that leaves no gaps within {:.1} mm \
             of the axis, found {}; choose a smaller pitch or field of view",
            // Rounded down, so that the number in the message works.
            (most * 1000.0).floor() / 1000.0,
            self.field_radius_mm,
            self.pitch
        )))
    }

    /// The scanner.
    #[must_use]
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// Table feed per turn over the collimation.
    #[must_use]
    pub fn pitch(&self) -> f64 {
        self.pitch
    }

    /// Table feed per turn, mm.
    #[must_use]
    pub fn feed_mm(&self) -> f64 {
        self.pitch * self.scanner.collimation_mm()
    }

    /// Number of views.
    #[must_use]
    pub fn views(&self) -> usize {
        self.views
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.scanner.channels
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.scanner.rows
    }

    /// Samples of one view: channels times rows.
    #[must_use]
    pub fn view_len(&self) -> usize {
        self.channels() * self.rows()
    }

    /// World x and y of the axis of rotation, mm.
    #[must_use]
    pub fn isocentre_mm(&self) -> [f64; 2] {
        self.isocentre_mm
    }

    /// Radius about the axis that is reconstructed, mm.
    #[must_use]
    pub fn field_radius_mm(&self) -> f64 {
        self.field_radius_mm
    }

    /// World z between which every place of the field of view can be reconstructed, mm.
    #[must_use]
    pub fn z_range_mm(&self) -> [f64; 2] {
        self.z_range_mm
    }

    /// The source's angle λ in a view, counted from 0 and fractional.
    #[must_use]
    pub fn angle_rad(&self, view: f64) -> f64 {
        self.first_angle_rad + view / self.scanner.views_per_turn as f64 * TAU
    }

    /// The source's world z in a view, counted from 0 and fractional, mm.
    #[must_use]
    pub fn source_z_mm(&self, view: f64) -> f64 {
        self.first_z_mm + view / self.scanner.views_per_turn as f64 * self.feed_mm()
    }

    /// Where the focal spot is in a view, world mm.
    #[must_use]
    pub fn source(&self, view: usize) -> [f64; 3] {
        let (sin, cos) = self.angle_rad(view as f64).sin_cos();
        let radius = self.scanner.source_to_isocentre_mm;
        [
            self.isocentre_mm[0] + radius * cos,
            self.isocentre_mm[1] + radius * sin,
            self.source_z_mm(view as f64),
        ]
    }

    /// Unit vector in the plane along which the rays of a channel (counted from 0 and fractional)
    /// leave the source; along it they climb by [`Scanner::row_slope`].
    #[must_use]
    pub fn direction(&self, view: usize, channel: f64) -> [f64; 2] {
        // −cos γ e_r + sin γ e_t points to the angle λ + π − γ.
        let towards = self.angle_rad(view as f64) - self.scanner.channel_angle(channel);
        let (sin, cos) = towards.sin_cos();
        [-cos, -sin]
    }

    /// Views before the first and after the last whole parallel view.
    pub(crate) fn fan_margin(&self) -> usize {
        let per_radian = self.scanner.views_per_turn as f64 / TAU;
        (self.scanner.half_fan_rad() * per_radian).ceil() as usize + 2
    }
}

/// World bounds of a grid's voxel centres.
pub(crate) fn bounds(grid: &Grid) -> ([f64; 3], [f64; 3]) {
    let shape = grid.shape();
    let mut low = [f64::INFINITY; 3];
    let mut high = [f64::NEG_INFINITY; 3];
    for corner in 0..8 {
        let voxel = [0, 1, 2].map(|axis| {
            if corner >> axis & 1 == 1 {
                (shape[axis] - 1) as f64
            } else {
                0.0
            }
        });
        for (axis, place) in grid.world(voxel).into_iter().enumerate() {
            low[axis] = low[axis].min(place);
            high[axis] = high[axis].max(place);
        }
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid::with_spacing([200, 200, 40], [2.0, 2.0, 1.5]).expect("a grid")
    }

    #[test]
    fn the_helix_reaches_past_both_ends_alike() {
        let scan = Scan::plan(&Scanner::default(), &Helix::default(), &grid()).expect("a scan");
        let last = scan.source_z_mm((scan.views() - 1) as f64);
        assert!((scan.source_z_mm(0.0) + last - 39.0 * 1.5).abs() < 1e-9);
        // Half the collimation, more for the far side, and the turning of the fan.
        let reach = 24.0 * (1.0 + scan.field_radius_mm() / 570.0);
        assert!(scan.source_z_mm(0.0) < -reach && scan.source_z_mm(0.0) > -reach - 20.0);
        assert_eq!(scan.isocentre_mm(), [199.0, 199.0]);
    }

    /// Rays of a view meet the detector's arc: their distance from the axis is R sin γ, and the
    /// central one meets the axis.
    #[test]
    fn rays_pass_the_axis_at_their_distance() {
        let scan = Scan::plan(&Scanner::default(), &Helix::default(), &grid()).expect("a scan");
        let s = scan.scanner();
        for view in [0, 17, 555] {
            let [x, y, _] = scan.source(view);
            let [x, y] = [x - 199.0, y - 199.0];
            for channel in [0.0, 100.5, s.central_channel, 511.0] {
                let [dx, dy] = scan.direction(view, channel);
                // t = −x sin θ + y cos θ along the rays' normal, with θ = λ − γ.
                let angle = s.channel_angle(channel);
                let theta = scan.angle_rad(view as f64) - angle;
                let t = -x * theta.sin() + y * theta.cos();
                assert!((x * dy - y * dx + t).abs() < 1e-9 || (x * dy - y * dx - t).abs() < 1e-9);
                assert!((t - 570.0 * angle.sin()).abs() < 1e-9);
                // Towards the axis: the source's radius shrinks along the ray.
                assert!(x * dx + y * dy < 0.0);
            }
        }
    }

    #[test]
    fn a_pitch_with_gaps_is_refused_and_the_named_one_works() {
        let scanner = Scanner::default();
        let ask = |pitch: f64| {
            let helix = Helix {
                pitch,
                field_radius_mm: Some(175.0),
                ..Helix::default()
            };
            Scan::plan(&scanner, &helix, &grid())
        };
        let message = ask(1.7).expect_err("gaps").to_string();
        // sqrt(1 - .307^2) / (1/2 + asin(.307) / pi) = .9517 / .5993
        assert!(
            message.contains("1.587") || message.contains("1.588"),
            "{message}"
        );
        let named: f64 = message
            .split("to ")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .and_then(|number| number.parse().ok())
            .expect("a number");
        assert!(ask(named).is_ok());
        assert!(ask(named + 0.002).is_err());
        assert!(ask(f64::NAN).is_err());
        assert!((largest_pitch(&scanner, 250.0) - 1.39).abs() < 0.005);
    }

    #[test]
    fn a_scan_survives_its_record() {
        let scan = Scan::plan(&Scanner::default(), &Helix::default(), &grid()).expect("a scan");
        let text = serde_json::to_string(&scan).expect("written");
        assert_eq!(serde_json::from_str::<Scan>(&text).expect("read"), scan);
        let wrong = text.replace(&format!("\"views\":{}", scan.views()), "\"views\":3");
        assert!(serde_json::from_str::<Scan>(&wrong).is_err());
    }
}
