//! A panel of 32 rows times a panel of 32 columns.
//!
//! Of the eight tile registers four hold the sums, two the tiles of the rows, two those of the columns.
//! Instructions are written out since the language does not have them yet. [`Tiles`] configures the
//! registers; no block of instructions expects anything in them.

use std::arch::asm;
use std::arch::x86_64::{
    __mmask16, _MM_HINT_T0, _mm_prefetch, _mm512_add_ps, _mm512_load_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_compress_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
};
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::super::tile::Tile;
use super::conv::Padded;
use super::{LINES, Line, Parts, SIDE, supported};

/// Rows and columns of the sums in a tile register.
const TILE: usize = 16;

/// The operand of `ldtilecfg`: palette 1, eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration([u8; 64]);

static CONFIGURATION: Configuration = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = TILE as u8;
        tile += 1;
    }
    Configuration(bytes)
};

thread_local! {
    /// The number of [`Tiles`] that this thread has.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// This thread's tile registers, configured for as long as one of these exists.
#[derive(Debug)]
pub(super) struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// Configures them.
    ///
    /// # Panics
    /// If the processor has no tiles.
    pub(super) fn new() -> Self {
        assert!(supported(), "a processor without tiles of bfloat16");
        if HELD.replace(HELD.get() + 1) == 0 {
            // SAFETY: the processor has tiles and this process their use (asserted); the operand is a
            // valid configuration of 64 bytes. Compiled code uses no tile registers.
            #[allow(unsafe_code)]
            unsafe {
                asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly));
            }
        }
        Self(PhantomData)
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        if HELD.replace(HELD.get() - 1) == 1 {
            // SAFETY: the tiles were configured by `new`, and this thread has no others.
            #[allow(unsafe_code)]
            unsafe {
                asm!("tilerelease", options(nostack, nomem));
            }
        }
    }
}

/// Sums of 32 rows and columns.
#[repr(C, align(64))]
struct Sums([[f32; SIDE]; SIDE]);

/// The memory of 32 rows of 32 sums.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: *mut f32,
    /// From one row to the next.
    stride: usize,
    /// Whether they are added to what is there.
    add: bool,
}

impl Place {
    /// That of sums which replace what was there.
    fn of(sums: &mut MaybeUninit<Sums>) -> Self {
        Self { first: sums.as_mut_ptr().cast(), stride: SIDE, add: false }
    }
}

/// Two panels, and what is multiplied after them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panels<'a> {
    /// `(blocks, parts, 2, 16)` lines, as `pack` leaves them.
    pub left: &'a [Line],
    /// Likewise.
    pub right: &'a [Line],
    /// Lines that are fetched meanwhile; nothing has to be there.
    pub next: *const Line,
}

/// `into (+)= scale * left right`.
///
/// # Safety
/// Every element of the tile must lie behind `into`, be writable and referred to by nothing else,
/// and be initialised if it is added to.
///
/// # Panics
/// If the panels are of different length or the tile is larger than a tile.
#[allow(unsafe_code)]
pub(super) unsafe fn multiply(
    _: &Tiles,
    into: *mut f32,
    tile: Tile,
    panels: Panels<'_>,
    parts: Parts,
) {
    let blocks = panels.left.len() / (parts.count() * LINES);
    assert!(
        blocks > 0
            && panels.left.len() == blocks * parts.count() * LINES
            && panels.right.len() == panels.left.len(),
        "panels that do not fit"
    );
    assert!((1..=SIDE).contains(&tile.rows) && (1..=SIDE).contains(&tile.columns), "a large tile");
    fetch_places(into, tile);
    let product = match parts {
        Parts::One => single,
        Parts::Three => triple,
    };
    // SAFETY: tiles are configured (`Tiles`); panels hold `blocks` blocks (asserted); the caller
    // promises the tile's places, which are all 32 rows of 32 in the first case.
    unsafe {
        if (tile.rows, tile.columns, tile.scale) == (SIDE, SIDE, 1.0) {
            return product(
                blocks,
                panels,
                Place { first: into, stride: tile.stride, add: tile.add },
            );
        }
        let mut sums = MaybeUninit::<Sums>::uninit();
        product(blocks, panels, Place::of(&mut sums));
        store(into, tile, sums.assume_init_ref());
    }
}

