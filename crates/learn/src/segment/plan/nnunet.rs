//! nnU-Net's `plans.json`, second version: read, and written for nnU-Net to train from.
//!
//! A file holds configurations `2d`, `3d_fullres` and `3d_lowres`, each with spacing, patch, batch,
//! normalisation and, since 2024, the class of its net with that class's arguments; older files name
//! the net's parts one by one. Both are read, the newer form is written. What the file does not say,
//! the classes and the channels' names, comes from the dataset's fingerprint.
//!
//! nnU-Net takes axes as stored, so a plan with an orientation is written for data that are stored
//! so, and read with the orientation that all cases of the fingerprint share.

mod configuration;

use std::collections::BTreeMap;
use std::path::Path;

use crossmod_volume::io::write_atomic;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use configuration::Configuration;
pub use configuration::Intensities;

use super::axes::{self, Frame};
use super::why::{self, times};
use super::{Channel, Dims, PlanConfig, SegmentationPlan, Transpose, room};
use crate::segment::fingerprint::{Fingerprint, median};
use crate::{Error, Result};

/// Longest file read, bytes.
const LONGEST: u64 = 64 << 20;

/// Configurations that name each other as their base, at most.
const MOST_BASES: usize = 8;

/// A whole file; keys not named here are kept as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plans {
    /// The dataset's name.
    pub dataset_name: String,
    /// What the plans are called.
    pub plans_name: String,
    /// Median of the spacings, turned.
    pub original_median_spacing_after_transp: [f64; 3],
    /// Median of the shapes, turned.
    pub original_median_shape_after_transp: [i64; 3],
    /// nnU-Net's class that reads images.
    pub image_reader_writer: String,
    /// Which stored axis becomes the first, second and third.
    pub transpose_forward: [usize; 3],
    /// The inverse.
    pub transpose_backward: [usize; 3],
    /// The configurations by name.
    pub configurations: BTreeMap<String, Map<String, Value>>,
    /// Intensities of each channel's foreground, by its number.
    pub foreground_intensity_properties_per_channel: BTreeMap<String, Intensities>,
    /// All else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Plans {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Run`] where it is not nnU-Net's `plans.json`; what reading gives.
    pub fn load(path: &Path) -> Result<Self> {
        let text = super::text_of(path, LONGEST)?;
        serde_json::from_str(&text).map_err(|e| {
            let message = format!("expected nnU-Net's plans.json (version 2), found an error: {e}");
            Error::run(message, path)
        })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Where it cannot be written; nothing is then left behind.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::Recipe(e.to_string()))?;
        Ok(write_atomic(path, |out| writeln!(out, "{text}"))?)
    }

    /// nnU-Net's plans of a dataset: each of `plans` under nnU-Net's name for it. A 3-D plan of
    /// coarser voxels than another's is `3d_lowres`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a plan that nnU-Net has no name for: 2.5-D, or a net it does not have.
    pub fn of(fingerprint: &Fingerprint, plans: &[&SegmentationPlan]) -> Result<Self> {
        let Some(first) = plans.first() else {
            return Err(Error::Recipe("expected a plan to write, found none".into()));
        };
        let frame = Frame::of(fingerprint);
        let forward = first.transpose.forward;
        let turned = |of: &dyn Fn(usize) -> Vec<f64>| forward.map(|axis| median(&mut of(axis)));
        let spacing = turned(&|axis| frame.cases.iter().map(|c| c.spacing_mm[axis]).collect());
        let shape = turned(&|axis| frame.cases.iter().map(|c| c.shape[axis] as f64).collect());
        let volume = |plan: &SegmentationPlan| plan.spacing_mm.iter().product::<f64>();
        let finest = plans
            .iter()
            .filter(|plan| plan.dims == Dims::Three)
            .map(|plan| volume(plan))
            .fold(f64::INFINITY, f64::min);
        let mut configurations = BTreeMap::new();
        for plan in plans {
            let name = match plan.dims {
                Dims::Two => "2d",
                Dims::Three if volume(plan) > finest * 1.01 => "3d_lowres",
                Dims::Three => "3d_fullres",
                Dims::TwoAndHalf { .. } => {
                    return Err(Error::Recipe(
                        "expected a 2-D or 3-D plan to write for nnU-Net, found 2.5-D, which it does \
                         not have; plan with --dims 2d"
                            .into(),
                    ));
                }
            };
            configurations.insert(name.to_owned(), configuration::write(name, plan)?);
        }
        if configurations.contains_key("3d_lowres") {
            if let Some(low) = configurations.get_mut("3d_lowres") {
                low.insert("next_stage".into(), "3d_cascade_fullres".into());
            }
            let cascade = json!({"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"});
            if let Value::Object(cascade) = cascade {
                configurations.insert("3d_cascade_fullres".into(), cascade);
            }
        }
        let intensities = fingerprint.channels.iter().enumerate();
        let mut other = Map::new();
        other.insert("experiment_planner_used".into(), "ExperimentPlanner".into());
        other.insert("label_manager".into(), "LabelManager".into());
        Ok(Self {
            dataset_name: fingerprint.dataset.clone(),
            plans_name: "nnUNetPlans".into(),
            original_median_spacing_after_transp: spacing,
            original_median_shape_after_transp: shape.map(|s| s.round_ties_even() as i64),
            image_reader_writer: if fingerprint.slices {
                "NaturalImage2DIO".into()
            } else {
                "SimpleITKIO".into()
            },
            transpose_forward: forward,
            transpose_backward: first.transpose.backward(),
            configurations,
            foreground_intensity_properties_per_channel: intensities
                .filter_map(|(i, channel)| Some((i.to_string(), channel.foreground?.into())))
                .collect(),
            other,
        })
    }

    /// The plan of one configuration, for the dataset of `fingerprint`; `config` tells the speed and
    /// memory that its reasons speak of, not what is planned.
    ///
    /// # Errors
    /// [`Error::Recipe`] where there is no such configuration, or it has what this program does not.
    pub fn plan(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        config: &PlanConfig,
    ) -> Result<SegmentationPlan> {
        let wrong = |message: String| {
            Err(Error::Recipe(format!(
                "{message} (configuration {name} of {})",
                self.plans_name
            )))
        };
        let table = self.resolved(name, MOST_BASES)?;
        let of: Configuration = match serde_json::from_value(Value::Object(table)) {
            Ok(of) => of,
            Err(e) => return wrong(format!("expected nnU-Net's keys, found an error: {e}")),
        };
        let axes = of.patch_size.len();
        let lengths = [of.spacing.len(), of.median_image_size_in_voxels.len()];
        if !(2..=3).contains(&axes) || lengths != [axes; 2] {
            return wrong(format!(
                "expected patch_size, spacing and median_image_size_in_voxels of 2 or 3 axes, found \
                 {axes} and {lengths:?}"
            ));
        }
        let dims = if axes == 3 { Dims::Three } else { Dims::Two };
        let net = match configuration::net(&of) {
            Ok(net) => net,
            Err(message) => return wrong(message),
        };
        if of.normalization_schemes.len() != fingerprint.channels.len() {
            return wrong(format!(
                "expected a normalisation for each of the dataset's {} channels, found {}",
                fingerprint.channels.len(),
                of.normalization_schemes.len()
            ));
        }
        let mut channels = Vec::new();
        for (i, scheme) in of.normalization_schemes.iter().enumerate() {
            let masked = of.use_mask_for_norm.get(i).copied().unwrap_or(false);
            let known = self
                .foreground_intensity_properties_per_channel
                .get(&i.to_string());
            match configuration::normalisation(scheme, masked, known) {
                Ok(normalisation) => channels.push(Channel {
                    name: fingerprint.channels[i].name.clone(),
                    normalisation,
                }),
                Err(message) => return wrong(message),
            }
        }
        let mut transpose = Transpose {
            orientation: Frame::of(fingerprint).orientation,
            forward: self.transpose_forward,
        };
        let mut order = transpose.forward;
        order.sort_unstable();
        if order != [0, 1, 2] {
            return wrong(format!(
                "expected transpose_forward of 0, 1 and 2, found {order:?}"
            ));
        }
        if fingerprint
            .cases
            .iter()
            .any(|c| Some(c.orientation) != transpose.orientation)
        {
            // nnU-Net took them as they were stored.
            transpose.orientation = None;
        }
        let deep = |values: &[f64], first: f64| match *values {
            [y, x] => [first, y, x],
            [z, y, x] => [z, y, x],
            _ => [first; 3],
        };
        let slices = self.original_median_shape_after_transp[0].max(1) as f64;
        let (mirror_axes, why_mirror) = axes::mirror(fingerprint, transpose, dims.axes());
        let mut plan = SegmentationPlan {
            dataset: fingerprint.dataset.clone(),
            spacing_mm: deep(&of.spacing, self.original_median_spacing_after_transp[0]),
            patch: deep(&of.patch_size, 1.0).map(|p| p as usize),
            batch: of.batch_size,
            batch_dice: of.batch_dice,
            mirror_axes,
            ignore: fingerprint.ignore,
            ram_mb: 0,
            median_shape: deep(&of.median_image_size_in_voxels, slices).map(|s| s as usize),
            reasons: Vec::new(),
            dims,
            transpose,
            net,
            channels,
            classes: fingerprint.classes(),
        };
        if let Err(message) = plan.check() {
            return wrong(message);
        }
        let (ram_mb, words) = room::expense(&plan, fingerprint, config);
        plan.ram_mb = ram_mb;
        plan.reasons.push(format!(
            "patch {}, batch {}, spacing, net and normalisation: as {name} of nnU-Net's plans {}",
            times(plan.patch),
            plan.batch,
            self.plans_name
        ));
        plan.reasons.extend(words);
        plan.reasons.push(format!("mirroring: {why_mirror}"));
        plan.reasons.extend(why::classes(fingerprint));
        Ok(plan)
    }

    /// A configuration on top of the one it inherits from.
    fn resolved(&self, name: &str, bases: usize) -> Result<Map<String, Value>> {
        let Some(own) = self.configurations.get(name) else {
            let known: Vec<&str> = self.configurations.keys().map(String::as_str).collect();
            return Err(Error::Recipe(format!(
                "expected one of the configurations {}, found {name}",
                known.join(", ")
            )));
        };
        let Some(base) = own.get("inherits_from").and_then(Value::as_str) else {
            return Ok(own.clone());
        };
        if bases == 0 {
            return Err(Error::Recipe(format!(
                "expected configurations that inherit from each other without a circle, found one \
                 at {name}"
            )));
        }
        let mut table = self.resolved(base, bases - 1)?;
        table.extend(own.clone());
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::super::NetKind;
    use super::super::tests::fingerprint;
    use super::*;
    use crossmod_volume::intensity::Normalise;

    fn planned(dims: Dims) -> (Fingerprint, SegmentationPlan) {
        let print = fingerprint("CT", [200, 30, 180], [1.0, 4.0, 1.0], 12);
        let config = PlanConfig {
            dims: Some(dims),
            ..PlanConfig::default()
        };
        let plan = SegmentationPlan::make(&print, &config).expect("a plan");
        (print, plan)
    }

    #[test]
    fn plans_come_back_from_nnunets_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nnUNetPlans.json");
        let (print, three) = planned(Dims::Three);
        let (_, two) = planned(Dims::Two);
        let written = Plans::of(&print, &[&two, &three]).expect("plans");
        written.save(&path).expect("written");
        let read = Plans::load(&path).expect("read");
        assert_eq!(read, written);
        assert_eq!(read.transpose_forward, [1, 0, 2]);
        assert_eq!(read.original_median_shape_after_transp, [30, 200, 180]);
        for (name, plan) in [("2d", two), ("3d_fullres", three)] {
            let back = read
                .plan(name, &print, &PlanConfig::default())
                .expect("a plan");
            assert_eq!(
                SegmentationPlan {
                    reasons: plan.reasons.clone(),
                    ..back
                },
                plan
            );
        }
        let error = read
            .plan("3d_lowres", &print, &PlanConfig::default())
            .expect_err("refused");
        assert!(error.to_string().contains("2d, 3d_fullres"), "{error}");
    }

    /// A file as nnU-Net's second version wrote before 2024, and as it writes since.
    #[test]
    fn both_forms_are_read_and_unknown_keys_kept() {
        let config = |parts: &str| {
            format!(
                r#"{{"data_identifier": "nnUNetPlans_3d_fullres", "batch_size": 9,
                "patch_size": [40, 56, 40], "median_image_size_in_voxels": [36.0, 50.0, 35.0],
                "spacing": [1.0, 1.0, 1.0], "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [true], "batch_dice": false, {parts}}}"#
            )
        };
        let older = r#""UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 32,
            "unet_max_num_features": 320, "n_conv_per_stage_encoder": [2, 2, 2, 2],
            "n_conv_per_stage_decoder": [2, 2, 2], "num_pool_per_axis": [3, 3, 3],
            "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
            "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]"#;
        let newer = r#""architecture": {"network_class_name":
            "dynamic_network_architectures.architectures.unet.PlainConvUNet", "arch_kwargs":
            {"n_stages": 4, "features_per_stage": [32, 64, 128, 256],
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
            "kernel_sizes": [[3, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
            "n_conv_per_stage": [2, 2, 2, 2], "n_conv_per_stage_decoder": [2, 2, 2]}}"#;
        let text = format!(
            r#"{{"dataset_name": "Dataset004_Hippocampus", "plans_name": "nnUNetPlans",
            "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
            "original_median_shape_after_transp": [36, 50, 35],
            "image_reader_writer": "SimpleITKIO", "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2], "experiment_planner_used": "ExperimentPlanner",
            "foreground_intensity_properties_per_channel": {{}}, "mine": 7,
            "configurations": {{"3d_fullres": {}, "old": {}, "small":
            {{"inherits_from": "old", "batch_size": 3}}, "circle": {{"inherits_from": "circle"}}}}}}"#,
            config(newer),
            config(older)
        );
        let plans: Plans = serde_json::from_str(&text).expect("plans");
        let print = fingerprint("MRI", [36, 50, 35], [1.0; 3], 260);
        let of = |name: &str| plans.plan(name, &print, &PlanConfig::default());
        let new = of("3d_fullres").expect("the newer form");
        assert_eq!((new.patch, new.batch), ([40, 56, 40], 9));
        assert_eq!(new.net.features, [32, 64, 128, 256]);
        let masked = Normalise::ZScore {
            within_nonzero: true,
        };
        assert_eq!(new.channels[0].normalisation, masked);
        let old = of("old").expect("the older form");
        assert_eq!(old.net, new.net);
        assert_eq!(of("small").expect("an heir").batch, 3);
        assert!(of("circle").is_err_and(|e| e.to_string().contains("circle")));
        let back = serde_json::to_value(&plans).expect("JSON");
        assert_eq!(back, serde_json::from_str::<Value>(&text).expect("JSON"));
    }

    #[test]
    fn what_nnunet_does_not_have_is_refused() {
        let (print, plan) = planned(Dims::TwoAndHalf { context: 1 });
        assert!(Plans::of(&print, &[&plan]).is_err_and(|e| e.to_string().contains("2.5-D")));
        assert!(Plans::of(&print, &[]).is_err());
        let (print, mut plan) = planned(Dims::Three);
        plan.net.kind = NetKind::NormFree;
        assert!(Plans::of(&print, &[&plan]).is_err_and(|e| e.to_string().contains("plain-conv")));
    }
}
