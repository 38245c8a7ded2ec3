//! Draws the figures of doc/scanner.md, measured on phantoms of known shape.
//!
//! ```text
//! cargo run --release -p crossmod-scanner --example figures -- doc/scanner [CT.nii.gz doc/scan-dose.png]
//! ```
//!
//! With a volume in HU, also its middle slices as scanned at three doses.

use std::f64::consts::{PI, TAU};
use std::ops::Range;
use std::path::Path;

use crossmod_report::{Chart, Sheet, Tile};
use crossmod_scanner::Result;
use crossmod_scanner::filter::Kernel;
use crossmod_scanner::geometry::{Helix, Scan, Scanner};
use crossmod_scanner::phantom::{Object, Phantom, PhantomRays};
use crossmod_scanner::reconstruct::{Interpolation, Projections, Reconstruction, reconstruct};
use crossmod_scanner::simulate::{ScanSettings, simulate};
use crossmod_volume::rng::Rng;
use crossmod_volume::{Grid, Image};

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, dose) = match arguments.as_slice() {
        [folder] => (folder, None),
        [folder, volume, picture] => (folder, Some((volume, picture))),
        _ => return Err("expected a folder for the figures [and a CT and a picture of it]".into()),
    };
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;
    uniformity(&folder.join("uniformity.png"))?;
    transfer(&folder.join("mtf.png"))?;
    spectrum(&folder.join("nps.png"))?;
    windmill(&folder.join("windmill.png"))?;
    effects(folder)?;
    if let Some((volume, picture)) = dose {
        doses(Path::new(volume), Path::new(picture))?;
    }
    Ok(())
}

/// 16 rows of 1.25 mm, 420 channels, 720 views a turn: a scanner whose artefacts are easily seen.
fn scanner() -> Scanner {
    Scanner {
        channels: 420,
        channel_rad: 2.0 * (190.0f64 / 570.0).asin() / 420.0,
        central_channel: 209.25,
        rows: 16,
        row_mm: 1.25,
        ..Scanner::default()
    }
}

fn grid(pixels: usize, pixel_mm: f64, slices: usize, slice_mm: f64) -> Result<Grid> {
    Ok(Grid::with_spacing(
        [pixels, pixels, slices],
        [pixel_mm, pixel_mm, slice_mm],
    )?)
}

fn middle(grid: &Grid) -> [f64; 3] {
    grid.world(grid.shape().map(|n| (n - 1) as f64 / 2.0))
}

fn scan(grid: &Grid, pitch: f64, radius_mm: f64) -> Result<Scan> {
    let helix = Helix {
        pitch,
        field_radius_mm: Some(radius_mm),
        ..Helix::default()
    };
    Scan::plan(&scanner(), &helix, grid)
}

/// A phantom's exact line integrals, reconstructed.
fn image(scan: &Scan, phantom: &Phantom, kernel: Kernel, grid: &Grid) -> Result<Image> {
    reconstructed(scan, &PhantomRays::new(scan, phantom), kernel, grid)
}

fn reconstructed(
    scan: &Scan,
    projections: &dyn Projections,
    kernel: Kernel,
    grid: &Grid,
) -> Result<Image> {
    let settings = Reconstruction {
        kernel,
        ..Reconstruction::default()
    };
    reconstruct(scan, projections, &settings, grid, &mut |_| {})
}

/// Means of an image's values by distance from the axis through its middle, in steps of `step_mm`
/// from `first_mm` on.
fn radial(image: &Image, first_mm: f64, step_mm: f64, count: usize) -> Vec<f64> {
    let [nx, ny, _] = image.grid().shape();
    let [cx, cy, _] = middle(image.grid());
    let mut sums = vec![(0.0, 0.0); count];
    for (i, &hu) in image.data().iter().enumerate() {
        let [x, y, _] = image
            .grid()
            .world([i % nx, i / nx % ny, i / nx / ny].map(|v| v as f64));
        let bin = ((x - cx).hypot(y - cy) - first_mm) / step_mm;
        if let Some(sum) = (bin >= 0.0).then(|| sums.get_mut(bin as usize)).flatten() {
            *sum = (sum.0 + f64::from(hu), sum.1 + 1.0);
        }
    }
    sums.into_iter().map(|(sum, n)| sum / n).collect()
}

