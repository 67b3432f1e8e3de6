//! The formats of files.

use serde::{Deserialize, Serialize};

use super::Problem;
use crate::extensions::EXTENSIONS;

/// A format of files that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FileFormat {
    /// A png image.
    Png,
    /// A jpeg image.
    Jpeg,
    /// An array in NumPy's npy format.
    Npy,
    /// A TIFF image: integers of 1 to 64 bits, or floats.
    Tiff,
    /// A WebP image.
    WebP,
    /// A Windows bitmap.
    Bmp,
    /// A netpbm image (pbm, pgm, ppm), or a portable float map (pfm).
    Pnm,
    /// A JPEG 2000 image (jp2), or its code stream alone (j2k).
    Jpeg2000,
}

/// Formats that are not read, by their first bytes, and the remedy.
const REFUSED: [(&[u8], &str); 15] = [
    (b"\x76\x2f\x31\x01", "an OpenEXR image, which is not read; save it as float .tif or .npy"),
    (b"GIF8", "a GIF image, which is not read; save it as png"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, which may hold any data; write one image or npy a frame"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file; write one image or npy per frame"),
    (b"PK\x03\x04", "a zip archive, as npz is; write one npy per frame"),
    (b"\x80\x04", "a Python pickle, which can run code; save the array by `numpy.save`"),
    (b"\x1f\x8b", "compressed by gzip; unpack it"),
    (b"#?RADIANCE", "a Radiance HDR image, which is not read; save it as float .tif or .npy"),
    (b"P7\n", "a PAM image, which is not read; save it as png, pgm or ppm"),
    (b"qoif", "a QOI image, which is not read; save it as png"),
    (b"\xff\x0a", "a JPEG XL image, which is not read; save it as png or jpeg"),
    (b"%PDF", "a PDF document; save its picture as png"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"<!DOCTYPE", "a web page: the download failed; download the file again"),
    (b"<html", "a web page: the download failed; download the file again"),
];

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
        const SIGNATURES: [(&[u8], FileFormat); 9] = [
            (b"\x89PNG\r\n\x1a\n", FileFormat::Png),
            (b"\xff\xd8\xff", FileFormat::Jpeg),
            (b"\x93NUMPY", FileFormat::Npy),
            (b"II*\0", FileFormat::Tiff),
            (b"MM\0*", FileFormat::Tiff),
            (b"II+\0", FileFormat::Tiff),
            (b"MM\0+", FileFormat::Tiff),
            (b"\0\0\0\x0cjP  ", FileFormat::Jpeg2000),
            (b"\xff\x4f\xff\x51", FileFormat::Jpeg2000),
        ];
        let known = SIGNATURES.iter().find(|(signature, _)| bytes.starts_with(signature));
        known.map(|(_, format)| *format).or(match bytes {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            // Behind the two letters and 12 bytes of sizes comes the length of a header.
            [b'B', b'M', ..]
                if matches!(bytes.get(14), Some(12 | 40 | 52 | 56 | 64 | 108 | 124)) =>
            {
                Some(Self::Bmp)
            }
            [b'P', b'1'..=b'6' | b'f' | b'F', white, ..] if white.is_ascii_whitespace() => {
                Some(Self::Pnm)
            }
            _ => None,
        })
    }

    /// The name of the format, for messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Npy => "npy",
            Self::Tiff => "tiff",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
            Self::Pnm => "netpbm",
            Self::Jpeg2000 => "jpeg 2000",
        }
    }

    /// The usual extension of a file.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Npy => "npy",
            Self::Tiff => "tif",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
            Self::Pnm => "pnm",
            Self::Jpeg2000 => "jp2",
        }
    }

    /// Whether a file with this extension, in lower case, may be of the format.
    pub(crate) fn has_extension(self, extension: &str) -> bool {
        match self {
            Self::Png => extension == "png",
            Self::Jpeg => matches!(extension, "jpg" | "jpeg"),
            Self::Npy => extension == "npy",
            Self::Tiff => matches!(extension, "tif" | "tiff"),
            Self::WebP => extension == "webp",
            Self::Bmp => extension == "bmp",
            Self::Pnm => matches!(extension, "pbm" | "pgm" | "ppm" | "pnm" | "pfm"),
            Self::Jpeg2000 => matches!(extension, "jp2" | "jpx" | "j2k"),
        }
    }
}

/// The format of a file, or what is wrong.
pub(super) fn known(bytes: &[u8]) -> Result<FileFormat, Problem> {
    FileFormat::infer(bytes).ok_or_else(|| {
        if bytes.is_empty() {
            return "the file is empty".to_owned();
        }
        if let Some((_, refusal)) = REFUSED.iter().find(|(bytes_, _)| bytes.starts_with(bytes_)) {
            return format!("it is {refusal}");
        }
        if let Some(b"ftypheic" | b"ftypheix" | b"ftypmif1" | b"ftypavif") = bytes.get(4..12) {
            return "it is a HEIC or AVIF image, which is not read; save it as jpeg or png"
                .to_owned();
        }
        format!(
            "it begins like a file of none of the known formats ({}); it is damaged or of another \
             format",
            EXTENSIONS.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extension_belongs_to_one_format() {
        use FileFormat::{Bmp, Jpeg, Jpeg2000, Npy, Png, Pnm, Tiff, WebP};
        for extension in EXTENSIONS {
            let formats = [Png, Jpeg, Npy, Tiff, WebP, Bmp, Pnm, Jpeg2000];
            assert_eq!(formats.iter().filter(|f| f.has_extension(extension)).count(), 1);
        }
    }

    #[test]
    fn foreign_formats_are_refused_by_name() {
        for (bytes, name) in [
            (&b"\x76\x2f\x31\x01\x02\0\0\0"[..], "OpenEXR"),
            (b"GIF89a", "GIF"),
            (b"\0\0\0\x18ftypheic", "HEIC"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            (b"<!DOCTYPE html>", "web page"),
            (b"P7\nWIDTH 3", "PAM"),
            (b"PK\x03\x04", "npz"),
            (b"BMW", "known formats (jpg, jpeg, png, npy"),
            (b"Pxyz", "damaged or of another"),
            (b"", "empty"),
        ] {
            let text = known(bytes).unwrap_err();
            assert!(text.contains(name), "{text}");
        }
    }
}
