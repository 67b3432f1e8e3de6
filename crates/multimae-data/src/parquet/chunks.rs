//! Decoded columns of row groups, kept for the next rows.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::numbers::Array;
use crate::decode::Problem;

/// Decoded arrays of a table that are kept, in bytes; the last row group is, whatever its size.
pub const KEPT_BYTES: usize = 512 << 20;

/// The arrays of one column in one row group, by row.
type Arrays = Result<Vec<Result<Option<Array>, Problem>>, Problem>;

/// The place of a column of a row group: file, row group, column.
type Place = (usize, usize, usize);

/// The row groups that were used last, in the order of their last use.
#[derive(Debug, Default)]
pub(super) struct Chunks(Mutex<Vec<(Place, Arc<OnceLock<Arrays>>)>>);

impl Chunks {
    /// One array of a row group, which is decoded unless it is kept. Threads that need the same row
    /// group wait for the first one; others do not.
    pub(super) fn array(
        &self,
        place: Place,
        row: usize,
        decode: impl FnOnce() -> Arrays,
    ) -> Result<Option<Array>, Problem> {
        let chunk = self.entry(place);
        let arrays = chunk.get_or_init(decode);
        self.shrink(KEPT_BYTES);
        let arrays = arrays.as_ref().map_err(Clone::clone)?;
        arrays.get(row).cloned().unwrap_or_else(|| Err("its row group is shorter".to_owned()))
    }

    fn entry(&self, place: Place) -> Arc<OnceLock<Arrays>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(other, _)| *other == place);
        let entry = found.map_or_else(Default::default, |at| kept.remove(at).1);
        kept.push((place, Arc::clone(&entry)));
        entry
    }

    /// Drops the row groups that were not used for the longest time.
    fn shrink(&self, most: usize) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let last = kept.iter().rev().enumerate().take_while(|(age, (_, chunk))| {
            bytes += size(chunk);
            *age == 0 || bytes <= most
        });
        let first = kept.len() - last.count();
        kept.drain(..first);
    }
}

/// The bytes of a row group's arrays; 0 while they are decoded.
fn size(chunk: &OnceLock<Arrays>) -> usize {
    let arrays = chunk.get().and_then(|arrays| arrays.as_ref().ok());
    let arrays = arrays.map(Vec::as_slice).unwrap_or_default().iter();
    arrays.filter_map(|array| array.as_ref().ok()?.as_ref()).map(Array::bytes).sum()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::parquet::Numbers;

    fn arrays(number: u8) -> Arrays {
        let array = Array { shape: vec![3], numbers: Numbers::U8(vec![number; 3]) };
        Ok(vec![Ok(Some(array)), Ok(None)])
    }

    #[test]
    fn the_row_groups_used_last_are_kept() {
        let chunks = Chunks::default();
        let decoded = Cell::new(0);
        let get = |group: u8| {
            let decode = || {
                decoded.set(decoded.get() + 1);
                arrays(group)
            };
            let array = chunks.array((0, group.into(), 0), 0, decode).unwrap().unwrap();
            assert_eq!(array.numbers, Numbers::U8(vec![group; 3]));
        };
        [0, 1, 0].into_iter().for_each(get);
        assert_eq!(decoded.get(), 2);
        // The last use was that of 0; 3 bytes are one row group.
        chunks.shrink(5);
        get(0);
        assert_eq!(decoded.get(), 2);
        get(1);
        assert_eq!(decoded.get(), 3);
        chunks.shrink(0);
        get(1);
        assert_eq!(decoded.get(), 3, "the last one stays whatever its size");
        assert_eq!(chunks.array((0, 1, 0), 1, || unreachable!()), Ok(None));
        assert!(chunks.array((0, 1, 0), 2, || unreachable!()).is_err());
    }
}
