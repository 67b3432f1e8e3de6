//! The headers of npy files, before they are parsed.
//!
//! An npy file is a magic number, a version, the length of the header, the header (the text of a
//! Python dict) and the values. Source: `numpy.lib.format` in NumPy's documentation.

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy's own limit.
const MAX_HEADER: usize = 10_000;
/// The header of an array of numbers has two: that of the dict and that of the shape.
const MAX_BRACKETS: usize = 6;

/// Checks that the header of an npy file can be handed to `npyz`, whose parser of Python literals
/// goes back at every bracket: its time grows exponentially with their nesting.
///
/// # Errors
/// If the file has no whole header, or one that no array of numbers has.
pub fn check_header(bytes: &[u8]) -> Result<(), String> {
    let text = header_text(bytes).ok_or("its header is cut off, or it is not in the npy format")?;
    let brackets = text.iter().filter(|byte| b"([{".contains(byte)).count();
    if text.len() <= MAX_HEADER && brackets <= MAX_BRACKETS {
        return Ok(());
    }
    Err(format!(
        "its header has {} bytes and {brackets} brackets, more than that of an array of numbers",
        text.len()
    ))
}

fn header_text(bytes: &[u8]) -> Option<&[u8]> {
    let (version, rest) = bytes.strip_prefix(MAGIC)?.split_at_checked(2)?;
    // Version 1 has a length of 2 bytes, later ones of 4.
    let (len, rest) = rest.split_at_checked(if version[0] == 1 { 2 } else { 4 })?;
    let len = len.iter().rev().fold(0_usize, |all, &byte| all << 8 | usize::from(byte));
    rest.get(..len)
}

#[cfg(test)]
mod tests {
    use super::check_header;

    fn file(header: &str) -> Vec<u8> {
        let len = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", len.as_slice(), header.as_bytes()].concat()
    }

    #[test]
    fn headers_of_arrays_pass() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
        assert_eq!(check_header(&file(header)), Ok(()));
    }

    #[test]
    fn nested_long_and_cut_headers_are_refused() {
        for header in ["{".repeat(40), " ".repeat(20_000)] {
            assert!(check_header(&file(&header)).unwrap_err().contains("brackets"));
        }
        assert!(check_header(&file("{}")[..11]).unwrap_err().contains("cut off"));
        assert!(check_header(b"PNG").is_err());
    }
}
