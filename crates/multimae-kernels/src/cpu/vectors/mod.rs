//! The fp32 GEMM on the vector units.
//!
//! Both operands are packed into panels: some rows of `a`, or columns of `b`, one value of each
//! behind the other along the inner axis. A kernel multiplies a panel by a panel and keeps the sums in
//! registers. The inner axis is cut so that a panel of `b` stays near the processor, the rows so that
//! the panels of `a` of one block stay in a core's second cache, the columns so that those of `b` stay
//! in the shared one (Goto and van de Geijn, 2008; Van Zee and van de Geijn, 2015).
//!
//! Every element is a sum over the inner axis in order, by fused multiply-add, cut at places that
//! depend on the inner length alone: its bits depend neither on the number of threads, nor on where in
//! the result it lies, nor on the kernel.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_pack;
mod operands;
mod pack;
mod packed;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_pack;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::OnceLock;

use self::kernel::Kernel;
use self::operands::{Left, Panels, stays_in_place};
use self::packed::{Part, Parts, aligned, pack_last, pack_parts};
use super::grid::Grid;
use super::matrix::{Into, Shape, Side};
use super::product::{self, Right};
use super::tile::Tile;
use crate::switch::Switch;

pub(crate) use self::packed::Packed;

/// The most values of the packed rows of a block, to stay in the second cache.
const LEFT: usize = 96 << 10;
/// The fewest panels of rows for which an item of work of their own is worth it.
const FEWEST: usize = 6;
/// The most rows of a kernel's panel.
const MOST_ROWS: usize = 14;

/// Chooses a kernel by whether rows are a packed panel, whether columns fill one vector at most instead
/// of `vectors`, and the number of rows of a tile.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! by_rows {
    ($kernel:ident, $vectors:tt, ($panel:expr, $narrow:expr), $rows:expr, $args:tt,
     [$($count:literal)*]) => {
        match ($panel, $narrow, $rows) {
            $((true, false, $count) => by_rows!(@call $kernel, $count, $vectors, true, $args),
            (true, true, $count) => by_rows!(@call $kernel, $count, 1, true, $args),
            (false, false, $count) => by_rows!(@call $kernel, $count, $vectors, false, $args),
            (false, true, $count) => by_rows!(@call $kernel, $count, 1, false, $args),)*
            _ => {}
        }
    };
    (@call $kernel:ident, $count:literal, $vectors:literal, $panel:literal, ($($arg:expr),*)) => {
        $kernel::<$count, $vectors, $panel>($($arg),*)
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use by_rows;

thread_local! {
    /// Packed rows; their memory is reused by the next GEMM.
    static LEFT_PANELS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// Packed columns.
    static RIGHT_PANELS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Unit {
    /// The fastest that this processor has.
    fn best() -> Self {
        static BEST: OnceLock<Unit> = OnceLock::new();
        *BEST.get_or_init(|| {
            let all = Self::all();
            #[cfg(target_arch = "x86_64")]
            if all.first() == Some(&Self::Avx512) && avx512::is_halved() {
                return Self::Avx2;
            }
            all.first().copied().unwrap_or(Self::Portable)
        })
    }

    /// All that this processor has, the fastest first.
    fn all() -> Vec<Self> {
        let units = [
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, avx512::is_supported()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, avx2::is_supported()),
            #[cfg(target_arch = "aarch64")]
            (Self::Neon, neon::is_supported()),
            (Self::Portable, true),
        ];
        units.into_iter().filter(|(_, has)| *has).map(|(unit, _)| unit).collect()
    }
}

/// Whether GEMMs are to be computed here: if the processor has a kernel of its own, and the environment
/// does not leave them to the library. The portable kernel is their oracle; where nothing else is, the
/// library is faster.
pub(crate) fn usable() -> bool {
    Switch::current() > Switch::Library && Unit::best() != Unit::Portable
}

/// Whether every row of the left operand is packed once, and not again for each share of the columns.
pub(crate) fn packs_left_once(rows: usize, columns: usize, threads: bool) -> bool {
    let threads = if threads { rayon::current_num_threads() } else { 1 };
    columns <= packed::COLUMNS && (threads == 1 || rows >= threads * FEWEST * MOST_ROWS)
}

/// A GEMM of operands that may be packed for the vector units.
pub(crate) type Gemm<'a> = product::Gemm<'a, Packed>;

/// The result's place, in which threads write apart.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: *mut f32,
    row_stride: usize,
}