/// Water cylinders from their middle to their edge, without a spectrum and with one.
fn uniformity(path: &Path) -> Outcome<()> {
    let step = 5.0;
    let mut chart =
        Chart::new("Uniformity of water, pitch 1", ["mm from the axis", "HU"]).axis(1, [-6.0, 6.0]);
    let profile = |image: &Image, diameter: f64| -> Vec<[f64; 2]> {
        let means = radial(image, 0.0, step, ((diameter / 2.0 - 8.0) / step) as usize);
        let places = means.into_iter().enumerate();
        places
            .map(|(i, hu)| [(i as f64 + 0.5) * step, hu])
            .collect()
    };
    for diameter in [200.0, 300.0] {
        let grid = grid(80, 4.0, 7, 2.3)?;
        let [x, y, _] = middle(&grid);
        let scan = scan(&grid, 1.0, diameter / 2.0 + 10.0)?;
        let phantom = Phantom::water_cylinder([x, y], diameter);
        let image = image(&scan, &phantom, Kernel::Ramp, &grid)?;
        chart = chart.curve(
            &format!("exact rays, {diameter} mm"),
            profile(&image, diameter),
        );
    }
    let grid = grid(160, 2.0, 8, 3.0)?;
    let [x, y, _] = middle(&grid);
    let volume = Phantom::water_cylinder([x, y], 300.0).voxels(&grid, 4);
    for (name, physics) in [
        ("voxels, one energy, 300 mm", ""),
        ("voxels, spectrum, corrected", "[physics.spectrum]\n"),
    ] {
        let settings = ScanSettings::parse(&format!("noise = false\n{physics}"))?;
        let (image, _) = simulate(&volume, &settings, 1, &mut |_| {})?;
        chart = chart.curve(name, profile(&image, 300.0));
    }
    Ok(chart.write_png(path)?)
}

/// Modulation transfer of kernels, from the edge of a rod, and what window and interpolation make of
/// it.
fn transfer(path: &Path) -> Outcome<()> {
    let (radius, step, bins) = (15.0, 0.1, 160);
    let grid = grid(120, 0.41, 3, 2.1)?;
    let [x, y, z] = middle(&grid);
    let scan = scan(&grid, 1.0, 40.0)?;
    let rod = Object::cylinder([x, y, z], [radius; 2], f64::INFINITY, 2.0);
    let phantom = Phantom::water_cylinder([x, y], 60.0).with(rod);
    let rays = scanner().ray_spacing_mm();
    let mut chart = Chart::new(
        "Modulation transfer (dashed: predicted)",
        ["cycles per mm", "share of contrast"],
    )
    .axis(0, [0.0, 0.6])
    .axis(1, [0.0, 1.1]);
    let own = Kernel::Mtf(vec![[0.0, 1.0], [0.2, 0.7], [0.35, 0.3], [0.5, 0.0]]);
    for (name, kernel) in [
        ("Hann", Kernel::Hann),
        ("Shepp-Logan", Kernel::SheppLogan),
        ("own, by MTF", own),
    ] {
        let settings = Reconstruction {
            kernel: kernel.clone(),
            interpolation: Interpolation::Lagrange,
            ..Reconstruction::default()
        };
        let projections = PhantomRays::new(&scan, &phantom);
        let image = reconstruct(&scan, &projections, &settings, &grid, &mut |_| {})?;
        let edge = radial(&image, radius - step * bins as f64 / 2.0, step, bins);
        let line: Vec<f64> = edge.windows(2).map(|w| w[0] - w[1]).collect();
        let found = |f: f64| {
            let terms = line
                .iter()
                .enumerate()
                .map(|(i, v)| (v, TAU * f * step * i as f64));
            let [re, im] = terms.fold([0.0; 2], |[re, im], (v, turn)| {
                [re + v * turn.cos(), im + v * turn.sin()]
            });
            re.hypot(im) / line.iter().sum::<f64>()
        };
        let predicted = |f: f64| {
            let turn = PI * f * rays;
            let between = if f > 0.0 {
                (turn.sin() / turn).powi(2)
            } else {
                1.0
            };
            kernel.window(2.0 * f * rays, rays) * between
        };
        let frequencies = || (0..60).map(|n| 0.01 * f64::from(n));
        chart = chart
            .curve(name, frequencies().map(|f| [f, found(f)]).collect())
            .expected("", frequencies().map(|f| [f, predicted(f)]).collect());
    }
    Ok(chart.write_png(path)?)
}

