use super::*;
use crate::fit::{NetGradients, Sgd, SgdConfig};
use crate::net::weights::collect;
use crate::{device, ops};

fn net(kind: NetKind, strides: &[[usize; 3]], deep_supervision: bool) -> Net {
    let stages = strides.len();
    let resnet = kind == NetKind::Resnet9;
    let mut down = vec![2; stages];
    if resnet {
        down[stages - 1] = 3;
    }
    Net {
        kind,
        features: (0..stages).map(|i| 2 + i).collect(),
        strides: strides.to_vec(),
        kernels: strides
            .iter()
            .map(|s| s.map(|s| if s == 1 { 1 } else { 3 }))
            .chain([[1, 3, 3]])
            .skip(1)
            .collect(),
        convs_per_stage: down,
        convs_per_stage_decoder: vec![usize::from(!resnet); stages - 1],
        deep_supervision,
    }
}

const KINDS: [NetKind; 6] = [
    NetKind::PlainConv,
    NetKind::ResidualEncoder,
    NetKind::ResUnet,
    NetKind::NormFree,
    NetKind::ClassicUnet,
    NetKind::Resnet9,
];

/// 64 to 1024 features, two convolutions a level, one class: as counted of the usual
/// implementation with transposed convolutions and without norm.
#[test]
fn the_classic_u_net_has_its_parameters() {
    let net = Net {
        kind: NetKind::ClassicUnet,
        features: vec![64, 128, 256, 512, 1024],
        strides: [vec![[1; 3]], vec![[1, 2, 2]; 4]].concat(),
        kernels: vec![[1, 3, 3]; 5],
        convs_per_stage: vec![2; 5],
        convs_per_stage_decoder: vec![2; 4],
        deep_supervision: false,
    };
    let made = net.init([1, 1], &mut Rng::new(1, 0, 0), &device::cpu());
    assert_eq!(made.num_params(), 31_030_593);
}

fn noise(shape: [usize; 5], seed: u64, device: &Device) -> Tensor<5> {
    let mut rng = Rng::new(seed, 0, 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
}

/// Every kind, slices and volumes: an output of the input's size for each class, one more of each
/// supervised stage, and as many parameters as planned.
#[test]
fn shapes_and_parameters_are_the_plans() {
    let device = device::cpu();
    let deep: &[[usize; 3]] = &[[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]];
    let flat: &[[usize; 3]] = &[[1, 1, 1], [1, 2, 2], [1, 2, 2]];
    for kind in KINDS {
        for (strides, size) in [(deep, [4, 16, 24]), (flat, [1, 8, 16])] {
            for supervised in [false, true] {
                let plan = net(kind, strides, supervised);
                let made = plan.init([2, 3], &mut Rng::new(1, 0, 0), &device);
                let [d, h, w] = size;
                let x = noise([2, 2, d, h, w], 2, &device);
                let outputs = made.forward_deep(x.clone());
                assert_eq!(made.forward(x).dims(), [2, 3, d, h, w]);
                let stages = (0..strides.len() - 1).filter(|&s| plan.supervises(s));
                assert_eq!(outputs.len(), stages.count(), "{kind:?}");
                let mut size = size;
                for (stage, output) in outputs.iter().enumerate() {
                    if stage > 0 {
                        size = [0, 1, 2].map(|a| size[a] / strides[stage][a]);
                    }
                    assert_eq!(output.dims()[2..], size, "{kind:?} stage {stage}");
                }
                let counted: usize = collect(&made).iter().map(|p| p.values.len()).sum();
                let cost = crate::segment::plan::cost(&plan, [2, 3], [d, h, w], 1);
                assert_eq!(cost.parameters, counted as f64, "{kind:?}");
            }
        }
    }
}

/// The gradient of every parameter of every kind reaches it, and a step along it lowers the loss.
#[test]
fn a_step_lowers_the_loss_of_every_kind() {
    let device = device::cpu_training();
    let strides = [[1, 1, 1], [2, 2, 2], [1, 2, 2]];
    for kind in KINDS {
        let made = net(kind, &strides, true).init([1, 2], &mut Rng::new(3, 0, 0), &device);
        let x = noise([1, 1, 4, 8, 8], 4, &device);
        let loss = |net: &PlannedNet| {
            let outputs = net.forward_deep(x.clone());
            let small = ops::average_pool(x.clone(), [2, 2, 2]);
            let goals = [x.clone(), small];
            let each = outputs.into_iter().zip(goals).map(|(y, x)| {
                let goal = Tensor::cat(vec![x.clone() * 2.0, x], 1);
                (y - goal).square().mean()
            });
            each.reduce(|a, b| a + b).expect("an output")
        };
        let before = loss(&made);
        let mut sgd = Sgd::new(&SgdConfig::default(), &made);
        let grads = NetGradients::take(&made, before.backward());
        assert!(grads.all_reached(), "{kind:?}");
        let stepped = sgd.step(made, grads, 2e-3, &device);
        let [before, after] = [before, loss(&stepped)].map(|l| l.into_scalar::<f32>());
        assert!(after < before, "{kind:?}: {after} after {before}");
    }
}

/// A residual block whose convolutions are zero passes its input on: averaged where strided.
#[test]
fn what_goes_around_a_block_is_its_input() {
    let device = device::cpu();
    let mut rng = Rng::new(5, 0, 0);
    let block = Block::residual(Style::Affine, [3, 3], [3; 3], [1, 2, 2], &mut rng, &device);
    let Block::Residual(block) = block.map(&mut Zero) else {
        panic!("a residual block");
    };
    let x = noise([1, 3, 2, 4, 4], 6, &device);
    let y = Block::Residual(block).forward(x.clone());
    let mean = ops::average_pool(x, [1, 2, 2]);
    let expected = ops::pointwise(mean, ops::Pointwise::LeakyRelu(0.01));
    let difference = (y - expected).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-6, "{difference}");
}

struct Zero;

impl burn::module::ModuleMapper for Zero {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<Tensor<D>>,
    ) -> burn::module::Param<Tensor<D>> {
        param.map(|t| t.zeros_like())
    }
}
