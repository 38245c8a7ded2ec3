//! Films as textures: a part of each frame, and time along z.
//!
//! Frames are turned grey, shrunk by taking the mean over what falls on a voxel (linearly between pixels
//! where a voxel is less than one), and follow each other along z; where the film ends it goes back and
//! forth ("Learning CT segmentation from label masks only", Tsanda et al. 2024, pads so by reflection).
//! Numbers of 8 bits are told apart by a random part of a step.
//!
//! How far, from a voxel to a pixel up to as much of a frame as fits, where, from which frame, which way
//! round and whether backwards is drawn. Of a film that `ffmpeg` reads, whose length is not known
//! before, the first frames are taken.

use std::fs;
use std::path::{Path, PathBuf};

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{NAMES, seed};
use crate::quantiles::dither;
use crate::{Error, Result};

mod frames;
mod y4m;

use frames::{Frame, Frames};

/// A film that was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clip {
    path: PathBuf,
    /// The program that reads it, of a film of another format.
    ffmpeg: Option<String>,
}

/// A part of a film.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipDraw {
    path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ffmpeg: Option<String>,
    /// From 0, a voxel to a pixel, to 1, all of a frame that has the volume's proportions.
    zoom: f32,
    /// Where in the room that is left, as shares along x, y and time.
    corner: [f32; 3],
    /// Whether x, y and time run the other way.
    flip: [bool; 3],
    /// Of the random part of a step.
    seed: u64,
}

impl Clip {
    pub(super) fn draw(&self, rng: &mut Rng) -> ClipDraw {
        ClipDraw {
            path: self.path.clone(),
            ffmpeg: self.ffmpeg.clone(),
            zoom: rng.unit(),
            corner: [(); 3].map(|()| rng.unit()),
            flip: [(); 3].map(|()| rng.chance(0.5)),
            seed: seed(rng),
        }
    }
}

