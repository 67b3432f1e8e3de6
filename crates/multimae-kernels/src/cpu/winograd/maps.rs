//! Maps into transformed tiles, and back.

use std::cell::RefCell;

use multiversion::multiversion;

use super::super::matrix::Into;
use super::super::parallel;
use super::transforms::{gather_pixels, spread_outputs, spread_pixels};
use super::{POINTS, SIDE, Strip, TILE, Tiling};

/// Tiles of a vector. The last ones of a row, which are most of them in small maps, would be copied one at
/// a time; a whole vector takes a single instruction.
const LANES: usize = 16;

thread_local! {
    /// The memory of a transform, which the next one reuses.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A channel of an image, of which some rows of tiles are transformed.
#[derive(Debug, Clone, Copy)]
struct Rows<'a> {
    plane: &'a [f32],
    width: usize,
    /// The first row of tiles, and their number.
    first: usize,
    count: usize,
    /// Tiles of a row.
    columns: usize,
}

impl Rows<'_> {
    /// Values of a phase of a row of pixels: one per tile, one more for the border, and those that fill
    /// the last vector.
    fn phase(self) -> usize {
        (self.columns + 1).next_multiple_of(LANES)
    }

    /// Tiles of all rows.
    fn tiles(self) -> usize {
        self.count * self.columns
    }
}

/// The rows of tiles of a strip, image by image: the image, and the rows of its tiles, of which the first
/// is the strip's `at`-th.
fn segments(tiling: Tiling, strip: Strip) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == strip.rows {
            return None;
        }
        let (image, first) = tiling.place(strip.first + at);
        let count = (tiling.rows - first).min(strip.rows - at);
        at += count;
        Some((image, first, count, at - count))
    })
}

/// `B^T d B` of every tile of a strip.
///
/// # Shapes
/// `x (batch, inputs, height, width)` to `(inputs, 36, tiles)`.
pub(super) fn transform_inputs(tiling: Tiling, strip: Strip, x: &[f32], to: &mut [f32]) {
    spread(tiling, strip, (x, tiling.shape.inputs), to, |rows, phases, to, place| {
        spread_inputs(rows, phases, to, place);
    });
}

/// `A dy A^T` of every tile of a strip.
///
/// # Shapes
/// `dy (batch, outputs, height, width)` to `(outputs, 36, tiles)`.
pub(super) fn transform_gradients(tiling: Tiling, strip: Strip, dy: &[f32], to: &mut [f32]) {
    spread(tiling, strip, (dy, tiling.shape.outputs), to, |rows, phases, to, place| {
        spread_gradients(rows, phases, to, place);
    });
}

