//! The demo's sheet: a row per test patient, from the source's image to the target's truth.

use std::path::Path;

use crossmod_report::{Sheet, Tile};
use crossmod_synth::phantom::Study;
use crossmod_volume::dataset::{Case, Dataset};
use crossmod_volume::intensity::percentiles;
use crossmod_volume::space::{Orientation, reorient_image, reorient_labels};
use crossmod_volume::{Image, Labels, io};

use super::{ADAPTED, ARMS, organs, predictions, translated};

/// HU that are black and white: abdominal soft tissue, as the nets see it.
const CT_WINDOW: (f32, f32) = (-160.0, 240.0);
/// Percentiles that are black and white in MR.
const MR_PERCENTILES: [f64; 2] = [1.0, 99.5];
/// How strongly labels tint the image.
const TINT: f32 = 0.45;

/// The sheet as a PNG's bytes. Source and target are different patients, each at the level that
/// shows most organs.
pub(super) fn sheet(study: &Study, out: &Path) -> anyhow::Result<Vec<u8>> {
    let source = Dataset::open(&study.ct)?;
    let target = Dataset::open(&study.mr)?;
    let without = ARMS[0].recipe;
    let columns = [
        "source CT",
        "translated",
        "target MR",
        without,
        ADAPTED,
        "truth",
    ];
    let mut sheet = Sheet::new(&columns);
    for (ct, mr) in source.training.iter().zip(&target.test) {
        let tiles = [
            source_tiles(ct, out)?,
            target_tiles(mr, out, [without, ADAPTED])?,
        ]
        .concat();
        sheet = sheet.row(&format!("{} {}", ct.id, mr.id), tiles);
    }
    let legend: Vec<(u16, String)> = organs().map(|(v, n)| (v, n.replace('_', " "))).collect();
    let legend: Vec<(u16, &str)> = legend.iter().map(|(v, n)| (*v, &**n)).collect();
    Ok(sheet.legend(&legend).png()?)
}

/// A source image and its translation.
fn source_tiles(case: &Case, out: &Path) -> anyhow::Result<Vec<Tile>> {
    let (Some(image), Some(label)) = (case.images.first(), &case.label) else {
        return Ok(Vec::new());
    };
    let z = level(&upright_labels(label)?);
    let like_target = translated(out).join(image.file_name().unwrap_or_default());
    let (image, like_target) = (upright(image)?, upright(&like_target)?);
    let window = window(&like_target);
    Ok(vec![
        Tile::from_slice(&image, z, CT_WINDOW)?,
        Tile::from_slice(&like_target, z, window)?,
    ])
}

/// A target image; the same with what each of `arms` found in it; and with the truth.
fn target_tiles(case: &Case, out: &Path, arms: [&str; 2]) -> anyhow::Result<Vec<Tile>> {
    let (Some(image), Some(label)) = (case.images.first(), &case.label) else {
        return Ok(Vec::new());
    };
    let (image, truth) = (upright(image)?, upright_labels(label)?);
    let z = level(&truth);
    let plain = Tile::from_slice(&image, z, window(&image))?;
    let mut tiles = vec![plain.clone()];
    for arm in arms {
        let found = predictions(out, arm).join(label.file_name().unwrap_or_default());
        tiles.push(plain.clone().overlay(&upright_labels(&found)?, z, TINT)?);
    }
    tiles.push(plain.overlay(&truth, z, TINT)?);
    Ok(tiles)
}

/// An image as radiologists view it: x to the patient's left, y to the back.
fn upright(path: &Path) -> anyhow::Result<Image> {
    Ok(reorient_image(&io::read_image(path)?, Orientation::LPS))
}

fn upright_labels(path: &Path) -> anyhow::Result<Labels> {
    Ok(reorient_labels(&io::read_labels(path)?, Orientation::LPS))
}

fn window(image: &Image) -> (f32, f32) {
    let found = percentiles(image.data(), &MR_PERCENTILES);
    (found[0], found[1])
}

/// The slice with the most labels, and of those the one with the most labelled voxels.
fn level(labels: &Labels) -> usize {
    let shown = |z: usize| {
        let slice = labels.slice_z(z);
        let kinds = organs().filter(|(value, _)| slice.contains(value)).count();
        (kinds, slice.iter().filter(|&&v| v != 0).count())
    };
    (0..labels.grid().shape()[2])
        .max_by_key(|&z| shown(z))
        .unwrap_or(0)
}
