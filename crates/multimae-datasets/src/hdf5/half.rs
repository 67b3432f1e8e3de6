//! Floats of 16 bits, which the library gives as bytes.

use ::half::f16;
use ::half::slice::HalfFloatSliceExt as _;
use hdf5_pure::{Datatype, DatatypeByteOrder, FloatingPointLayout};

/// The layout of the floats of 16 bits of IEEE 754, NumPy's `float16`.
const HALF: FloatingPointLayout = FloatingPointLayout {
    bit_offset: 0,
    bit_precision: 16,
    exponent_location: 10,
    exponent_size: 5,
    mantissa_location: 0,
    mantissa_size: 10,
    exponent_bias: 15,
};

/// Whether values are little-endian floats of 16 bits of IEEE 754.
pub(crate) fn is_half(datatype: &Datatype) -> bool {
    let Datatype::FloatingPoint { size: 2, byte_order, layout } = datatype else { return false };
    *byte_order == DatatypeByteOrder::LittleEndian && *layout == HALF
}

/// Little-endian floats of 16 bits as floats of 32 bits.
pub(crate) fn of_halves(bytes: &[u8]) -> Vec<f32> {
    let halves: Vec<f16> =
        bytes.as_chunks::<2>().0.iter().map(|&bytes| f16::from_le_bytes(bytes)).collect();
    let mut values = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut values);
    values
}
