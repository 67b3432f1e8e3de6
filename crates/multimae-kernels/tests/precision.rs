//! The precision of an operation is that of the scope it is called in, and of nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::sync::Barrier;
use std::thread;

use burn::tensor::{Device, Tensor, TensorData};
use multimae_kernels::precision::Precision::{self, Bf16, Fp32};
use multimae_kernels::{ops, task_parallel};

/// Numbers in [-2, 2) that depend on the seed alone.
fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

/// An operation with GEMMs, of flat arguments of these lengths to a flat result.
struct Case {
    name: &'static str,
    lengths: &'static [usize],
    run: fn([Tensor<1>; 5]) -> Tensor<1>,
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    tensor.flatten(0, D - 1)
}

/// All operations with GEMMs, of sizes at which rounding pays.
fn cases() -> Vec<Case> {
    fn conv(x: Tensor<1>, weight: Tensor<1>, bias: Tensor<1>, kernel: usize) -> Tensor<1> {
        let (x, weight) = (x.reshape([2, 16, 16, 16]), weight.reshape([16, 16, kernel, kernel]));
        flat(ops::conv2d(x, weight, Some(bias), false))
    }
    vec![
        Case {
            name: "linear",
            lengths: &[70 * 64, 48 * 64, 48],
            run: |[x, w, b, ..]| {
                flat(ops::linear(x.reshape([70, 64]), w.reshape([48, 64]), Some(b)))
            },
        },
        Case {
            name: "linear without bias",
            lengths: &[70 * 64, 48 * 64],
            run: |[x, w, ..]| flat(ops::linear(x.reshape([70, 64]), w.reshape([48, 64]), None)),
        },
        Case {
            name: "GELU and linear",
            lengths: &[70 * 64, 48 * 64, 48],
            run: |[x, w, b, ..]| {
                flat(ops::gelu_linear(x.reshape([70, 64]), w.reshape([48, 64]), b))
            },
        },
        Case {
            name: "norm and linear",
            lengths: &[70 * 64, 64, 64, 48 * 64, 48],
            run: |[x, scale, shift, w, b]| {
                let norm = (scale, shift, 1e-6);
                flat(ops::norm_linear(x.reshape([70, 64]), norm, w.reshape([48, 64]), b))
            },
        },
        Case {
            name: "self-attention",
            lengths: &[2 * 70 * 3 * 64],
            run: |[qkv, ..]| flat(ops::self_attention(qkv.reshape([2, 70, 3 * 64]), 2)),
        },
        Case {
            name: "cross-attention",
            lengths: &[2 * 70 * 64, 2 * 50 * 2 * 64],
            run: |[q, kv, ..]| {
                flat(ops::cross_attention(q.reshape([2, 70, 64]), kv.reshape([2, 50, 128]), 2))
            },
        },
        Case {
            name: "convolution of 1x1",
            lengths: &[2 * 16 * 256, 256, 16],
            run: |[x, w, b, ..]| conv(x, w, b, 1),
        },
        Case {
            name: "convolution of 3x3",
            lengths: &[2 * 16 * 256, 256 * 9, 16],
            run: |[x, w, b, ..]| conv(x, w, b, 3),
        },
        Case {
            name: "convolution of 5x5",
            lengths: &[2 * 16 * 256, 256 * 25, 16],
            run: |[x, w, b, ..]| conv(x, w, b, 5),
        },
    ]
}

/// A forward pass, and what its backward pass begins from.
struct Forward {
    arguments: [Tensor<1>; 5],
    output: Vec<f32>,
    total: Tensor<1>,
}

impl Case {
    /// A forward pass in the precision.
    fn forward(&self, precision: Precision) -> Forward {
        let device = Device::flex().autodiff();
        let argument = |index: usize| {
            let values = values(index as u64, self.lengths.get(index).copied().unwrap_or(1));
            Tensor::from_data(TensorData::from(values.as_slice()), &device).require_grad()
        };
        let arguments: [Tensor<1>; 5] = std::array::from_fn(argument);
        let output = precision.scope(|| (self.run)(arguments.clone()));
        let weights = values(99, output.dims()[0]);
        let weights = Tensor::from_data(TensorData::from(weights.as_slice()), &device);
        let total = (output.clone() * weights).sum();
        Forward { arguments, output: output.into_data().try_to_vec().unwrap(), total }
    }

    /// Values and all gradients, everything in the precision.
    fn results(&self, precision: Precision) -> Vec<Vec<f32>> {
        precision.scope(|| self.forward(precision).backward())
    }
}

impl Forward {
    /// The values, and the gradients of all arguments.
    fn backward(self) -> Vec<Vec<f32>> {
        let gradients = self.total.backward();
        let of = |argument: &Tensor<1>| argument.grad(&gradients);
        let of_arguments = self.arguments.iter().filter_map(of);
        let all = of_arguments.map(|gradient| gradient.into_data().try_to_vec().unwrap());
        std::iter::once(self.output).chain(all).collect()
    }
}

