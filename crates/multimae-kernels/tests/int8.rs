//! Layers in whole numbers of 8 bits: forward near fp32, backward as in fp32, others as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use burn::tensor::{Device, Distribution, Tensor};
use multimae_kernels::ops;
use multimae_kernels::precision::Precision::{self, Fp32, Int8};
use multimae_kernels::prepared::PreparedWeights;

fn random<const D: usize>(dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(dims, Distribution::Normal(0.0, 1.0), device)
}

/// The root mean square of the difference, over that of `exact`.
fn error<const D: usize>(rounded: Tensor<D>, exact: Tensor<D>) -> f32 {
    let square = |x: Tensor<D>| x.powf_scalar(2.0).mean().into_scalar::<f32>();
    (square(rounded - exact.clone()) / square(exact)).sqrt()
}

/// A layer's output in a precision.
type Layer<'a> = Box<dyn Fn(Precision) -> Tensor<2> + 'a>;

#[test]
fn large_layers_are_rounded_a_little_and_small_ones_not_at_all() {
    let device = Device::flex();
    let (x, maps) = (random([90, 96], &device), random([2, 32, 14, 14], &device));
    let (w1, w2) = (random([128, 96], &device), random([96, 128], &device) * 0.1);
    let (b1, b2) = (random([128], &device), random([96], &device));
    let (scale, shift) = (Tensor::<1>::ones([96], &device), random([96], &device) * 0.1);
    let kernels = random([48, 32, 3, 3], &device);
    let small = random([8, 96], &device);
    let norm = || (scale.clone(), shift.clone(), 1e-6);
    let large: Vec<(&str, Layer<'_>)> = vec![
        ("linear", Box::new(|p| p.scope(|| ops::linear(x.clone(), w1.clone(), Some(b1.clone()))))),
        (
            "norm and linear",
            Box::new(|p| p.scope(|| ops::norm_linear(x.clone(), norm(), w1.clone(), b1.clone()))),
        ),
        (
            "norm and MLP",
            Box::new(|p| {
                let layers = ((w1.clone(), b1.clone()), (w2.clone(), b2.clone()));
                p.scope(|| ops::norm_mlp(x.clone(), norm(), layers.0, layers.1))
            }),
        ),
        (
            "convolution",
            Box::new(|p| {
                let conv = || ops::conv2d(maps.clone(), kernels.clone(), None, false);
                p.scope(conv).reshape([2 * 48, 14 * 14])
            }),
        ),
    ];
    for (name, layer) in &large {
        let (rounded, exact) = (layer(Int8), layer(Fp32));
        let error = error(rounded.clone(), exact);
        assert!(error < 0.02, "{name}: {error}");
        // Without a kernel for it, and with plain operations, nothing is rounded.
        let rounds = Int8.check(&device).is_ok();
        assert_eq!(error > 1e-4, rounds, "{name}: {error}");
        let again: f32 = (layer(Int8) - rounded).abs().max().into_scalar();
        assert!(again == 0.0, "{name} is not the same again");
    }
    let of_small = |p: Precision| p.scope(|| ops::linear(x.clone(), small.clone(), None));
    let difference: f32 = (of_small(Int8) - of_small(Fp32)).abs().max().into_scalar();
    assert!(difference == 0.0, "a small layer is exact");
    // Prepared weights give the same.
    let prepared = PreparedWeights::new();
    [&w1, &w2].iter().for_each(|weight| prepared.add(*weight));
    prepared.add(&kernels);
    for (name, layer) in &large {
        for _ in 0..2 {
            let difference = prepared.scope(|| layer(Int8)) - layer(Int8);
            assert!(difference.abs().max().into_scalar::<f32>() == 0.0, "{name}, prepared");
        }
    }
}

#[test]
fn gradients_are_those_of_fp32() {
    let device = Device::flex().autodiff();
    let values = random::<2>([70, 96], &Device::flex()).into_data();
    let weights = random::<2>([64, 96], &Device::flex()).into_data();
    let images = random::<4>([1, 24, 20, 20], &Device::flex()).into_data();
    let kernels = random::<4>([16, 24, 3, 3], &Device::flex()).into_data();
    let gradients = |precision: Precision| {
        let x = Tensor::<2>::from_data(values.clone(), &device).require_grad();
        let w = Tensor::<2>::from_data(weights.clone(), &device).require_grad();
        let maps = Tensor::<4>::from_data(images.clone(), &device).require_grad();
        let kernels = Tensor::<4>::from_data(kernels.clone(), &device).require_grad();
        let sum = precision.scope(|| {
            let maps = ops::conv2d(maps.clone(), kernels.clone(), None, false);
            ops::linear(x.clone(), w.clone(), None).sum() + maps.sum()
        });
        let gradients = sum.backward();
        let of_layer = [x.grad(&gradients), w.grad(&gradients)].map(|of| of.unwrap().into_data());
        let of_maps = [maps.grad(&gradients), kernels.grad(&gradients)];
        (of_layer, of_maps.map(|of| of.unwrap().into_data()))
    };
    assert_eq!(gradients(Int8), gradients(Fp32));
}
