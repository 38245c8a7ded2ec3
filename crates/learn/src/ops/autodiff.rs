//! The tape of [`NetOps`]: which kernels each backward pass calls.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Backend, TensorMetadata, tensor::FloatTensor};
use crossmod_kernels::Activation;

use super::simple::{Binary, Unary};
use super::{NetGrads, NetOps, NormStats, Walk};

/// Depth (1 where there is none), height and width.
fn size<T: TensorMetadata>(tensor: &T) -> [usize; 3] {
    let shape = tensor.shape();
    match shape.num_dims() {
        5 => [shape[2], shape[3], shape[4]],
        _ => [1, shape[2], shape[3]],
    }
}

/// A convolution, or the adjoint of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conv {
    Plain,
    Transposed,
}
#[derive(Debug)]
struct Norm;
#[derive(Debug)]
struct NormAffine;
#[derive(Debug)]
struct NormAdd;

impl<B: Backend + NetGrads> Backward<B, 3> for Conv {
    type State = (NodeId, NodeId, Walk);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_weight, node_bias] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, weight, walk) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight);
        let (size, kernel) = (size(&x), size(&weight));
        if let Some(node) = node_x {
            let dx = match self {
                Self::Plain => B::conv_grad_input(dy.clone(), weight, size, walk),
                // The adjoint's adjoint is the convolution itself.
                Self::Transposed => B::conv_plain(dy.clone(), weight, walk),
            };
            grads.register::<B>(node.id, dx);
        }
        if let Some(node) = node_weight {
            let (large, small) = match self {
                Self::Plain => (x, dy.clone()),
                Self::Transposed => (dy.clone(), x),
            };
            let dw = B::conv_grad_weight(large, small, kernel, walk);
            grads.register::<B>(node.id, dw);
        }
        if let Some(node) = node_bias {
            grads.register::<B>(node.id, B::channel_sum(dy));
        }
    }
}

impl Conv {
    /// Runs the operation and puts it on the tape where an input is tracked.
    fn record<B: Backend + NetGrads, C: CheckpointStrategy>(
        self,
        x: FloatTensor<Autodiff<B, C>>,
        weight: FloatTensor<Autodiff<B, C>>,
        bias: FloatTensor<Autodiff<B, C>>,
        walk: Walk,
    ) -> FloatTensor<Autodiff<B, C>> {
        let forward = match self {
            Self::Plain => B::net_conv,
            Self::Transposed => B::net_conv_transpose,
        };
        let prep = Backward::<B, 3>::prepare::<C>(self, [x.node(), weight.node(), bias.node()]);
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), walk);
                let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
                prep.finish(state, forward(x, weight, bias, walk))
            }
            OpsKind::UnTracked(prep) => {
                let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
                prep.finish(forward(x, weight, bias, walk))
            }
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

impl<B: Backend + NetGrads> Backward<B, 2> for NormAdd {
    type State = (NodeId, NormStats);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_residual] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, stats) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        if let Some(node) = node_x {
            let (dx, _) = B::instance_norm_grad(x, None, stats, dy.clone(), Activation::None);
            grads.register::<B>(node.id, dx);
        }
        if let Some(node) = node_residual {
            grads.register::<B>(node.id, dy);
        }
    }
}

impl<B: Backend + NetGrads> Backward<B, 1> for Unary {
    type State = NodeId;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(ops.state);
        if let Some(node) = node {
            grads.register::<B>(node.id, B::unary_grad(x, &self, dy));
        }
    }
}

impl<B: Backend + NetGrads> Backward<B, 2> for Binary {
    type State = [NodeId; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let nodes = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let [a, b] = ops
            .state
            .map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let (da, db) = B::binary_grad(a, b, self, dy);
        for (node, gradient) in nodes.into_iter().zip([da, db]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: Backend + NetGrads, C: CheckpointStrategy> NetOps for Autodiff<B, C> {
    fn net_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        walk: Walk,
    ) -> FloatTensor<Self> {
        Conv::Plain.record::<B, C>(x, weight, bias, walk)
    }

    fn net_conv_transpose(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        walk: Walk,
    ) -> FloatTensor<Self> {
        Conv::Transposed.record::<B, C>(x, weight, bias, walk)
    }

    fn net_instance_norm(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        match Norm.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&x);
                let (y, stats) = B::instance_norm_stats(x.into_primitive(), None, None, activation);
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
                let (y, stats) =
                    B::instance_norm_stats(x.into_primitive(), None, affine, activation);
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

    fn net_instance_norm_add(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let prep = NormAdd.prepare::<C>([x.node(), residual.node()]);
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&x);
                let (x, residual) = (x.into_primitive(), residual.into_primitive());
                let (y, stats) = B::instance_norm_stats(x, Some(residual), None, Activation::None);
                prep.finish((node, stats), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::net_instance_norm_add(
                x.into_primitive(),
                residual.into_primitive(),
            )),
        }
    }

    fn net_unary(x: FloatTensor<Self>, op: Unary) -> FloatTensor<Self> {
        let prep = Backward::<B, 1>::prepare::<C>(op.clone(), [x.node()]);
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&x);
                prep.finish(node, B::net_unary(x.into_primitive(), op))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::net_unary(x.into_primitive(), op)),
        }
    }

    fn net_binary(a: FloatTensor<Self>, b: FloatTensor<Self>, op: Binary) -> FloatTensor<Self> {
        let prep = Backward::<B, 2>::prepare::<C>(op, [a.node(), b.node()]);
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [&a, &b].map(|t| prep.checkpoint(t));
                let [a, b] = [a, b].map(|t| t.into_primitive());
                prep.finish(nodes, B::net_binary(a, b, op))
            }
            OpsKind::UnTracked(prep) => {
                let [a, b] = [a, b].map(|t| t.into_primitive());
                prep.finish(B::net_binary(a, b, op))
            }
        }
    }
}