/// A transform of the channels of a strip: of rows of tiles, with room for the phases of their pixels,
/// into the points of a channel, from a tile on, points a number of tiles apart.
fn spread(
    tiling: Tiling,
    strip: Strip,
    (maps, channels): (&[f32], usize),
    to: &mut [f32],
    transform: impl Fn(Rows<'_>, &mut Vec<f32>, &mut [f32], (usize, usize)) + Sync + Send,
) {
    let area = tiling.shape.height * tiling.shape.width;
    let of_channels = to[..channels * POINTS * strip.tiles].chunks_mut(POINTS * strip.tiles);
    parallel::for_each(
        channels * POINTS * strip.tiles,
        of_channels.enumerate(),
        |(channel, to)| {
            let mut scratch = SCRATCH.take();
            for (image, first, count, at) in segments(tiling, strip) {
                let rows = Rows {
                    plane: &maps[(image * channels + channel) * area..][..area],
                    width: tiling.shape.width,
                    first,
                    count,
                    columns: tiling.columns,
                };
                transform(rows, &mut scratch, to, (at * tiling.columns, strip.tiles));
            }
            SCRATCH.set(scratch);
        },
    );
}

/// `B^T d B` of rows of tiles, which reach over a pixel more on each side than those of outputs.
#[multiversion(targets = "simd")]
fn spread_inputs(rows: Rows<'_>, scratch: &mut Vec<f32>, to: &mut [f32], place: (usize, usize)) {
    let Scratch { phases, half, pixels, lanes } = split_rows::<SIDE>(rows, 1, scratch);
    let line = TILE * rows.phase();
    for row in 0..rows.count {
        let at = |y: usize| &phases[(TILE * row + y) * line..][..line];
        apply([at(0), at(1), at(2), at(3), at(4), at(5)], spread_pixels, half, line);
        sort_pixels::<SIDE>(rows, row, half, (pixels, lanes));
    }
    for (y, pixels) in pixels.chunks_exact(SIDE * lanes).enumerate() {
        let at = |x: usize| &pixels[x * lanes..][..rows.tiles()];
        let to = &mut to[SIDE * y * place.1 + place.0..];
        apply([at(0), at(1), at(2), at(3), at(4), at(5)], spread_pixels, to, place.1);
    }
}

/// `A dy A^T` of rows of tiles.
#[multiversion(targets = "simd")]
fn spread_gradients(rows: Rows<'_>, scratch: &mut Vec<f32>, to: &mut [f32], place: (usize, usize)) {
    let Scratch { phases, half, pixels, lanes } = split_rows::<TILE>(rows, 0, scratch);
    let line = TILE * rows.phase();
    for row in 0..rows.count {
        let at = |y: usize| &phases[(TILE * row + y) * line..][..line];
        apply([at(0), at(1), at(2), at(3)], spread_outputs, half, line);
        sort_pixels::<TILE>(rows, row, half, (pixels, lanes));
    }
    for (y, pixels) in pixels.chunks_exact(TILE * lanes).enumerate() {
        let at = |x: usize| &pixels[x * lanes..][..rows.tiles()];
        let to = &mut to[SIDE * y * place.1 + place.0..];
        apply([at(0), at(1), at(2), at(3)], spread_outputs, to, place.1);
    }
}

/// Sorts a row's transformed lines of pixels by their places in tiles, `N` along an axis.
///
/// # Shapes
/// `half (6, 4, phase)` into row `row` of `pixels (6, N, lanes)`.
#[inline(always)]
fn sort_pixels<const N: usize>(
    rows: Rows<'_>,
    row: usize,
    half: &[f32],
    (pixels, lanes): (&mut [f32], usize),
) {
    let phase = rows.phase();
    let lines = half.chunks_exact(TILE * phase).zip(pixels.chunks_exact_mut(N * lanes));
    for (line, pixels) in lines {
        for (x, pixels) in pixels.chunks_exact_mut(lanes).enumerate() {
            // The last two pixels of a tile of inputs are the first ones of the next. Whole vectors are
            // copied: the next row overwrites the places that are not of this one.
            let from = &line[x % TILE * phase + x / TILE..];
            let to = &mut pixels[row * rows.columns..];
            for at in (0..rows.columns).step_by(LANES) {
                match (from[at..].first_chunk::<LANES>(), to[at..].first_chunk_mut::<LANES>()) {
                    (Some(from), Some(to)) => *to = *from,
                    _ => {
                        let count = LANES.min(rows.columns - at);
                        to[at..][..count].copy_from_slice(&from[at..][..count]);
                    }
                }
            }
        }
    }
}

/// A transform of every place of some slices of one length, into slices `stride` apart.
#[inline(always)]
fn apply<const N: usize, const M: usize>(
    from: [&[f32]; N],
    transform: impl Fn([f32; N]) -> [f32; M],
    to: &mut [f32],
    stride: usize,
) {
    let lanes = from[0].len();
    let mut rest = to;
    let mut places: [&mut [f32]; M] = std::array::from_fn(|_| Default::default());
    for place in &mut places {
        let (first, behind) = rest.split_at_mut(stride.min(rest.len()));
        *place = &mut first[..lanes];
        rest = behind;
    }
    for x in 0..lanes {
        let mut values = [0.0; N];
        for (value, from) in values.iter_mut().zip(from) {
            *value = from[x];
        }
        for (place, value) in places.iter_mut().zip(transform(values)) {
            place[x] = value;
        }
    }
}

/// The memory of a transform.
struct Scratch<'a> {
    /// `(lines of pixels, 4, phase)`.
    phases: &'a [f32],
    /// `(6, 4, phase)`.
    half: &'a mut [f32],
    /// `(6, N, lanes)`.
    pixels: &'a mut [f32],
    /// The tiles of all rows, and room for a vector.
    lanes: usize,
}

/// Cuts rows of pixels into phases: the `p`-th holds every fourth value, from the `p`-th on, of a row with
/// `border` zeros before it. Rows above and below the image are zeros.
#[inline(always)]
fn split_rows<'a, const N: usize>(
    rows: Rows<'_>,
    border: usize,
    scratch: &'a mut Vec<f32>,
) -> Scratch<'a> {
    let line = TILE * rows.phase();
    let lines = TILE * rows.count + N - TILE;
    let lanes = rows.tiles() + LANES;
    let len = (lines + SIDE) * line + SIDE * N * lanes;
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let (phases, rest) = scratch[..len].split_at_mut(lines * line);
    phases.fill(0.0);
    for (at, phases) in phases.chunks_exact_mut(line).enumerate() {
        let pixels = (TILE * rows.first + at).checked_sub(border);
        let pixels = pixels.and_then(|y| rows.plane.get(y * rows.width..(y + 1) * rows.width));
        if let Some(pixels) = pixels {
            split_row(pixels, border, phases, rows.phase());
        }
    }
    let (half, pixels) = rest.split_at_mut(SIDE * line);
    Scratch { phases, half, pixels, lanes }
}