/// Has the places of the sums brought near while they are computed.
fn fetch_places(into: *mut f32, tile: Tile) {
    for row in 0..tile.rows {
        for half in 0..2 {
            let place = into.wrapping_add(row * tile.stride + half * TILE);
            // SAFETY: this changes nothing and may be done with any address.
            #[allow(unsafe_code)]
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(place.cast());
            }
        }
    }
}

/// Instructions that bring the sums of a `$place` through `$blocks` times `$step`. Steps may use
/// `{row}`, the bytes of a tile's row, and `$operands`.
macro_rules! over_blocks {
    ($blocks:expr, $place:expr, [$($step:expr),* $(,)?], { $($operands:tt)* }) => {{
        let place: Place = $place;
        asm!(
            "test {add}, {add}",
            "jz 3f",
            "tileloadd tmm0, [{sums} + {step}*1]",
            "tileloadd tmm1, [{sums} + {step}*1 + 64]",
            "tileloadd tmm2, [{below} + {step}*1]",
            "tileloadd tmm3, [{below} + {step}*1 + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            $($step,)*
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{sums} + {step}*1], tmm0",
            "tilestored [{sums} + {step}*1 + 64], tmm1",
            "tilestored [{below} + {step}*1], tmm2",
            "tilestored [{below} + {step}*1 + 64], tmm3",
            blocks = inout(reg) $blocks => _,
            add = in(reg) usize::from(place.add),
            sums = in(reg) place.first,
            below = in(reg) place.first.wrapping_add(TILE * place.stride),
            step = in(reg) place.stride * size_of::<f32>(),
            row = in(reg) 64usize,
            $($operands)*
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    }};
}

/// Instructions that fetch lines into the second cache.
macro_rules! fetch {
    ($($place:literal),*) => { concat!($("prefetcht1 [{next} + ", $place, "]\n"),*) };
}

/// Products and sums of a turn of [`busy_loop`].
pub(crate) const OPERATIONS_OF_A_TURN: usize = 4 * 2 * TILE * TILE * 32;

/// Multiplies the same two tiles again and again, for the limit of the processor. Returns a sum.
///
/// # Panics
/// If the processor has no tiles.
pub(crate) fn busy_loop(turns: usize) -> f32 {
    let _tiles = Tiles::new();
    let mut sums = MaybeUninit::<Sums>::uninit();
    // Two values of bfloat16, 2^-10, to a word.
    let operand = [[0x3a80_3a80_u32; TILE]; TILE];
    // SAFETY: tiles are configured; reads a tile of 1 KiB twice and writes the four of the sums.
    #[allow(unsafe_code)]
    let sums = unsafe {
        over_blocks!(turns.max(1), Place::of(&mut sums), [
            "tileloadd tmm4, [{operand} + {row}*1]",
            "tileloadd tmm5, [{operand} + {row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm5",
            "tdpbf16ps tmm1, tmm4, tmm5",
            "tdpbf16ps tmm2, tmm4, tmm5",
            "tdpbf16ps tmm3, tmm4, tmm5",
        ], { operand = in(reg) operand.as_ptr(), });
        sums.assume_init_ref()
    };
    sums.0[0][0]
}

/// Multiplies operands of one term.
///
/// # Safety
/// Tiles must be configured, panels hold `blocks` blocks, at least one, and the place be there.
#[allow(unsafe_code)]
unsafe fn single(blocks: usize, panels: Panels<'_>, place: Place) {
    // SAFETY: reads both panels, 2 KiB a block, and writes 32 rows of 32 sums, which it reads before if
    // they are added to.
    unsafe {
        over_blocks!(blocks, place, [
            "tileloadd tmm6, [{right} + {row}*1]",
            "tileloadd tmm4, [{left} + {row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            fetch!(0, 64),
            "tileloadd tmm7, [{right} + {row}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            fetch!(128, 192),
            "tileloadd tmm5, [{left} + {row}*1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            fetch!(256, 320),
            "tdpbf16ps tmm3, tmm5, tmm7",
            fetch!(384, 448),
            "add {next}, 512",
            "add {left}, 2048",
            "add {right}, 2048",
        ], {
            left = inout(reg) panels.left.as_ptr() => _,
            right = inout(reg) panels.right.as_ptr() => _,
            next = inout(reg) panels.next => _,
        });
    }
}

