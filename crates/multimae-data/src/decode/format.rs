//! The formats of files.

use super::Problem;

/// A format of files that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFormat {
    /// A png image.
    Png,
    /// A jpeg image.
    Jpeg,
    /// An array in NumPy's npy format.
    Npy,
}

impl FileFormat {
    /// Infers the format from the first bytes of a file, whatever its name says; `None` if it is
    /// another one.
    ///
    /// ```
    /// use multimae_data::FileFormat;
    ///
    /// assert_eq!(FileFormat::infer(b"\x93NUMPY\x01\0"), Some(FileFormat::Npy));
    /// assert_eq!(FileFormat::infer(b"GIF89a"), None);
    /// ```
    #[must_use]
    pub fn infer(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"\x93NUMPY") {
            Some(Self::Npy)
        } else {
            None
        }
    }
}

/// The format of a file, or what is wrong.
pub(super) fn known(bytes: &[u8]) -> Result<FileFormat, Problem> {
    FileFormat::infer(bytes).ok_or_else(|| {
        if bytes.is_empty() {
            return "the file is empty".to_owned();
        }
        "it begins neither like a png nor like a jpeg nor like an npy file; it is damaged or of \
         another format"
            .to_owned()
    })
}