#[inline(always)]
fn split_row(pixels: &[f32], border: usize, phases: &mut [f32], phase: usize) {
    let (a, rest) = phases.split_at_mut(phase);
    let (b, rest) = rest.split_at_mut(phase);
    let (c, d) = rest.split_at_mut(phase);
    let d = &mut d[..phase];
    // Up to the first whole four.
    let (head, rest) = pixels.split_at(((TILE - border) % TILE).min(pixels.len()));
    let (fours, tail) = rest.as_chunks::<TILE>();
    let places = a[border..].iter_mut().zip(&mut b[border..]);
    let places = places.zip(c[border..].iter_mut().zip(&mut d[border..]));
    for (((a, b), (c, d)), four) in places.zip(fours) {
        [*a, *b, *c, *d] = *four;
    }
    let mut to = [a, b, c, d];
    for (to, &value) in to[border..].iter_mut().zip(head) {
        to[0] = value;
    }
    for (to, &value) in to.iter_mut().zip(tail) {
        to[border + fours.len()] = value;
    }
}

/// `A^T m A` of every tile of a strip, to its place in `y`.
///
/// # Shapes
/// `products (36, outputs, tiles)`, `y (batch, outputs, height, width)`.
pub(super) fn collect_outputs(
    tiling: Tiling,
    strip: Strip,
    products: &[f32],
    y: &mut [f32],
    how: Into,
) {
    let (outputs, width) = (tiling.shape.outputs, tiling.shape.width);
    let (of_image, columns) = (outputs * tiling.shape.height * width, tiling.columns);
    for (image, first, count, at) in segments(tiling, strip) {
        let planes = y[image * of_image..][..of_image].chunks_mut(tiling.shape.height * width);
        let tiles = count * columns;
        parallel::for_each(POINTS * outputs * tiles, planes.enumerate(), |(channel, y)| {
            let from = &products[channel * strip.tiles + at * columns..];
            let from = (from, outputs * strip.tiles, tiles);
            let mut scratch = SCRATCH.take();
            let y = (&mut y[TILE * first * width..], width);
            gather_rows(from, columns, &mut scratch, y, how);
            SCRATCH.set(scratch);
        });
    }
}

/// Rows of tiles from their points, which lie `stride` apart.
#[multiversion(targets = "simd")]
fn gather_rows(
    (from, stride, tiles): (&[f32], usize, usize),
    columns: usize,
    scratch: &mut Vec<f32>,
    (y, width): (&mut [f32], usize),
    how: Into,
) {
    let len = (TILE * SIDE + TILE) * tiles + TILE * columns;
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let (half, rest) = scratch[..len].split_at_mut(TILE * SIDE * tiles);
    let (phases, line) = rest.split_at_mut(TILE * tiles);
    // Down the columns of the tiles: half (4, 6, tiles).
    for point in 0..SIDE {
        let at = |row: usize| &from[(SIDE * row + point) * stride..][..tiles];
        let six = [at(0), at(1), at(2), at(3), at(4), at(5)];
        apply(six, gather_pixels, &mut half[point * tiles..], SIDE * tiles);
    }
    for (at_line, half) in half.chunks_exact(SIDE * tiles).enumerate() {
        let at = |point: usize| &half[point * tiles..][..tiles];
        apply([at(0), at(1), at(2), at(3), at(4), at(5)], gather_pixels, phases, tiles);
        let lines = y.chunks_exact_mut(width).skip(at_line).step_by(TILE);
        for (row, y) in lines.enumerate().take(tiles / columns) {
            let at = |phase: usize| &phases[phase * tiles + row * columns..][..columns];
            let (first, second) = (at(0).iter().zip(at(1)), at(2).iter().zip(at(3)));
            let fours = line.as_chunks_mut::<TILE>().0.iter_mut();
            for ((four, (a, b)), (c, d)) in fours.zip(first).zip(second) {
                *four = [*a, *b, *c, *d];
            }
            match how {
                Into::Replace => y.copy_from_slice(&line[..width]),
                Into::Add => y.iter_mut().zip(&*line).for_each(|(to, value)| *to += value),
            }
        }
    }
}
