//! The dense convolution.

use std::cell::RefCell;
use std::ops::Range;

use super::super::conv::ConvShape;
use super::super::parallel;
use super::grid::{Place, grid, threads_for, tiles};
use super::images::Images;
use super::kernel::{Left, MOST_COLUMNS, MOST_ROWS, Tile};
use super::weights::Weights;

/// The most bytes of input pixels of a block, to stay in the second cache.
const BLOCK: usize = 256 << 10;
/// The most output pixels of a block, whose sums with a panel's columns stay near the processor.
const PIXELS: usize = 224;

thread_local! {
    /// The sums of a block's pixels with a panel's columns; their memory is reused by the next one.
    static SUMS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Computes the dense convolution of stride 1 whose borders are padded with zeros so that the size
/// stays. The threads of the current pool share the work if it is worth it.
///
/// # Shapes
/// `x (batch, inputs, height, width)`, `weights (outputs, inputs, kernel, kernel)`, `bias (outputs)` to
/// `(batch, outputs, height, width)`.
///
/// # Panics
/// If a slice or the weights do not have their shape.
#[must_use]
pub(crate) fn conv(
    shape: ConvShape,
    x: &[f32],
    weights: &Weights,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let ConvShape { batch, inputs, outputs, kernel, height, width } = shape;
    let area = height * width;
    assert_eq!(weights.sizes(), (outputs, inputs, kernel), "weights of a convolution of {shape:?}");
    assert!(
        x.len() == batch * inputs * area && bias.is_none_or(|bias| bias.len() == outputs),
        "a convolution of {shape:?} over slices of another size"
    );
    if x.is_empty() || outputs == 0 {
        let of_output = |at: usize| bias.map_or(0.0, |bias| bias[at % outputs]);
        return parallel::runs(batch * outputs, area, of_output);
    }
    let threads = threads_for(batch * area * outputs * inputs * kernel * kernel);
    let mut y: Vec<f32> = Vec::with_capacity(batch * outputs * area);
    let images = Images::quantize(shape, x, threads);
    let call = Call { shape, images: &images, runs: &images.runs(), weights, bias };
    // SAFETY: the capacity is that of the result.
    #[allow(unsafe_code)]
    unsafe {
        call.compute_into(Place(y.as_mut_ptr()), threads);
        y.set_len(batch * outputs * area);
    }
    y
}

/// A call of a convolution.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    shape: ConvShape,
    images: &'a Images,
    runs: &'a [usize],
    weights: &'a Weights,
    bias: Option<&'a [f32]>,
}

impl Call<'_> {
    /// # Safety
    /// The place must have room for the result, which is written whole.
    #[allow(unsafe_code)]
    unsafe fn compute_into(self, place: Place, threads: usize) {
        let ConvShape { batch, inputs, height, width, .. } = self.shape;
        let (of_tile, of_panel) = self.weights.unit().sizes();
        let most = (BLOCK / inputs).min(PIXELS) / of_tile;
        let (pixels, panels) = (batch * height * width, self.weights.panels());
        let grid = grid((pixels.div_ceil(of_tile), panels), most, threads);
        grid.for_each((pixels, panels), threads, |pixels, panels| {
            let mut sums = SUMS.take();
            if sums.len() < pixels.len() * of_panel {
                sums.resize(pixels.len() * of_panel, 0.0);
            }
            for panel in panels {
                self.multiply(&mut sums, pixels.clone(), panel);
                // SAFETY: as the caller promises; blocks and shares are apart.
                unsafe { self.write(place, &sums, pixels.clone(), panel) }
            }
            SUMS.replace(sums);
        });
    }

    /// Multiplies some pixels by a panel of output channels, into `sums (pixels, of_panel)`.
    fn multiply(&self, sums: &mut [f32], pixels: Range<usize>, panel: usize) {
        let unit = self.weights.unit();
        let (of_tile, of_panel) = unit.sizes();
        let right = self.weights.panel(panel);
        for tile in tiles(pixels.clone(), of_tile) {
            let left = self.left(tile.clone());
            let into = &mut sums[(tile.start - pixels.start) * of_panel..][..tile.len() * of_panel];
            let shape = Tile { rows: tile.len(), columns: of_panel, stride: of_panel };
            // SAFETY: the tile is the slice; pixels and panel have the inner values of the weights.
            #[allow(unsafe_code)]
            unsafe {
                unit.multiply(into.as_mut_ptr(), shape, left, right);
            }
        }
    }

    /// Returns the pixels of a tile.
    fn left(&self, tile: Range<usize>) -> Left<'_> {
        let (runs, len) = (self.runs, self.weights.run());
        let reach = runs.last().map_or(0, |last| last + len);
        let mut left =
            Left { rows: [std::ptr::null(); MOST_ROWS], scales: [0.0; MOST_ROWS], runs, len };
        for (row, pixel) in tile.enumerate() {
            let (values, scale) = self.images.pixel(pixel);
            left.rows[row] = values[..reach].as_ptr();
            left.scales[row] = scale;
        }
        left
    }

    /// Writes the sums of some pixels, plus the bias, to the output channels of a panel.
    ///
    /// # Safety
    /// The place must have room for the result, and no other thread may write to these pixels of these
    /// channels.
    #[allow(unsafe_code)]
    unsafe fn write(&self, place: Place, sums: &[f32], pixels: Range<usize>, panel: usize) {
        let ConvShape { outputs, height, width, .. } = self.shape;
        let (area, of_panel) = (height * width, self.weights.unit().sizes().1);
        let channel = panel * of_panel;
        let channels = of_panel.min(outputs - channel);
        let mut bias = [0.0; MOST_COLUMNS];
        if let Some(all) = self.bias {
            bias[..channels].copy_from_slice(&all[channel..][..channels]);
        }
        let mut first = pixels.start;
        while first < pixels.end {
            let (image, pixel) = (first / area, first % area);
            let count = (area - pixel).min(pixels.end - first);
            let sums = &sums[(first - pixels.start) * of_panel..][..count * of_panel];
            // SAFETY: the elements of these pixels of the channels, as the caller promises.
            unsafe {
                let to = place.0.add((image * outputs + channel) * area + pixel);
                write_turned((to, area), (sums, of_panel), &bias[..channels]);
            }
            first += count;
        }
    }
}