/// Multiplies operands of three terms, the first the largest: the terms `i` and `j` with `i + j <=
/// 2`. The others are below the last bit of the result.
///
/// # Safety
/// As [`single`].
#[allow(unsafe_code)]
unsafe fn triple(blocks: usize, panels: Panels<'_>, place: Place) {
    // SAFETY: as in `single`, with 6 KiB a block, of which a part is 2 KiB.
    unsafe {
        over_blocks!(blocks, place, [
            // Third part of the left, first of the right.
            "tileloadd tmm6, [{right} + {row}*1]",
            "tileloadd tmm4, [{left} + {row}*1 + 4096]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {row}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{left} + {row}*1 + 5120]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            fetch!(0, 64, 128),
            // Second and first.
            "tileloadd tmm4, [{left} + {row}*1 + 2048]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{left} + {row}*1 + 3072]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            fetch!(192, 256, 320),
            // Second and second.
            "tileloadd tmm6, [{right} + {row}*1 + 2048]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{right} + {row}*1 + 3072]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            fetch!(384, 448, 512),
            // First and second.
            "tileloadd tmm4, [{left} + {row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{left} + {row}*1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            fetch!(576, 640, 704),
            // First and third.
            "tileloadd tmm6, [{right} + {row}*1 + 4096]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{right} + {row}*1 + 5120]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            fetch!(768, 832),
            // First and first.
            "tileloadd tmm6, [{right} + {row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{right} + {row}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            fetch!(896, 960),
            "add {next}, 1024",
            "add {left}, 6144",
            "add {right}, 6144",
        ], {
            left = inout(reg) panels.left.as_ptr() => _,
            right = inout(reg) panels.right.as_ptr() => _,
            next = inout(reg) panels.next => _,
        });
    }
}

/// Writes the sums that belong to the tile.
///
/// # Safety
/// As [`multiply`], and the processor must have these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn store(into: *mut f32, tile: Tile, sums: &Sums) {
    let scale = _mm512_set1_ps(tile.scale);
    for row in 0..tile.rows {
        for half in 0..tile.columns.div_ceil(TILE) {
            let count = TILE.min(tile.columns - half * TILE);
            let mask = ((1u32 << count) - 1) as __mmask16;
            let sums = &sums.0[row][half * TILE..];
            // SAFETY: half a row of sums is a register, aligned; the mask leaves the columns of the tile,
            // whose elements are all there.
            unsafe {
                let place = into.add(row * tile.stride + half * TILE);
                let mut value = _mm512_mul_ps(_mm512_load_ps(sums.as_ptr()), scale);
                if tile.add {
                    value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, place));
                }
                _mm512_mask_storeu_ps(place, mask, value);
            }
        }
    }
}

/// The destination of a convolution: pixels of an image, and rows, of which this many are channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    /// At most [`SIDE`].
    pub count: usize,
    /// From one row to the next.
    pub stride: usize,
    /// The bias of each row.
    pub bias: Option<&'a [f32]>,
}

/// A right operand whose blocks lie anywhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved<'a> {
    /// Words of two values.
    pub right: &'a [u32],
    /// The places of blocks, in bytes.
    pub offsets: &'a [usize],
    /// Words from one row of a block to the next.
    pub pitch: usize,
}