/// White noise in place of line integrals.
struct Noise<'a>(&'a Scan);

impl Projections for Noise<'_> {
    fn views(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        for (view, out) in range.zip(out.chunks_exact_mut(self.0.view_len())) {
            let mut rng = Rng::new(3, view as u64, 0);
            out.fill_with(|| 0.04 * rng.normal());
        }
        Ok(())
    }
}

/// The power of noise by frequency, and what the kernel and the interpolations make of white noise.
fn spectrum(path: &Path) -> Outcome<()> {
    let (n, pixel) = (96, 0.5);
    let grid = grid(n, pixel, 24, 2.3)?;
    let scan = scan(&grid, 1.0, 60.0)?;
    let rays = scanner().ray_spacing_mm();
    let mut chart = Chart::new(
        "Noise power (dashed: predicted)",
        ["cycles per mm", "share of the peak"],
    )
    .axis(0, [0.0, 0.8])
    .axis(1, [0.0, 1.2]);
    for (name, kernel) in [
        ("Hann", Kernel::Hann),
        ("Shepp-Logan", Kernel::SheppLogan),
        ("ramp", Kernel::Ramp),
    ] {
        let image = reconstructed(&scan, &Noise(&scan), kernel.clone(), &grid)?;
        let frequencies = || (0..40).map(|k| 0.02 * f64::from(k));
        let found: Vec<[f64; 2]> = frequencies().map(|f| [f, power(&image, f)]).collect();
        let expected: Vec<[f64; 2]> = frequencies().map(|f| [f, law(&kernel, f, rays)]).collect();
        chart = chart
            .curve(name, to_peak(found))
            .expected("", to_peak(expected));
    }
    Ok(chart.write_png(path)?)
}

/// Power at a frequency, mean over slices and directions; faded out at the sides.
fn power(image: &Image, frequency: f64) -> f64 {
    let [n, _, slices] = image.grid().shape();
    let [pixel, _, _] = image.grid().spacing_mm();
    let fade: Vec<f64> = (0..n)
        .map(|i| (PI * (i as f64 + 0.5) / n as f64).sin().powi(2))
        .collect();
    let mut sum = 0.0;
    for z in 0..slices {
        let slice = image.slice_z(z);
        let mean = slice.iter().map(|&v| f64::from(v)).sum::<f64>() / slice.len() as f64;
        for direction in 0..8 {
            let (sin, cos) = (PI * (f64::from(direction) + 0.5) / 8.0).sin_cos();
            let [mut re, mut im] = [0.0; 2];
            for y in 0..n {
                for x in 0..n {
                    let value = (f64::from(slice[x + n * y]) - mean) * fade[x] * fade[y];
                    let turn = TAU * frequency * pixel * (x as f64 * cos + y as f64 * sin);
                    re += value * turn.cos();
                    im += value * turn.sin();
                }
            }
            sum += re * re + im * im;
        }
    }
    sum
}

/// f W(f)², repeated beyond the rays' own limit, less what is lost between channels and rays.
fn law(kernel: &Kernel, frequency: f64, rays: f64) -> f64 {
    let x = 2.0 * frequency * rays;
    let folded = (x - 2.0 * (x / 2.0).round()).abs();
    let turn = PI * x;
    let rebinned = 1.0 - 0.375 * (1.0 - turn.cos());
    let between = if x > 0.0 {
        ((turn / 2.0).sin() / (turn / 2.0)).powi(4)
    } else {
        1.0
    };
    folded * kernel.window(folded, rays).powi(2) * rebinned * between
}

/// Over the mean of the highest values, so that one of them does not decide.
fn to_peak(mut points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    let mut values: Vec<f64> = points.iter().map(|p| p[1]).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    let peak = values.iter().take(5).sum::<f64>() / 5.0;
    points.iter_mut().for_each(|p| p[1] /= peak);
    points
}

