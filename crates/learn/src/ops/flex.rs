//! [`NetOps`] on the CPU: tensors in, `crossmod-kernels` on their slices, tensors
//! out.

use burn::backend::Flex;
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use crossmod_kernels::{Activation, Conv, InstanceNorm, grad_bias};

use super::simple::{Binary, Unary};
use super::{NORM_EPSILON, NetGrads, NetOps, NormStats, Walk};

/// Batch, channels, and depth (1 where there is none), height and width.
pub(super) fn shape(tensor: &FlexTensor) -> (usize, usize, [usize; 3]) {
    let dims = tensor.layout().shape();
    let size = match dims.num_dims() {
        5 => [dims[2], dims[3], dims[4]],
        _ => [1, dims[2], dims[3]],
    };
    (dims[0], dims[1], size)
}

/// A tensor of as many axes as `like`.
pub(super) fn tensor(
    values: Vec<f32>,
    like: &FlexTensor,
    [n, c]: [usize; 2],
    size: [usize; 3],
) -> FlexTensor {
    let shape = match like.layout().shape().num_dims() {
        5 => vec![n, c, size[0], size[1], size[2]],
        _ => vec![n, c, size[1], size[2]],
    };
    FlexTensor::from_data(TensorData::new(values, shape))
}

pub(super) fn vector(values: Vec<f32>) -> FlexTensor {
    let n = values.len();
    FlexTensor::from_data(TensorData::new(values, [n]))
}

fn geometry(
    walk: Walk,
    batch: usize,
    [in_channels, out_channels]: [usize; 2],
    in_size: [usize; 3],
    kernel: [usize; 3],
) -> Conv {
    Conv {
        batch,
        in_channels,
        out_channels,
        in_size,
        kernel,
        stride: walk.stride,
        padding: walk.padding,
        mode: walk.mode,
    }
}

fn forward(x: FlexTensor, w: FlexTensor, b: Option<FlexTensor>, walk: Walk) -> FlexTensor {
    let (x, w, b) = (
        x.to_contiguous(),
        w.to_contiguous(),
        b.map(|b| b.to_contiguous()),
    );
    let (batch, in_channels, in_size) = shape(&x);
    let (out_channels, _, kernel) = shape(&w);
    let conv = geometry(walk, batch, [in_channels, out_channels], in_size, kernel);
    let mut y = vec![0.0; conv.out_len()];
    conv.forward(
        x.storage(),
        w.storage(),
        b.as_ref().map(|b| b.storage()),
        &mut y,
    );
    tensor(y, &x, [batch, out_channels], conv.out_size())
}

impl NetOps for Flex {
    fn net_conv(x: FlexTensor, w: FlexTensor, b: FlexTensor, walk: Walk) -> FlexTensor {
        forward(x, w, Some(b), walk)
    }

    fn net_conv_transpose(x: FlexTensor, w: FlexTensor, b: FlexTensor, walk: Walk) -> FlexTensor {
        let (_, channels, _) = shape(&w);
        let (_, _, small) = shape(&x);
        let size = [0, 1, 2].map(|i| small[i] * walk.stride[i]);
        let mut y = Self::conv_grad_input(x, w, size, walk);
        let (b, plane) = (b.to_contiguous(), size.iter().product());
        let offsets: &[f32] = b.storage();
        for (i, row) in y.storage_mut::<f32>().chunks_mut(plane).enumerate() {
            row.iter_mut().for_each(|v| *v += offsets[i % channels]);
        }
        y
    }

    fn net_instance_norm(x: FlexTensor, activation: Activation) -> FlexTensor {
        Self::instance_norm_stats(x, None, None, activation).0
    }

    fn net_instance_norm_affine(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        activation: Activation,
    ) -> FlexTensor {
        Self::instance_norm_stats(x, None, Some((gamma, beta)), activation).0
    }

    fn net_instance_norm_add(x: FlexTensor, residual: FlexTensor) -> FlexTensor {
        Self::instance_norm_stats(x, Some(residual), None, Activation::None).0
    }

    fn net_unary(x: FlexTensor, op: Unary) -> FlexTensor {
        op.forward(x)
    }

    fn net_binary(a: FlexTensor, b: FlexTensor, op: Binary) -> FlexTensor {
        op.forward(a, b)
    }
}

impl NetGrads for Flex {
    fn conv_grad_input(dy: FlexTensor, w: FlexTensor, size: [usize; 3], walk: Walk) -> FlexTensor {
        let (dy, w) = (dy.to_contiguous(), w.to_contiguous());
        let (batch, _, _) = shape(&dy);
        let (out_channels, in_channels, kernel) = shape(&w);
        let conv = geometry(walk, batch, [in_channels, out_channels], size, kernel);
        let mut dx = vec![0.0; conv.in_len()];
        conv.grad_input(dy.storage(), w.storage(), &mut dx);
        tensor(dx, &dy, [batch, in_channels], size)
    }

