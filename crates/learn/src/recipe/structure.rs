//! Whether anatomy survives translation: a small segmentor of source images, trained on the real
//! ones beside the translators, and asked about what comes back of a translation.

use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::{Rng, case_id};

use super::synseg::scalar;
use crate::batch::{Batch, tensor};
use crate::fit::{Adam, AdamConfig, NetGradients, RunFolder, State};
use crate::loss::cross_entropy_dice;
use crate::net::weights::{Named, collect, fill};
use crate::net::{UNet, UNetConfig};
use crate::{Result, ops};

/// Below this Dice on the images themselves a class is not known well enough to be asked about.
const KNOWN: f64 = 0.5;

/// Below this share of its Dice a class is lost.
pub(crate) const LOST: f64 = 0.5;

/// The name of its weights in a run.
pub(crate) const STRUCTURE: &str = "structure";

/// The segmentor, of images (`D` = 4) or volumes (`D` = 5).
#[derive(Debug)]
pub(crate) struct Structure<const D: usize> {
    net: UNet<D>,
    /// Channels of an image, and classes.
    channels: [usize; 2],
    device: Device,
}

/// Pixels of each class: in both, found, true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts(Vec<[u64; 3]>);

impl Counts {
    /// Of what was found and what is true.
    pub(crate) fn of<T: Copy + Into<usize>>(classes: usize, found: &[usize], truth: &[T]) -> Self {
        let mut counts = vec![[0; 3]; classes];
        for (&found, &truth) in found.iter().zip(truth) {
            let truth: usize = truth.into();
            counts[found][1] += 1;
            counts[truth][2] += 1;
            counts[truth][0] += u64::from(found == truth);
        }
        Self(counts)
    }

