//! The right operand in panels, for one GEMM or for many.

use rayon::prelude::*;

use super::super::gelu;
use super::super::matrix::{Matrix, transposed};
use super::super::product::PackedRight;
use super::kernel::Kernel;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::{Unit, even_part, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// The most inner values of a panel.
const INNER: usize = 384;
/// The most columns that are packed at once.
pub(super) const COLUMNS: usize = 3072;
/// The most values that are packed at once, to stay in the shared cache.
const PACKED: usize = INNER * COLUMNS;
/// Values of the right operand below which it is packed by one thread.
const WORTH_SHARING: usize = 1 << 14;
/// Bytes of a line of the processor's cache.
const LINE: usize = 64;

/// The cuts of the right operand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    inner: usize,
    columns: usize,
    /// Inner values of all parts but the last ones.
    depth: usize,
    /// Columns of all parts but the last ones.
    width: usize,
}

/// The columns and inner values whose panels are multiplied together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The first column, and the number of columns.
    pub column: usize,
    pub columns: usize,
    /// The first inner value, and their number.
    pub inner: usize,
    pub depth: usize,
    /// Whether the sums of its columns are whole then.
    pub is_last: bool,
    /// Inner values of all parts of these columns.
    whole: usize,
}

impl Part {
    /// Values of its panels.
    pub(super) fn len<K: Kernel>(self) -> usize {
        self.columns.next_multiple_of(K::COLUMNS) * self.depth
    }

    /// The place of its panels among those of all parts.
    pub(super) fn offset<K: Kernel>(self) -> usize {
        self.column * self.whole + self.columns.next_multiple_of(K::COLUMNS) * self.inner
    }
}

impl Parts {
    pub(super) fn of<K: Kernel>(inner: usize, columns: usize) -> Self {
        let (depth, width) = (even_part(inner, INNER, 1), even_part(columns, COLUMNS, K::COLUMNS));
        Self { inner, columns, depth, width }
    }

    /// All parts; those of the same columns one after the other, in the order of the inner axis.
    pub(super) fn all(self) -> impl Iterator<Item = Part> {
        let Self { inner: whole, columns, depth, width } = self;
        (0..columns).step_by(width).flat_map(move |column| {
            (0..whole).step_by(depth).map(move |inner| Part {
                column,
                columns: width.min(columns - column),
                inner,
                depth: depth.min(whole - inner),
                is_last: inner + depth >= whole,
                whole,
            })
        })
    }

    /// All parts in groups of the same columns, which are packed and multiplied together.
    pub(super) fn groups(self) -> impl Iterator<Item = Vec<Part>> {
        let at_once = (PACKED / (self.depth * self.width)).max(1);
        let mut parts = self.all().peekable();
        std::iter::from_fn(move || {
            let first = parts.next()?;
            let mut group = vec![first];
            while group.len() < at_once
                && let Some(part) = parts.next_if(|part| part.column == first.column)
            {
                group.push(part);
            }
            Some(group)
        })
    }
}

