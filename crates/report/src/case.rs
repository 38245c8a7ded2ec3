//! One case, made ready to be looked at: its slices as a picture and its volumes for the viewer.

use crossmod_volume::intensity::percentiles;
use crossmod_volume::space::resample_labels_nearest;
use crossmod_volume::{Image, Labels};

use crate::page::CaseShown;
use crate::planes::{Plane, Stack};
use crate::volumes::{CaseVolumes, Place, packed_image, packed_labels};
use crate::{Result, Sheet};

/// Height of a picture's tiles, pixels.
const TILE_HEIGHT: usize = 220;
/// Slices of a plane in a mosaic.
const MOSAIC: usize = 6;
/// HU that are black and white: abdominal soft tissue.
const SOFT_TISSUE_HU: (f32, f32) = (-160.0, 240.0);
/// An image whose first percentile is below that is taken to be in HU.
const AIR_HU: f32 = -500.0;

/// Where a case's volumes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nowhere: pictures alone.
    Nowhere,
    /// Into the page.
    Inside,
    /// Beside the page.
    Beside,
}

/// Black and white of an image that nobody has chosen: soft tissue where it is in HU, else its first
/// and 99.5th percentiles.
#[must_use]
pub fn window(image: &Image) -> (f32, f32) {
    match percentiles(image.data(), &[1.0, 99.5])[..] {
        [low, _] if low < AIR_HU => SOFT_TISSUE_HU,
        [low, high] => (low, high),
        _ => (0.0, 1.0),
    }
}

/// A case of an image and label maps with their names, which are put on the image's grid where they lie
/// on another. `names` are those of label values.
///
/// # Errors
/// [`Error::Picture`](crate::Error::Picture) where slices cannot be drawn,
/// [`Error::Volume`](crate::Error::Volume) where volumes cannot be packed.
pub fn shown(
    case: &str,
    image: &Image,
    labels: &[(&str, &Labels)],
    names: &[(u16, String)],
    keep: Keep,
) -> Result<CaseShown> {
    let placed: Vec<(&str, Labels)> = labels
        .iter()
        .map(|(name, labels)| {
            let same = labels.grid() == image.grid();
            let placed = if same {
                (*labels).clone()
            } else {
                resample_labels_nearest(labels, image.grid())
            };
            (*name, placed)
        })
        .collect();
    let place = |what: &str, gzip: Vec<u8>| match keep {
        Keep::Nowhere => None,
        Keep::Inside => Some(Place::Inside(gzip)),
        Keep::Beside => Some(Place::beside(&format!("{case}-{what}"), &gzip)),
    };
    let volumes = if keep == Keep::Nowhere {
        None
    } else {
        let mut overlays = Vec::new();
        for (name, labels) in &placed {
            let place = place(name, packed_labels(labels)?);
            overlays.extend(place.map(|place| ((*name).to_owned(), place)));
        }
        place("image", packed_image(image)?).map(|image| CaseVolumes { image, overlays })
    };
    Ok(CaseShown {
        case: case.to_owned(),
        picture: Some(picture(image, &placed, names)?),
        volumes,
    })
}

/// Slices across a whole volume, a row for each plane, labels over them where there are any.
///
/// # Errors
/// As [`shown`], for its pictures.
pub fn mosaic(image: &Image, labels: Option<&Labels>, names: &[(u16, String)]) -> Result<Sheet> {
    let window = window(image);
    let placed = labels.map(|labels| resample_labels_nearest(labels, image.grid()));
    let maps: Vec<&Labels> = placed.iter().collect();
    let mut sheet = Sheet::new(&[""; MOSAIC]).tile_height(TILE_HEIGHT);
    for plane in Plane::worth_showing(image.grid())? {
        let stack = Stack::new(plane, image, &maps)?;
        let shown = MOSAIC.min(stack.len());
        // In the middle of equal parts of the stack.
        let places = (0..shown).map(|i| (2 * i + 1) * stack.len() / (2 * shown));
        let tiles: Result<Vec<_>> = places
            .map(|z| stack.tile(z, window, (!maps.is_empty()).then_some(0)))
            .collect();
        sheet = sheet.row(plane.name(), tiles?);
    }
    let legend: Vec<(u16, &str)> = names.iter().map(|(v, n)| (*v, n.as_str())).collect();
    Ok(sheet.legend(&legend))
}

