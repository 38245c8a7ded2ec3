//! [`NetOps`] on the CPU: tensors in, `crossmod-kernels` on their slices, tensors
//! out.

use burn::backend::Flex;
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use crossmod_kernels::{Activation, Conv2d, InstanceNorm, grad_bias};

use super::{NORM_EPSILON, NetGrads, NetOps, NormStats, Stride};

fn shape4(tensor: &FlexTensor) -> [usize; 4] {
    let dims = tensor.layout().shape();
    [dims[0], dims[1], dims[2], dims[3]]
}

pub(super) fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

fn geometry(x: [usize; 4], out_channels: usize, kernel: [usize; 2], stride: Stride) -> Conv2d {
    Conv2d {
        batch: x[0],
        in_channels: x[1],
        out_channels,
        in_size: [x[2], x[3]],
        kernel,
        stride: stride.stride,
        padding: stride.padding,
        mode: stride.mode,
    }
}

fn forward(x: FlexTensor, w: FlexTensor, b: Option<FlexTensor>, stride: Stride) -> FlexTensor {
    let (x, w, b) = (
        x.to_contiguous(),
        w.to_contiguous(),
        b.map(|b| b.to_contiguous()),
    );
    let (xs, ws) = (shape4(&x), shape4(&w));
    let conv = geometry(xs, ws[0], [ws[2], ws[3]], stride);
    let [h, width] = conv.out_size();
    let mut y = vec![0.0; xs[0] * ws[0] * h * width];
    conv.forward(
        x.storage(),
        w.storage(),
        b.as_ref().map(|b| b.storage()),
        &mut y,
    );
    tensor(y, &[xs[0], ws[0], h, width])
}

impl NetOps for Flex {
    fn net_conv2d(x: FlexTensor, w: FlexTensor, b: FlexTensor, stride: Stride) -> FlexTensor {
        forward(x, w, Some(b), stride)
    }

    fn net_conv_transpose2d(
        x: FlexTensor,
        w: FlexTensor,
        b: FlexTensor,
        stride: Stride,
    ) -> FlexTensor {
        let [n, _, h, width] = shape4(&x);
        let (channels, size) = (shape4(&w)[1], [h * stride.stride, width * stride.stride]);
        let mut y = Self::conv2d_grad_input(x, w, size, stride);
        let (b, plane) = (b.to_contiguous(), size[0] * size[1]);
        let offsets: &[f32] = b.storage();
        for (i, row) in y.storage_mut::<f32>().chunks_mut(plane).enumerate() {
            row.iter_mut().for_each(|v| *v += offsets[i % channels]);
        }
        debug_assert_eq!(shape4(&y)[0], n);
        y
    }

    fn net_instance_norm(x: FlexTensor, activation: Activation) -> FlexTensor {
        Self::instance_norm_stats(x, None, activation).0
    }

    fn net_instance_norm_affine(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        activation: Activation,
    ) -> FlexTensor {
        Self::instance_norm_stats(x, Some((gamma, beta)), activation).0
    }
}

impl NetGrads for Flex {
    fn conv2d_grad_input(
        dy: FlexTensor,
        w: FlexTensor,
        size: [usize; 2],
        stride: Stride,
    ) -> FlexTensor {
        let (dy, w) = (dy.to_contiguous(), w.to_contiguous());
        let (ds, ws) = (shape4(&dy), shape4(&w));
        let shape = [ds[0], ws[1], size[0], size[1]];
        let mut dx = vec![0.0; shape.iter().product()];
        let conv = geometry(shape, ws[0], [ws[2], ws[3]], stride);
        conv.grad_input(dy.storage(), w.storage(), &mut dx);
        tensor(dx, &shape)
    }

    fn conv2d_grad_weight(
        x: FlexTensor,
        dy: FlexTensor,
        kernel: [usize; 2],
        stride: Stride,
    ) -> FlexTensor {
        let (x, dy) = (x.to_contiguous(), dy.to_contiguous());
        let (xs, ds) = (shape4(&x), shape4(&dy));
        let shape = [ds[1], xs[1], kernel[0], kernel[1]];
        let mut dw = vec![0.0; shape.iter().product()];
        geometry(xs, ds[1], kernel, stride).grad_weight(x.storage(), dy.storage(), &mut dw);
        tensor(dw, &shape)
    }

    fn conv2d_plain(x: FlexTensor, w: FlexTensor, stride: Stride) -> FlexTensor {
        forward(x, w, None, stride)
    }

    fn channel_sum(dy: FlexTensor) -> FlexTensor {
        let dy = dy.to_contiguous();
        let [n, c, h, w] = shape4(&dy);
        let mut db = vec![0.0; c];
        grad_bias(dy.storage(), n, c, h * w, &mut db);
        tensor(db, &[c])
    }

    fn instance_norm_stats(
        x: FlexTensor,
        affine: Option<(FlexTensor, FlexTensor)>,
        activation: Activation,
    ) -> (FlexTensor, NormStats) {
        let (x, affine) = (x.to_contiguous(), contiguous_pair(affine));
        let shape = shape4(&x);
        let norm = norm(shape, activation);
        let mut y = vec![0.0; shape.iter().product()];
        let mut stats = NormStats {
            mean: vec![0.0; norm.instances],
            inv_std: vec![0.0; norm.instances],
        };
        norm.forward(
            x.storage(),
            affine.as_ref().map(|(g, b)| (g.storage(), b.storage())),
            &mut y,
            &mut stats.mean,
            &mut stats.inv_std,
        );
        (tensor(y, &shape), stats)
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
        let shape = shape4(&x);
        let norm = norm(shape, activation);
        let mut dx = vec![0.0; shape.iter().product()];
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
        let channels = [norm.channels];
        (
            tensor(dx, &shape),
            daffine.map(|(g, b)| (tensor(g, &channels), tensor(b, &channels))),
        )
    }
}

fn contiguous_pair(pair: Option<(FlexTensor, FlexTensor)>) -> Option<(FlexTensor, FlexTensor)> {
    pair.map(|(a, b)| (a.to_contiguous(), b.to_contiguous()))
}

fn norm([n, c, h, w]: [usize; 4], activation: Activation) -> InstanceNorm {
    InstanceNorm {
        instances: n * c,
        channels: c,
        spatial: h * w,
        eps: NORM_EPSILON,
        activation,
    }
}