/// Packs the columns of parts, panel by panel, through the GELU if `activated`.
pub(super) fn pack_parts<K: Kernel>(
    panels: &mut [f32],
    parts: &[Part],
    (b, activated): (Matrix<'_>, bool),
    threads: usize,
) {
    let share = threads > 1 && panels.len() >= WORTH_SHARING;
    let pack = |(part, first, panel): (Part, usize, &mut [f32])| {
        let lanes = (part.column + first, K::COLUMNS.min(part.columns - first));
        K::pack_right(transposed(b), lanes, (part.inner, part.depth), panel);
        if activated {
            gelu::in_place(panel);
        }
    };
    let mut rest = panels;
    let places = parts.iter().flat_map(|&part| {
        let (of_part, behind) = std::mem::take(&mut rest).split_at_mut(part.len::<K>());
        rest = behind;
        let firsts = (0..part.columns).step_by(K::COLUMNS);
        firsts
            .zip(of_part.chunks_mut(K::COLUMNS * part.depth))
            .map(move |(first, panel)| (part, first, panel))
    });
    if share {
        places.collect::<Vec<_>>().into_par_iter().for_each(pack);
    } else {
        places.for_each(pack);
    }
}

/// Packs the last panel of each part if it is not whole.
pub(super) fn pack_last<K: Kernel>(last: &mut [f32], parts: &[Part], b: Matrix<'_>) {
    let mut rest = last;
    for part in parts {
        let (panel, behind) = rest.split_at_mut(K::COLUMNS * part.depth);
        rest = behind;
        let count = part.columns % K::COLUMNS;
        if count > 0 {
            let lanes = (part.column + part.columns - count, count);
            K::pack_right(transposed(b), lanes, (part.inner, part.depth), panel);
        }
    }
}

/// A right operand that is packed once for several GEMMs.
#[derive(Debug)]
pub(crate) struct Packed {
    unit: Unit,
    inner: usize,
    columns: usize,
    buffer: Vec<f32>,
    /// The first value that lies on a boundary of the cache's lines.
    first: usize,
}

impl Packed {
    /// Packs for this processor.
    ///
    /// # Panics
    /// If the matrix reaches over its slice.
    pub(crate) fn new(b: Matrix<'_>) -> Self {
        Self::by(Unit::best(), b)
    }

    pub(super) fn by(unit: Unit, b: Matrix<'_>) -> Self {
        match unit {
            #[cfg(target_arch = "x86_64")]
            Unit::Avx512 => Self::of::<avx512::Avx512>(unit, b),
            #[cfg(target_arch = "x86_64")]
            Unit::Avx2 => Self::of::<avx2::Avx2>(unit, b),
            #[cfg(target_arch = "aarch64")]
            Unit::Neon => Self::of::<neon::Neon>(unit, b),
            Unit::Portable => Self::of::<portable::Portable>(unit, b),
        }
    }

    fn of<K: Kernel>(unit: Unit, b: Matrix<'_>) -> Self {
        let (inner, columns) = (b.1.rows, b.1.columns);
        assert!(b.1.extent() <= b.0.len(), "a matrix reaches over its slice");
        let parts: Vec<Part> = Parts::of::<K>(inner, columns).all().collect();
        let len: usize = parts.iter().map(|part| part.len::<K>()).sum();
        let mut buffer = vec![0.0; len + LINE / size_of::<f32>()];
        let first = first_aligned(&buffer);
        let panels = &mut buffer[first..first + len];
        pack_parts::<K>(panels, &parts, (b, false), rayon::current_num_threads());
        Self { unit, inner, columns, buffer, first }
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.buffer.as_slice())
    }

    /// # Panics
    /// If it is of other sizes or for another kernel.
    pub(super) fn check(&self, unit: Unit, inner: usize, columns: usize) {
        assert!(
            (self.unit, self.inner, self.columns) == (unit, inner, columns),
            "{} x {} values packed for {:?} where {inner} x {columns} for {unit:?} are needed",
            self.inner,
            self.columns,
            self.unit
        );
    }

    /// The panels of a group of parts, from the beginning of a cache line on.
    pub(super) fn parts<K: Kernel>(&self, group: &[Part]) -> &[f32] {
        let first = self.first + group.first().map_or(0, |part| part.offset::<K>());
        &self.buffer[first..][..group.iter().map(|part| part.len::<K>()).sum()]
    }
}

impl PackedRight for Packed {
    fn inner(&self) -> usize {
        self.inner
    }

    fn columns(&self) -> usize {
        self.columns
    }
}

/// `len` values of a buffer, from the beginning of a cache line on.
pub(super) fn aligned(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    let len_with_gap = len + LINE / size_of::<f32>();
    if buffer.len() < len_with_gap {
        buffer.resize(len_with_gap, 0.0);
    }
    let first = first_aligned(buffer);
    &mut buffer[first..first + len]
}

/// The first value on a boundary of the cache's lines, of a buffer that is longer than a line.
fn first_aligned(buffer: &[f32]) -> usize {
    // No boundary is found by the interpreter of the language, which knows no addresses.
    buffer.as_ptr().align_offset(LINE).min(LINE / size_of::<f32>())
}
