//! The contrastive loss between places of two feature maps.

use burn::tensor::{Tensor, activation};

/// PatchNCE (Park et al., arXiv:2007.15651, eq. 3): the features of each place of a translation
/// should be told apart from those of the image's other places by being like those of the same
/// place; cross-entropy of the cosines divided by `temperature`, averaged over places. Negatives
/// are places of the same image.
///
/// # Shapes
/// Two of `[n, c, places]`, each place's features of length 1, to a scalar `[1]`. No gradient
/// flows to `image`.
#[must_use]
pub fn patch_nce(translation: Tensor<3>, image: Tensor<3>, temperature: f32) -> Tensor<1> {
    let [_, _, places] = translation.dims();
    let device = translation.device();
    // [n, places of the translation, places of the image].
    let cosines = translation.swap_dims(1, 2).matmul(image.detach());
    let logs = activation::log_softmax(cosines / temperature, 2);
    let same = Tensor::<2>::eye(places, &device).unsqueeze::<3>();
    -(logs * same).sum_dim(2).mean()
}

/// Every place's features at length 1.
///
/// # Shapes
/// `[n, c, places]` in and out.
#[must_use]
pub fn unit_length(features: Tensor<3>) -> Tensor<3> {
    let length = (features.clone().square().sum_dim(1) + 1e-12).sqrt();
    features / length
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::loss::gradient;

    const A: [f32; 12] = [
        0.3, -0.8, 0.5, 1.0, 0.2, -0.4, -0.6, 0.9, 0.7, 0.1, -0.2, 0.8,
    ];
    const B: [f32; 12] = [
        0.1, 0.4, -0.9, 0.6, -0.5, 0.3, 0.8, 0.2, -0.7, -0.1, 0.5, 0.9,
    ];

    fn tensor(values: &[f32; 12], device: &burn::tensor::Device) -> Tensor<3> {
        let data = TensorData::new(values.to_vec(), [1, 4, 3]);
        unit_length(Tensor::from_data(data, device))
    }

    #[test]
    fn value_by_hand() {
        let device = crate::device::cpu();
        let unit = |values: &[f32; 12], place: usize| {
            let v = [0, 1, 2, 3].map(|c| f64::from(values[c * 3 + place]));
            let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            v.map(|x| x / length)
        };
        let cosine = |i: usize, j: usize| -> f64 {
            let (a, b) = (unit(&A, i), unit(&B, j));
            a.iter().zip(b).map(|(a, b)| a * b).sum()
        };
        let loss = |i: usize| {
            let e = [0, 1, 2].map(|j| (cosine(i, j) / 0.07).exp());
            -(e[i] / e.iter().sum::<f64>()).ln()
        };
        let expected = (0..3).map(loss).sum::<f64>() / 3.0;
        let found = patch_nce(tensor(&A, &device), tensor(&B, &device), 0.07);
        let found = f64::from(found.into_scalar::<f32>());
        assert!(
            (found - expected).abs() < 1e-4 * expected,
            "{found} {expected}"
        );
    }

    #[test]
    fn gradient_matches_differences() {
        gradient::assert_matches([1, 4, 3], &A, 1e-3, 1e-2, |a: Tensor<3>| {
            let b = tensor(&B, &a.device());
            patch_nce(unit_length(a), b, 0.5)
        });
    }
}
