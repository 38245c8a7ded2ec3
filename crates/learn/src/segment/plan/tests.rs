//! Whole plans: against those that nnU-Net makes, within a memory, and as files.

use crossmod_volume::dataset::Case;
use crossmod_volume::intensity::Statistics;

use super::*;
use crate::segment::fingerprint::{
    CaseStatistics, ChannelStatistics, ClassStatistics, Fingerprint,
};

/// `cases` alike, of one class beside background.
pub(super) fn fingerprint(
    channel: &str,
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    cases: usize,
) -> Fingerprint {
    let class = |value, name: &str| ClassStatistics {
        class: Class::new(value, name),
        cases,
        share: 0.5,
        volume_mm3: Some([1.0; 3]),
    };
    Fingerprint {
        dataset: "test".into(),
        slices: false,
        channels: vec![ChannelStatistics {
            name: channel.into(),
            range: Some([-1024.0, 3071.0]),
            foreground: Some(Statistics {
                max: 1900.0,
                mean: 100.0,
                median: 98.0,
                min: -900.0,
                percentile_00_5: -80.0,
                percentile_99_5: 300.0,
                sd: 70.0,
            }),
        }],
        classes: vec![class(0, "background"), class(1, "organ")],
        ignore: None,
        median_relative_size_after_cropping: 1.0,
        cases: (0..cases)
            .map(|i| CaseStatistics {
                id: format!("case{i}"),
                shape,
                shape_after_crop: shape,
                spacing_mm,
                orientation: Orientation::RAS,
            })
            .collect(),
    }
}

/// With `classes` in all.
fn with_classes(mut print: Fingerprint, classes: u16) -> Fingerprint {
    let model = print.classes[1].clone();
    print.classes.truncate(1);
    for value in 1..classes {
        let mut class = model.clone();
        class.class = Class::new(value, &format!("organ {value}"));
        print.classes.push(class);
    }
    print
}

/// Only nnU-Net's own rule for a card of 8 GB.
fn nnunet() -> PlanConfig {
    PlanConfig {
        ram_mb: None,
        vram_gb: Some(8.0),
        ..PlanConfig::default()
    }
}

fn make(print: &Fingerprint, config: &PlanConfig) -> SegmentationPlan {
    let plan = SegmentationPlan::make(print, config).expect("a plan");
    plan.check().expect("a plan in order");
    plan
}

fn with_dims(config: PlanConfig, dims: Dims) -> PlanConfig {
    PlanConfig {
        dims: Some(dims),
        ..config
    }
}

/// nnU-Net's plan for the Decathlon's hippocampus: median shape 36 × 50 × 35, 260 cases.
#[test]
fn hippocampus_is_planned_as_nnunet_does() {
    let print = with_classes(fingerprint("MRI", [36, 50, 35], [1.0; 3], 260), 3);
    let plan = make(&print, &nnunet());
    assert_eq!((plan.patch, plan.batch), ([40, 56, 40], 9));
    assert_eq!(plan.spacing_mm, [1.0; 3]);
    assert_eq!(plan.net.features, [32, 64, 128, 256]);
    assert_eq!(plan.net.strides, [[1; 3], [2; 3], [2; 3], [2; 3]]);
    assert!(!plan.batch_dice);
    assert_eq!(
        SegmentationPlan::make_coarser(&plan, &print, &nnunet()).expect("planned"),
        None
    );
    let flat = make(&print, &with_dims(nnunet(), Dims::Two));
    assert_eq!((flat.patch, flat.batch), ([1, 56, 40], 366));
    assert_eq!(flat.net.features, [32, 64, 128, 256]);
    assert!(flat.batch_dice);
    // Our own memory leaves the 3-D plan as it is.
    let ours = make(&print, &PlanConfig::default());
    assert_eq!((ours.patch, ours.batch), (plan.patch, plan.batch));
}

