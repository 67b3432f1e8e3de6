//! Packing operands into AMX tiles, as one or three values of bfloat16 each.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _MM_HINT_T0, _mm_prefetch, _mm256_mask_storeu_epi16,
    _mm512_castsi512_ps, _mm512_castsi512_si256, _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh,
    _mm512_extracti64x4_epi64, _mm512_load_si512, _mm512_loadu_si512, _mm512_mask_storeu_epi32,
    _mm512_maskz_loadu_ps, _mm512_permutexvar_epi16, _mm512_setzero_si512, _mm512_shuffle_i32x4,
    _mm512_slli_epi32, _mm512_store_si512, _mm512_sub_ps, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::super::gelu;
use super::super::matrix::{Matrix, Shape};
use super::{LINES, Line, Parts, SIDE};

/// Lanes and words of a tile.
const TILE: usize = 16;

/// Values ahead of those that are packed which are fetched: two blocks of neighbours. Rows are too many
/// for the processor to foresee them.
const AHEAD: usize = 2 * SIDE;

/// The operand that tiles belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A row of a tile is a lane: 16 pairs of neighbours along the inner axis.
    Left,
    /// A row of a tile is a pair: of each of 16 lanes.
    Right,
}

/// The way in which an operand is packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    pub parts: Parts,
    pub form: Form,
    /// Whether values go through the GELU first.
    pub activated: bool,
}

impl How {
    /// Values as they are.
    pub(super) fn new(parts: Parts, form: Form) -> Self {
        Self { parts, form, activated: false }
    }
}

/// Packs panels of 32 rows of a matrix (lanes) from `first.0` on, each `blocks` times 32 columns (the
/// inner axis) from `first.1` on. Lanes beyond the last and columns beyond the last are zeros.
///
/// # Shapes
/// `panels (panels, blocks, parts, 2, 16)` lines: of each block of 32 columns and each part a tile of
/// the first 16 lanes and one of the second.
///
/// # Panics
/// If there are no whole panels or the matrix reaches over its slice.
pub(super) fn pack(
    (slice, shape): Matrix<'_>,
    first: (usize, usize),
    how: How,
    (panels, blocks): (&mut [Line], usize),
) {
    let of_block = how.parts.count() * LINES;
    let count = panels.len() / (blocks * of_block).max(1);
    assert!(panels.len() == count * blocks * of_block, "broken panels");
    assert!(shape.extent() <= slice.len(), "a matrix reaches over its slice");
    let mut pack_block = |index: usize, block: usize| {
        let lines = &mut panels[(index * blocks + block) * of_block..][..of_block];
        for half in 0..2 {
            let lane = first.0 + index * SIDE + half * TILE;
            let column = first.1 + block * SIDE;
            pack_tile((slice, shape), (lane, column), how, &mut lines[half * TILE..]);
        }
    };
    // Neighbours are read one after the other.
    if shape.column_stride == 1 {
        (0..count).for_each(|index| (0..blocks).for_each(|block| pack_block(index, block)));
    } else {
        (0..blocks).for_each(|block| (0..count).for_each(|index| pack_block(index, block)));
    }
}

/// One tile of every part, from a lane and a column on.
fn pack_tile(
    (slice, shape): Matrix<'_>,
    (lane, column): (usize, usize),
    how: How,
    lines: &mut [Line],
) {
    let region = Region {
        lanes: TILE.min(shape.rows.saturating_sub(lane)),
        columns: SIDE.min(shape.columns.saturating_sub(column)),
    };
    if region.lanes < TILE || region.columns < SIDE {
        lines.chunks_mut(LINES).for_each(|tile| tile[..TILE].fill(Line([0; 16])));
    }
    if region.lanes == 0 || region.columns == 0 {
        return;
    }
    let from = &slice[lane * shape.row_stride + column * shape.column_stride..];
    if how.activated || (shape.column_stride != 1 && shape.row_stride != 1) {
        let mut gathered = [0.0; TILE * SIDE];
        let strides = gather(from, shape, region, &mut gathered);
        if how.activated {
            gelu::in_place_to(&mut gathered, how.parts.accuracy());
        }
        write_tile(&gathered, strides, region, how, lines);
    } else {
        write_tile(from, (shape.row_stride, shape.column_stride), region, how, lines);
    }
}

