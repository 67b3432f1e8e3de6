//! Weights that are quantised and packed once.

use std::fmt;

use rayon::prelude::*;

use super::super::conv::ConvShape;
use super::Unit;
use super::kernel::{Right, STEP};
use super::quantize::{Scale, ZERO, magnitude, weights as quantize};

/// The most inner values whose sums fit 32 bits.
const MOST_INNER: usize = i32::MAX as usize / (127 * 127);
/// Bytes of a line of the processor's cache.
const LINE: usize = 64;

/// A line of packed values, on a boundary of the cache's lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([i8; LINE]);

/// The weight of a linear layer or of a dense convolution, quantised for the kernel of this processor.
///
/// An inner axis is that of the convolution over a padded image whose channels are neighbours:
/// `(kernel, kernel, inputs)`, in runs of `kernel * inputs` values that are padded to a multiple of
/// [`STEP`]. A linear layer is a convolution of one pixel.
pub(crate) struct Weights {
    unit: Unit,
    outputs: usize,
    inputs: usize,
    kernel: usize,
    /// Panels of columns, each from a line on.
    lines: Vec<Line>,
    lines_of_panel: usize,
    /// One per column of all panels.
    scales: Vec<f32>,
    /// `-128` times the sum of every column of all panels.
    compensation: Vec<i32>,
}

impl fmt::Debug for Weights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, outputs, inputs, kernel, .. } = self;
        write!(formatter, "Weights({outputs} x {inputs} x {kernel} x {kernel} for {unit:?})")
    }
}

impl Weights {
    /// Quantises the weight of a linear layer.
    ///
    /// # Shapes
    /// `weight (outputs, inputs)`.
    ///
    /// # Panics
    /// If the slice does not have its shape, or `inputs` is above 133 144, where sums might overflow.
    pub(crate) fn linear(outputs: usize, inputs: usize, weight: &[f32]) -> Self {
        Self::by(Unit::best(), (outputs, inputs, 1), weight)
    }

    /// Quantises the weight of a dense convolution; its images may be of any size.
    ///
    /// # Shapes
    /// `weight (outputs, inputs, kernel, kernel)`.
    ///
    /// # Panics
    /// If the slice does not have its shape, the kernel's side is even, or an output has more than
    /// 133 144 weights, where sums might overflow.
    pub(crate) fn conv(shape: ConvShape, weight: &[f32]) -> Self {
        Self::by(Unit::best(), (shape.outputs, shape.inputs, shape.kernel), weight)
    }

    pub(super) fn by(
        unit: Unit,
        (outputs, inputs, kernel): (usize, usize, usize),
        weight: &[f32],
    ) -> Self {
        let of_output = inputs * kernel * kernel;
        assert!(kernel % 2 == 1, "a kernel of even side {kernel}");
        assert_eq!(weight.len(), outputs * of_output, "a weight {outputs} x {inputs} x {kernel}^2");
        assert!(of_output <= MOST_INNER, "sums of {of_output} products might overflow");
        let columns = unit.sizes().1;
        let panels = outputs.div_ceil(columns);
        let inner = kernel * (kernel * inputs).next_multiple_of(STEP);
        let lines_of_panel = (columns * inner).div_ceil(LINE);
        let mut weights = Self {
            unit,
            outputs,
            inputs,
            kernel,
            lines: vec![Line([0; LINE]); panels * lines_of_panel],
            lines_of_panel,
            scales: vec![0.0; panels * columns],
            compensation: vec![0; panels * columns],
        };
        if inner > 0 {
            weights.pack(weight, columns);
        }
        weights
    }

    /// Quantises every output's weights to a column of a panel.
    fn pack(&mut self, weight: &[f32], columns: usize) {
        let (inputs, kernel, run) = (self.inputs, self.kernel, self.run());
        let of_output = inputs * kernel * kernel;
        let panels = self.lines.par_chunks_mut(self.lines_of_panel);
        let scales = self.scales.par_chunks_mut(columns);
        let compensation = self.compensation.par_chunks_mut(columns);
        let weights = weight.par_chunks(columns * of_output);
        let parts = panels.zip(scales).zip(compensation).zip(weights);
        parts.for_each(|(((lines, scales), compensation), weights)| {
            let (mut quantized, mut ordered) = (vec![0; of_output], vec![0; kernel * run]);
            for (column, weights) in weights.chunks(of_output).enumerate() {
                let scale = Scale::of(magnitude(weights));
                quantize(&mut quantized, weights, scale);
                for (input, rows) in quantized.chunks(kernel * kernel).enumerate() {
                    for (row, taps) in rows.chunks(kernel).enumerate() {
                        for (at, &tap) in taps.iter().enumerate() {
                            ordered[row * run + at * inputs + input] = tap;
                        }
                    }
                }
                for (step, values) in ordered.as_chunks::<STEP>().0.iter().enumerate() {
                    let byte = (step * columns + column) * STEP;
                    lines[byte / LINE].0[byte % LINE..][..STEP].copy_from_slice(values);
                }
                let sum: i32 = quantized.iter().map(|&value| i32::from(value)).sum();
                scales[column] = scale.scale;
                compensation[column] = sum.wrapping_mul(-i32::from(ZERO));
            }
        });
    }

    /// Returns the kernel that they are packed for.
    pub(super) fn unit(&self) -> Unit {
        self.unit
    }

    /// Returns the outputs, the inputs and the side of the kernel, which is 1 of a linear layer.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.outputs, self.inputs, self.kernel)
    }

    /// Returns the number of values of a run.
    pub(super) fn run(&self) -> usize {
        (self.kernel * self.inputs).next_multiple_of(STEP)
    }

    /// Returns the number of values of a panel.
    pub(super) fn of_panel(&self) -> usize {
        self.kernel * self.run() * self.unit.sizes().1
    }

    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(self.unit.sizes().1)
    }

    /// Returns a panel of columns.
    pub(super) fn panel(&self, index: usize) -> Right<'_> {
        let columns = self.unit.sizes().1;
        let lines = &self.lines[index * self.lines_of_panel..][..self.lines_of_panel];
        // SAFETY: lines are laid out as their values, and a panel has as many lines as hold its values.
        #[allow(unsafe_code)]
        let panel =
            unsafe { std::slice::from_raw_parts(lines.as_ptr().cast::<i8>(), self.of_panel()) };
        Right {
            panel,
            scales: &self.scales[index * columns..][..columns],
            compensation: &self.compensation[index * columns..][..columns],
        }
    }

    /// Outputs.
    pub(crate) fn columns(&self) -> usize {
        self.sizes().0
    }

    /// Returns the bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
            + size_of_val(self.scales.as_slice())
            + size_of_val(self.compensation.as_slice())
    }
}