/// What balls leave in the water around them.
fn windmill(path: &Path) -> Outcome<()> {
    let grid = grid(260, 1.2, 1, 1.0)?;
    let [x, y, z] = middle(&grid);
    let phantom = Phantom::three_balls([x, y, z + 3.0]);
    let mut tiles = Vec::new();
    let pitches = [0.6, 1.0, 1.4];
    for pitch in pitches {
        let scan = scan(&grid, pitch, 160.0)?;
        let image = image(&scan, &phantom, Kernel::Ramp, &grid)?;
        tiles.push(Tile::from_slice(&image, 0, (-40.0, 40.0))?);
    }
    let names = pitches.map(|pitch| format!("pitch {pitch}"));
    let sheet = Sheet::new(&names.each_ref().map(String::as_str)).row("", tiles);
    Ok(sheet.tile_height(280).write_png(path)?)
}

/// A chest with each effect of [`crossmod_scanner::physics`] in turn.
fn effects(folder: &Path) -> Outcome<()> {
    let grid = Grid::with_spacing([220, 140, 20], [2.0, 2.0, 3.0])?;
    let [x, y, z] = middle(&grid);
    let volume = Phantom::thorax([x, y, z]).voxels(&grid, 2);
    let implant = format!(
        "[physics.spectrum]\n[[physics.metal]]\nmaterial = \"titanium\"\nradius_mm = 5.0\n\
         length_mm = 60.0\naxis = [1.0, 0.3, 0.0]\ncentre_mm = [{x:.1}, {:.1}, {z:.1}]\n",
        y - 72.0
    );
    let effects = [
        ("scanned, no noise", "noise = false\n".to_owned()),
        ("30 mAs", "[tube]\nmas = 30.0\n".to_owned()),
        (
            "modulated, 30 mAs",
            "[tube]\nmas = 30.0\n[physics.modulation]\n".to_owned(),
        ),
        (
            "scatter",
            "noise = false\n[physics.scatter]\ncorrected = 0.0\n".to_owned(),
        ),
        ("implant", format!("noise = false\n{implant}")),
        (
            "rings, 1 %",
            "noise = false\n[physics.rings]\ngain_sd = 0.01\n".to_owned(),
        ),
        (
            "breathing, 20 mm",
            "noise = false\n[physics.breathing]\namplitude_mm = 20.0\n".to_owned(),
        ),
        (
            "truncated",
            "noise = false\n[physics.truncation]\nradius_mm = 150.0\n".to_owned(),
        ),
    ];
    let mut tiles = Vec::new();
    for (_, text) in &effects {
        let (image, _) = simulate(&volume, &ScanSettings::parse(text)?, 1, &mut |_| {})?;
        let shown = crossmod_volume::space::reorient_image(&image, "LPS".parse()?);
        tiles.push(Tile::from_slice(&shown, 10, (-200.0, 300.0))?);
    }
    let second = tiles.split_off(4);
    for (half, tiles) in [tiles, second].into_iter().enumerate() {
        let names: Vec<&str> = effects.iter().skip(4 * half).take(4).map(|e| e.0).collect();
        let path = folder.join(format!("effects-{}.png", half + 1));
        let sheet = Sheet::new(&names).row("", tiles);
        sheet.tile_height(180).write_png(&path)?;
    }
    Ok(())
}

/// A volume as it is and as it is scanned with 20, 100 and 400 mAs.
fn doses(volume: &Path, path: &Path) -> Outcome<()> {
    let volume = crossmod_volume::io::read_image(volume)?;
    let mut images = vec![volume.clone()];
    for mas in [20.0, 100.0, 400.0] {
        let settings = ScanSettings::parse(&format!("[tube]\nmas = {mas:?}\n"))?;
        images.push(simulate(&volume, &settings, 1, &mut |_| {})?.0);
    }
    let mut sheet = Sheet::new(&["given", "20 mAs", "100 mAs", "400 mAs"]);
    let images: Vec<Image> = images
        .iter()
        .map(|image| {
            Ok(crossmod_volume::space::reorient_image(
                image,
                "LPS".parse()?,
            ))
        })
        .collect::<Outcome<_>>()?;
    let [_, _, slices] = images[0].grid().shape();
    for share in [0.3, 0.55, 0.8] {
        let z = (share * slices as f64) as usize;
        let tiles = images
            .iter()
            .map(|image| Tile::from_slice(image, z, (-160.0, 240.0)));
        sheet = sheet.row("", tiles.collect::<std::result::Result<_, _>>()?);
    }
    Ok(sheet.tile_height(220).write_png(path)?)
}
