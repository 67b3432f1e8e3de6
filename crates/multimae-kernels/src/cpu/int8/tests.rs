use proptest::prelude::*;

use super::super::conv::ConvShape;
use super::super::epilogue::Epilogue;
use super::super::gelu;
use super::super::matrix::Shape;
use super::super::testing::{assert_close, product, values};
use super::quantize::{Scale, inputs as quantize, magnitude};
use super::*;

/// Quantises and dequantises inputs, `of_scale` with a common scale.
fn rounded(x: &[f32], of_scale: usize) -> Vec<f32> {
    let rounded = |x: &[f32]| {
        let scale = Scale::of(magnitude(x));
        let mut quantized = vec![0; x.len()];
        quantize(&mut quantized, x, scale);
        quantized.into_iter().map(|q| scale.scale * (f32::from(q) - 128.0)).collect::<Vec<f32>>()
    };
    x.chunks(of_scale).flat_map(rounded).collect()
}

/// Quantises and dequantises weights.
fn rounded_weight(weight: &[f32], of_output: usize) -> Vec<f32> {
    let rounded = |weight: &[f32]| {
        let scale = Scale::of(magnitude(weight));
        weight.iter().map(|&x| scale.scale * f32::from(scale.weight(x))).collect::<Vec<f32>>()
    };
    weight.chunks(of_output).flat_map(rounded).collect()
}

/// Returns values of about a normal distribution.
fn normal(seed: u64, count: usize) -> Vec<f32> {
    values(seed, 12 * count).chunks(12).map(|part| part.iter().sum::<f32>() / 2.0).collect()
}

/// Multiplies `x (rows, inputs)` by a weight `(outputs, inputs)`, in fp64.
fn affine(x: &[f32], weight: &[f32], (rows, outputs, inputs): (usize, usize, usize)) -> Vec<f32> {
    let weight = (weight, Shape::rows(outputs, inputs, inputs).transposed());
    product((x, Shape::rows(rows, inputs, inputs)), weight)
}

/// Computes the convolution in fp64.
fn convolved(shape: ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let ConvShape { batch, inputs, outputs, kernel, height, width } = shape;
    let mut y = Vec::new();
    for at in 0..batch * outputs * height * width {
        let (plane, row, column) = (at / width / height, at / width % height, at % width);
        let (image, output) = (plane / outputs, plane % outputs);
        let mut sum = bias.map_or(0.0, |bias| f64::from(bias[output]));
        for tap in 0..inputs * kernel * kernel {
            let (input, ky, kx) = (tap / kernel / kernel, tap / kernel % kernel, tap % kernel);
            let (from_y, from_x) =
                ((row + ky).wrapping_sub(kernel / 2), (column + kx).wrapping_sub(kernel / 2));
            if from_y < height && from_x < width {
                let from = ((image * inputs + input) * height + from_y) * width + from_x;
                let weight = weight[output * inputs * kernel * kernel + tap];
                sum += f64::from(x[from]) * f64::from(weight);
            }
        }
        y.push(sum as f32);
    }
    y
}