/// The films at a path: one, or those in a folder of them.
pub(super) fn find(name: &str, ffmpeg: &str) -> Result<Vec<Clip>> {
    let path = Path::new(name);
    if !path.exists() {
        let hint = crate::recipe::did_you_mean(name, NAMES);
        return Err(Error::file(
            format!(
                "expected a texture ({}) or the path of a film, found neither{hint}",
                NAMES.join(", ")
            ),
            path,
        ));
    }
    let clip = |path: &Path| Clip {
        path: path.to_owned(),
        ffmpeg: (path.is_file() && !y4m::is_named(path)).then(|| ffmpeg.to_owned()),
    };
    if path.is_file() || !frames::pictures(path)?.is_empty() {
        return Ok(vec![clip(path)]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| Error::read(e, path))? {
        let inner = entry.map_err(|e| Error::read(e, path))?.path();
        let hidden = inner
            .file_name()
            .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        let film = inner.is_dir() && !frames::pictures(&inner)?.is_empty();
        if !hidden && (film || inner.is_file()) {
            found.push(clip(&inner));
        }
    }
    // The order of a folder's entries differs between machines.
    found.sort_by(|a, b| a.path.cmp(&b.path));
    if found.is_empty() {
        return Err(Error::file(
            "expected PNG frames, films or folders of frames, found none; put some there",
            path,
        ));
    }
    Ok(found)
}

impl ClipDraw {
    /// The film on voxels of a spacing.
    pub(super) fn on(&self, shape: [usize; 3], spacing_mm: [f64; 3]) -> Result<Vec<f32>> {
        let [nx, ny, nz] = shape;
        let mut frames = Frames::open(&self.path, self.ffmpeg.as_deref(), nz)?;
        let count = frames.count();
        let free = count.map_or(0, |count| count.saturating_sub(nz));
        let skip = (self.corner[2] * (free + 1) as f32) as usize;
        frames.skip(skip.min(free))?;

        let mut frame = Frame::default();
        let mut slices: Vec<Vec<f32>> = Vec::with_capacity(nz.min(count.unwrap_or(nz)));
        let mut part: Option<Part> = None;
        while slices.len() < nz && frames.read(&mut frame)? {
            let part = part.get_or_insert_with(|| self.part(&frame, shape, spacing_mm));
            slices.push(part.of(&frame));
        }
        if slices.is_empty() {
            return Err(Error::file(
                "expected a film with frames, found none in it",
                &self.path,
            ));
        }
        let mut out = vec![0.0; nx * ny * nz];
        let chunks = out.par_chunks_mut(nx * ny).enumerate();
        chunks.for_each(|(z, slice)| {
            let at = reflected(z, slices.len());
            let at = if self.flip[2] {
                slices.len() - 1 - at
            } else {
                at
            };
            slice.copy_from_slice(&slices[at]);
        });
        dither(&mut out, nx * ny, 1.0, self.seed);
        Ok(out)
    }

    /// The part of frames as large as this one.
    fn part(&self, frame: &Frame, shape: [usize; 3], spacing_mm: [f64; 3]) -> Part {
        let size = [frame.width, frame.height].map(|n| n as f64);
        // Voxels of unequal sides see unequal numbers of pixels.
        let least = spacing_mm[0].min(spacing_mm[1]);
        let per_voxel = [spacing_mm[0] / least, spacing_mm[1] / least];
        let sides = [0, 1].map(|a| shape[a] as f64 * per_voxel[a]);
        let whole = (size[0] / sides[0]).min(size[1] / sides[1]);
        let pixel = whole.min(1.0);
        let scale = pixel + f64::from(self.zoom) * (whole - pixel);
        let taps = [0, 1].map(|a| {
            let room = size[a] - sides[a] * scale;
            let from = room.max(0.0) * f64::from(self.corner[a]);
            taps(
                shape[a],
                from,
                scale * per_voxel[a],
                size[a] as usize,
                self.flip[a],
            )
        });
        Part { taps }
    }
}

/// Pixels and their shares.
type Tap = (usize, Vec<f32>);

/// For each voxel along x and y, the pixels that it sees.
struct Part {
    taps: [Vec<Tap>; 2],
}

/// The pixels from `from` on that each of `n` voxels sees, `step` or at least one of them wide.
fn taps(n: usize, from: f64, step: f64, pixels: usize, flip: bool) -> Vec<Tap> {
    let tap = |i: usize| {
        let middle = from + (i as f64 + 0.5) * step;
        let half = 0.5 * step.max(1.0);
        let (low, high) = ((middle - half).max(0.0), (middle + half).min(pixels as f64));
        let first = (low as usize).min(pixels - 1);
        let last = (high.ceil() as usize).clamp(first + 1, pixels);
        let share = |p: usize| (high.min((p + 1) as f64) - low.max(p as f64)).max(0.0);
        let sum: f64 = (first..last).map(share).sum();
        let even = 1.0 / (last - first) as f64;
        let share = |p| if sum > 0.0 { share(p) / sum } else { even };
        (first, (first..last).map(|p| share(p) as f32).collect())
    };
    let mut taps: Vec<Tap> = (0..n).map(tap).collect();
    if flip {
        taps.reverse();
    }
    taps
}

impl Part {
    fn of(&self, frame: &Frame) -> Vec<f32> {
        let [columns, rows] = &self.taps;
        let mut out = vec![0.0; columns.len() * rows.len()];
        let lines = out.par_chunks_mut(columns.len()).zip(rows);
        lines.for_each_init(Vec::new, |sum: &mut Vec<f32>, (out, (first, shares))| {
            sum.clear();
            sum.resize(frame.width, 0.0);
            let pixels = frame.grey.chunks_exact(frame.width).skip(*first);
            for (line, share) in pixels.zip(shares) {
                for (sum, v) in sum.iter_mut().zip(line) {
                    *sum += share * v;
                }
            }
            for (out, (first, shares)) in out.iter_mut().zip(columns) {
                *out = sum[*first..]
                    .iter()
                    .zip(shares)
                    .map(|(v, share)| v * share)
                    .sum();
            }
        });
        out
    }
}

/// Slice `z` of a film of `n` frames that goes back and forth: 0 1 2 1 0 1 …
fn reflected(z: usize, n: usize) -> usize {
    let period = (2 * n).saturating_sub(2).max(1);
    let at = z % period;
    at.min(period - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn films_go_back_and_forth() {
        let order: Vec<usize> = (0..8).map(|z| reflected(z, 3)).collect();
        assert_eq!(order, [0, 1, 2, 1, 0, 1, 2, 1]);
        assert!((0..5).all(|z| reflected(z, 1) == 0));
    }

    #[test]
    fn voxels_take_the_mean_of_their_pixels() {
        let mean = taps(3, 1.0, 2.0, 8, false);
        assert_eq!(
            mean,
            [(1, vec![0.5; 2]), (3, vec![0.5; 2]), (5, vec![0.5; 2])]
        );
        // Two voxels to a pixel: a quarter of the neighbour each.
        let between = taps(4, 1.0, 0.5, 4, false);
        assert_eq!(between[0], (0, vec![0.25, 0.75]));
        assert_eq!(between[1], (1, vec![0.75, 0.25]));
        let turned = taps(3, 1.0, 2.0, 8, true);
        assert_eq!(turned[0].0, 5);
    }

    fn film(folder: &Path, frames: usize) {
        for t in 0..frames {
            let pixels: Vec<u8> = (0..12 * 8).map(|i| (i % 12 * 10 + t * 20) as u8).collect();
            frames::tests::write_grey(&folder.join(format!("{t:03}.png")), 12, 8, &pixels);
        }
    }

    fn draw(path: &Path) -> ClipDraw {
        ClipDraw {
            path: path.to_owned(),
            ffmpeg: None,
            zoom: 0.0,
            corner: [0.0; 3],
            flip: [false; 3],
            seed: 1,
        }
    }

    #[test]
    fn a_folder_of_frames_becomes_a_volume() {
        let folder = tempfile::tempdir().expect("a folder");
        film(folder.path(), 3);
        let values = draw(folder.path())
            .on([12, 8, 5], [1.0; 3])
            .expect("a volume");
        for (i, v) in values.iter().enumerate() {
            let time = [0, 1, 2, 1, 0][i / 96];
            let expected = (i % 12 * 10 + time * 20) as f32;
            assert!((v - expected).abs() <= 0.5, "{i}: {v} for {expected}");
        }
        let mut other = draw(folder.path());
        other.flip = [true, false, true];
        other.corner = [0.0, 0.0, 0.99];
        let values = other.on([12, 8, 2], [1.0; 3]).expect("a volume");
        // Frames 1 and 2 of 3, the last first; x from its end.
        assert!((values[0] - 150.0).abs() <= 0.5, "{}", values[0]);
        assert!((values[96 + 11] - 20.0).abs() <= 0.5, "{}", values[96 + 11]);
        // A frame smaller than the volume is stretched over it.
        let large = draw(folder.path())
            .on([48, 20, 2], [0.5, 1.0, 3.0])
            .expect("a volume");
        assert!(large.iter().all(|v| (-0.5..=131.0).contains(v)));
        assert!(large[5] < large[40]);
    }

    #[test]
    fn a_folder_of_films_is_a_library() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b", "a"] {
            let inner = folder.path().join(name);
            fs::create_dir(&inner).expect("a folder");
            film(&inner, 2);
        }
        fs::create_dir(folder.path().join("empty")).expect("a folder");
        let name = folder.path().to_str().expect("a name");
        let found = find(name, "ffmpeg").expect("films");
        let names: Vec<_> = found.iter().filter_map(|c| c.path.file_name()).collect();
        assert_eq!(names, ["a", "b"]);
        let empty = folder.path().join("empty");
        let said = find(empty.to_str().expect("a name"), "ffmpeg").map_err(|e| e.to_string());
        assert!(said.is_err_and(|e| e.contains("found none")));
    }
}
