//! Outlines of a label in one slice, as closed polygons.
//!
//! Vertices lie half-way between a pixel of the label and its neighbour outside, as marching squares
//! has them (Lorensen and Cline 1987 in two dimensions), so that exactly the label's pixels have
//! their centres within by the even-odd rule. Pixels that touch at corners alone are apart; a hole
//! is a polygon of its own.

/// Polygons in pixel coordinates, clockwise where y grows downwards and holes the other way round.
pub(super) fn outlines(inside: &[bool], columns: usize) -> Vec<Vec<[f64; 2]>> {
    let rows = inside.len() / columns.max(1);
    let at = |x: isize, y: isize| {
        let within = x >= 0 && y >= 0 && (x as usize) < columns && (y as usize) < rows;
        within && inside[y as usize * columns + x as usize]
    };
    // The sides of pixels with the label on their right, by the corner they leave; east first, then
    // south, west and north.
    let width = columns + 1;
    let mut leaving = vec![0u8; width * (rows + 1)];
    for y in 0..rows as isize {
        for x in 0..columns as isize {
            if !at(x, y) {
                continue;
            }
            let mut side = |dx: isize, dy: isize, direction: usize, beyond: bool| {
                if !beyond {
                    leaving[(y + dy) as usize * width + (x + dx) as usize] |= 1 << direction;
                }
            };
            side(0, 0, 0, at(x, y - 1));
            side(1, 0, 1, at(x + 1, y));
            side(1, 1, 2, at(x, y + 1));
            side(0, 1, 3, at(x - 1, y));
        }
    }
    let mut polygons = Vec::new();
    for start in 0..leaving.len() {
        while leaving[start] != 0 {
            let directions = follow(&mut leaving, start, width);
            polygons.push(polygon(start, width, &directions));
        }
    }
    polygons
}

const STEPS: [[f64; 2]; 4] = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]];

/// Takes the sides from a corner on until it is reached again.
fn follow(leaving: &mut [u8], start: usize, width: usize) -> Vec<usize> {
    let mut directions = Vec::new();
    let first = leaving[start].trailing_zeros() as usize;
    let (mut corner, mut direction) = (start, first);
    loop {
        directions.push(direction);
        corner = match direction {
            0 => corner + 1,
            1 => corner + width,
            2 => corner - 1,
            _ => corner - width,
        };
        // Round the same pixel first, which keeps those apart that touch at a corner.
        let next = [1, 0, 3]
            .map(|turn| (direction + turn) % 4)
            .into_iter()
            .find(|&d| leaving[corner] >> d & 1 == 1);
        // The first side is taken last, so that the way back to it is chosen like any other.
        match next {
            Some(next) if (corner, next) != (start, first) => {
                leaving[corner] &= !(1 << next);
                direction = next;
            }
            _ => {
                leaving[start] &= !(1 << first);
                return directions;
            }
        }
    }
}

/// The middles of the sides, without those on a straight line.
fn polygon(start: usize, width: usize, directions: &[usize]) -> Vec<[f64; 2]> {
    // Corners lie half a pixel before the centre of the pixel with their number.
    let mut corner = [(start % width) as f64 - 0.5, (start / width) as f64 - 0.5];
    let mut middles = Vec::with_capacity(directions.len());
    for (i, &direction) in directions.iter().enumerate() {
        let [dx, dy] = STEPS[direction];
        let before = directions[(i + directions.len() - 1) % directions.len()];
        let after = directions[(i + 1) % directions.len()];
        if before != direction || after != direction {
            middles.push([corner[0] + dx / 2.0, corner[1] + dy / 2.0]);
        }
        corner = [corner[0] + dx, corner[1] + dy];
    }
    middles
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn even_odd(polygons: &[Vec<[f64; 2]>], x: f64, y: f64) -> bool {
        let mut inside = false;
        for polygon in polygons {
            for (i, a) in polygon.iter().enumerate() {
                let b = polygon[(i + 1) % polygon.len()];
                // Off the rows, so that no vertex is met.
                let y = y + 1e-6;
                if (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
                {
                    inside = !inside;
                }
            }
        }
        inside
    }

    #[test]
    fn a_square_with_a_hole_has_two_outlines() {
        let mut inside = [true; 9];
        inside[4] = false;
        let found = outlines(&inside, 3);
        assert_eq!(found.len(), 2);
        let area = |polygon: &[[f64; 2]]| -> f64 {
            let next = polygon.iter().cycle().skip(1);
            let twice: f64 = polygon
                .iter()
                .zip(next)
                .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
                .sum();
            twice / 2.0
        };
        // Corners are cut by an eighth of a pixel each; the hole's is a diamond.
        assert!((area(&found[0]) - 8.5).abs() < 1e-12, "{found:?}");
        assert!((area(&found[1]) + 0.5).abs() < 1e-12, "{found:?}");
        assert_eq!(outlines(&[false; 6], 3), Vec::<Vec<[f64; 2]>>::new());
        assert_eq!(outlines(&[true], 1)[0].len(), 4);
    }

    proptest! {
        #[test]
        fn exactly_the_label_lies_within(bits in prop::collection::vec(any::<bool>(), 42)) {
            let found = outlines(&bits, 7);
            for (i, &inside) in bits.iter().enumerate() {
                prop_assert_eq!(even_odd(&found, (i % 7) as f64, (i / 7) as f64), inside);
            }
        }
    }
}