    /// Of both.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            own.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        }
        self
    }

    /// The Dice of a class that is there.
    fn dice(&self, class: usize) -> Option<f64> {
        let [both, found, truth] = self.0[class].map(|n| n as f64);
        (truth > 0.0).then(|| 2.0 * both / (found + truth))
    }

    /// The mean Dice of the foreground; 0 where there is none.
    pub(crate) fn mean_dice(&self) -> f64 {
        let each: Vec<f64> = (1..self.0.len()).filter_map(|c| self.dice(c)).collect();
        each.iter().sum::<f64>() / each.len().max(1) as f64
    }

    /// The class that `after` keeps least of, and its share of the Dice in `self`; none where no
    /// class is known well enough.
    pub(crate) fn worst(&self, after: &Self) -> Option<(usize, f64)> {
        (1..self.0.len())
            .filter_map(|class| {
                let before = self.dice(class).filter(|dice| *dice >= KNOWN)?;
                Some((class, after.dice(class)? / before))
            })
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

fn size() -> UNetConfig {
    UNetConfig {
        width: 8,
        max_width: 32,
        levels: 3,
    }
}

impl<const D: usize> Structure<D> {
    fn new(channels: [usize; 2], seed: u64, device: &Device) -> Self {
        let mut rng = Rng::new(seed, case_id(STRUCTURE), 0);
        Self {
            net: size().init(channels, &mut rng, device),
            channels,
            device: device.clone(),
        }
    }

    /// That of a run, where it has one.
    ///
    /// # Errors
    /// Where its weights are malformed.
    pub(crate) fn load(
        run: &RunFolder,
        channels: [usize; 2],
        device: &Device,
    ) -> Result<Option<Self>> {
        let path = run.weights_path(STRUCTURE);
        if channels[1] < 2 || !path.exists() {
            return Ok(None);
        }
        let new = Self::new(channels, 0, device);
        let net = fill(new.net, &run.read_weights(STRUCTURE)?, device, &path)?;
        Ok(Some(Self { net, ..new }))
    }

    /// What it finds in images of so many planes, rows and columns, against what is true.
    pub(crate) fn counts(&self, images: &[f32], shape: [usize; 3], truth: &[u8]) -> Counts {
        let [channels, classes] = self.channels;
        let n = images.len() / (channels * shape.iter().product::<usize>());
        let images = tensor::<D>(images.to_vec(), [n, channels], shape, &self.device);
        let logits = burn::module::Module::no_grad(self.net.clone()).forward(images);
        Counts::of(classes, &most_likely(logits), truth)
    }

    /// Whether what came back of a batch still shows its classes.
    ///
    /// # Panics
    /// Where the batch has no classes.
    pub(crate) fn keeps(&self, back: &[f32], batch: &Batch) -> bool {
        let truth = batch.classes.as_ref().expect("a labelled batch");
        let before = self.counts(&batch.images, batch.shape, truth);
        let after = self.counts(back, batch.shape, truth);
        before.worst(&after).is_none_or(|(_, share)| share >= LOST)
    }
}

/// The class of every pixel or voxel, image by image.
pub(crate) fn most_likely<const D: usize>(logits: Tensor<D>) -> Vec<usize> {
    let dims = logits.dims();
    let (n, classes) = (dims[0], dims[1]);
    let area: usize = dims[2..].iter().product();
    let values = ops::values(logits);
    let of = |i: usize| {
        let (image, pixel) = (i / area, i % area);
        let at = |class: usize| values[(image * classes + class) * area + pixel];
        (1..classes).fold(
            0,
            |best, class| if at(class) > at(best) { class } else { best },
        )
    };
    (0..n * area).map(of).collect()
}

/// The segmentor in training.
#[derive(Debug)]
pub(crate) struct Learning<const D: usize> {
    pub(crate) structure: Structure<D>,
    adam: Adam,
    rate: f32,
}

impl<const D: usize> Learning<D> {
    pub(crate) fn new(channels: [usize; 2], seed: u64, device: &Device) -> Self {
        let structure = Structure::new(channels, seed, device);
        // A usual rate for supervised nets, whatever the recipe's is.
        let config = AdamConfig {
            learning_rate: 1e-3,
            beta1: 0.9,
            ..AdamConfig::default()
        };
        Self {
            adam: Adam::new(&config, &structure.net),
            rate: config.learning_rate,
            structure,
        }
    }

    /// Learns from a labelled batch; gives the loss.
    pub(crate) fn learn(&mut self, batch: &Batch) -> f32 {
        let device = self.structure.device.clone();
        let images = batch.tensor(&device);
        let net = self.structure.net.clone();
        let truth = batch.truth().unwrap_or_default();
        let loss = cross_entropy_dice(net.forward(images), truth, &[]);
        let value = scalar(&loss);
        let grads = NetGradients::take(&net, loss.backward());
        self.structure.net = self.adam.step(net, grads, self.rate, &device);
        value
    }

    /// What inference may ask it about.
    pub(crate) fn weights(&self) -> (String, Vec<Named>) {
        (STRUCTURE.into(), collect(&self.structure.net))
    }

    pub(crate) fn state(&self) -> Vec<(String, Vec<Named>)> {
        vec![
            self.weights(),
            (format!("adam_{STRUCTURE}"), self.adam.state()),
        ]
    }

    pub(crate) fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        let (root, device) = (run.root(), &self.structure.device);
        let weights = state.arrays(STRUCTURE, root)?;
        self.structure.net = fill(self.structure.net.clone(), weights, device, root)?;
        let adam = state.arrays(&format!("adam_{STRUCTURE}"), root)?;
        self.adam.restore(adam, root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let truth = [0u8, 1, 1, 2, 2, 2];
        let before = Counts::of(4, &[0, 1, 1, 2, 2, 0], &truth);
        let after = Counts::of(4, &[0, 1, 0, 2, 0, 0], &truth);
        assert_eq!((before.dice(1), before.dice(2)), (Some(1.0), Some(0.8)));
        assert_eq!(before.dice(3), None);
        assert!((before.mean_dice() - 0.9).abs() < 1e-12);
        // Class 1: 2/3 of 1; class 2: 1/2 of 0.8.
        let (class, share) = before.worst(&after).expect("known classes");
        assert_eq!(class, 2);
        assert!((share - 0.625).abs() < 1e-12);
        // Nothing is known of images in which nothing is found.
        assert_eq!(Counts::of(4, &[0; 6], &truth).worst(&after), None);
        assert_eq!(after.clone().plus(&after).dice(1), after.dice(1));
    }

    /// A bright square on dark, which is soon learnt: gone, it is missed.
    #[test]
    fn a_lost_structure_is_noticed() {
        let side = 16;
        let inside = |i: usize| (4..12).contains(&(i % side)) && (4..12).contains(&(i / side));
        let pixels = 0..side * side;
        let batch = Batch {
            images: pixels
                .clone()
                .map(|i| if inside(i) { 0.8 } else { -0.8 })
                .collect(),
            classes: Some(pixels.map(|i| u8::from(inside(i))).collect()),
            len: 1,
            channels: 1,
            shape: [1, side, side],
        };
        let mut learning = Learning::<4>::new([1, 2], 1, &crate::device::cpu_training());
        let first = learning.learn(&batch);
        let last = (0..60).map(|_| learning.learn(&batch)).last();
        assert!(last.is_some_and(|last| last < 0.5 * first));
        assert!(learning.structure.keeps(&batch.images, &batch));
        assert!(!learning.structure.keeps(&vec![-0.8; side * side], &batch));
    }
}