/// Writes `sums (pixels, of_panel)` plus the bias to channels `area` values apart, as many as biases.
///
/// # Safety
/// The elements of all pixels of the channels must be writable and referred to by nothing else.
#[allow(unsafe_code)]
unsafe fn write_turned(
    (to, area): (*mut f32, usize),
    (sums, of_panel): (&[f32], usize),
    bias: &[f32],
) {
    let pixels = sums.len() / of_panel;
    let whole = if cfg!(target_arch = "x86_64") { (pixels & !3, bias.len() & !3) } else { (0, 0) };
    #[cfg(target_arch = "x86_64")]
    for channel in (0..whole.1).step_by(4) {
        // SAFETY: squares of four pixels of four channels, of as many as exist.
        unsafe {
            let to = to.add(channel * area);
            x86::write_turned((to, area), (&sums[channel..], of_panel), whole.0, &bias[channel..]);
        }
    }
    for (channel, bias) in bias.iter().enumerate() {
        let first = if channel < whole.1 { whole.0 } else { 0 };
        for pixel in first..pixels {
            // SAFETY: an element of the pixels and channels.
            unsafe {
                *to.add(channel * area + pixel) = sums[pixel * of_panel + channel] + bias;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm_add_ps, _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_set1_ps, _mm_storeu_ps,
        _mm_unpackhi_ps, _mm_unpacklo_ps,
    };

    /// Writes four channels of `pixels` pixels, a multiple of four.
    ///
    /// # Safety
    /// As [`write_turned`](super::write_turned), for four channels.
    #[allow(unsafe_code)]
    pub(super) unsafe fn write_turned(
        (to, area): (*mut f32, usize),
        (sums, of_panel): (&[f32], usize),
        pixels: usize,
        bias: &[f32],
    ) {
        for pixel in (0..pixels).step_by(4) {
            let row = |at: usize| sums[(pixel + at) * of_panel..][..4].as_ptr();
            let rows = [row(0), row(1), row(2), row(3)];
            // SAFETY: all processors of this architecture have SSE; the rows were just checked, and the
            // places exist as the caller promises.
            unsafe {
                let [r0, r1, r2, r3] = rows.map(|row| _mm_loadu_ps(row));
                let (low, low2) = (_mm_unpacklo_ps(r0, r1), _mm_unpacklo_ps(r2, r3));
                let (high, high2) = (_mm_unpackhi_ps(r0, r1), _mm_unpackhi_ps(r2, r3));
                let channels = [
                    _mm_movelh_ps(low, low2),
                    _mm_movehl_ps(low2, low),
                    _mm_movelh_ps(high, high2),
                    _mm_movehl_ps(high2, high),
                ];
                for (at, channel) in channels.into_iter().enumerate() {
                    let sums = _mm_add_ps(channel, _mm_set1_ps(bias[at]));
                    _mm_storeu_ps(to.add(at * area + pixel), sums);
                }
            }
        }
    }
}
