//! The mean of nets of different plans: slices and volumes, coarse and fine.
//!
//! Every plan prepares the case by itself and shows it to its nets; what they give is brought to the
//! grid that the plans share, that of the files turned and cut, a few slices at a time, and summed
//! up there, each plan's with its share of all nets. Memory is one slab of that grid beside what
//! each plan needs alone, whatever the number of classes.
//!
//! A plan that turns volumes otherwise than the first has its slices lie across. Its probabilities
//! wait in a scratch file, 2 bytes a class and voxel on disk.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crossmod_volume::Image;
use crossmod_volume::space::{AlignedSlices, Certainty, Decision};

use super::{Part, make_folder, named, outside};
use crate::Result;
use crate::segment::plan::Class;
use crate::segment::prepare::{Prepared, read_channels};
use crate::window::sliding::{OnWindows, Scratch, Sliding};

/// A case decided by all parts: as the first of them sees it, what was decided, and the mean
/// probabilities on its cut grid where they are to be `kept`, a folder.
pub(super) fn decide(
    (parts, outputs): (&[Part], &[Class]),
    channels: &[PathBuf],
    certainty: Certainty,
    (kept, scratch): (Option<&Path>, &Path),
    on_windows: &mut OnWindows<'_>,
) -> Result<(Prepared, Decision, Option<Scratch>)> {
    let case = channels.first().cloned().unwrap_or_default();
    let mut prepared = Vec::with_capacity(parts.len());
    let mut shown: Vec<Vec<Image>> = Vec::with_capacity(parts.len());
    for part in parts {
        let images = read_channels(channels)?;
        let mut own = part.plan.prepare(images).map_err(|e| named(e, &case))?;
        shown.push(std::mem::take(&mut own.channels));
        prepared.push(own);
    }
    let told = Told::new(parts.len(), on_windows);
    for (part, shown) in parts.iter().zip(&shown) {
        let mut nobody = |_, _| Ok(());
        let sliding = part.sliding(&case, shown, outputs, &mut nobody)?;
        told.all.set(told.all.get() + sliding.windows());
    }
    let first = &prepared[0];
    let shape = first.cut_grid().shape();
    let mut files = Vec::with_capacity(parts.len());
    for (i, own) in prepared.iter().enumerate() {
        if own.turns_as(first) {
            files.push(None);
            continue;
        }
        let mut lying = scratch_for(own.grid().shape(), scratch)?;
        let mut tell = told.teller(i);
        let sliding = parts[i].sliding(&case, &shown[i], outputs, &mut tell)?;
        run(sliding.keep(&mut lying), own.grid().shape())?;
        shown[i] = Vec::new();
        let mut file = scratch_for(shape, scratch)?;
        turn(&mut lying, own, &mut file, first, outputs)?;
        files.push(Some(file));
    }
    let mut tellers: Vec<_> = (0..parts.len()).map(|i| told.teller(i)).collect();
    let nets: usize = parts.iter().map(|part| part.nets.len()).sum();
    let mut sources = Vec::with_capacity(parts.len());
    for (i, (teller, file)) in tellers.iter_mut().zip(files).enumerate() {
        let source = match file {
            Some(file) => Source::File(file),
            None => Source::Windows(Box::new(Windows {
                sliding: parts[i].sliding(&case, &shown[i], outputs, teller)?,
                onto: prepared[i].onto_cut()?,
                near: Vec::new(),
            })),
        };
        sources.push((source, parts[i].nets.len() as f32 / nets as f32));
    }
    let mut mean = kept.map(|folder| scratch_for(shape, folder)).transpose()?;
    let area = shape[0] * shape[1];
    let mut written = vec![0; outputs.len()];
    let keep = &mut mean;
    // Windows go there, so that their slices are gone before labels are turned back.
    let decided = first.decide_cut(&parts[0].plan, certainty, move |output, slices, out| {
        out.fill(0.0);
        for (source, weight) in &mut sources {
            source.add(output, slices.clone(), *weight, out)?;
        }
        // An output may be asked for twice.
        if let Some(mean) = keep
            && written[output] < slices.end
        {
            mean.put(output, slices.start, &out[..area * slices.len()])?;
            written[output] = slices.end;
        }
        Ok(())
    })?;
    Ok((prepared.swap_remove(0), decided, mean))
}

