//! The convolution and its gradients against a direct sum in `f64`.

use super::pad::place;
use super::*;
use proptest::prelude::*;

/// Values in [-1, 1) from a seed.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Calls `f(index of y, index of x, index of w)` for every product of the definition.
fn products(conv: &Conv, mut f: impl FnMut(usize, usize, usize)) {
    let size = conv.out_size();
    let flat = |[a, b, c]: [usize; 3], size: [usize; 3]| (a * size[1] + b) * size[2] + c;
    let volume = |size: [usize; 3]| size.iter().product::<usize>();
    for b in 0..conv.batch {
        for co in 0..conv.out_channels {
            for at in positions(size) {
                let y = (b * conv.out_channels + co) * volume(size) + flat(at, size);
                for ci in 0..conv.in_channels {
                    for tap in positions(conv.kernel) {
                        let from = [0, 1, 2].map(|i| {
                            let u = (at[i] * conv.stride[i] + tap[i]) as isize;
                            place(u - conv.padding[i] as isize, conv.in_size[i], conv.mode)
                        });
                        if let [Some(u), Some(v), Some(w)] = from {
                            let x = (b * conv.in_channels + ci) * volume(conv.in_size)
                                + flat([u, v, w], conv.in_size);
                            let pair = (co * conv.in_channels + ci) * conv.taps();
                            f(y, x, pair + flat(tap, conv.kernel));
                        }
                    }
                }
            }
        }
    }
}

fn close(found: &[f32], exact: &[f64], terms: usize, what: &str) -> Result<(), TestCaseError> {
    let tolerance = 4e-7 * (terms as f64).max(16.0);
    for (i, (f, e)) in found.iter().zip(exact).enumerate() {
        prop_assert!(
            (f64::from(*f) - e).abs() < tolerance,
            "{what}[{i}] is {f}, should be {e}"
        );
    }
    Ok(())
}

/// All three passes of every instruction set, in every way, against the definition.
fn check_all(conv: &Conv, seed: u64) -> Result<(), TestCaseError> {
    let x = values(conv.in_len(), seed);
    let w = values(conv.weight_len(), seed + 1);
    let bias = values(conv.out_channels, seed + 2);
    let dy = values(conv.out_len(), seed + 3);
    let spatial: usize = conv.out_size().iter().product();
    let mut y64: Vec<f64> = (0..dy.len())
        .map(|i| f64::from(bias[i / spatial % conv.out_channels]))
        .collect();
    let mut dx64 = vec![0.0; x.len()];
    let mut dw64 = vec![0.0; w.len()];
    products(conv, |iy, ix, iw| {
        y64[iy] += f64::from(x[ix]) * f64::from(w[iw]);
        dx64[ix] += f64::from(dy[iy]) * f64::from(w[iw]);
        dw64[iw] += f64::from(dy[iy]) * f64::from(x[ix]);
    });
    let ways = [
        Way::Direct,
        Way::Panels,
        Way::Columns,
        Way::Winograd,
        Way::Unrolled,
    ];
    for (level, way) in Level::all()
        .into_iter()
        .flat_map(|level| ways.map(|way| (level, way)))
        .filter(|(_, way)| way.can(conv))
    {
        let what = |name: &str| format!("{name} of {conv:?} by {level:?}, {way:?}");
        // NaN: every element must be written.
        let mut y = vec![f32::NAN; dy.len()];
        forward::forward(level, way, conv, &x, &w, Some(&bias), &mut y);
        close(&y, &y64, conv.in_channels * conv.taps(), &what("y"))?;
        let mut dx = vec![f32::NAN; x.len()];
        grad_input::grad_input(level, way, conv, &dy, &w, &mut dx);
        close(&dx, &dx64, conv.out_channels * conv.taps() * 4, &what("dx"))?;
        let mut dw = vec![f32::NAN; w.len()];
        grad_weight::grad_weight(level, way, conv, &x, &dy, &mut dw);
        close(&dw, &dw64, conv.batch * spatial, &what("dw"))?;
    }
    Ok(())
}