/// One tile of every part, of a region that a slice begins with.
fn write_tile(
    from: &[f32],
    strides: (usize, usize),
    region: Region,
    How { parts, form, .. }: How,
    lines: &mut [Line],
) {
    let of_region = Shape {
        rows: region.lanes,
        columns: region.columns,
        row_stride: strides.0,
        column_stride: strides.1,
    };
    assert!(of_region.extent() <= from.len(), "a region reaches over its slice");
    assert!(lines.len() >= (parts.count() - 1) * LINES + TILE, "no room for a tile");
    // SAFETY: the processor has the instructions (`supported`, asserted by `tiles::multiply`, the only
    // way here); the region lies in its slice and there is room for a tile of every part (asserted).
    #[allow(unsafe_code)]
    unsafe {
        match parts {
            Parts::One => tile::<1>(from.as_ptr(), strides, region, form, lines.as_mut_ptr()),
            Parts::Three => tile::<3>(from.as_ptr(), strides, region, form, lines.as_mut_ptr()),
        }
    }
}

/// Copies a region, and returns the strides of its lanes and columns there, one of which is 1.
fn gather(
    from: &[f32],
    shape: Shape,
    region: Region,
    gathered: &mut [f32; TILE * SIDE],
) -> (usize, usize) {
    let Region { lanes, columns } = region;
    if shape.row_stride == 1 && shape.column_stride != 1 {
        for (column, to) in gathered.chunks_exact_mut(TILE).enumerate().take(columns) {
            to[..lanes].copy_from_slice(&from[column * shape.column_stride..][..lanes]);
        }
        return (1, TILE);
    }
    for (lane, to) in gathered.chunks_exact_mut(SIDE).enumerate().take(lanes) {
        let from = &from[lane * shape.row_stride..];
        if shape.column_stride == 1 {
            to[..columns].copy_from_slice(&from[..columns]);
        } else {
            let from = from.iter().step_by(shape.column_stride);
            to[..columns].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
    (SIDE, 1)
}

/// The part of a tile inside the matrix.
#[derive(Debug, Clone, Copy)]
struct Region {
    lanes: usize,
    columns: usize,
}

/// One tile of every part, [`LINES`] apart.
///
/// # Safety
/// The region must lie behind `from`, with a stride of lanes and one of columns, one of which is 1;
/// `to` must have room for the tiles of all parts.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn tile<const PARTS: usize>(
    from: *const f32,
    (lane_stride, column_stride): (usize, usize),
    region: Region,
    form: Form,
    to: *mut Line,
) {
    let natural = if column_stride == 1 {
        // SAFETY: as the caller promises.
        unsafe { lanes_of_pairs::<PARTS>(from, lane_stride, region, to) };
        Form::Left
    } else {
        // SAFETY: as the caller promises.
        unsafe { pairs_of_lanes::<PARTS>(from, column_stride, region, to) };
        Form::Right
    };
    if natural != form {
        for part in 0..PARTS {
            // SAFETY: `to` has the tile of this part.
            unsafe { mirror(to.add(part * LINES).cast::<__m512i>()) };
        }
    }
}

/// Rows of tiles from lanes whose columns are neighbours.
///
/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn lanes_of_pairs<const PARTS: usize>(
    from: *const f32,
    stride: usize,
    region: Region,
    to: *mut Line,
) {
    let (low, high) = (first(region.columns), first(region.columns.saturating_sub(TILE)));
    for lane in 0..region.lanes {
        // SAFETY: the masks leave the columns of the region, whose lane this is.
        let values = unsafe {
            let lane = from.add(lane * stride);
            _mm_prefetch::<_MM_HINT_T0>(lane.wrapping_add(AHEAD).cast());
            _mm_prefetch::<_MM_HINT_T0>(lane.wrapping_add(AHEAD + TILE).cast());
            (_mm512_maskz_loadu_ps(low, lane), _mm512_maskz_loadu_ps(high, lane.wrapping_add(TILE)))
        };
        for (part, values) in split::<PARTS>(values).into_iter().enumerate() {
            // SAFETY: `to` has room for the tile of this part, whose lines are aligned.
            unsafe { _mm512_store_si512(to.add(part * LINES + lane).cast::<__m512i>(), values) };
        }
    }
}

/// Rows of tiles from columns whose lanes are neighbours.
///
/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn pairs_of_lanes<const PARTS: usize>(
    from: *const f32,
    stride: usize,
    region: Region,
    to: *mut Line,
) {
    let order = interleaving();
    let lanes = first(region.lanes);
    for pair in 0..region.columns.div_ceil(2) {
        let second = if 2 * pair + 1 < region.columns { lanes } else { 0 };
        // SAFETY: the masks leave the lanes of the region, and of its columns those that are there.
        let values = unsafe {
            let column = from.add(2 * pair * stride);
            _mm_prefetch::<_MM_HINT_T0>(column.wrapping_add(AHEAD).cast());
            _mm_prefetch::<_MM_HINT_T0>(column.wrapping_add(stride + AHEAD).cast());
            (
                _mm512_maskz_loadu_ps(lanes, column),
                _mm512_maskz_loadu_ps(second, column.wrapping_add(stride)),
            )
        };
        for (part, values) in split::<PARTS>(values).into_iter().enumerate() {
            let values = _mm512_permutexvar_epi16(order, values);
            // SAFETY: `to` has room for the tile of this part, whose lines are aligned.
            unsafe { _mm512_store_si512(to.add(part * LINES + pair).cast::<__m512i>(), values) };
        }
    }
}

/// The order that brings values of two halves of a register side by side.
#[target_feature(enable = "avx512f")]
fn interleaving() -> __m512i {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut lane = 0;
        while lane < 16 {
            order[2 * lane] = lane as u16;
            order[2 * lane + 1] = lane as u16 + 16;
            lane += 1;
        }
        order
    };
    // SAFETY: there are as many values as a register holds.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_loadu_si512(ORDER.as_ptr().cast::<__m512i>())
    }
}