/// A published nnU-Net v2 plan of whole-body CT (spacing, shapes and results as in its plans file;
/// its 2-D batch of 13 at 448² needs 64 to 94 classes).
#[test]
fn whole_body_ct_is_planned_as_nnunet_does() {
    let spacing = [1.5, 0.976_562_5, 0.976_562_5];
    let print = with_classes(fingerprint("CT", [1323, 512, 512], spacing, 300), 72);
    let plan = make(&print, &nnunet());
    assert_eq!((plan.patch, plan.batch), ([192, 96, 96], 2));
    assert_eq!(plan.net.strides[1..5], [[2; 3]; 4]);
    assert_eq!(plan.net.strides[5..], [[2, 1, 1]]);
    assert_eq!(plan.net.features, [32, 64, 128, 256, 320, 320]);
    let coarse = SegmentationPlan::make_coarser(&plan, &print, &nnunet())
        .expect("planned")
        .expect("a coarser plan");
    assert_eq!((coarse.patch, coarse.batch), ([192, 96, 96], 2));
    assert_eq!(coarse.median_shape, [360, 139, 139]);
    let expected = [
        5.507_178_410_171_863,
        3.585_402_610_788_975,
        3.585_402_610_788_975,
    ];
    for (found, expected) in coarse.spacing_mm.iter().zip(expected) {
        assert!((found - expected).abs() < 2e-5, "{found} {expected}");
    }
    assert!(plan.batch_dice && !coarse.batch_dice);
    // The same at 3 mm.
    let print = with_classes(fingerprint("CT", [662, 167, 167], [3.0; 3], 300), 72);
    assert_eq!(make(&print, &nnunet()).patch, [256, 80, 80]);
}

/// The shapes of the Decathlon's liver. In 2-D, 312.75 maps a pixel and three classes' logits are 82.8
/// million a slice of 512², so 12.3 slices are nnU-Net's 8 GB.
#[test]
fn liver_ct_is_planned_as_nnunet_does() {
    let spacing = [1.0, 0.767_578_125, 0.767_578_125];
    let print = with_classes(fingerprint("CT", [482, 512, 512], spacing, 131), 3);
    let plan = make(&print, &with_dims(nnunet(), Dims::Two));
    assert_eq!((plan.patch, plan.batch), ([1, 512, 512], 12));
    assert_eq!(plan.net.features, [32, 64, 128, 256, 512, 512, 512, 512]);
    let volume = make(&print, &nnunet());
    assert_eq!((volume.patch, volume.batch), ([128, 128, 128], 2));
    let expected = print.channels[0].foreground.map(Normalise::Ct);
    assert_eq!(Some(volume.channels[0].normalisation), expected);
}

/// As ACDC: 18 × 237 × 208 voxels of 5 × 1.5625 × 1.5625 mm; 266.7 maps a voxel and four classes' logits
/// are 310 million for the patch, of which nnU-Net's 8 GB hold 3.6.
#[test]
fn cardiac_mr_is_planned_as_nnunet_does() {
    let spacing = [5.0, 1.5625, 1.5625];
    let print = with_classes(fingerprint("cine", [18, 237, 208], spacing, 200), 4);
    let plan = make(&print, &nnunet());
    assert_eq!((plan.patch, plan.batch), ([20, 256, 224], 4));
    assert_eq!(plan.net.kernels[..2], [[1, 3, 3], [3, 3, 3]]);
    assert_eq!(plan.net.features, [32, 64, 128, 256, 320, 320]);
    assert_eq!(plan.channels[0].normalisation, Normalise::default());
}

#[test]
fn a_plan_stays_within_the_memory() {
    let print = with_classes(fingerprint("CT", [100, 200, 200], [2.0, 1.0, 1.0], 20), 3);
    let mut before = 0;
    for ram_mb in [600, 1000, 2000, 4000, 8000] {
        let config = PlanConfig {
            ram_mb: Some(ram_mb),
            ..PlanConfig::default()
        };
        let plan = make(&print, &config);
        assert!(
            plan.ram_mb <= ram_mb && plan.ram_mb > ram_mb / 3,
            "{plan:?}"
        );
        assert!(plan.batch >= 2);
        let voxels = plan.batch * plan.patch.iter().product::<usize>();
        assert!(voxels >= before, "{ram_mb}: {plan:?}");
        before = voxels;
        for dims in [Dims::Two, Dims::TwoAndHalf { context: 2 }] {
            let plan = make(&print, &with_dims(config.clone(), dims));
            assert!(plan.ram_mb <= ram_mb, "{plan:?}");
        }
    }
    let config = PlanConfig {
        ram_mb: Some(100),
        ..PlanConfig::default()
    };
    let error = SegmentationPlan::make(&print, &config)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("--ram") && error.contains("100 MB"),
        "{error}"
    );
}

#[test]
fn every_kind_of_net_can_be_planned() {
    let print = fingerprint("MR", [60, 128, 128], [1.0; 3], 30);
    for kind in [
        NetKind::PlainConv,
        NetKind::ResidualEncoder,
        NetKind::ResUnet,
        NetKind::NormFree,
        NetKind::ClassicUnet,
        NetKind::Resnet9,
    ] {
        for dims in [Dims::Two, Dims::TwoAndHalf { context: 1 }, Dims::Three] {
            let config = PlanConfig {
                kind,
                dims: Some(dims),
                ..PlanConfig::default()
            };
            let plan = make(&print, &config);
            assert_eq!((plan.net.kind, plan.dims), (kind, dims));
            assert_eq!(plan.in_channels(), dims.slices());
            assert!(plan.cost().parameters > 1e4);
        }
    }
}