/// `into = left right + bias`, of the pixels of a padded image from a place on.
///
/// # Shapes
/// `left (offsets, 2, 16)` lines.
///
/// # Safety
/// From every offset on there must be 16 rows of 32 words behind `right`; the pixels among the
/// places must lie behind `into`, where the first pixel of the image would be, in every row, and
/// nothing else may refer to them.
///
/// # Panics
/// If the operands are of different length or there are more rows than a tile has.
#[allow(unsafe_code)]
pub(super) unsafe fn multiply_moved(
    _: &Tiles,
    into: *mut f32,
    rows: Rows<'_>,
    left: &[Line],
    moved: Moved<'_>,
    (padded, place): (Padded, usize),
) {
    let blocks = moved.offsets.len();
    assert!(blocks > 0 && left.len() == blocks * LINES, "panels that do not fit");
    assert!((1..=SIDE).contains(&rows.count), "a large tile");
    assert!(rows.bias.is_none_or(|bias| bias.len() == rows.count), "a bias of other rows");
    let mut sums = MaybeUninit::<Sums>::uninit();
    // SAFETY: tiles are configured (`Tiles`); the left
    // operand has a block per offset (asserted); the caller promises the right one and the pixels.
    unsafe {
        over_blocks!(blocks, Place::of(&mut sums), [
            "mov {block}, [{offsets}]",
            "add {block}, {right}",
            "tileloadd tmm6, [{block} + {pitch}*1]",
            "tileloadd tmm4, [{left} + {row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{block} + {pitch}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{left} + {row}*1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {offsets}, 8",
            "add {left}, 2048",
        ], {
            block = out(reg) _,
            offsets = inout(reg) moved.offsets.as_ptr() => _,
            right = in(reg) moved.right.as_ptr(),
            pitch = in(reg) moved.pitch * 4,
            left = inout(reg) left.as_ptr() => _,
        });
        store_pixels(into, rows, (padded, place), sums.assume_init_ref());
    }
}

/// Writes the sums at those places that are pixels, one behind the other.
///
/// # Safety
/// As [`multiply_moved`], and the processor must have these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(unsafe_code)]
unsafe fn store_pixels(
    into: *mut f32,
    rows: Rows<'_>,
    (padded, place): (Padded, usize),
    sums: &Sums,
) {
    for half in 0..2 {
        let first = place + half * TILE;
        let is_pixel = |lane: usize| u32::from(padded.is_pixel(first + lane)) << lane;
        let pixels = (0..TILE).map(is_pixel).sum::<u32>() as __mmask16;
        let together = ((1u32 << pixels.count_ones()) - 1) as __mmask16;
        for row in 0..rows.count {
            let sums = &sums.0[row][half * TILE..];
            let bias = _mm512_set1_ps(rows.bias.map_or(0.0, |bias| bias[row]));
            // SAFETY: half a row of sums is a register, aligned; behind `into` are the pixels of the row,
            // those at these places from the number before them on.
            unsafe {
                let to = into.wrapping_add(row * rows.stride + padded.pixels_before(first));
                let values = _mm512_add_ps(_mm512_load_ps(sums.as_ptr()), bias);
                let values = _mm512_maskz_compress_ps(pixels, values);
                _mm512_mask_storeu_ps(to, together, values);
            }
        }
    }
}

/// A left operand whose rows are planes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sliding<'a> {
    /// Values of bfloat16.
    pub planes: &'a [u16],
    /// Values from one plane to the next.
    pub pitch: usize,
}

/// `into (+)= left right`.
///
/// # Shapes
/// `right (blocks, 2, 16)` lines; of the left operand 32 planes of `32 * blocks` values.
///
/// # Safety
/// The planes must be there, and the tile as in [`multiply`].
///
/// # Panics
/// If there is no block or the tile is larger than a tile.
#[allow(unsafe_code)]
pub(super) unsafe fn multiply_sliding(
    _: &Tiles,
    into: *mut f32,
    tile: Tile,
    left: Sliding<'_>,
    right: &[Line],
) {
    let blocks = right.len() / LINES;
    assert!(blocks > 0 && right.len() == blocks * LINES, "a broken panel");
    assert!((1..=SIDE).contains(&tile.rows) && (1..=SIDE).contains(&tile.columns), "a large tile");
    let mut sums = MaybeUninit::<Sums>::uninit();
    // SAFETY: tiles are configured (`Tiles`); the
    // right operand has this many blocks (asserted); the caller promises the planes and the tile.
    unsafe {
        over_blocks!(blocks, Place::of(&mut sums), [
            "tileloadd tmm6, [{right} + {row}*1]",
            "tileloadd tmm4, [{first} + {pitch}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {row}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{second} + {pitch}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {first}, 64",
            "add {second}, 64",
            "add {right}, 2048",
        ], {
            first = inout(reg) left.planes.as_ptr() => _,
            second = inout(reg) left.planes.as_ptr().wrapping_add(TILE * left.pitch) => _,
            pitch = in(reg) left.pitch * 2,
            right = inout(reg) right.as_ptr() => _,
        });
        store(into, tile, sums.assume_init_ref());
    }
}
