//! One configuration of nnU-Net's `plans.json`: its net and normalisation, read and written.

use crossmod_volume::intensity::{Normalise, Statistics};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::segment::plan::{Net, NetKind, SegmentationPlan};
use crate::{Error, Result};

/// The parts of a configuration that are used.
#[derive(Debug, Deserialize)]
pub(super) struct Configuration {
    pub(super) batch_size: usize,
    pub(super) patch_size: Vec<f64>,
    pub(super) spacing: Vec<f64>,
    pub(super) median_image_size_in_voxels: Vec<f64>,
    pub(super) normalization_schemes: Vec<String>,
    #[serde(default)]
    pub(super) use_mask_for_norm: Vec<bool>,
    #[serde(default)]
    pub(super) batch_dice: bool,
    architecture: Option<Architecture>,
    #[serde(flatten)]
    older: Older,
}

#[derive(Debug, Deserialize)]
struct Architecture {
    network_class_name: String,
    arch_kwargs: Arguments,
}

#[derive(Debug, Deserialize)]
struct Arguments {
    features_per_stage: Vec<usize>,
    kernel_sizes: Vec<Vec<usize>>,
    strides: Vec<Vec<usize>>,
    n_conv_per_stage: Option<Vec<usize>>,
    n_blocks_per_stage: Option<Vec<usize>>,
    n_conv_per_stage_decoder: Vec<usize>,
}

/// The net as files before 2024 have it.
#[derive(Debug, Deserialize)]
struct Older {
    #[serde(rename = "UNet_class_name")]
    class: Option<String>,
    #[serde(rename = "UNet_base_num_features")]
    base_features: Option<usize>,
    unet_max_num_features: Option<usize>,
    n_conv_per_stage_encoder: Option<Vec<usize>>,
    n_conv_per_stage_decoder: Option<Vec<usize>>,
    pool_op_kernel_sizes: Option<Vec<Vec<usize>>>,
    conv_kernel_sizes: Option<Vec<Vec<usize>>>,
}

/// The net of a configuration of either form.
pub(super) fn net(of: &Configuration) -> std::result::Result<Net, String> {
    let missing = |key: &str| format!("expected {key}, found none");
    let (class, features, strides, kernels, convs, decoder) = match &of.architecture {
        Some(Architecture {
            network_class_name,
            arch_kwargs: kwargs,
        }) => (
            network_class_name.as_str(),
            kwargs.features_per_stage.clone(),
            &kwargs.strides,
            &kwargs.kernel_sizes,
            kwargs
                .n_conv_per_stage
                .as_ref()
                .or(kwargs.n_blocks_per_stage.as_ref()),
            Some(&kwargs.n_conv_per_stage_decoder),
        ),
        None => {
            let older = &of.older;
            let strides = older
                .pool_op_kernel_sizes
                .as_ref()
                .ok_or_else(|| missing("architecture"))?;
            let base = older
                .base_features
                .ok_or_else(|| missing("UNet_base_num_features"))?;
            let most = older.unet_max_num_features.unwrap_or(320);
            let features = (0..strides.len() as u32)
                .map(|i| base.saturating_mul(1 << i.min(30)).min(most))
                .collect();
            (
                older.class.as_deref().unwrap_or("PlainConvUNet"),
                features,
                strides,
                older
                    .conv_kernel_sizes
                    .as_ref()
                    .ok_or_else(|| missing("conv_kernel_sizes"))?,
                older.n_conv_per_stage_encoder.as_ref(),
                older.n_conv_per_stage_decoder.as_ref(),
            )
        }
    };
    let kind = match class.rsplit('.').next() {
        Some("PlainConvUNet") => NetKind::PlainConv,
        Some("ResidualEncoderUNet") => NetKind::ResidualEncoder,
        _ => {
            return Err(format!(
                "expected the net PlainConvUNet or ResidualEncoderUNet, found {class}"
            ));
        }
    };
    let triple = |of: &Vec<usize>| match **of {
        [y, x] => Ok([1, y, x]),
        [z, y, x] => Ok([z, y, x]),
        _ => Err(format!("expected 2 or 3 axes, found {of:?}")),
    };
    let triples = |of: &[Vec<usize>]| of.iter().map(triple).collect::<std::result::Result<_, _>>();
    Ok(Net {
        kind,
        features,
        strides: triples(strides)?,
        kernels: triples(kernels)?,
        convs_per_stage: convs.cloned().ok_or_else(|| missing("n_conv_per_stage"))?,
        convs_per_stage_decoder: decoder
            .cloned()
            .ok_or_else(|| missing("n_conv_per_stage_decoder"))?,
        deep_supervision: true,
    })
}

