//! Numbers of the types that files note, from those that they store.

use ::parquet::data_type::FixedLenByteArray;

use super::numbers::{NumberType, Numbers};
use crate::decode::{Pixels, Problem};

/// From integers of 32 bits, which hold all narrower ones; unsigned ones of 32 bits are their bits.
pub(super) fn of_i32(values: Vec<i32>, kind: Option<NumberType>) -> Result<Numbers, Problem> {
    Ok(match kind {
        Some(NumberType::U8) => Numbers::U8(narrow(&values)?),
        Some(NumberType::U16) => Numbers::U16(narrow(&values)?),
        Some(NumberType::I8) => Numbers::I8(narrow(&values)?),
        Some(NumberType::I16) => Numbers::I16(narrow(&values)?),
        Some(NumberType::U32) => {
            Numbers::U32(values.iter().map(|&value| value.cast_unsigned()).collect())
        }
        _ => Numbers::I32(values),
    })
}

/// From integers of 64 bits; unsigned ones are their bits.
pub(super) fn of_i64(values: Vec<i64>, kind: Option<NumberType>) -> Result<Numbers, Problem> {
    match kind {
        Some(NumberType::U64) => {
            let values = values.iter().map(|&value| value.cast_unsigned()).collect();
            Pixels::of_u64(values)
        }
        _ => Ok(Numbers::I64(values)),
    }
}

pub(super) fn of_bools(values: &[bool]) -> Numbers {
    Numbers::U8(values.iter().map(|&value| value.into()).collect())
}

/// From floats of 16 bits, little-endian.
pub(super) fn of_halves(values: &[FixedLenByteArray]) -> Result<Numbers, Problem> {
    let half = |value: &FixedLenByteArray| match value.data() {
        &[low, high] => Ok(u16::from_le_bytes([low, high])),
        bytes => Err(format!("a float of 16 bits has {} bytes", bytes.len())),
    };
    let halves: Vec<u16> = values.iter().map(half).collect::<Result<_, _>>()?;
    Ok(Pixels::of_halves(&halves))
}

fn narrow<T: TryFrom<i32>>(values: &[i32]) -> Result<Vec<T>, Problem> {
    let narrow = |&value: &i32| {
        T::try_from(value)
            .map_err(|_| format!("its number {value} is beyond the type that the file notes"))
    };
    values.iter().map(narrow).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_their_type_are_no_other_numbers() {
        assert_eq!(of_i32(vec![200], Some(NumberType::U8)), Ok(Numbers::U8(vec![200])));
        assert_eq!(of_i32(vec![-1], Some(NumberType::U32)), Ok(Numbers::U32(vec![u32::MAX])));
        for (value, kind) in [(256, NumberType::U8), (-1, NumberType::U16), (128, NumberType::I8)] {
            assert!(
                of_i32(vec![value], Some(kind)).unwrap_err().contains(&format!("number {value} "))
            );
        }
        assert!(of_i64(vec![-1], Some(NumberType::U64)).is_err());
        assert!(of_halves(&[FixedLenByteArray::from(vec![1, 2, 3])]).is_err());
    }
}