#[test]
fn single_slices_are_planned_in_two_dimensions() {
    let mut print = fingerprint("CT", [1, 256, 256], [1.0; 3], 40);
    print.slices = true;
    let plan = make(&print, &PlanConfig::default());
    assert_eq!((plan.dims, plan.patch[0]), (Dims::Two, 1));
    let three = with_dims(PlanConfig::default(), Dims::Three);
    let error = SegmentationPlan::make(&print, &three).expect_err("refused");
    assert!(error.to_string().contains("single slices"), "{error}");
}

#[test]
fn plans_survive_their_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plan.toml");
    let mut print = fingerprint("CT", [100, 200, 200], [2.0, 1.0, 1.0], 20);
    print.ignore = Some(9);
    print.classes[1].class.values = vec![1, 2];
    for dims in [Dims::Three, Dims::TwoAndHalf { context: 1 }] {
        let plan = make(&print, &with_dims(PlanConfig::default(), dims));
        plan.save(&path).expect("written");
        assert_eq!(SegmentationPlan::load(&path).expect("read"), plan);
    }
    let print_path = folder.path().join("fingerprint.json");
    print.save(&print_path).expect("written");
    assert_eq!(Fingerprint::load(&print_path).expect("read"), print);
}

#[test]
fn classes_that_were_drawn_are_told_in_the_order_of_the_plan() {
    let mut print = fingerprint("CT", [60, 60, 60], [1.0; 3], 20);
    let class = |value, values: &[u16]| ClassStatistics {
        class: Class {
            values: values.to_vec(),
            ..Class::new(value, "region")
        },
        ..print.classes[1].clone()
    };
    print.classes = vec![print.classes[0].clone(), class(4, &[1, 2]), class(2, &[2])];
    let plan = make(&print, &PlanConfig::default());
    let mut case = Case::default();
    assert_eq!(plan.annotated(&case), None);
    case.labelled = Some(vec![2]);
    assert_eq!(plan.annotated(&case), Some(vec![true, false, true]));
}

#[test]
fn what_is_wrong_with_an_edited_plan_is_named() {
    let print = fingerprint("CT", [100, 200, 200], [2.0, 1.0, 1.0], 20);
    let plan = make(&print, &PlanConfig::default());
    let text = plan.text().expect("TOML");
    assert!(
        text.contains("\npatch = [") && text.contains("\n    \"dims: 3-D"),
        "{text}"
    );
    let said = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        SegmentationPlan::parse(&text.replacen(from, to, 1)).expect_err("refused")
    };
    let wrong = said("mirror_axes", "mirror_axis");
    assert!(wrong.contains("did you mean `mirror_axes`?"), "{wrong}");
    let wrong = said("kernels = ", "kernel = ");
    assert!(wrong.contains("did you mean `net.kernels`?"), "{wrong}");
    let wrong = said("percentile_00_5", "percentile_0_5");
    let right = "did you mean `channels.normalisation.ct.percentile_00_5`?";
    assert!(wrong.contains(right), "{wrong}");
    let wrong = said(&format!("batch = {}", plan.batch), "batch = 0");
    assert!(wrong.contains("batch to be 1 to 4096"), "{wrong}");
    let changed = |change: fn(&mut SegmentationPlan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan.check().expect_err("refused")
    };
    assert!(changed(|p| p.patch[1] += 1).contains("multiples of"));
    assert!(changed(|p| p.transpose.forward = [0, 0, 2]).contains("transpose.forward"));
    assert!(changed(|p| p.classes[1].value = 0).contains("a value twice"));
    for value in [0, 7] {
        let mut plan = plan.clone();
        plan.ignore = Some(7);
        plan.classes[1].values = vec![1, value];
        let message = plan.check().expect_err("refused");
        assert!(message.contains("values of \"organ\""), "{message}");
    }
    assert!(changed(|p| p.dims = Dims::Two).contains("one slice"));
    assert!(changed(|p| p.net.kernels[0][0] = 2).contains("net.kernels"));
    assert!(changed(|p| p.spacing_mm[0] = f64::NAN).contains("spacing_mm"));
    assert!(changed(|p| p.mirror_axes.push(3)).contains("mirror_axes"));
    assert!(changed(|p| p.net.strides.truncate(2)).contains("net.strides"));
}
