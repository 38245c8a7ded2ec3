//! The store against volumes whose every sample tells where it lies.

use std::fs;
use std::path::PathBuf;

use crossmod_volume::intensity::Normalise;
use crossmod_volume::io::{self, Storage};
use crossmod_volume::{Image, Labels};
use tempfile::TempDir;

use super::*;
use crate::Silent;
use crate::segment::plan::{Channel, Class, Dims, Net, NetKind, Transpose};

/// A plan of a patch `[z, y, x]` that leaves cases of 1 mm as they are: one channel, two classes,
/// batches of 6.
pub(crate) fn plan(patch: [usize; 3]) -> SegmentationPlan {
    let kernel = if patch[0] == 1 { [1, 3, 3] } else { [3; 3] };
    SegmentationPlan {
        dataset: "test".into(),
        spacing_mm: [1.0; 3],
        patch,
        batch: 6,
        batch_dice: false,
        mirror_axes: vec![0, 1, 2],
        ignore: None,
        ram_mb: 100,
        median_shape: patch,
        reasons: Vec::new(),
        dims: Dims::Three,
        transpose: Transpose {
            orientation: Some("RAS".parse().expect("an orientation")),
            forward: [0, 1, 2],
        },
        net: Net {
            kind: NetKind::PlainConv,
            features: vec![4],
            strides: vec![[1; 3]],
            kernels: vec![kernel],
            convs_per_stage: vec![2],
            convs_per_stage_decoder: Vec::new(),
            deep_supervision: false,
        },
        channels: vec![Channel {
            name: "MRI".into(),
            normalisation: Normalise::None,
        }],
        classes: vec![
            Class::new(0, "background"),
            Class::new(1, "front"),
            Class::new(2, "back"),
        ],
    }
}

/// Cases in files.
pub(crate) struct Study {
    folder: TempDir,
    pub(crate) cases: Vec<Case>,
}

impl Study {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            cases: Vec::new(),
        }
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Adds a case of 1 mm, given what is at each voxel (x, y, z) of each channel, and its label.
    pub(crate) fn add(
        &mut self,
        shape: [usize; 3],
        channels: &[&dyn Fn([usize; 3]) -> f32],
        label: impl Fn([usize; 3]) -> u16,
    ) {
        let grid = Grid::with_spacing(shape, [1.0; 3]).expect("a grid");
        let [nx, ny, _] = shape;
        let at = |i: usize| [i % nx, i / nx % ny, i / (nx * ny)];
        let id = format!("case{}", self.cases.len());
        let images = channels.iter().enumerate().map(|(c, value)| {
            let data = (0..grid.len()).map(|i| value(at(i))).collect();
            let image = Image::new(grid.clone(), data).expect("an image");
            let path = self.folder.path().join(format!("{id}_{c:04}.nii"));
            io::write_image(&path, &image, &Storage::default()).expect("written");
            path
        });
        let images = images.collect();
        let data = (0..grid.len()).map(|i| label(at(i))).collect();
        let labels = Labels::new(grid, data).expect("labels");
        let path = self.folder.path().join(format!("{id}.nii"));
        io::write_labels(&path, &labels).expect("written");
        self.cases.push(Case {
            subject: id.clone(),
            id,
            images,
            label: Some(path),
            labelled: None,
        });
    }

    pub(crate) fn store(&self, plan: &SegmentationPlan, ram: Option<u64>) -> Result<Store> {
        Store::make(plan, &self.cases, &self.cache(), ram, &mut Silent)
    }
}

/// Tells where it lies; never 0.
pub(crate) fn place([x, y, z]: [usize; 3]) -> f32 {
    (1 + x + 64 * y + 4096 * z) as f32
}

/// 1 in front, 2 behind, in the middle of y and z.
pub(crate) fn halves(shape: [usize; 3]) -> impl Fn([usize; 3]) -> u16 {
    move |[x, y, z]| {
        let middle = [y, z]
            .iter()
            .zip(&shape[1..])
            .all(|(v, n)| (n / 4..3 * n / 4).contains(v));
        u16::from(middle) * (1 + u16::from(x >= shape[0] / 2))
    }
}

