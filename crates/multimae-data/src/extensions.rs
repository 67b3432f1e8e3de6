//! The names of files that can be read.

/// The accepted file extensions, in lower case.
pub const EXTENSIONS: [&str; 15] = [
    "jpg", "jpeg", "png", "npy", "tif", "tiff", "webp", "bmp", "pbm", "pgm", "ppm", "pnm", "pfm",
    "jp2", "j2k",
];