/// A mask of the first `count` values, at most 16.
fn first(count: usize) -> __mmask16 {
    ((1u32 << count.min(TILE)) - 1) as __mmask16
}

/// Splits two vectors into sums of bfloat16 terms; the lower half of each has the first.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn split<const PARTS: usize>((mut low, mut high): (__m512, __m512)) -> [__m512i; PARTS] {
    let mut parts = [_mm512_setzero_si512(); PARTS];
    for (index, part) in parts.iter_mut().enumerate() {
        *part = words(_mm512_cvtne2ps_pbh(high, low));
        if index + 1 < PARTS {
            // The remainder is exact: it has no more bits than the operand.
            let half = _mm512_castsi512_si256(*part);
            low = _mm512_sub_ps(low, widened(_mm512_cvtepu16_epi32(half)));
            let half = _mm512_extracti64x4_epi64::<1>(*part);
            high = _mm512_sub_ps(high, widened(_mm512_cvtepu16_epi32(half)));
        }
    }
    parts
}

/// Values of bfloat16, each in the lower half of a word, in 32 bits.
#[target_feature(enable = "avx512f")]
fn widened(halves: __m512i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
}

/// The same bits as words.
#[target_feature(enable = "avx512f")]
fn words(halves: __m512bh) -> __m512i {
    // SAFETY: both are 512 bits, of which every pattern is a value.
    #[allow(unsafe_code)]
    unsafe {
        std::mem::transmute::<__m512bh, __m512i>(halves)
    }
}

/// Mirrors sixteen rows of sixteen words at the diagonal.
///
/// # Safety
/// There must be sixteen rows, aligned.
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn mirror(tile: *mut __m512i) {
    let mut rows = [_mm512_setzero_si512(); TILE];
    for (line, row) in rows.iter_mut().enumerate() {
        // SAFETY: there are `TILE` rows, aligned.
        *row = unsafe { _mm512_load_si512(tile.add(line)) };
    }
    for (line, row) in mirrored(rows).into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { _mm512_store_si512(tile.add(line), row) };
    }
}