/// Runs on two threads, for which budgets are reckoned here.
pub(crate) fn on_two<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    pool.expect("a pool").install(f)
}

fn three() -> Study {
    let mut study = Study::new();
    for shape in [[12, 10, 8], [9, 14, 7], [16, 6, 11]] {
        study.add(shape, &[&place], halves(shape));
    }
    study
}

#[test]
fn boxes_are_the_same_from_memory_and_from_files() {
    let study = three();
    let plan = plan([2, 2, 2]);
    let held = study.store(&plan, None).expect("a store");
    assert_eq!((held.held(), held.len()), (3, 3));
    // Room for one case, 6 bytes a voxel and 4 a place, and for a channel of the largest a thread.
    let room = 6 * 960 + 4 * 240 + 2 * 5 * 1056 + 500;
    let some = on_two(|| study.store(&plan, Some(room))).expect("a store");
    assert_eq!(some.held(), 1, "{}", some.held_bytes());
    let frame = Frame {
        start: [2, 1, 3],
        shape: [5, 4, 3],
    };
    for case in 0..3 {
        assert_eq!(some.grid(case), held.grid(case));
        let image = some.image(case, 0, frame).expect("a box");
        assert_eq!(image, held.image(case, 0, frame).expect("a box"));
        let expected: Vec<f32> = (3..6)
            .flat_map(|z| (1..5).flat_map(move |y| (2..7).map(move |x| place([x, y, z]))))
            .collect();
        assert_eq!(image, expected);
        let labels = some.labels(case, frame).expect("a box");
        assert_eq!(labels, held.labels(case, frame).expect("a box"));
        assert!(labels.contains(&1) && labels.contains(&0));
        for list in 0..2 {
            let n = held.places(case, list);
            assert_eq!(n, some.places(case, list));
            let label = halves(held.grid(case).shape());
            for k in 0..n {
                let at = some.place(case, list, k).expect("a place");
                assert_eq!(at, held.place(case, list, k).expect("a place"));
                assert_eq!(usize::from(label(at)), list + 1);
            }
        }
    }
}

#[test]
fn a_later_start_prepares_nothing_again_unless_something_changed() {
    let mut study = three();
    let mut plan = plan([4, 4, 4]);
    study.store(&plan, None).expect("a store");
    let written = |study: &Study| -> Vec<_> {
        let time = |case: &Case| {
            let about = fs::metadata(study.cache().join(format!("{}.case", case.id)));
            about.and_then(|about| about.modified()).expect("a file")
        };
        study.cases.iter().map(time).collect()
    };
    let first = written(&study);
    // Neither the patch nor the batch bears on it.
    (plan.patch, plan.batch) = ([2, 2, 2], 1);
    study.store(&plan, None).expect("a store");
    assert_eq!(written(&study), first);
    // A damaged file is made anew.
    let damaged = study.cache().join("case1.case");
    let bytes = fs::read(&damaged).expect("a file");
    fs::write(&damaged, &bytes[..bytes.len() - 1]).expect("written");
    study.store(&plan, None).expect("a store");
    assert_eq!(fs::read(&damaged).expect("a file"), bytes);
    // Another plan, another preparation.
    plan.spacing_mm = [2.0, 1.0, 1.0];
    let coarse = study.store(&plan, None).expect("a store");
    assert_eq!(coarse.grid(0).shape(), [12, 10, 4]);
    // Another file too.
    let other = study.cases[2].label.clone().expect("a label map");
    study.cases[0].label = Some(other);
    let error = study.store(&plan, None).expect_err("another shape");
    assert!(error.to_string().ends_with("case2.nii"), "{error}");
}