    fn conv_grad_weight(
        x: FlexTensor,
        dy: FlexTensor,
        kernel: [usize; 3],
        walk: Walk,
    ) -> FlexTensor {
        let (x, dy) = (x.to_contiguous(), dy.to_contiguous());
        let (batch, in_channels, in_size) = shape(&x);
        let (_, out_channels, _) = shape(&dy);
        let conv = geometry(walk, batch, [in_channels, out_channels], in_size, kernel);
        let mut dw = vec![0.0; conv.weight_len()];
        conv.grad_weight(x.storage(), dy.storage(), &mut dw);
        tensor(dw, &x, [out_channels, in_channels], kernel)
    }

    fn conv_plain(x: FlexTensor, w: FlexTensor, walk: Walk) -> FlexTensor {
        forward(x, w, None, walk)
    }

    fn channel_sum(dy: FlexTensor) -> FlexTensor {
        let dy = dy.to_contiguous();
        let (batch, channels, size) = shape(&dy);
        let mut db = vec![0.0; channels];
        grad_bias(
            dy.storage(),
            batch,
            channels,
            size.iter().product(),
            &mut db,
        );
        vector(db)
    }

    fn unary_grad(x: FlexTensor, op: &Unary, dy: FlexTensor) -> FlexTensor {
        op.gradient(x, dy)
    }

    fn binary_grad(
        a: FlexTensor,
        b: FlexTensor,
        op: Binary,
        dy: FlexTensor,
    ) -> (FlexTensor, FlexTensor) {
        op.gradient(a, b, dy)
    }

    fn instance_norm_stats(
        x: FlexTensor,
        residual: Option<FlexTensor>,
        affine: Option<(FlexTensor, FlexTensor)>,
        activation: Activation,
    ) -> (FlexTensor, NormStats) {
        let (x, affine) = (x.to_contiguous(), contiguous_pair(affine));
        let norm = norm(&x, activation);
        let mut y = vec![0.0; norm.instances * norm.spatial];
        let mut stats = NormStats {
            mean: vec![0.0; norm.instances],
            inv_std: vec![0.0; norm.instances],
        };
        let pair = affine.as_ref().map(|(g, b)| (g.storage(), b.storage()));
        let (mean, inv_std) = (&mut stats.mean, &mut stats.inv_std);
        match residual.map(|r| r.to_contiguous()) {
            Some(r) => norm.forward_add(x.storage(), r.storage(), pair, &mut y, mean, inv_std),
            None => norm.forward(x.storage(), pair, &mut y, mean, inv_std),
        }
        let (n, c, size) = shape(&x);
        (tensor(y, &x, [n, c], size), stats)
    }

    fn instance_norm_grad(
        x: FlexTensor,
        affine: Option<(FlexTensor, FlexTensor)>,
        stats: NormStats,
        dy: FlexTensor,
        activation: Activation,
    ) -> (FlexTensor, Option<(FlexTensor, FlexTensor)>) {
        let (x, dy, affine) = (
            x.to_contiguous(),
            dy.to_contiguous(),
            contiguous_pair(affine),
        );
        let norm = norm(&x, activation);
        let mut dx = vec![0.0; norm.instances * norm.spatial];
        let mut daffine = affine
            .as_ref()
            .map(|_| (vec![0.0; norm.channels], vec![0.0; norm.channels]));
        norm.backward(
            x.storage(),
            &stats.mean,
            &stats.inv_std,
            affine.as_ref().map(|(g, b)| (g.storage(), b.storage())),
            dy.storage(),
            &mut dx,
            daffine
                .as_mut()
                .map(|(g, b)| (g.as_mut_slice(), b.as_mut_slice())),
        );
        let (n, c, size) = shape(&x);
        (
            tensor(dx, &x, [n, c], size),
            daffine.map(|(g, b)| (vector(g), vector(b))),
        )
    }
}

fn contiguous_pair(pair: Option<(FlexTensor, FlexTensor)>) -> Option<(FlexTensor, FlexTensor)> {
    pair.map(|(a, b)| (a.to_contiguous(), b.to_contiguous()))
}

fn norm(x: &FlexTensor, activation: Activation) -> InstanceNorm {
    let (n, c, size) = shape(x);
    InstanceNorm {
        instances: n * c,
        channels: c,
        spatial: size.iter().product(),
        eps: NORM_EPSILON,
        activation,
    }
}