/// Sixteen rows of sixteen words, mirrored at the diagonal.
#[target_feature(enable = "avx512f")]
fn mirrored(rows: [__m512i; TILE]) -> [__m512i; TILE] {
    let mut pairs = rows;
    for at in (0..TILE).step_by(2) {
        pairs[at] = _mm512_unpacklo_epi32(rows[at], rows[at + 1]);
        pairs[at + 1] = _mm512_unpackhi_epi32(rows[at], rows[at + 1]);
    }
    // Of four rows, in each quarter of a register a column.
    let mut fours = rows;
    for at in (0..TILE).step_by(4) {
        fours[at] = _mm512_unpacklo_epi64(pairs[at], pairs[at + 2]);
        fours[at + 1] = _mm512_unpackhi_epi64(pairs[at], pairs[at + 2]);
        fours[at + 2] = _mm512_unpacklo_epi64(pairs[at + 1], pairs[at + 3]);
        fours[at + 3] = _mm512_unpackhi_epi64(pairs[at + 1], pairs[at + 3]);
    }
    let mut mirrored = rows;
    for column in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|at| fours[at + column]);
        let (ab_even, ab_odd) =
            (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) =
            (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        mirrored[column] = _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even);
        mirrored[column + 8] = _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even);
        mirrored[column + 4] = _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd);
        mirrored[column + 12] = _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd);
    }
    mirrored
}

/// Two rows side by side, rounded: words of a value of either, the first in the lower half.
///
/// # Panics
/// If the rows are of different length.
pub(super) fn interleave((first, second): (&[f32], &[f32]), to: &mut [u32]) {
    assert!(first.len() == to.len() && second.len() == to.len(), "rows of different length");
    // SAFETY: the processor has the instructions (`supported`, asserted by `conv`, the only way here).
    #[allow(unsafe_code)]
    unsafe {
        interleave_vectors((first, second), to);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn interleave_vectors((first, second): (&[f32], &[f32]), to: &mut [u32]) {
    let order = interleaving();
    let rows = first.chunks(TILE).zip(second.chunks(TILE)).zip(to.chunks_mut(TILE));
    for ((first, second), to) in rows {
        let mask = self::first(to.len());
        // SAFETY: the mask leaves as many as there are in each.
        #[allow(unsafe_code)]
        unsafe {
            let first = _mm512_maskz_loadu_ps(mask, first.as_ptr());
            let second = _mm512_maskz_loadu_ps(mask, second.as_ptr());
            let both = words(_mm512_cvtne2ps_pbh(second, first));
            let both = _mm512_permutexvar_epi16(order, both);
            _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), mask, both);
        }
    }
}

/// A row, rounded.
///
/// # Panics
/// If the rows are of different length.
pub(super) fn round(from: &[f32], to: &mut [u16]) {
    assert_eq!(from.len(), to.len(), "rows of different length");
    // SAFETY: the processor has the instructions (`supported`, asserted by `conv`, the only way here).
    #[allow(unsafe_code)]
    unsafe {
        round_vectors(from, to);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn round_vectors(from: &[f32], to: &mut [u16]) {
    for (from, to) in from.chunks(TILE).zip(to.chunks_mut(TILE)) {
        let mask = first(to.len());
        // SAFETY: the mask leaves as many as there are in each.
        #[allow(unsafe_code)]
        unsafe {
            let values = _mm512_maskz_loadu_ps(mask, from.as_ptr());
            let halves = _mm512_castsi512_si256(words(_mm512_cvtne2ps_pbh(values, values)));
            _mm256_mask_storeu_epi16(to.as_mut_ptr().cast(), mask, halves);
        }
    }
}

/// A value as tiles see it.
#[cfg(test)]
pub(super) fn nearest(value: f32) -> f32 {
    let mut half = [0];
    round(&[value], &mut half);
    f32::from_bits(u32::from(half[0]) << 16)
}
