//! What each tissue looks like in each modality.
//!
//! CT in HU, late arterial phase: kidneys and spleen enhance well before the liver. MR in arbitrary units relative to a
//! bright reference of 1, ordered as in a T2-weighted scan without fat suppression: liquid and
//! fat bright, muscle and liver dark, cortical bone, flowing blood and gas nearly black. The two
//! orders differ on purpose: among fat, muscle and the organs they are negatively correlated, so
//! that a rule learnt from one modality's intensities misleads in the other.

use std::collections::BTreeMap;

use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::Modality;

/// What a point of the patient is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tissue {
    /// Outside the patient.
    Air,
    /// Aerated lung.
    Lung,
    /// Subcutaneous and visceral fat.
    Fat,
    /// Skeletal muscle.
    Muscle,
    /// Cortical bone: ribs and the shells of vertebrae.
    Bone,
    /// Cancellous bone within vertebrae.
    Marrow,
    /// Intervertebral disc.
    Disc,
    /// Cerebrospinal fluid in the canal.
    Csf,
    /// The aorta.
    Artery,
    /// The inferior vena cava.
    Vein,
    /// Walls of bowel and stomach.
    Wall,
    /// Liquid or solid content of bowel.
    Chyme,
    /// Gas in bowel and stomach.
    Gas,
    /// Bile in the gallbladder.
    Bile,
    /// Liver.
    Liver,
    /// Spleen.
    Spleen,
    /// Kidney.
    Kidney,
    /// Content of the stomach.
    Stomach,
}

use Tissue as T;

impl Tissue {
    /// Every tissue, in the order of their discriminants.
    pub(crate) const ALL: [Self; 18] = [
        T::Air,
        T::Lung,
        T::Fat,
        T::Muscle,
        T::Bone,
        T::Marrow,
        T::Disc,
        T::Csf,
        T::Artery,
        T::Vein,
        T::Wall,
        T::Chyme,
        T::Gas,
        T::Bile,
        T::Liver,
        T::Spleen,
        T::Kidney,
        T::Stomach,
    ];

    /// Mean intensity, its standard deviation over patients, and the amplitude of texture.
    fn typical(self, modality: Modality) -> [f32; 3] {
        match modality {
            Modality::Ct => match self {
                T::Air => [-1000.0, 0.0, 0.0],
                T::Lung => [-850.0, 20.0, 40.0],
                T::Fat => [-100.0, 5.0, 8.0],
                T::Muscle => [55.0, 5.0, 10.0],
                T::Bone => [650.0, 60.0, 80.0],
                T::Marrow => [220.0, 40.0, 60.0],
                T::Disc => [85.0, 8.0, 10.0],
                T::Csf => [15.0, 4.0, 3.0],
                T::Artery => [290.0, 15.0, 5.0],
                T::Vein => [110.0, 8.0, 5.0],
                T::Wall => [70.0, 8.0, 10.0],
                T::Chyme => [36.0, 4.0, 6.0],
                T::Gas => [-950.0, 15.0, 0.0],
                T::Bile => [8.0, 5.0, 3.0],
                T::Liver => [92.0, 4.0, 6.0],
                T::Spleen => [142.0, 6.0, 7.0],
                T::Kidney => [205.0, 8.0, 12.0],
                T::Stomach => [12.0, 5.0, 6.0],
            },
            Modality::Mr => match self {
                T::Air | T::Gas => [0.0, 0.0, 0.0],
                T::Lung => [0.03, 0.005, 0.01],
                T::Fat => [0.72, 0.03, 0.04],
                T::Muscle => [0.17, 0.015, 0.025],
                T::Bone => [0.06, 0.01, 0.01],
                T::Marrow => [0.50, 0.05, 0.06],
                T::Disc => [0.30, 0.06, 0.05],
                T::Csf => [1.10, 0.05, 0.03],
                T::Artery => [0.05, 0.01, 0.01],
                T::Vein => [0.10, 0.02, 0.02],
                T::Wall => [0.22, 0.02, 0.03],
                T::Chyme => [0.45, 0.05, 0.06],
                T::Bile => [1.15, 0.05, 0.02],
                T::Liver => [0.29, 0.02, 0.035],
                T::Spleen => [0.56, 0.02, 0.04],
                T::Kidney => [0.42, 0.02, 0.05],
                T::Stomach => [1.10, 0.04, 0.06],
            },
        }
    }
}

/// How one tissue of one patient looks in one scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Mean intensity: HU in CT, relative signal in MR.
    pub mean: f32,
    /// Amplitude of the texture about the mean, same units.
    pub texture: f32,
}

impl Look {
    /// This look with a share `alpha` replaced by another.
    pub(crate) fn painted(self, other: Self, alpha: f32) -> Self {
        Self {
            mean: self.mean + (other.mean - self.mean) * alpha,
            texture: self.texture + (other.texture - self.texture) * alpha,
        }
    }
}

/// Looks of all tissues, drawn about the typical ones.
pub(crate) fn draw_looks(rng: &mut Rng, modality: Modality) -> BTreeMap<Tissue, Look> {
    let draw = |tissue: &Tissue| {
        let [mean, sd, texture] = tissue.typical(modality);
        // Two standard deviations at most: the order of the organs then holds in every patient.
        let mean = mean + sd * rng.normal().clamp(-2.0, 2.0);
        (
            *tissue,
            Look {
                mean,
                texture: texture * rng.uniform(0.7, 1.3),
            },
        )
    };
    Tissue::ALL.iter().map(draw).collect()
}

/// Looks by discriminant. A tissue that the record lacks is empty of signal.
pub(crate) fn table(looks: &BTreeMap<Tissue, Look>) -> [Look; Tissue::ALL.len()] {
    Tissue::ALL.map(|tissue| looks.get(&tissue).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_holds_each_tissue_at_its_discriminant() {
        for (i, tissue) in Tissue::ALL.iter().enumerate() {
            assert_eq!(*tissue as usize, i);
        }
    }

    #[test]
    fn the_organs_keep_their_order_in_every_patient() {
        for case in 0..200 {
            let ct = draw_looks(&mut Rng::new(1, case, 0), Modality::Ct);
            let mr = draw_looks(&mut Rng::new(1, case, 1), Modality::Mr);
            let rising = |looks: &BTreeMap<Tissue, Look>, order: &[Tissue]| {
                order
                    .windows(2)
                    .all(|w| looks[&w[0]].mean < looks[&w[1]].mean)
            };
            assert!(rising(&ct, &[T::Fat, T::Stomach, T::Liver, T::Kidney]));
            assert!(rising(&ct, &[T::Muscle, T::Liver]) && rising(&ct, &[T::Spleen, T::Kidney]));
            assert!(rising(
                &mr,
                &[T::Muscle, T::Liver, T::Kidney, T::Spleen, T::Fat]
            ));
            assert!(rising(&mr, &[T::Spleen, T::Stomach]));
        }
    }
}
