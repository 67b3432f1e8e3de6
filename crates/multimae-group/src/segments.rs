//! The segments that values are cut into for a sum: one per rank.

use std::ops::Range;

use half::bf16;

use crate::Wire;

/// The values that `rank` adds up, of `count`. Their numbers differ by one at most.
pub(crate) fn segment(count: usize, size: usize, rank: usize) -> Range<usize> {
    count * rank / size..count * (rank + 1) / size
}

/// The bytes of values on the wire.
pub(crate) fn encode(values: &[f32], wire: Wire) -> Vec<u8> {
    match wire {
        Wire::F32 => bytemuck::cast_slice(values).to_vec(),
        Wire::Bf16 => {
            values.iter().flat_map(|&value| bf16::from_f32(value).to_ne_bytes()).collect()
        }
    }
}

/// The number of bytes of `count` values on the wire.
pub(crate) fn encoded_len(count: usize, wire: Wire) -> usize {
    match wire {
        Wire::F32 => 4 * count,
        Wire::Bf16 => 2 * count,
    }
}

/// Calls `f` with every place and the value that [`encode`] wrote there.
pub(crate) fn decode(bytes: &[u8], wire: Wire, mut f: impl FnMut(usize, f32)) {
    match wire {
        Wire::F32 => {
            for (place, four) in bytes.as_chunks::<4>().0.iter().enumerate() {
                f(place, f32::from_ne_bytes(*four));
            }
        }
        Wire::Bf16 => {
            for (place, two) in bytes.as_chunks::<2>().0.iter().enumerate() {
                f(place, bf16::from_ne_bytes(*two).to_f32());
            }
        }
    }
}