pub(super) fn normalisation(
    scheme: &str,
    masked: bool,
    known: Option<&Intensities>,
) -> std::result::Result<Normalise, String> {
    match scheme {
        "CTNormalization" => known.map(|of| Normalise::Ct((*of).into())).ok_or_else(|| {
            "expected the foreground's intensities for CTNormalization, found none".to_owned()
        }),
        "ZScoreNormalization" => Ok(Normalise::ZScore {
            within_nonzero: masked,
        }),
        "RescaleTo01Normalization" => Ok(Normalise::Rescale),
        "NoNormalization" => Ok(Normalise::None),
        other => Err(format!(
            "expected CTNormalization, ZScoreNormalization, RescaleTo01Normalization or \
             NoNormalization, found {other}"
        )),
    }
}

pub(super) fn write(name: &str, plan: &SegmentationPlan) -> Result<Map<String, Value>> {
    let axes = plan.dims.axes();
    let dims = axes.len();
    let of = |values: &[usize; 3]| axes.iter().map(|&a| values[a]).collect::<Vec<usize>>();
    let all = |values: &[[usize; 3]]| values.iter().map(of).collect::<Vec<Vec<usize>>>();
    let net = &plan.net;
    let (class, convs) = match net.kind {
        NetKind::PlainConv => ("PlainConvUNet", "n_conv_per_stage"),
        NetKind::ResidualEncoder => ("ResidualEncoderUNet", "n_blocks_per_stage"),
        other => {
            return Err(Error::Recipe(format!(
                "expected a plain-conv or residual-encoder net to write for nnU-Net, found {other:?}"
            )));
        }
    };
    let mut arguments = json!({
        "n_stages": net.features.len(),
        "features_per_stage": net.features,
        "conv_op": format!("torch.nn.modules.conv.Conv{dims}d"),
        "kernel_sizes": all(&net.kernels),
        "strides": all(&net.strides),
        convs: net.convs_per_stage,
        "n_conv_per_stage_decoder": net.convs_per_stage_decoder,
        "conv_bias": true,
        "norm_op": format!("torch.nn.modules.instancenorm.InstanceNorm{dims}d"),
        "norm_op_kwargs": {"eps": 1e-5, "affine": true},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": true},
    });
    arguments["dropout_op"] = Value::Null;
    arguments["dropout_op_kwargs"] = Value::Null;
    let (schemes, masks): (Vec<&str>, Vec<bool>) = plan
        .channels
        .iter()
        .map(|c| scheme(c.normalisation))
        .unzip();
    let resampling = |is_seg: bool, order: usize| json!({"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": null});
    let resample = "resample_data_or_seg_to_shape";
    let value = json!({
        "data_identifier": format!("nnUNetPlans_{name}"),
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": plan.batch,
        "patch_size": of(&plan.patch),
        "median_image_size_in_voxels":
            axes.iter().map(|&a| plan.median_shape[a] as f64).collect::<Vec<f64>>(),
        "spacing": axes.iter().map(|&a| plan.spacing_mm[a]).collect::<Vec<f64>>(),
        "normalization_schemes": schemes,
        "use_mask_for_norm": masks,
        "resampling_fn_data": resample,
        "resampling_fn_seg": resample,
        "resampling_fn_data_kwargs": resampling(false, 3),
        "resampling_fn_seg_kwargs": resampling(true, 1),
        "resampling_fn_probabilities": resample,
        "resampling_fn_probabilities_kwargs": resampling(false, 1),
        "architecture": {
            "network_class_name":
                format!("dynamic_network_architectures.architectures.unet.{class}"),
            "arch_kwargs": arguments,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": plan.batch_dice,
    });
    match value {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

fn scheme(normalisation: Normalise) -> (&'static str, bool) {
    match normalisation {
        Normalise::Ct(_) => ("CTNormalization", false),
        Normalise::ZScore { within_nonzero } => ("ZScoreNormalization", within_nonzero),
        Normalise::Rescale => ("RescaleTo01Normalization", false),
        Normalise::None => ("NoNormalization", false),
    }
}

/// [`Statistics`] under nnU-Net's names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intensities {
    /// Greatest.
    pub max: f32,
    /// Mean.
    pub mean: f32,
    /// Median.
    pub median: f32,
    /// Least.
    pub min: f32,
    /// Percentile 0.5.
    pub percentile_00_5: f32,
    /// Percentile 99.5.
    pub percentile_99_5: f32,
    /// Standard deviation.
    pub std: f32,
}

impl From<Intensities> for Statistics {
    fn from(of: Intensities) -> Self {
        Self {
            mean: of.mean,
            sd: of.std,
            min: of.min,
            percentile_00_5: of.percentile_00_5,
            median: of.median,
            percentile_99_5: of.percentile_99_5,
            max: of.max,
        }
    }
}

impl From<Statistics> for Intensities {
    fn from(of: Statistics) -> Self {
        Self {
            max: of.max,
            mean: of.mean,
            median: of.median,
            min: of.min,
            percentile_00_5: of.percentile_00_5,
            percentile_99_5: of.percentile_99_5,
            std: of.sd,
        }
    }
}