// SAFETY: every thread writes to its own rows and columns of the place, as `run` deals them out.
#[allow(unsafe_code)]
unsafe impl Send for Place {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Place {}

/// Computes a GEMM into a result whose columns are neighbours, here or among the threads.
///
/// # Safety
/// The shapes must fit each other, every element that the strides reach must exist, and those of the
/// result must be writable, share no place with each other or with an operand, and be initialised if
/// the result is added to them.
///
/// # Panics
/// If there is nothing to multiply, the epilogue does not fit, or `b` was packed for another kernel.
#[allow(unsafe_code)]
pub(crate) unsafe fn multiply((into, shape): (*mut f32, Shape), gemm: Gemm<'_>, threads: bool) {
    // SAFETY: as the caller promises; the best kernel is one that the processor has.
    unsafe { multiply_by(Unit::best(), (into, shape), gemm, threads) }
}

/// # Safety
/// As [`multiply`]; the processor must have the kernel.
#[allow(unsafe_code)]
unsafe fn multiply_by(unit: Unit, (into, shape): (*mut f32, Shape), gemm: Gemm<'_>, threads: bool) {
    assert!(shape.column_stride == 1 || shape.columns <= 1, "columns lie apart");
    assert!(shape.rows > 0 && shape.columns > 0 && gemm.a.1.columns > 0, "an empty product");
    if let Right::Packed(packed) = gemm.b {
        packed.check(unit, gemm.a.1.columns, shape.columns);
    }
    gemm.epilogue.check(shape.rows, shape.columns);
    let place = Place { first: into, row_stride: shape.row_stride };
    let threads = if threads { rayon::current_num_threads() } else { 1 };
    // SAFETY: as the caller promises.
    unsafe {
        match unit {
            #[cfg(target_arch = "x86_64")]
            Unit::Avx512 => run::<avx512::Avx512>(place, shape.rows, gemm, threads),
            #[cfg(target_arch = "x86_64")]
            Unit::Avx2 => run::<avx2::Avx2>(place, shape.rows, gemm, threads),
            #[cfg(target_arch = "aarch64")]
            Unit::Neon => run::<neon::Neon>(place, shape.rows, gemm, threads),
            Unit::Portable => run::<portable::Portable>(place, shape.rows, gemm, threads),
        }
    }
}

/// The largest part of `len`, a multiple of `unit`, such that parts of at most `most` are of even size.
fn even_part(len: usize, most: usize, unit: usize) -> usize {
    let parts = len.div_ceil(most.max(1)).max(1);
    len.div_ceil(parts).div_ceil(unit).max(1) * unit
}

/// # Safety
/// As [`multiply`]; the processor must have the kernel.
#[allow(unsafe_code)]
unsafe fn run<K: Kernel>(place: Place, rows: usize, gemm: Gemm<'_>, threads: usize) {
    let parts = Parts::of::<K>(gemm.a.1.columns, gemm.b.columns());
    let activated = gemm.activated == Some(Side::Right);
    let mut buffer = RIGHT_PANELS.take();
    for group in parts.groups() {
        let panels = match gemm.b {
            Right::Matrix(b) if !activated && stays_in_place(b.1, rows) => {
                let inner: usize = group.iter().map(|part| part.depth).sum();
                let last = aligned(&mut buffer, K::COLUMNS * inner);
                pack_last::<K>(last, &group, b);
                Panels::InPlace(b, last)
            }
            Right::Matrix(b) => {
                let panels = aligned(&mut buffer, group.iter().map(|part| part.len::<K>()).sum());
                pack_parts::<K>(panels, &group, (b, activated), threads);
                Panels::Packed(panels)
            }
            Right::Packed(packed) => Panels::Packed(packed.parts::<K>(&group)),
        };
        // SAFETY: as the caller promises.
        unsafe { multiply_group::<K>(place, rows, &gemm, (&group, panels), threads) }
    }
    RIGHT_PANELS.replace(buffer);
}

/// Multiplies all rows by the packed panels of parts of the same columns.
///
/// # Safety
/// As [`run`].
#[allow(unsafe_code)]
unsafe fn multiply_group<K: Kernel>(
    place: Place,
    rows: usize,
    gemm: &Gemm<'_>,
    (group, panels): (&[Part], Panels<'_>),
    threads: usize,
) {
    let Some(first) = group.first() else { return };
    let of_rows = rows.div_ceil(K::ROWS);
    let of_columns = first.columns.div_ceil(K::COLUMNS);
    let most = (LEFT / (first.depth * K::ROWS)).max(1);
    let grid = Grid::new((of_rows, of_columns), (FEWEST, most), threads);
    grid.for_each((of_rows, of_columns), threads, |block, share| {
        let rows = block.start * K::ROWS..(block.end * K::ROWS).min(rows);
        for number in 0..group.len() {
            // SAFETY: as the caller promises; blocks and shares are apart.
            unsafe {
                multiply_block::<K>(
                    place,
                    rows.clone(),
                    gemm,
                    (group, number),
                    (panels, share.clone()),
                );
            }
        }
    });
}

/// Multiplies some rows by some of the panels of a part.
///
/// # Safety
/// As [`run`]; no other thread may write to these rows of these columns.
#[allow(unsafe_code)]
unsafe fn multiply_block<K: Kernel>(
    place: Place,
    rows: Range<usize>,
    gemm: &Gemm<'_>,
    (group, number): (&[Part], usize),
    (panels, share): (Panels<'_>, Range<usize>),
) {
    let part = group[number];
    let mut buffer = LEFT_PANELS.take();
    let left = Left::<K>::new(&mut buffer, rows.clone(), gemm, part, share.len());
    let add = gemm.how == Into::Add || part.inner > 0;
    let finish = part.is_last && !gemm.epilogue.is_nothing();
    for panel in share {
        let right = panels.source::<K>(group, number, panel);
        let columns = K::COLUMNS.min(part.columns - panel * K::COLUMNS);
        let column = part.column + panel * K::COLUMNS;
        for first in (0..rows.len()).step_by(K::ROWS) {
            let count = K::ROWS.min(rows.len() - first);
            let row = rows.start + first;
            let tile =
                Tile { rows: count, columns, stride: place.row_stride, add, scale: gemm.scale };
            // SAFETY: the tile lies in the result, whose elements exist as the caller promises and are
            // this thread's; the sources hold `depth` values of its rows and of a panel's columns.
            unsafe {
                let into = place.first.add(row * place.row_stride + column);
                if finish {
                    gemm.epilogue.fetch(tile, (row, column), gemm.b.columns());
                }
                K::multiply(into, tile, part.depth, left.source(first, count), right);
                if finish {
                    gemm.finish(into, tile, (row, column));
                }
            }
        }
    }
    LEFT_PANELS.replace(buffer);
}

#[cfg(test)]
mod tests;
