//! The tags of a TIFF file.
//!
//! Source: TIFF 6.0, and BigTIFF for positions of 64 bits.

/// Directories have at most this many entries.
const MAX_ENTRIES: u64 = 4096;
/// The most numbers of a tag: places of strips and tiles.
const MAX_NUMBERS: u64 = 1 << 24;

/// One directory: the tags of one image.
pub(in crate::decode) struct Directory<'a> {
    data: &'a [u8],
    pub(super) big_endian: bool,
    /// Positions have 64 bits.
    wide: bool,
    /// The position of the first entry.
    first: usize,
    entries: usize,
}

impl<'a> Directory<'a> {
    /// The first directory of a file; `None` if it has none.
    pub(in crate::decode) fn first(data: &'a [u8]) -> Option<Self> {
        let big_endian = match data.get(..2)? {
            b"II" => false,
            b"MM" => true,
            _ => return None,
        };
        let mut this = Self { data, big_endian, wide: false, first: 0, entries: 0 };
        let at = match this.read(2, 2)? {
            42 => this.read(4, 4)?,
            43 => {
                this.wide = true;
                this.read(8, 8)?
            }
            _ => return None,
        };
        this.at(at)
    }

    /// The directory behind this one.
    pub(super) fn next(&self) -> Option<Self> {
        let end = self.first + self.entries * self.entry();
        let at = self.read(end, if self.wide { 8 } else { 4 })?;
        self.at(at).filter(|_| at > 0)
    }

    fn at(&self, position: u64) -> Option<Self> {
        let position = usize::try_from(position).ok()?;
        let counted = if self.wide { 8 } else { 2 };
        let entries = self.read(position, counted).filter(|&count| count <= MAX_ENTRIES)? as usize;
        let first = position.checked_add(counted)?;
        // A directory that is cut off could lack any tag.
        let whole = first + entries * self.entry() <= self.data.len();
        whole.then_some(Self { first, entries, ..*self })
    }

    /// Bytes of an entry.
    fn entry(&self) -> usize {
        if self.wide { 20 } else { 12 }
    }

    /// An unsigned number of up to 8 bytes.
    fn read(&self, at: usize, len: usize) -> Option<u64> {
        let bytes = self.data.get(at..at.checked_add(len)?)?;
        let join = |all: u64, byte: &u8| all << 8 | u64::from(*byte);
        Some(match self.big_endian {
            true => bytes.iter().fold(0, join),
            false => bytes.iter().rev().fold(0, join),
        })
    }

    /// The unsigned numbers of a tag; `None` if it is missing or of another type.
    pub(super) fn numbers(&self, tag: u16) -> Option<Vec<u64>> {
        let entries = (0..self.entries).map(|index| self.first + index * self.entry());
        let entry = entries
            .take_while(|&at| at < self.data.len())
            .find(|&at| self.read(at, 2) == Some(u64::from(tag)))?;
        let size = match self.read(entry + 2, 2)? {
            1 => 1,
            3 => 2,
            4 => 4,
            16 => 8,
            _ => return None,
        };
        let (place, inline) = if self.wide { (entry + 12, 8) } else { (entry + 8, 4) };
        let count = self.read(entry + 4, place - entry - 4)?;
        if count > MAX_NUMBERS || count * size as u64 > self.data.len() as u64 {
            return None;
        }
        let count = count as usize;
        let start = match count * size <= inline {
            true => place,
            false => usize::try_from(self.read(place, inline)?).ok()?,
        };
        (0..count).map(|index| self.read(start.checked_add(index * size)?, size)).collect()
    }

    /// The first number of a tag.
    pub(in crate::decode) fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag)?.first().copied()
    }
}