impl Part {
    /// The windows of a case that was prepared by this plan.
    fn sliding<'a>(
        &'a self,
        case: &Path,
        shown: &'a [Image],
        outputs: &[Class],
        on_windows: &'a mut OnWindows<'a>,
    ) -> Result<Sliding<'a>> {
        let nets = (outputs.len(), &*self.nets);
        Sliding::new(&self.plan, &self.windows, (case, shown), nets, on_windows)
    }
}

/// Runs all windows.
fn run(mut sliding: Sliding<'_>, [nx, ny, nz]: [usize; 3]) -> Result<()> {
    let mut slice = vec![0.0; nx * ny];
    for z in 0..nz {
        sliding.read(0, z..z + 1, &mut slice)?;
    }
    Ok(())
}

/// What a part's probabilities come from.
enum Source<'a> {
    /// Windows that run when their slices are asked for.
    Windows(Box<Windows<'a>>),
    /// A file on the shared grid.
    File(Scratch),
}

/// Windows on a part's working grid, and the way from there to the shared one.
struct Windows<'a> {
    sliding: Sliding<'a>,
    onto: AlignedSlices,
    /// The slices of the working grid that are needed.
    near: Vec<f32>,
}

impl Source<'_> {
    /// Adds `weight` times an output's probabilities in slices of the shared grid.
    fn add(
        &mut self,
        output: usize,
        slices: Range<usize>,
        weight: f32,
        out: &mut [f32],
    ) -> Result<()> {
        match self {
            Self::Windows(windows) => {
                let Windows {
                    sliding,
                    onto,
                    near,
                } = &mut **windows;
                let needed = onto.needed(slices.clone());
                near.resize(onto.area() * needed.len(), 0.0);
                sliding.read(output, needed, near)?;
                onto.add(slices, near, weight, out);
                Ok(())
            }
            Self::File(file) => file.add(output, slices, weight, out),
        }
    }
}

/// Brings probabilities on a part's working grid to the shared grid, output by output.
fn turn(
    from: &mut Scratch,
    own: &Prepared,
    to: &mut Scratch,
    first: &Prepared,
    outputs: &[Class],
) -> Result<()> {
    for (output, class) in outputs.iter().enumerate() {
        let image = own.restore(from.read(output)?, outside(class))?;
        to.put(output, 0, &first.to_cut(image)?)?;
    }
    Ok(())
}

fn scratch_for([nx, ny, nz]: [usize; 3], folder: &Path) -> Result<Scratch> {
    make_folder(folder)?;
    Scratch::new(folder, nz, nx * ny)
}

/// The windows done by all parts together.
struct Told<'a, 'b> {
    done: Vec<Cell<usize>>,
    all: Cell<usize>,
    on_windows: RefCell<&'a mut OnWindows<'b>>,
}

impl<'a, 'b> Told<'a, 'b> {
    fn new(parts: usize, on_windows: &'a mut OnWindows<'b>) -> Self {
        Self {
            done: vec![Cell::new(0); parts],
            all: Cell::new(0),
            on_windows: RefCell::new(on_windows),
        }
    }

    /// What the windows of a part are told to.
    fn teller(&self, part: usize) -> impl FnMut(usize, usize) -> Result<()> {
        move |done, _| {
            self.done[part].set(done);
            let sum = self.done.iter().map(Cell::get).sum();
            let mut tell = self.on_windows.borrow_mut();
            (*tell)(sum, self.all.get())
        }
    }
}
