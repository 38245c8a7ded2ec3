//! Presets of SynthSeg's kind as a whole.

use super::trial;
use crate::{Generator, Made, Record, Scene, SynthRecipe};

fn scene() -> Scene {
    trial::scene([40, 36, 30], [1.0, 1.0, 1.2], |[x, y, z]| {
        u16::from(y > 8 && z > 5) * (1 + (x / 20) as u16 + 2 * (z / 20) as u16)
    })
}

fn generator(preset: &str) -> Generator {
    let crop = ["spatial.crop=[32, 40, 24]".to_owned()];
    Generator::new(SynthRecipe::load(preset, &crop).expect("a preset")).expect("ranges")
}

fn on<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("a pool").install(work)
}

#[test]
fn presets_make_the_same_on_any_number_of_threads_and_from_their_record() {
    for preset in ["synthseg", "lab2im"] {
        let generator = generator(preset);
        let make = |threads| on(threads, || generator.make("case", 3, scene())).expect("made");
        let made: Made = make(1);
        assert!(make(3) == made, "{preset}");
        let text = serde_json::to_string(&made.record).expect("written");
        let record: Record = serde_json::from_str(&text).expect("read");
        assert_eq!(record, made.record);
        assert!(
            on(2, || record.replay(scene())).expect("replayed") == made,
            "{preset}"
        );
        let other = generator.make("case", 4, scene()).expect("made");
        assert_ne!(other.image, made.image);
    }
}

#[test]
fn presets_give_labelled_images_of_the_crop_from_0_to_1() {
    for preset in ["synthseg", "lab2im"] {
        let generator = generator(preset);
        for number in 0..6 {
            let made = generator.make("case", number, scene()).expect("made");
            assert_eq!(made.image.grid(), made.labels.grid());
            assert_eq!(made.image.grid().shape(), [32, 40, 24]);
            assert!(made.image.data().iter().all(|v| (0.0..=1.0).contains(v)));
            assert!(made.labels.counts().keys().all(|&v| v <= 4));
            assert!(made.labels.counts().len() > 2);
        }
    }
}
