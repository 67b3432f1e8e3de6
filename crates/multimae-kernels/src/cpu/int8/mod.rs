//! Inference of linear layers and convolutions with 8-bit operands.
//!
//! Quantisation is symmetric: a value is about `scale * q` with `q` from -127 to 127, and `127 scale` is
//! the largest magnitude (Jacob et al., 2018; Krishnamoorthi, 2018). Weights are quantised once, with a
//! scale per output. Inputs are quantised in every call, with a scale per row of a linear layer and per
//! image of a convolution. They are stored as `q + 128`, since the processors' instructions multiply
//! unsigned by signed integers; the sums are then too large by 128 times the sum of the weights, which
//! is computed when these are packed.
//!
//! A kernel multiplies a tile of rows by a panel of columns over the whole inner axis and keeps the
//! sums in registers. Integer sums are exact, and all later operations work value by value: the bits of
//! a result depend neither on the kernel nor on the number of threads.
//!
//! A NaN or an infinity makes all results of its row or image NaN, and in a weight all results of its
//! output. Values count as zeros if the largest magnitude that they share a scale with is below 2^-119.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod conv;
mod grid;
mod images;
mod kernel;
mod linear;
mod portable;
mod quantize;
mod weights;

use std::sync::OnceLock;

use self::kernel::{Kernel, Left, Right, Tile};

pub(crate) use self::conv::conv;
pub(crate) use self::linear::{linear, linear_here};
pub(crate) use self::weights::Weights;

/// Chooses a kernel by whether columns fill one vector at most, and the number of rows of a tile.
#[cfg(target_arch = "x86_64")]
macro_rules! by_rows {
    ($kernel:ident, $narrow:expr, $rows:expr, $args:tt, [$($count:literal)*]) => {
        match ($narrow, $rows) {
            $((false, $count) => by_rows!(@call $kernel, $count, 2, $args),
            (true, $count) => by_rows!(@call $kernel, $count, 1, $args),)*
            _ => {}
        }
    };
    (@call $kernel:ident, $count:literal, $vectors:literal, ($($arg:expr),*)) => {
        $kernel::<$count, $vectors>($($arg),*)
    };
}
#[cfg(target_arch = "x86_64")]
use by_rows;

/// A kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// The kernel of AVX-VNNI with the instructions of AVX-512, to test it where only these are.
    #[cfg(all(test, target_arch = "x86_64"))]
    Avx512Half,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// Whether this processor has a kernel that is worth it; the portable one, the oracle of the others, is
/// slower than fp32.
pub(crate) fn usable() -> bool {
    Unit::best() != Unit::Portable
}

impl Unit {
    /// The fastest that this processor has.
    fn best() -> Self {
        static BEST: OnceLock<Unit> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().first().copied().unwrap_or(Self::Portable))
    }

    /// All that this processor has, the fastest first.
    fn all() -> Vec<Self> {
        let units = [
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, avx512::is_supported()),
            #[cfg(target_arch = "x86_64")]
            (Self::AvxVnni, avx_vnni::is_supported()),
            #[cfg(all(test, target_arch = "x86_64"))]
            (Self::Avx512Half, avx_vnni::is_half_supported()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, avx2::is_supported()),
            (Self::Portable, true),
        ];
        units.into_iter().filter(|(_, has)| *has).map(|(unit, _)| unit).collect()
    }

    /// Rows of a tile, and columns of a panel.
    fn sizes(self) -> (usize, usize) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => (avx512::Avx512::ROWS, avx512::Avx512::COLUMNS),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => (avx_vnni::AvxVnni::ROWS, avx_vnni::AvxVnni::COLUMNS),
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::Avx512Half => (avx_vnni::Avx512Half::ROWS, avx_vnni::Avx512Half::COLUMNS),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => (avx2::Avx2::ROWS, avx2::Avx2::COLUMNS),
            Self::Portable => (portable::Portable::ROWS, portable::Portable::COLUMNS),
        }
    }

    /// Multiplies a tile of rows by a panel of columns.
    ///
    /// # Safety
    /// As [`Kernel::multiply`]; the processor must have the kernel.
    #[allow(unsafe_code)]
    unsafe fn multiply(self, into: *mut f32, tile: Tile, left: Left<'_>, right: Right<'_>) {
        // SAFETY: as the caller promises.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512::Avx512::multiply(into, tile, left, right),
                #[cfg(target_arch = "x86_64")]
                Self::AvxVnni => avx_vnni::AvxVnni::multiply(into, tile, left, right),
                #[cfg(all(test, target_arch = "x86_64"))]
                Self::Avx512Half => avx_vnni::Avx512Half::multiply(into, tile, left, right),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2::Avx2::multiply(into, tile, left, right),
                Self::Portable => portable::Portable::multiply(into, tile, left, right),
            }
        }
    }
}

#[cfg(test)]
mod tests;
