//! The cache file of a prepared case, and reading of it.
//!
//! Little-endian, one after another: the format's name (8 bytes), a key (32) that says what the
//! case was made of, numbers of channels and of lists (`u32`), the shape (x, y, z; `u64`), how many
//! places each list has (`u32`), the lists (`u32` each, places in storage), the labels (`u16`) and
//! the channels (`f32`), x fastest. A file is written whole or not at all; one of another key or
//! length is made anew.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crossmod_volume::io::write_atomic;
use crossmod_volume::space::Frame;
use crossmod_volume::{Grid, Image};

use crate::{Error, Result};

/// Bytes of a key.
pub(super) const KEY: usize = 32;

const NAME: &[u8; 8] = b"cmcase01";

/// Bytes before the lists' lengths.
const HEAD: usize = NAME.len() + KEY + 2 * 4 + 3 * 8;

/// Samples that are turned into bytes, or back, at a time.
const SOME: usize = 1 << 14;

/// A number as it stands in the file.
trait Number: Copy {
    const BYTES: usize;
    fn read(bytes: &[u8]) -> Self;
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! number {
    ($type:ty, $bytes:literal) => {
        impl Number for $type {
            const BYTES: usize = $bytes;

            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; $bytes];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    };
}

number!(u16, 2);
number!(u32, 4);
number!(u64, 8);
number!(f32, 4);

/// A case to be written.
pub(super) struct Contents<'a> {
    pub(super) shape: [usize; 3],
    pub(super) places: Vec<Vec<u32>>,
    pub(super) labels: &'a [u16],
    pub(super) channels: &'a [Image],
}

impl Contents<'_> {
    pub(super) fn write(&self, path: &Path, key: &[u8; KEY]) -> Result<()> {
        Ok(write_atomic(path, |out| {
            out.write_all(NAME)?;
            out.write_all(key)?;
            put(out, &[self.channels.len() as u32, self.places.len() as u32])?;
            put(out, &self.shape.map(|n| n as u64))?;
            let lengths: Vec<u32> = self.places.iter().map(|list| list.len() as u32).collect();
            put(out, &lengths)?;
            for list in &self.places {
                put(out, list)?;
            }
            put(out, self.labels)?;
            for channel in self.channels {
                put(out, channel.data())?;
            }
            Ok(())
        })?)
    }
}

fn put<T: Number>(out: &mut dyn Write, values: &[T]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(values.len().min(SOME) * T::BYTES);
    for some in values.chunks(SOME) {
        bytes.clear();
        some.iter().for_each(|v| v.write(&mut bytes));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Appends `count` numbers that begin at byte `at`.
fn get<T: Number>(file: &mut File, at: u64, count: usize, to: &mut Vec<T>) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; count.min(SOME) * T::BYTES];
    let mut left = count;
    while left > 0 {
        let some = left.min(SOME);
        let part = &mut bytes[..some * T::BYTES];
        file.read_exact(part)?;
        to.extend(part.chunks_exact(T::BYTES).map(T::read));
        left -= some;
    }
    Ok(())
}

/// Whether the file is there and has this key.
pub(super) fn is_of(path: &Path, key: &[u8; KEY]) -> bool {
    Layout::of(path, key).is_some_and(|layout| layout.is_ok())
}

/// Where everything is in a file.
#[derive(Debug)]
struct Layout {
    shape: [usize; 3],
    channels: usize,
    /// Places of each list.
    lists: Vec<usize>,
}

impl Layout {
    /// What the file says, if it is there and has this key.
    fn of(path: &Path, key: &[u8; KEY]) -> Option<io::Result<Self>> {
        let mut file = File::open(path).ok()?;
        let mut head = [0; HEAD];
        file.read_exact(&mut head).ok()?;
        let (name, rest) = head.split_at(NAME.len());
        let (found, rest) = rest.split_at(KEY);
        if name != NAME || found != key {
            return None;
        }
        let (counts, shape) = rest.split_at(8);
        let counts: Vec<u32> = counts.chunks_exact(4).map(u32::read).collect();
        let shape: Vec<u64> = shape.chunks_exact(8).map(u64::read).collect();
        Some(Self::rest(&mut file, counts[0], counts[1], &shape))
    }

    fn rest(file: &mut File, channels: u32, lists: u32, shape: &[u64]) -> io::Result<Self> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "another length than it says");
        let length = file.metadata()?.len();
        if HEAD as u64 + u64::from(lists) * 4 > length {
            return Err(damaged());
        }
        let mut each: Vec<u32> = Vec::new();
        get(file, HEAD as u64, lists as usize, &mut each)?;
        let voxels = shape.iter().try_fold(1u64, |n, &s| n.checked_mul(s));
        let per_voxel = 2 + 4 * u64::from(channels);
        let places: u64 = each.iter().map(|&n| 4 * u64::from(n)).sum();
        let samples = voxels.and_then(|n| n.checked_mul(per_voxel));
        let whole =
            samples.and_then(|n| n.checked_add(HEAD as u64 + u64::from(lists) * 4 + places));
        if whole != Some(length) || voxels == Some(0) {
            return Err(damaged());
        }
        Ok(Self {
            // No larger than the file is long.
            shape: [shape[0], shape[1], shape[2]].map(|n| n as usize),
            channels: channels as usize,
            lists: each.into_iter().map(|n| n as usize).collect(),
        })
    }

    fn voxels(&self) -> usize {
        self.shape.iter().product()
    }

    fn list(&self, list: usize) -> u64 {
        let before: usize = self.lists[..list].iter().sum();
        (HEAD + 4 * self.lists.len() + 4 * before) as u64
    }

    fn labels(&self) -> u64 {
        self.list(self.lists.len())
    }

    fn channel(&self, channel: usize) -> u64 {
        self.labels() + 2 * self.voxels() as u64 + 4 * (self.voxels() * channel) as u64
    }
}