/// Any geometry; two in three are images.
fn geometry() -> impl Strategy<Value = Conv> {
    let mode = prop_oneof![
        Just(Padding::Zero),
        Just(Padding::Reflect),
        Just(Padding::Replicate)
    ];
    let axis = |extra: usize| (1usize..8, 1usize..3, 0usize..4, 0..extra);
    let flat = Just((1, 1, 0, 0));
    let deep = (1usize..4, 1usize..3, 0usize..2, 0usize..7);
    (
        (1usize..4, 1usize..21, 1usize..21),
        prop_oneof![2 => flat.boxed(), 1 => deep.boxed()],
        axis(24),
        axis(40),
        mode,
    )
        .prop_map(
            |((batch, in_channels, out_channels), z, mut y, mut x, mode)| {
                // Half of them as Winograd's way takes them.
                if in_channels % 2 == 0 {
                    let side = 3 + in_channels / 2 % 2;
                    (y.0, y.1, x.0, x.1) = (side, 1, side, 1);
                }
                let axes = [z, y, x];
                Conv {
                    batch,
                    in_channels,
                    out_channels,
                    in_size: axes.map(|(k, _, p, extra)| k.saturating_sub(2 * p).max(1) + extra),
                    kernel: axes.map(|(k, ..)| k),
                    stride: axes.map(|(_, s, ..)| s),
                    padding: axes.map(|(_, _, p, _)| p),
                    mode,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn passes_agree_with_the_definition(conv in geometry(), seed in 0u64..1000) {
        check_all(&conv, seed)?;
    }
}

/// Small sizes, at which vectors, tiles, blocks and phases end. Miri has time only for few, which
/// between them take every way.
#[test]
fn edge_shapes_agree_with_the_definition() -> Result<(), TestCaseError> {
    let seeds = if cfg!(miri) {
        vec![
            57, 1732, 77, 53, 39, 69, 351, 1744, 1787, 1870, 1545, 640, 2,
        ]
    } else {
        (1..=2000).collect()
    };
    for seed in seeds {
        let mut draws = values(20, seed).into_iter();
        let mut draw = |least: usize, most: usize| {
            let fraction = draws.next().map_or(0.0, |value| (value + 1.0) / 2.0);
            least + (fraction * (most + 1 - least) as f32) as usize
        };
        let (deep, winograd) = (draw(0, 2) == 0, draw(0, 3) == 0);
        let most = if deep { 3 } else { 1 };
        let (kernel, stride) = if winograd {
            let side = 3 + (seed % 2) as usize;
            ([draw(1, most), side, side], [1; 3])
        } else {
            let stride = [draw(1, most.min(2)), draw(1, 2), draw(1, 2)];
            ([draw(1, most), draw(1, 4), draw(1, 5)], stride)
        };
        let padding = [draw(0, most / 2), draw(0, 2), draw(0, 3)];
        let size = [draw(1, most), draw(1, 5), draw(1, 19)];
        let channels = |block| if block == 0 { 8 } else { block };
        let conv = Conv {
            batch: draw(1, 2),
            in_channels: channels(draw(0, 3)),
            out_channels: channels(draw(0, 3)),
            in_size: [0, 1, 2].map(|i| size[i].max(kernel[i].saturating_sub(2 * padding[i]))),
            kernel,
            stride,
            padding,
            mode: [Padding::Zero, Padding::Reflect, Padding::Replicate][draw(0, 2)],
        };
        check_all(&conv, seed)?;
    }
    Ok(())
}

fn conv(channels: [usize; 2], size: usize, kernel: usize, stride: usize, padding: usize) -> Conv {
    Conv {
        batch: 1,
        in_channels: channels[0],
        out_channels: channels[1],
        in_size: [1, size, size],
        kernel: [1, kernel, kernel],
        stride: [1, stride, stride],
        padding: [0, padding, padding],
        mode: Padding::Zero,
    }
}

fn conv3(channels: [usize; 2], size: usize, kernel: usize, stride: usize, padding: usize) -> Conv {
    Conv {
        batch: 1,
        in_channels: channels[0],
        out_channels: channels[1],
        in_size: [size; 3],
        kernel: [kernel; 3],
        stride: [stride; 3],
        padding: [padding; 3],
        mode: Padding::Zero,
    }
}

/// Of two samples.
fn pair(conv: Conv) -> Conv {
    Conv { batch: 2, ..conv }
}

/// The layers of the nets this crate is for, on small images.
#[test]
fn layers_of_nets_agree_with_the_definition() -> Result<(), TestCaseError> {
    for (conv, mode) in [
        (conv([1, 32], 33, 7, 1, 3), Padding::Reflect),
        (conv([32, 7], 32, 7, 1, 3), Padding::Reflect),
        (conv([32, 1], 16, 7, 1, 3), Padding::Zero),
        (conv([24, 40], 32, 3, 1, 1), Padding::Replicate),
        (conv([8, 16], 64, 3, 2, 1), Padding::Zero),
        (conv([16, 8], 63, 4, 2, 1), Padding::Zero),
        (conv([5, 9], 64, 2, 2, 0), Padding::Zero),
        (conv([5, 9], 31, 2, 2, 0), Padding::Zero),
        (conv([24, 33], 16, 4, 1, 1), Padding::Zero),
        (conv([40, 3], 8, 1, 1, 0), Padding::Zero),
        (conv([4, 3], 9, 1, 2, 1), Padding::Reflect),
        (conv([64, 33], 8, 3, 1, 1), Padding::Zero),
        (conv([2, 3], 5, 1, 1, 2), Padding::Zero),
        (conv([2, 3], 2, 1, 1, 0), Padding::Zero),
        (conv([19, 2], 31, 7, 1, 3), Padding::Reflect),
        (conv([2, 9], 31, 7, 1, 3), Padding::Replicate),
        (conv3([8, 1], 11, 4, 1, 1), Padding::Zero),
        (conv([16, 20], 64, 3, 1, 1), Padding::Reflect),
        (conv([20, 13], 37, 3, 1, 1), Padding::Replicate),
        (conv([12, 19], 50, 3, 1, 2), Padding::Zero),
        (conv([33, 16], 23, 3, 1, 0), Padding::Zero),
        (conv3([16, 14], 21, 3, 1, 1), Padding::Zero),
        (conv3([13, 17], 18, 3, 1, 1), Padding::Reflect),
        (conv3([1, 16], 20, 3, 1, 1), Padding::Zero),
        (conv3([12, 10], 17, 3, 1, 1), Padding::Reflect),
        (conv3([8, 16], 16, 3, 2, 1), Padding::Zero),
        (conv3([9, 5], 12, 2, 2, 0), Padding::Zero),
        (conv3([40, 33], 4, 3, 1, 1), Padding::Zero),
        (conv([80, 70], 12, 3, 1, 1), Padding::Reflect),
        (conv([16, 16], 72, 3, 1, 1), Padding::Zero),
        (pair(conv3([48, 40], 6, 3, 1, 1)), Padding::Zero),
        (conv3([6, 9], 9, 1, 1, 0), Padding::Zero),
        (conv3([1, 3], 9, 4, 2, 1), Padding::Replicate),
    ] {
        check_all(&Conv { mode, ..conv }, 5)?;
    }
    Ok(())
}

/// <conv(x), dy> = <x, grad_input(dy)> = <w, grad_weight(x, dy)> through the public face.
#[test]
fn gradients_are_adjoints() {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    for mode in [Padding::Zero, Padding::Reflect, Padding::Replicate] {
        for stride in [1, 2] {
            let conv = Conv {
                batch: 2,
                mode,
                ..conv([12, 20], 37, 4, stride, 2)
            };
            let (x, w) = (values(conv.in_len(), 1), values(conv.weight_len(), 2));
            let dy = values(conv.out_len(), 3);
            let (mut y, mut dx, mut dw) =
                (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
            conv.forward(&x, &w, None, &mut y);
            conv.grad_input(&dy, &w, &mut dx);
            conv.grad_weight(&x, &dy, &mut dw);
            let value = dot(&y, &dy);
            let tolerance = 1e-6 * dot(&y, &y).sqrt() * dot(&dy, &dy).sqrt();
            assert!(
                (value - dot(&x, &dx)).abs() < tolerance,
                "{mode:?} {stride}"
            );
            assert!(
                (value - dot(&w, &dw)).abs() < tolerance,
                "{mode:?} {stride}"
            );
        }
    }
}

/// The same bits from 1, 2 and 3 threads.
#[test]
fn results_do_not_depend_on_threads() {
    for conv in [
        conv([16, 24], 40, 3, 1, 1),
        conv([9, 64], 30, 4, 2, 1),
        conv([1, 5], 64, 7, 1, 3),
        conv3([16, 16], 24, 3, 1, 1),
        pair(conv3([64, 48], 6, 3, 1, 1)),
        conv3([32, 40], 3, 3, 1, 1),
        Conv {
            batch: 3,
            mode: Padding::Reflect,
            ..conv([32, 1], 48, 7, 1, 3)
        },
    ] {
        let (x, w) = (values(conv.in_len(), 1), values(conv.weight_len(), 2));
        let dy = values(conv.out_len(), 3);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a small pool can be started");
            pool.install(|| {
                let mut y = vec![0.0; dy.len()];
                let mut dx = vec![0.0; x.len()];
                let mut dw = vec![0.0; w.len()];
                let mut db = vec![0.0; conv.out_channels];
                conv.forward(&x, &w, None, &mut y);
                conv.grad_input(&dy, &w, &mut dx);
                conv.grad_weight(&x, &dy, &mut dw);
                let spatial = conv.out_size().iter().product();
                grad_bias(&dy, conv.batch, conv.out_channels, spatial, &mut db);
                [y, dx, dw, db].map(|v| v.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            })
        };
        let one = run(1);
        assert_eq!(one, run(2), "{conv:?}");
        assert_eq!(one, run(3), "{conv:?}");
    }
}

#[test]
fn the_gradient_of_a_bias_is_the_sum_per_channel() {
    let (batch, channels, spatial) = (2, 3, 5001);
    let dy = values(batch * channels * spatial, 9);
    let mut db = [0.0; 3];
    grad_bias(&dy, batch, channels, spatial, &mut db);
    for (channel, db) in db.iter().enumerate() {
        let exact: f64 = dy
            .chunks(spatial)
            .skip(channel)
            .step_by(channels)
            .flatten()
            .map(|&v| f64::from(v))
            .sum();
        assert!((f64::from(*db) - exact).abs() < 1e-3);
    }
}