/// Returns the root mean square of the difference, relative to that of the values.
fn relative_error(got: &[f32], expected: &[f32]) -> f32 {
    let square = |sum: f32, x: f32| x.mul_add(x, sum);
    let error = got.iter().zip(expected).map(|(a, b)| a - b).fold(0.0, square);
    (error / expected.iter().copied().fold(0.0, square)).sqrt()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn every_kernel_gives_the_same_linear_layer(
        rows in 1usize..41, outputs in 1usize..101, inputs in 1usize..301, activated: bool,
        parts in 0u8..16, seed in 0u64..9,
    ) {
        let (x, weight) = (values(seed, rows * inputs), values(seed + 1, outputs * inputs));
        let (bias, scale) = (values(seed + 2, outputs), values(seed + 3, outputs));
        let residual = values(seed + 4, rows * outputs);
        let epilogue = Epilogue {
            bias: (parts & 1 > 0).then_some(&bias),
            gelu: parts & 2 > 0,
            scale: (parts & 4 > 0).then_some(&scale),
            residual: (parts & 8 > 0).then_some(&residual),
            slopes_at: None,
            ..Epilogue::default()
        };
        let passed = if activated { gelu::forward(&x) } else { x.clone() };
        let (passed, rounded_weight) = (rounded(&passed, inputs), rounded_weight(&weight, inputs));
        let mut expected = affine(&passed, &rounded_weight, (rows, outputs, inputs));
        for (row, sums) in expected.chunks_mut(outputs).enumerate() {
            epilogue.apply(sums, (row, 0), outputs);
        }
        let by = |unit| {
            let weights = Weights::by(unit, (outputs, inputs, 1), &weight);
            linear(rows, &x, activated, &weights, epilogue)
        };
        let portable = by(Unit::Portable);
        assert_close(&portable, &expected, 2e-6);
        for unit in Unit::all() {
            prop_assert!(bits(&by(unit)) == bits(&portable), "{unit:?}");
        }
    }

    #[test]
    fn every_kernel_gives_the_same_convolution(
        batch in 1usize..4, inputs in 1usize..20, outputs in 1usize..40, half in 0usize..4,
        height in 1usize..13, width in 1usize..13, with_bias: bool, seed in 0u64..9,
    ) {
        let kernel = [1, 3, 5, 7][half];
        let shape = ConvShape { batch, inputs, outputs, kernel, height, width };
        let of_output = inputs * kernel * kernel;
        let (x, weight) =
            (values(seed, batch * inputs * height * width), values(seed + 1, outputs * of_output));
        let bias = values(seed + 2, outputs);
        let bias = with_bias.then_some(bias.as_slice());
        let rounded_x = rounded(&x, inputs * height * width);
        let expected = convolved(shape, &rounded_x, &rounded_weight(&weight, of_output), bias);
        let by = |unit| {
            conv(shape, &x, &Weights::by(unit, (outputs, inputs, kernel), &weight), bias)
        };
        let portable = by(Unit::Portable);
        assert_close(&portable, &expected, 2e-6);
        for unit in Unit::all() {
            prop_assert!(bits(&by(unit)) == bits(&portable), "{unit:?}");
        }
    }

    #[test]
    fn quantising_again_changes_nothing(
        inputs in 1usize..300, exponent in -100i32..120, seed in 0u64..99,
    ) {
        let size = 2f32.powi(exponent);
        let weight: Vec<f32> = normal(seed, inputs).iter().map(|value| value * size).collect();
        let quantized = |weight: &[f32]| {
            let scale = Scale::of(magnitude(weight));
            let quantized: Vec<i8> = weight.iter().map(|&weight| scale.weight(weight)).collect();
            (scale.scale, quantized)
        };
        let (scale, once) = quantized(&weight);
        let dequantized: Vec<f32> = once.iter().map(|&q| f32::from(q) * scale).collect();
        prop_assert_eq!(quantized(&dequantized).1, once);
    }
}

#[test]
fn results_are_those_of_fp32_within_a_percent() {
    let (rows, outputs, inputs) = (50, 70, 768);
    let (x, weight) = (normal(1, rows * inputs), normal(2, outputs * inputs));
    let expected = affine(&x, &weight, (rows, outputs, inputs));
    let got =
        linear(rows, &x, false, &Weights::linear(outputs, inputs, &weight), Epilogue::default());
    let error = relative_error(&got, &expected);
    assert!((0.002..0.012).contains(&error), "{error}");

    let shape = ConvShape { batch: 2, inputs: 64, outputs: 32, kernel: 3, height: 9, width: 8 };
    let (x, weight) = (normal(3, 2 * 64 * 9 * 8), normal(4, 32 * 64 * 9));
    let got = conv(shape, &x, &Weights::conv(shape, &weight), None);
    let error = relative_error(&got, &convolved(shape, &x, &weight, None));
    assert!((0.002..0.015).contains(&error), "{error}");
}

/// Sizes that are shared by rows, by columns, and by both, with last parts of their own size.
#[test]
fn bits_do_not_depend_on_threads() {
    let pools = [1, 2, 3]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for (rows, outputs, inputs) in
        [(1, 3000, 1000), (5, 1601, 771), (197, 300, 130), (801, 97, 770), (700, 33, 3072)]
    {
        assert!(rows * outputs * inputs >= 1 << 21, "not shared");
        let (x, weight) = (values(1, rows * inputs), values(2, outputs * inputs));
        let residual = values(3, rows * outputs);
        let epilogue = Epilogue { residual: Some(&residual), ..Epilogue::default() };
        let weights = Weights::linear(outputs, inputs, &weight);
        for activated in [false, true] {
            let expected = bits(&linear_here(rows, &x, activated, &weights, epilogue));
            for pool in &pools {
                let got = pool.install(|| linear(rows, &x, activated, &weights, epilogue));
                assert!(bits(&got) == expected, "{rows} {outputs} {inputs}");
            }
        }
    }
    for (batch, inputs, outputs, kernel, height, width) in [
        (1, 64, 60, 3, 20, 31),
        (3, 33, 40, 3, 17, 19),
        (2, 300, 500, 1, 3, 5),
        (1, 40, 9, 7, 16, 16),
    ] {
        let shape = ConvShape { batch, inputs, outputs, kernel, height, width };
        let x = values(1, batch * inputs * height * width);
        let weights = Weights::conv(shape, &values(2, outputs * inputs * kernel * kernel));
        let results = pools.each_ref().map(|pool| pool.install(|| conv(shape, &x, &weights, None)));
        assert!(results.iter().all(|result| bits(result) == bits(&results[0])), "{shape:?}");
    }
}