#[test]
fn a_budget_that_cannot_hold_names_the_file_and_the_bytes() {
    let study = three();
    let mut plan = plan([4, 4, 4]);
    let error = study.store(&plan, Some(20_000)).expect_err("too little");
    let text = error.to_string();
    // 16 · 6 · 11 voxels of 24 bytes.
    for part in ["0.0 MB", "case2", "25344 bytes", "--ram", "case2_0000.nii"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!study.cache().join("case0.case").exists());
    plan.patch = [8, 8, 8];
    study.store(&plan, Some(26_000)).expect("a store");
    let error = study
        .store(&plan, Some(4_000))
        .expect_err("no room for boxes");
    assert!(error.to_string().contains("cut patches"), "{error}");
}

#[test]
fn boxes_reach_as_far_as_a_turned_patch() {
    use crossmod_volume::space::{Deformation, Patch, Warp};
    let mut plan = plan([30, 20, 10]);
    plan.spacing_mm = [1.0, 2.0, 3.0];
    for angle in 0..12 {
        let angles = [0.3, 1.1, 0.7].map(|a| a * f64::from(angle));
        let turned = Deformation::new(angles, [1.0 / 1.4; 3], [0.0; 3], [3.0, 2.0, 1.0]);
        let patch = Patch {
            centre: [50.0; 3],
            shape: [10, 20, 30],
        };
        let frame = Warp::new(&turned, patch).frame();
        let reach = reach(&plan);
        assert!(
            (0..3).all(|a| frame.shape[a] <= reach[a]),
            "{frame:?} {reach:?}"
        );
    }
    plan.patch = [4, 40, 30];
    plan.spacing_mm = [5.0, 1.0, 1.0];
    assert_eq!(reach(&plan), [81, 81, 10]);
}

#[test]
fn what_was_not_shown_is_kept_apart() {
    let mut study = Study::new();
    let shape = [8, 8, 8];
    let inside = |[x, y, z]: [usize; 3]| [x, y, z].iter().all(|v| (2..6).contains(v));
    let spot = |at: [usize; 3]| at == [0, 0, 0] || at == [7, 7, 7];
    let brain = |at: [usize; 3]| {
        if inside(at) || spot(at) {
            place(at)
        } else {
            0.0
        }
    };
    study.add(shape, &[&brain], |at| u16::from(at == [3, 3, 3]));
    let mut plan = plan([4, 4, 4]);
    plan.channels[0].normalisation = Normalise::ZScore {
        within_nonzero: true,
    };
    let store = study.store(&plan, None).expect("a store");
    assert!(store.masked(0));
    let labels = store
        .labels(0, Frame::whole(store.grid(0)))
        .expect("labels");
    for (i, label) in labels.into_iter().enumerate() {
        let at = [i % 8, i / 8 % 8, i / 64];
        let expected = match at {
            [3, 3, 3] => 1,
            _ if inside(at) || spot(at) => 0,
            _ => OUTSIDE,
        };
        assert_eq!(label, expected, "{at:?}");
    }
}

#[test]
fn a_case_without_labels_or_twice_is_refused() {
    let mut study = three();
    study.cases[1].label = None;
    let error = study.store(&plan([4; 3]), None).expect_err("no labels");
    assert!(error.to_string().contains("case1"), "{error}");
    study.cases[1] = study.cases[0].clone();
    let error = study.store(&plan([4; 3]), None).expect_err("twice");
    assert!(error.to_string().contains("case0 twice"), "{error}");
}

#[test]
fn a_label_that_the_plan_does_not_know_is_refused() {
    let mut study = Study::new();
    study.add([6; 3], &[&place], |at| 7 * u16::from(at == [1, 2, 3]));
    let error = study.store(&plan([4; 3]), None).expect_err("unknown");
    let said = error.to_string();
    assert!(said.contains("found 7") && said.contains("case0"), "{said}");
    let mut known = plan([4; 3]);
    known.ignore = Some(7);
    assert!(study.store(&known, None).is_ok());
}