/// A row of tiles for each plane: the image, then the image under each label map.
fn picture(image: &Image, labels: &[(&str, Labels)], names: &[(u16, String)]) -> Result<Vec<u8>> {
    let columns: Vec<&str> = std::iter::once("image")
        .chain(labels.iter().map(|(name, _)| *name))
        .collect();
    let window = window(image);
    let maps: Vec<&Labels> = labels.iter().map(|(_, labels)| labels).collect();
    let mut sheet = Sheet::new(&columns).tile_height(TILE_HEIGHT);
    for plane in Plane::worth_showing(image.grid())? {
        let stack = Stack::new(plane, image, &maps)?;
        let z = stack.fullest();
        let overlays = std::iter::once(None).chain((0..maps.len()).map(Some));
        let tiles: Result<Vec<_>> = overlays.map(|o| stack.tile(z, window, o)).collect();
        sheet = sheet.row(plane.name(), tiles?);
    }
    let legend: Vec<(u16, &str)> = names.iter().map(|(v, n)| (*v, n.as_str())).collect();
    sheet.legend(&legend).png()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::Grid;

    fn case(shape: [usize; 3], lowest: f32) -> (Image, Labels) {
        let grid = Grid::with_spacing(shape, [1.0, 1.0, 3.0]).expect("a grid");
        let n = grid.len();
        let value = |i: usize| {
            if i < n / 4 {
                lowest
            } else {
                i as f32 / n as f32
            }
        };
        let image = Image::new(grid.clone(), (0..n).map(value).collect()).expect("an image");
        let labels = Labels::new(grid, (0..n).map(|i| u16::from(i % 5 == 0)).collect());
        (image, labels.expect("labels"))
    }

    fn height(png: &[u8]) -> u32 {
        u32::from_be_bytes(png[20..24].try_into().expect("four bytes"))
    }

    #[test]
    fn thin_volumes_show_axial_slices_alone() {
        let names = [(1, "liver".to_owned())];
        let heights = [[30, 30, 4], [30, 30, 30]].map(|shape| {
            let (image, labels) = case(shape, 0.0);
            let shown = shown("a", &image, &[("truth", &labels)], &names, Keep::Nowhere);
            let shown = shown.expect("a case");
            assert_eq!(shown.volumes, None);
            height(&shown.picture.expect("a picture"))
        });
        assert!(heights[1] > heights[0] + 2 * TILE_HEIGHT as u32);
    }

    #[test]
    fn volumes_and_labels_of_another_grid_are_kept() {
        let (image, _) = case([30, 30, 4], 0.0);
        let (_, labels) = case([15, 15, 4], 0.0);
        let shown = shown("a", &image, &[("ours", &labels)], &[], Keep::Beside).expect("a case");
        let volumes = shown.volumes.expect("volumes");
        assert!(matches!(volumes.image, Place::Beside { .. }));
        assert_eq!(volumes.overlays[0].0, "ours");
    }

    #[test]
    fn a_mosaic_has_a_row_for_each_plane() {
        let [thin, thick] = [[30, 30, 4], [30, 30, 30]].map(|shape| {
            let (image, labels) = case(shape, 0.0);
            let sheet = mosaic(&image, Some(&labels), &[]).expect("a mosaic");
            height(&sheet.png().expect("a picture"))
        });
        assert!(thick > thin + 2 * TILE_HEIGHT as u32);
    }

    #[test]
    fn hu_are_windowed_as_such() {
        assert_eq!(window(&case([4, 4, 4], -1024.0).0), SOFT_TISSUE_HU);
        let (low, high) = window(&case([4, 4, 4], 0.0).0);
        assert!((0.0..0.1).contains(&low) && (0.9..1.0).contains(&high));
    }
}
