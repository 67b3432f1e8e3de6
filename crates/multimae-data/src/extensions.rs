//! The names of files that can be read.

/// The accepted file extensions, in lower case.
pub const EXTENSIONS: [&str; 16] = [
    "jpg", "jpeg", "png", "npy", "tif", "tiff", "webp", "bmp", "pbm", "pgm", "ppm", "pnm", "pfm",
    "jp2", "jpx", "j2k",
];

/// A name without its extension, if that is one of a file of data.
pub(crate) fn stem_of(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)).then_some(stem)
}