/// Whether kernels are on and this processor multiplies in bfloat16; says so if not.
#[allow(clippy::print_stderr, reason = "a test that does not run says so")]
fn has_bf16() -> bool {
    let has = ops::enabled() && Bf16.check(&Device::flex()).is_ok();
    if !has {
        eprintln!("SKIPPED: no kernels, or a processor that does not multiply in bfloat16");
    }
    has
}

#[test]
fn bfloat16_is_near_32_bits_and_not_the_same() {
    if !has_bf16() {
        return;
    }
    for case in cases() {
        let (fp32, bf16) = (case.results(Fp32), case.results(Bf16));
        assert_eq!(fp32.len(), 1 + case.lengths.len(), "{}", case.name);
        for (at, (fp32, bf16)) in fp32.iter().zip(&bf16).enumerate() {
            let scale = fp32.iter().fold(0.0f32, |scale, value| scale.max(value.abs()));
            let far = |(a, b): (&f32, &f32)| (a - b).abs() > 2e-2 * scale;
            assert!(!fp32.iter().zip(bf16).any(far), "{}, result {at}", case.name);
        }
        assert_ne!(fp32[0], bf16[0], "{}: values", case.name);
        assert_ne!(fp32[1], bf16[1], "{}: gradient of the input", case.name);
    }
}

/// The gradients' precision is that of the forward pass: outside of all scopes, in a scope of another
/// precision, and in another thread.
#[test]
fn a_backward_pass_has_the_precision_of_its_forward_pass() {
    if !has_bf16() {
        return;
    }
    for case in cases() {
        for (precision, other) in [(Bf16, Fp32), (Fp32, Bf16)] {
            let expected = case.results(precision);
            let name = format!("{} in {precision:?}", case.name);
            assert_eq!(case.forward(precision).backward(), expected, "{name}, no scope");
            let forward = case.forward(precision);
            assert_eq!(other.scope(|| forward.backward()), expected, "{name}, another scope");
            let forward = case.forward(precision);
            let thread = thread::spawn(move || other.scope(|| forward.backward()));
            assert_eq!(thread.join().unwrap(), expected, "{name}, another thread");
        }
    }
}

#[test]
fn threads_of_different_precision_do_not_meet() {
    if !has_bf16() {
        return;
    }
    let all = |precision| cases().iter().map(|case| case.results(precision)).collect::<Vec<_>>();
    let alone = [all(Fp32), all(Bf16)];
    let start = Barrier::new(2);
    thread::scope(|scope| {
        for (precision, alone) in [Fp32, Bf16].into_iter().zip(&alone) {
            let start = &start;
            scope.spawn(move || {
                for round in 0..20 {
                    start.wait();
                    assert!(all(precision) == *alone, "{precision:?} in round {round}");
                }
            });
        }
    });
}

#[test]
fn work_task_parallel_is_in_the_precision_of_the_caller() {
    if !has_bf16() {
        return;
    }
    for precision in [Bf16, Fp32] {
        let expected: Vec<_> = cases().iter().map(|case| case.forward(precision).output).collect();
        // Inside its thread every case is in whatever scope it finds.
        let run = |case: Case| case.forward(Precision::current()).output;
        assert!(precision.scope(|| task_parallel::map(cases(), run)) == expected);
    }
}

/// Fused norm and MLP, which has no backward pass.
#[test]
fn many_rows_without_gradients_are_in_the_precision_of_the_scope() {
    if !has_bf16() {
        return;
    }
    let device = Device::flex();
    let of = |seed, length| {
        Tensor::<1>::from_data(TensorData::from(values(seed, length).as_slice()), &device)
    };
    let rows = 256 * std::thread::available_parallelism().map_or(1, usize::from);
    let run = || -> Vec<f32> {
        let norm = (of(2, 64), of(3, 64), 1e-6);
        let first = (of(4, 96 * 64).reshape([96, 64]), of(5, 96));
        let second = (of(6, 64 * 96).reshape([64, 96]), of(7, 64));
        let y = ops::norm_mlp(of(1, rows * 64).reshape([rows, 64]), norm, first, second);
        y.into_data().try_to_vec().unwrap()
    };
    let (fp32, bf16) = (Fp32.scope(run), Bf16.scope(run));
    let scale = fp32.iter().fold(0.0f32, |scale, value| scale.max(value.abs()));
    assert!(fp32.iter().zip(&bf16).all(|(a, b)| (a - b).abs() <= 2e-2 * scale));
    assert_ne!(fp32, bf16);
    assert!(run() == fp32);
}
