//! What ties an image to its translation into another modality, whose values mean something else.

use burn::tensor::{Device, Tensor, TensorData};

/// Bins of an image's range [-1, 1]; a common choice.
const BINS: usize = 32;

/// Added to probabilities before the logarithm.
const LEAST: f32 = 1e-8;

/// Below this a gradient counts as noise, on images in [-1, 1].
const EDGE: f32 = 0.05;

/// 1 minus the normalised mutual information of two images in [-1, 1]: 0 where either says all
/// about the other, 1 where they are independent. The alignment loss of DiCyc (Wang et al., 2018)
/// for one direction; of the normalisations there are, `2 I(a, b) / (H(a) + H(b))` is chosen.
///
/// Joint probabilities are estimated with Gaussian windows, one bin wide, about 32 bins, so that
/// the loss has a gradient to both images.
///
/// # Shapes
/// Two of `[n, c, (d,) h, w]` to a scalar `[1]`.
#[must_use]
pub fn misalignment<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<1> {
    let pixels = a.dims().iter().product::<usize>();
    let [a, b] = [a, b].map(|image| memberships(image, pixels));
    // [bins of a, bins of b].
    let joint = a.transpose().matmul(b) / pixels as f32;
    let entropy = |p: Tensor<2>| -(p.clone() * (p + LEAST).log()).sum();
    let [of_a, of_b] = [1, 0].map(|axis| entropy(joint.clone().sum_dim(axis)));
    let both = entropy(joint);
    let sum = of_a + of_b;
    let mutual = (sum.clone() - both) * 2.0;
    -(mutual / (sum + LEAST)) + 1.0
}

/// How much of each pixel belongs to each bin; a row sums to 1.
fn memberships<const D: usize>(image: Tensor<D>, pixels: usize) -> Tensor<2> {
    let centres = bins(&image.device());
    let distance = image.reshape([pixels, 1]) - centres;
    let width = 2.0 / (BINS - 1) as f32;
    let weight = ((distance / width).square() * -0.5).exp();
    let sum = weight.clone().sum_dim(1);
    weight / (sum + LEAST)
}

fn bins(device: &Device) -> Tensor<2> {
    let centre = |i: usize| -1.0 + 2.0 * i as f32 / (BINS - 1) as f32;
    let centres: Vec<f32> = (0..BINS).map(centre).collect();
    Tensor::from_data(TensorData::new(centres, [1, BINS]), device)
}

/// 1 minus the squared cosine between the gradients of two images, averaged: 0 where edges run
/// alike, whichever side of them is brighter, 1 where they cross. Normalised gradient fields (Haber
/// and Modersitzki, doi:10.1007/11866763_89), gradients below 0.05 fading out; forward differences
/// within slices.
///
/// # Shapes
/// Two of `[n, c, (d,) h, w]`, h and w above 1, to a scalar `[1]`.
#[must_use]
pub fn edge_difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<1> {
    let [[ax, ay], [bx, by]] = [a, b].map(gradients);
    let dot = ax.clone() * bx.clone() + ay.clone() * by.clone();
    let squared = |x: Tensor<D>, y: Tensor<D>| x.square() + y.square() + EDGE * EDGE;
    // ε² on top as well, so that images without edges agree.
    let dot = dot + EDGE * EDGE;
    let alike = dot.square() / (squared(ax, ay) * squared(bx, by));
    -alike.mean() + 1.0
}

/// Forward differences along the last two axes where both are known.
fn gradients<const D: usize>(image: Tensor<D>) -> [Tensor<D>; 2] {
    let dims = image.dims();
    let [h, w] = [dims[D - 2] - 1, dims[D - 1] - 1];
    let at = |y: usize, x: usize| image.clone().narrow(D - 2, y, h).narrow(D - 1, x, w);
    let here = at(0, 0);
    [at(0, 1) - here.clone(), at(1, 0) - here]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::gradient;

    const SIDE: usize = 16;

    fn image(f: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        (0..SIDE * SIDE).map(|i| f(i % SIDE, i / SIDE)).collect()
    }

    fn tensor(values: &[f32]) -> Tensor<4> {
        let data = TensorData::new(values.to_vec(), [1, 1, SIDE, SIDE]);
        Tensor::from_data(data, &crate::device::cpu())
    }

    fn four(x: usize, y: usize) -> f32 {
        [-0.9, -0.3, 0.3, 0.9][(x / 8) + 2 * (y / 8)]
    }

    /// Four areas that the other image calls by other names, and four that tell nothing of them.
    #[test]
    fn renamed_areas_are_aligned_and_independent_ones_are_not() {
        let a = tensor(&image(four));
        let renamed = tensor(&image(|x, y| [0.5, -0.8, 0.9, -0.2][(x / 8) + 2 * (y / 8)]));
        let stripes = tensor(&image(|x, y| [-0.9, -0.3, 0.3, 0.9][(x % 2) + 2 * (y % 2)]));
        let of = |b: Tensor<4>| misalignment(a.clone(), b).into_scalar::<f32>();
        let (same, other, none) = (of(a.clone()), of(renamed), of(stripes));
        // Windows blur the bins, so that even an image does not tell all about itself.
        assert!(same < 0.55 && (same - other).abs() < 0.1, "{same} {other}");
        assert!((none - 1.0).abs() < 0.02, "{none}");
    }

    #[test]
    fn edges_are_the_same_with_contrast_inverted_and_not_when_turned() {
        let a = tensor(&image(|x, _| if x < 8 { -0.5 } else { 0.5 }));
        let inverted = a.clone() * -1.0;
        let turned = tensor(&image(|_, y| if y < 8 { -0.5 } else { 0.5 }));
        let of = |b: Tensor<4>| edge_difference(a.clone(), b).into_scalar::<f32>();
        assert!(of(a.clone()).abs() < 1e-4);
        assert!(of(inverted) < 0.01);
        // An edge in one of them alone costs what its pixels are: 15 of 225 in each.
        assert!((of(turned) - 29.0 / 225.0).abs() < 0.01);
    }

    #[test]
    fn gradients_match_differences() {
        let values = image(|x, y| (0.7 * x as f32 + 0.3 * y as f32).sin() * 0.8);
        let other = image(|x, y| (0.2 * x as f32 - 0.5 * y as f32).cos() * 0.8);
        type Loss = fn(Tensor<4>, Tensor<4>) -> Tensor<1>;
        for loss in [misalignment as Loss, edge_difference as Loss] {
            gradient::assert_matches([1, 1, SIDE, SIDE], &values, 2e-3, 2e-3, |x: Tensor<4>| {
                let data = TensorData::new(other.clone(), [1, 1, SIDE, SIDE]);
                let b = Tensor::from_data(data, &x.device());
                loss(x, b)
            });
        }
    }
}
