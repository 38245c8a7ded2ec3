//! The history of translated images that a discriminator is shown.

use crossmod_volume::rng::Rng;

/// Shrivastava et al. (arXiv:1612.07828, §2.3) as CycleGAN uses it: the pool fills first; once
/// full, each new image is either returned itself or, with probability ½, swaps places with a
/// random stored one. It works per image, not per batch.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagePool {
    capacity: usize,
    images: Vec<Vec<f32>>,
}

impl ImagePool {
    /// An empty pool; a capacity of 0 passes every image through.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            images: Vec::new(),
        }
    }

    /// Images stored.
    #[must_use]
    pub fn images(&self) -> &[Vec<f32>] {
        &self.images
    }

    /// Puts stored images back, as when resuming; more than the capacity are dropped.
    pub fn restore(&mut self, images: Vec<Vec<f32>>) {
        self.images = images;
        self.images.truncate(self.capacity);
    }

    /// Exchanges one image with the pool.
    pub fn exchange(&mut self, image: Vec<f32>, rng: &mut Rng) -> Vec<f32> {
        if self.images.len() < self.capacity {
            self.images.push(image.clone());
            return image;
        }
        if self.capacity == 0 || rng.chance(0.5) {
            return image;
        }
        let place = rng.below(self.images.len());
        std::mem::replace(&mut self.images[place], image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_first_then_replaces_half_the_time() {
        let mut pool = ImagePool::new(50);
        let mut rng = Rng::new(1, 0, 0);
        for i in 0..50 {
            assert_eq!(pool.exchange(vec![i as f32], &mut rng), [i as f32]);
        }
        assert_eq!(pool.images().len(), 50);
        let n = 4000;
        let from_pool = (0..n)
            .filter(|i| {
                let new = 1000.0 + *i as f32;
                let shown = pool.exchange(vec![new], &mut rng);
                // What is not shown was stored in its place.
                (shown != [new]) == pool.images().contains(&vec![new]) && shown != [new]
            })
            .count();
        assert!(
            (from_pool as f64 / f64::from(n) - 0.5).abs() < 0.03,
            "{from_pool}"
        );
        assert_eq!(pool.images().len(), 50);
    }

    #[test]
    fn no_capacity_passes_through() {
        let mut pool = ImagePool::new(0);
        assert_eq!(pool.exchange(vec![3.0], &mut Rng::new(1, 0, 0)), [3.0]);
        assert!(pool.images().is_empty());
    }
}
