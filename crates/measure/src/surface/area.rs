//! The area of the surface that passes between eight voxels, for each of the 256 ways in which they
//! can be inside or outside.
//!
//! The corners are voxel centres, one at each corner of a cell. As in marching cubes (Lorensen and
//! Cline 1987, doi:10.1145/37402.37422) the surface cuts an edge of the cell in its middle where its
//! ends differ, and the cuts are joined to polygons around the faces. Two choices are left, made so
//! that a code and its complement have one area, as in DeepMind's surface-distance (Nikolov et al.
//! 2021, doi:10.2196/26151): on a face with inside corners on one diagonal and outside corners on the
//! other, the kind that the cell has fewer of is kept apart; and a polygon of more than four corners,
//! which need not be flat, is folded along the diagonal through the cell's centre.
//!
//! Bit `x + 2 y + 4 z` of a code is the corner at (x, y, z).

use std::sync::LazyLock;

/// The parts of each code's surface as vectors perpendicular to them whose lengths are their areas,
/// for spacings of 1.
static NORMALS: LazyLock<Vec<Vec<[f64; 3]>>> =
    LazyLock::new(|| (0..=u8::MAX).map(normals).collect());

/// The area of each code's surface, mm².
pub(super) fn areas_mm2([x, y, z]: [f64; 3]) -> [f64; 256] {
    // A cell stretched along an axis stretches the parts of a surface that run along it.
    let stretch = [y * z, x * z, x * y];
    let area = |normal: &[f64; 3]| {
        let squared = normal.iter().zip(stretch).map(|(n, s)| (n * s).powi(2));
        squared.sum::<f64>().sqrt()
    };
    let mut areas = [0.0; 256];
    for (sum, normals) in areas.iter_mut().zip(NORMALS.iter()) {
        *sum = normals.iter().map(area).sum();
    }
    areas
}

/// A cut of an edge, measured from the centre of a cell whose edges are 2 long.
type Cut = [i32; 3];

fn normals(code: u8) -> Vec<[f64; 3]> {
    // As no more than half of the corners are set, the set ones are those to be kept apart.
    let code = if code.count_ones() > 4 { !code } else { code };
    let triangles = polygons(code)
        .into_iter()
        .flat_map(|polygon| triangles(&polygon));
    triangles.map(normal).collect()
}

/// The polygons through the cuts.
fn polygons(code: u8) -> Vec<Vec<Cut>> {
    let mut lines: Vec<[Cut; 2]> = (0..6).flat_map(|face| lines(code, face)).collect();
    let mut polygons = Vec::new();
    while let Some([first, mut last]) = lines.pop() {
        let mut polygon = vec![first];
        while last != first {
            polygon.push(last);
            let next = lines.iter().position(|line| line.contains(&last));
            let [a, b] = lines.swap_remove(next.expect("each cut lies on two faces"));
            last = if a == last { b } else { a };
        }
        polygons.push(polygon);
    }
    polygons
}

/// The lines that the surface draws on a face, between cuts of its edges.
fn lines(code: u8, face: usize) -> Vec<[Cut; 2]> {
    let (across, side) = (face / 2, [-1, 1][face % 2]);
    let corner = |a: i32, b: i32| {
        let mut at = [side; 3];
        (at[(across + 1) % 3], at[(across + 2) % 3]) = (a, b);
        at
    };
    let around = [corner(-1, -1), corner(1, -1), corner(1, 1), corner(-1, 1)];
    let set = around.map(|at| {
        let bit = |axis: usize| usize::from(at[axis] > 0) << axis;
        code >> (bit(0) + bit(1) + bit(2)) & 1 == 1
    });
    // Each line goes around an unbroken row of set corners, from the cut before to the cut after.
    let starts = (0..4).filter(|&i| set[i] && !set[(i + 3) % 4]);
    let cut = |i: usize| {
        let (a, b) = (around[i % 4], around[(i + 1) % 4]);
        [0, 1, 2].map(|axis| (a[axis] + b[axis]) / 2)
    };
    let line = |start: usize| {
        let length = (0..4).take_while(|n| set[(start + n) % 4]).count();
        [cut(start + 3), cut(start + length - 1)]
    };
    starts.map(line).collect()
}

fn triangles(polygon: &[Cut]) -> Vec<[Cut; 3]> {
    let n = polygon.len();
    let opposite = |i: usize| {
        let other = polygon[i].map(|v| -v);
        polygon[i + 1..]
            .iter()
            .position(|at| *at == other)
            .map(|j| (i, i + 1 + j))
    };
    if n > 4 {
        let (i, j) = (0..n)
            .find_map(opposite)
            .expect("a diagonal through the centre");
        let rest: Vec<Cut> = polygon[j..].iter().chain(&polygon[..=i]).copied().collect();
        return [triangles(&polygon[i..=j]), triangles(&rest)].concat();
    }
    (2..n)
        .map(|i| [polygon[0], polygon[i - 1], polygon[i]])
        .collect()
}

/// Half the cross product of two sides.
fn normal([a, b, c]: [Cut; 3]) -> [f64; 3] {
    let side = |to: Cut| [0, 1, 2].map(|axis| f64::from(to[axis] - a[axis]) / 2.0);
    let (p, q) = (side(b), side(c));
    [0, 1, 2].map(|axis| {
        let (i, j) = ((axis + 1) % 3, (axis + 2) % 3);
        0.5 * (p[i] * q[j] - p[j] * q[i])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corners of a code mirrored along an axis.
    fn mirrored(code: u8, axis: usize) -> u8 {
        (0..8).map(|i| (code >> i & 1) << (i ^ (1 << axis))).sum()
    }

    #[test]
    fn complements_and_mirror_images_have_one_area() {
        let areas = areas_mm2([0.7, 1.3, 2.9]);
        for code in 0..=u8::MAX {
            let area = areas[usize::from(code)];
            assert_eq!(area > 0.0, code != 0 && code != 255);
            let same = [
                !code,
                mirrored(code, 0),
                mirrored(code, 1),
                mirrored(code, 2),
            ];
            for other in same {
                assert!(
                    (area - areas[usize::from(other)]).abs() < 1e-12,
                    "{code} {other}"
                );
            }
        }
    }

    /// By hand: a corner cut off, a wedge, a plane, and the L of three corners as a flat
    /// quadrilateral of half a cube's hexagon and more.
    #[test]
    fn simple_surfaces_have_the_areas_of_geometry() {
        let [x, y, z] = [0.7, 1.3, 2.9];
        let areas = areas_mm2([x, y, z]);
        let corner = 0.125 * ((y * z).powi(2) + (x * z).powi(2) + (x * y).powi(2)).sqrt();
        assert!((areas[1] - corner).abs() < 1e-12);
        let wedge = 0.5 * z * x.hypot(y);
        assert!((areas[0b0001_0001] - wedge).abs() < 1e-12);
        assert!((areas[0b0000_1111] - x * y).abs() < 1e-12);
        assert!(
            (areas[0b0000_1001] - 2.0 * corner).abs() < 1e-12,
            "two corners kept apart"
        );
        let unit = areas_mm2([1.0; 3]);
        let hexagon = 6.0 * corner_of_unit_cube();
        assert!((unit[0b0001_0111] - hexagon).abs() < 1e-12);
        let bent = 3.0 * corner_of_unit_cube() + 0.5;
        assert!((unit[0b0000_0111] - bent).abs() < 1e-12, "{}", unit[7]);
    }

    fn corner_of_unit_cube() -> f64 {
        0.125 * 3.0_f64.sqrt()
    }
}