/// What is held of a case in memory.
#[derive(Debug)]
struct Held {
    /// The lists, one after another.
    places: Vec<u32>,
    labels: Vec<u16>,
    channels: Vec<Vec<f32>>,
}

/// A prepared case.
#[derive(Debug)]
pub(super) struct Entry {
    id: String,
    path: PathBuf,
    grid: Grid,
    layout: Layout,
    held: Option<Held>,
}

impl Entry {
    pub(super) fn open(id: &str, path: &Path, key: &[u8; KEY]) -> Result<Self> {
        let layout = match Layout::of(path, key) {
            Some(layout) => layout.map_err(|e| Error::io("read the prepared case", e, path))?,
            None => {
                let message = "expected a prepared case of this plan, found another file: is \
                               another training writing to this folder?";
                return Err(Error::data(message, path));
            }
        };
        Ok(Self {
            id: id.to_owned(),
            path: path.to_owned(),
            grid: Grid::with_spacing(layout.shape, [1.0; 3])?,
            layout,
            held: None,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Bytes that it takes in memory.
    pub(super) fn bytes(&self) -> u64 {
        let places: usize = self.layout.lists.iter().sum();
        (self.layout.voxels() * (2 + 4 * self.layout.channels) + 4 * places) as u64
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Reads it into memory.
    pub(super) fn hold(&mut self) -> Result<()> {
        let voxels = self.layout.voxels();
        let places: usize = self.layout.lists.iter().sum();
        let mut held = Held {
            places: Vec::with_capacity(places),
            labels: Vec::with_capacity(voxels),
            channels: Vec::with_capacity(self.layout.channels),
        };
        self.read(|file| {
            get(file, self.layout.list(0), places, &mut held.places)?;
            get(file, self.layout.labels(), voxels, &mut held.labels)?;
            for channel in 0..self.layout.channels {
                let mut samples = Vec::with_capacity(voxels);
                get(file, self.layout.channel(channel), voxels, &mut samples)?;
                held.channels.push(samples);
            }
            Ok(())
        })?;
        self.held = Some(held);
        Ok(())
    }

    pub(super) fn places(&self, list: usize) -> usize {
        self.layout.lists[list]
    }

    pub(super) fn place(&self, list: usize, k: usize) -> Result<[usize; 3]> {
        let place = match &self.held {
            Some(held) => held.places[self.layout.lists[..list].iter().sum::<usize>() + k],
            None => {
                let mut one: Vec<u32> = Vec::with_capacity(1);
                self.read(|file| get(file, self.layout.list(list) + 4 * k as u64, 1, &mut one))?;
                one[0]
            }
        };
        let [nx, ny, nz] = self.layout.shape;
        // A damaged file must not lead outside.
        let at = (place as usize).min(nx * ny * nz - 1);
        Ok([at % nx, at / nx % ny, at / (nx * ny)])
    }

    pub(super) fn image(&self, channel: usize, frame: Frame) -> Result<Vec<f32>> {
        let held = self.held.as_ref().map(|held| &held.channels[channel][..]);
        self.cut(held, self.layout.channel(channel), frame)
    }

    pub(super) fn labels(&self, frame: Frame) -> Result<Vec<u16>> {
        let held = self.held.as_ref().map(|held| &held.labels[..]);
        self.cut(held, self.layout.labels(), frame)
    }

    /// A box of one array, which begins at byte `at` of the file where it is not held.
    fn cut<T: Number>(&self, held: Option<&[T]>, at: u64, frame: Frame) -> Result<Vec<T>> {
        let [nx, ny, _] = self.layout.shape;
        // Boxes lie within the case.
        let [x, y, z] = frame.start.map(|v| v as usize);
        let [w, h, d] = frame.shape;
        let mut out = Vec::with_capacity(w * h * d);
        let run = nx * (h - 1) + w;
        let starts = (z..z + d).map(|z| x + nx * (y + ny * z));
        let mut rows = |slice: &[T]| {
            slice
                .chunks(nx)
                .for_each(|row| out.extend_from_slice(&row[..w]));
        };
        match held {
            Some(data) => starts.for_each(|start| rows(&data[start..start + run])),
            None => self.read(|file| {
                let mut slice = Vec::with_capacity(run);
                for start in starts {
                    slice.clear();
                    get(file, at + (start * T::BYTES) as u64, run, &mut slice)?;
                    rows(&slice);
                }
                Ok(())
            })?,
        }
        Ok(out)
    }

    fn read(&self, with: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
        File::open(&self.path)
            .and_then(|mut file| with(&mut file))
            .map_err(|e| Error::io("read the prepared case", e, &self.path))
    }
}
