//! Stored values as bytes and back.

use serde::{Deserialize, Serialize};

use crate::decode::{Pixels, of_any_type};

/// The type of a frame's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum ValueType {
    U8,
    U16,
    U32,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl ValueType {
    pub(super) fn of(pixels: &Pixels) -> Self {
        match pixels {
            Pixels::U8(_) => Self::U8,
            Pixels::U16(_) => Self::U16,
            Pixels::U32(_) => Self::U32,
            Pixels::I8(_) => Self::I8,
            Pixels::I16(_) => Self::I16,
            Pixels::I32(_) => Self::I32,
            Pixels::I64(_) => Self::I64,
            Pixels::F32(_) => Self::F32,
            Pixels::F64(_) => Self::F64,
        }
    }

    /// Bytes of a value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// Little-endian bytes as values of this type.
    pub(super) fn values(self, bytes: Vec<u8>) -> Pixels {
        macro_rules! read {
            ($variant:ident, $type:ty) => {{
                let values = bytes.as_chunks::<{ size_of::<$type>() }>().0.iter();
                Pixels::$variant(values.map(|&bytes| <$type>::from_le_bytes(bytes)).collect())
            }};
        }
        match self {
            Self::U8 => Pixels::U8(bytes),
            Self::U16 => read!(U16, u16),
            Self::U32 => read!(U32, u32),
            Self::I8 => read!(I8, i8),
            Self::I16 => read!(I16, i16),
            Self::I32 => read!(I32, i32),
            Self::I64 => read!(I64, i64),
            Self::F32 => read!(F32, f32),
            Self::F64 => read!(F64, f64),
        }
    }
}

/// Values as little-endian bytes.
pub(super) fn bytes(pixels: Pixels) -> Vec<u8> {
    match pixels {
        Pixels::U8(values) => values,
        other => of_any_type!(other, values => {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type_come_back() {
        let all = [
            Pixels::U8(vec![0, 255]),
            Pixels::U16(vec![1, 65535]),
            Pixels::U32(vec![1, u32::MAX]),
            Pixels::I8(vec![-128, 5]),
            Pixels::I16(vec![-300, 5]),
            Pixels::I32(vec![i32::MIN, 70_000]),
            Pixels::I64(vec![i64::MIN, 1 << 40]),
            Pixels::F32(vec![-0.1, 1e30]),
            Pixels::F64(vec![-0.1, 1e300]),
        ];
        for pixels in all {
            let kind = ValueType::of(&pixels);
            let stored = bytes(pixels.clone());
            assert_eq!(stored.len(), 2 * kind.size());
            assert_eq!(kind.values(stored), pixels);
        }
    }
}
