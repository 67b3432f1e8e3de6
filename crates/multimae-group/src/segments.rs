//! The segments that values are cut into for a sum: one per rank.

use std::borrow::Cow;
use std::ops::Range;

use half::bf16;

use crate::Wire;

/// The values that `rank` adds up, of `count`. Their numbers differ by one at most.
pub(crate) fn segment(count: usize, size: usize, rank: usize) -> Range<usize> {
    count * rank / size..count * (rank + 1) / size
}

/// The bytes of values on the wire.
pub(crate) fn encode(values: &[f32], wire: Wire) -> Cow<'_, [u8]> {
    match wire {
        Wire::F32 => Cow::Borrowed(bytemuck::cast_slice(values)),
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

/// Adds the values that [`encode`] wrote to sums.
pub(crate) fn add_decoded(sums: &mut [f32], bytes: &[u8], wire: Wire) {
    match wire {
        Wire::F32 => {
            let values = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_ne_bytes(*four));
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        Wire::Bf16 => {
            let values = bytes.as_chunks::<2>().0.iter().map(|two| bf16::from_ne_bytes(*two));
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value.to_f32());
        }
    }
}

/// Cuts values into the segments of all ranks.
pub(crate) fn segments_mut(values: &mut [f32], size: usize) -> Vec<&mut [f32]> {
    let count = values.len();
    let mut rest = values;
    let cut = |rank: usize| {
        let (own, behind) =
            std::mem::take(&mut rest).split_at_mut(segment(count, size, rank).len());
        rest = behind;
        own
    };
    (0..size).map(cut).collect()
}
