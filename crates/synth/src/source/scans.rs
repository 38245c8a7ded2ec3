//! Which scan belongs to which labels.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::stem_and_ending;
use crossmod_volume::{Grid, io};

use super::LabelCase;
use crate::{Error, Result};

/// How far apart the corners of two grids may lie that are one.
pub(super) const TOLERANCE_MM: f64 = 0.1;

struct Candidate<'a> {
    path: &'a Path,
    /// Without a channel number.
    stem: &'a str,
    grid: Grid,
}

/// Gives cases without a scan the one that is named like them, else the one on whose grid they lie;
/// of several such that which shares most of the beginning of its name. Where `given`, a user said
/// that these are the scans, so that a wrong or a missing one is an error.
pub(super) fn pair(
    cases: &mut [LabelCase],
    scans: &[PathBuf],
    folder: &Path,
    notes: &mut Vec<String>,
    given: bool,
) -> Result<()> {
    let labels: BTreeSet<PathBuf> = cases
        .iter()
        .flat_map(|case| case.labels.all())
        .map(|path| whole(path.to_owned()))
        .collect();
    let mut candidates = Vec::new();
    for path in scans
        .iter()
        .filter(|path| !labels.contains(&whole((*path).clone())))
    {
        let stem = stem_and_ending(path).map_or("", |(stem, _)| stem);
        candidates.push(Candidate {
            path,
            stem: stem.strip_suffix("_0000").unwrap_or(stem),
            grid: io::read_grid(path)?.0,
        });
    }
    let mut found = 0;
    for case in cases.iter_mut() {
        if given || case.scan.is_none() {
            case.scan = of(case, &candidates, notes, given)?;
        }
        found += usize::from(case.scan.is_some());
    }
    if given && found == 0 {
        return Err(Error::file(
            format!(
                "expected scans named like the label maps or on their grids, found {} that are \
                 neither; check the folder, or resample them",
                candidates.len()
            ),
            folder,
        ));
    }
    notes.push(format!("{found} of {} cases have a scan", cases.len()));
    Ok(())
}

fn of(
    case: &LabelCase,
    candidates: &[Candidate<'_>],
    notes: &mut Vec<String>,
    given: bool,
) -> Result<Option<PathBuf>> {
    let file = case.labels.first();
    let grid = io::read_grid(file)?.0;
    let stem = stem_and_ending(file).map_or("", |(stem, _)| stem);
    let fits = |candidate: &&Candidate<'_>| candidate.grid.matches(&grid, TOLERANCE_MM);
    let named = candidates
        .iter()
        .find(|candidate| candidate.stem == case.id || candidate.stem == stem);
    if let Some(named) = named {
        if fits(&named) {
            return Ok(Some(named.path.to_owned()));
        }
        if given {
            return Err(Error::file(
                format!(
                    "expected the scan of {} on the grid of its labels, {:?}, found {:?} voxels or \
                     another place; resample one of them",
                    case.id,
                    grid.shape(),
                    named.grid.shape()
                ),
                named.path,
            ));
        }
    }
    let mut fitting: Vec<(usize, &Candidate<'_>)> = candidates
        .iter()
        .filter(fits)
        .map(|candidate| (shared(candidate.stem, stem), candidate))
        .collect();
    fitting.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
    match fitting.as_slice() {
        [] => Ok(None),
        [(_, only)] => Ok(Some(only.path.to_owned())),
        [(best, one), (next, other), ..] => {
            if best > next {
                return Ok(Some(one.path.to_owned()));
            }
            let message = format!(
                "expected one scan for {}, found {} and {} on its grid",
                case.id,
                one.path.display(),
                other.path.display()
            );
            if given {
                let advice = "name the right one as the label map";
                return Err(Error::file(format!("{message}; {advice}"), file));
            }
            notes.push(format!("{message}: none is taken"));
            Ok(None)
        }
    }
}

/// How many characters two names begin with alike.
fn shared(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

/// One path for one file.
fn whole(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}