#[test]
fn values_that_are_not_finite_stay_in_their_row_and_rows_of_zeros_are_zeros() {
    let (rows, outputs, inputs) = (17, 40, 30);
    let (mut x, mut weight) = (values(1, rows * inputs), values(2, outputs * inputs));
    x[3 * inputs + 5] = f32::NAN;
    x[16 * inputs] = f32::INFINITY;
    x[7 * inputs..8 * inputs].fill(0.0);
    weight[2 * inputs + 1] = f32::NEG_INFINITY;
    weight[39 * inputs..].fill(0.0);
    for unit in Unit::all() {
        let weights = Weights::by(unit, (outputs, inputs, 1), &weight);
        let y = linear(rows, &x, false, &weights, Epilogue::default());
        for (at, value) in y.into_iter().enumerate() {
            let (row, column) = (at / outputs, at % outputs);
            let has_none = [3, 16].contains(&row) || column == 2;
            assert_eq!(value.is_nan(), has_none, "{unit:?} {row} {column}");
            let is_zero = row == 7 || column == 39;
            assert!(has_none || (value == 0.0) == is_zero, "{unit:?} {row} {column} {value}");
        }
        let shape = ConvShape { batch: 2, inputs, outputs, kernel: 1, height: 1, width: 2 };
        let y = conv(shape, &x[2 * inputs..6 * inputs], &weights, None);
        let (first, second) = y.split_at(2 * outputs);
        assert!(first.iter().all(|value| value.is_nan()), "{unit:?}");
        assert!(second[..4].iter().all(|value| value.is_finite()), "{unit:?}");
    }
}

#[test]
fn empty_operands() {
    let bias = [1.0, 2.0];
    let with_bias = Epilogue::bias(Some(&bias));
    assert_eq!(linear(2, &[], true, &Weights::linear(2, 0, &[]), with_bias), [1.0, 2.0, 1.0, 2.0]);
    assert!(linear(0, &[], false, &Weights::linear(2, 1, &[1.0, 1.0]), with_bias).is_empty());
    let none = Weights::linear(0, 3, &[]);
    assert!(linear(1, &[1.0; 3], false, &none, Epilogue::default()).is_empty());
    assert_eq!(none.bytes(), 0);
    let shape = ConvShape { batch: 1, inputs: 0, outputs: 2, kernel: 3, height: 1, width: 2 };
    let weights = Weights::conv(shape, &[]);
    assert_eq!(conv(shape, &[], &weights, Some(&bias)), [1.0, 1.0, 2.0, 2.0]);
    for (batch, height) in [(0, 1), (1, 0)] {
        let shape = ConvShape { batch, height, ..shape };
        assert!(conv(shape, &[], &weights, None).is_empty());
    }
    let shape = ConvShape { inputs: 1, outputs: 0, ..shape };
    assert!(conv(shape, &[1.0; 2], &Weights::conv(shape, &[]), None).is_empty());
}

#[test]
fn weights_take_a_quarter_of_their_memory() {
    let (outputs, inputs) = (768, 3072);
    let weights = Weights::linear(outputs, inputs, &vec![0.5; outputs * inputs]);
    assert_eq!(weights.bytes(), outputs * inputs + 8 * outputs);
    assert!(format!("{weights:?}").starts_with("Weights(768 x 3072"));
}

#[test]
#[should_panic(expected = "might overflow")]
fn sums_that_might_overflow_are_refused() {
    Weights::linear(1, 133_145, &vec![0.0; 133_145]);
}

#[test]
fn the_longest_sums_do_not_overflow() {
    let inputs = 133_144;
    for unit in [Unit::best(), Unit::Portable] {
        let weights = Weights::by(unit, (1, inputs, 1), &vec![-1.0; inputs]);
        for sign in [1.0, -1.0] {
            let y = linear(1, &vec![sign; inputs], false, &weights, Epilogue::default());
            assert_close(&y, &[-sign * inputs as f32], 1e-6);
        }
    }
}

#[test]
#[should_panic(expected = "the weights of a convolution")]
fn weights_of_a_convolution_are_refused_by_a_linear_layer() {
    let weights = Weights::by(Unit::Portable, (1, 1, 3), &[0.0; 9]);
    let _ = linear(1, &[0.0], false, &weights, Epilogue::default());
}
