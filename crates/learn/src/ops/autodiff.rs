//! The tape of [`NetOps`]: which kernels each backward pass calls.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Backend, TensorMetadata, tensor::FloatTensor};
use crossmod_kernels::Activation;

use super::{NetGrads, NetOps, NormStats, Stride};

fn last_two<T: TensorMetadata>(tensor: &T) -> [usize; 2] {
    let shape = tensor.shape();
    [shape[2], shape[3]]
}

#[derive(Debug)]
struct Conv;
#[derive(Debug)]
struct ConvTransposed;
#[derive(Debug)]
struct Norm;
#[derive(Debug)]
struct NormAffine;

impl<B: Backend + NetGrads> Backward<B, 3> for Conv {
    type State = (NodeId, NodeId, Stride);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_weight, node_bias] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, weight, geometry) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight);
        let (size, kernel) = (last_two(&x), last_two(&weight));
        if let Some(node) = node_x {
            let dx = B::conv2d_grad_input(dy.clone(), weight, size, geometry);
            grads.register::<B>(node.id, dx);
        }
        if let Some(node) = node_weight {
            let dw = B::conv2d_grad_weight(x, dy.clone(), kernel, geometry);
            grads.register::<B>(node.id, dw);
        }
        if let Some(node) = node_bias {
            grads.register::<B>(node.id, B::channel_sum(dy));
        }
    }
}

impl<B: Backend + NetGrads> Backward<B, 3> for ConvTransposed {
    type State = (NodeId, NodeId, Stride);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_weight, node_bias] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, weight, geometry) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight);
        let kernel = last_two(&weight);
        // The forward pass is the adjoint of a convolution from the large side to the small one,
        // so that convolution is its gradient to the input.
        if let Some(node) = node_x {
            grads.register::<B>(node.id, B::conv2d_plain(dy.clone(), weight, geometry));
        }
        if let Some(node) = node_weight {
            let dw = B::conv2d_grad_weight(dy.clone(), x, kernel, geometry);
            grads.register::<B>(node.id, dw);
        }
        if let Some(node) = node_bias {
            grads.register::<B>(node.id, B::channel_sum(dy));
        }
    }
}

impl<B: Backend + NetGrads> Backward<B, 1> for Norm {
    type State = (NodeId, NormStats, Activation);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node_x] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, stats, activation) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        if let Some(node) = node_x {
            let (dx, _) = B::instance_norm_grad(x, None, stats, dy, activation);
            grads.register::<B>(node.id, dx);
        }
    }
}

impl<B: Backend + NetGrads> Backward<B, 3> for NormAffine {
    type State = (NodeId, NodeId, NodeId, NormStats, Activation);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_gamma, node_beta] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, gamma, beta, stats, activation) = ops.state;
        let [x, gamma, beta] =
            [x, gamma, beta].map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let (dx, daffine) = B::instance_norm_grad(x, Some((gamma, beta)), stats, dy, activation);
        if let Some(node) = node_x {
            grads.register::<B>(node.id, dx);
        }
        if let Some((dgamma, dbeta)) = daffine {
            for (node, gradient) in [(node_gamma, dgamma), (node_beta, dbeta)] {
                if let Some(node) = node {
                    grads.register::<B>(node.id, gradient);
                }
            }
        }
    }
}

impl<B: Backend + NetGrads, C: CheckpointStrategy> NetOps for Autodiff<B, C> {
    fn net_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Stride,
    ) -> FloatTensor<Self> {
        let prep = Conv.prepare::<C>([x.node(), weight.node(), bias.node()]);
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), geometry);
                let y = B::net_conv2d(
                    x.into_primitive(),
                    weight.into_primitive(),
                    bias.into_primitive(),
                    geometry,
                );
                prep.finish(state, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::net_conv2d(
                x.into_primitive(),
                weight.into_primitive(),
                bias.into_primitive(),
                geometry,
            )),
        }
    }

    fn net_conv_transpose2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Stride,
    ) -> FloatTensor<Self> {
        let prep = ConvTransposed.prepare::<C>([x.node(), weight.node(), bias.node()]);
        let forward = B::net_conv_transpose2d;
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), geometry);
                prep.finish(
                    state,
                    forward(
                        x.into_primitive(),
                        weight.into_primitive(),
                        bias.into_primitive(),
                        geometry,
                    ),
                )
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(
                x.into_primitive(),
                weight.into_primitive(),
                bias.into_primitive(),
                geometry,
            )),
        }
    }

    fn net_instance_norm(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        match Norm.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&x);
                let (y, stats) = B::instance_norm_stats(x.into_primitive(), None, activation);
                prep.finish((node, stats, activation), y)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::net_instance_norm(x.into_primitive(), activation))
            }
        }
    }

    fn net_instance_norm_affine(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let prep = NormAffine.prepare::<C>([x.node(), gamma.node(), beta.node()]);
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let [nx, ng, nb] = [&x, &gamma, &beta].map(|t| prep.checkpoint(t));
                let affine = Some((gamma.into_primitive(), beta.into_primitive()));
                let (y, stats) = B::instance_norm_stats(x.into_primitive(), affine, activation);
                prep.finish((nx, ng, nb, stats, activation), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::net_instance_norm_affine(
                x.into_primitive(),
                gamma.into_primitive(),
                beta.into_primitive(),
                activation,
            )),
        }
    }
}
