//! The header of a pack.

/// The signature. The bytes around the letters tell when a transfer took the file for text.
const SIGNATURE: [u8; 8] = *b"\x89MMP\r\n\x1a\n";

/// The format of packs of decoded frames alone.
pub(super) const FRAMES: u32 = 1;

/// The format of packs that keep files as they are in some of their folders.
pub(super) const FILES: u32 = 2;

/// The length of the header.
pub(super) const HEADER_LEN: usize = 64;

/// Frames begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 64;

/// The place of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// [`FRAMES`] or [`FILES`].
    pub(super) version: u32,
    pub(super) index_offset: u64,
    pub(super) index_len: u64,
    pub(super) index_crc: u32,
}

impl Header {
    /// Bytes 0..8 signature, 8..12 version, 12..20 offset, 20..28 length and 28..32 checksum of the
    /// index, 32..60 zero, 60..64 checksum of what comes before.
    pub(super) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&SIGNATURE);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.index_offset.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.index_len.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.index_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of a file of `file_len` bytes, from its beginning.
    ///
    /// # Errors
    /// The problem with the file and its remedy.
    pub(super) fn parse(bytes: &[u8], file_len: u64) -> Result<Self, String> {
        if !bytes.starts_with(&SIGNATURE) {
            return Err(
                "this is not a packed data set; give a folder of data or a file that `multimae pack` \
                 wrote"
                    .to_owned(),
            );
        }
        let cut = || {
            format!(
                "the file ends after {file_len} bytes and is not whole; copy it again or pack again"
            )
        };
        let bytes: &[u8; HEADER_LEN] =
            bytes.get(..HEADER_LEN).and_then(|b| b.try_into().ok()).ok_or_else(cut)?;
        let version = u32_at(bytes, 8);
        if ![FRAMES, FILES].contains(&version) {
            let advice = if version > FILES { "use that version" } else { "pack again" };
            return Err(format!(
                "it has format {version} of another version of multimae, and this one reads formats \
                 {FRAMES} and {FILES}; {advice}"
            ));
        }
        if crc32fast::hash(&bytes[..60]) != u32_at(bytes, 60) {
            return Err("its header is damaged (wrong checksum); pack again".to_owned());
        }
        let header = Self {
            version,
            index_offset: u64_at(bytes, 12),
            index_len: u64_at(bytes, 20),
            index_crc: u32_at(bytes, 28),
        };
        match header.index_offset.checked_add(header.index_len) {
            Some(end) if end == file_len => Ok(header),
            Some(end) if end < file_len => {
                Err(format!("{} bytes follow its end; it is damaged, pack again", file_len - end))
            }
            _ => Err(cut()),
        }
    }
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    (0..4).rev().fold(0, |value, i| value << 8 | u32::from(bytes[at + i]))
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from(u32_at(bytes, at + 4)) << 32 | u64::from(u32_at(bytes, at))
}

/// The first aligned place that is not before `position`.
pub(super) fn align(position: u64) -> u64 {
    position.next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        version: FILES,
        index_offset: 0x1_0000_0040,
        index_len: 77,
        index_crc: 0xdead_beef,
    };
    const LEN: u64 = 0x1_0000_0040 + 77;

    #[test]
    fn a_header_is_read_as_written() {
        let frames = Header { version: FRAMES, ..HEADER };
        for header in [HEADER, frames] {
            assert_eq!(Header::parse(&header.to_bytes(), LEN), Ok(header));
        }
        assert_eq!((align(0), align(1), align(64), align(65)), (0, 64, 64, 128));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        for at in 0..HEADER_LEN {
            let mut bytes = HEADER.to_bytes();
            bytes[at] ^= 4;
            assert!(Header::parse(&bytes, LEN).is_err(), "byte {at}");
        }
    }

    #[test]
    fn files_of_another_kind_length_or_version_are_refused() {
        let says = |bytes: &[u8], len| Header::parse(bytes, len).unwrap_err();
        assert!(says(b"PNG", 3).contains("not a packed data set"));
        assert!(says(&HEADER.to_bytes()[..20], 20).contains("ends after 20 bytes"));
        assert!(says(&HEADER.to_bytes(), LEN - 1).contains("not whole"));
        assert!(says(&HEADER.to_bytes(), LEN + 1).contains("1 bytes follow"));
        let mut newer = HEADER.to_bytes();
        newer[8] = 3;
        assert!(says(&newer, LEN).contains("format 3"));
    }
}
