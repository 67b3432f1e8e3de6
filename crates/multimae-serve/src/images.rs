//! Images as they come in: bounded before they are decoded.

use std::io::Cursor;
use std::path::PathBuf;

use image::{ImageFormat, ImageReader};
use indexmap::IndexMap;
use multimae_data::{DataModality, Dataset};
use multimae_infer::predict::{FrameSources, InputPath};

use crate::error::Problem;

/// Files of a request by modality.
pub(crate) type Uploads = IndexMap<String, Vec<u8>>;

/// Checks what the headers of files say, and gives their endings.
///
/// # Errors
/// If one is no PNG or JPEG, or has more pixels than are allowed.
fn endings(uploads: &Uploads, max_pixels: u64) -> Result<Vec<&'static str>, Problem> {
    let one = |(name, bytes): (&String, &Vec<u8>)| {
        let no_image = || Problem::unfit(format!("`{name}` is no PNG or JPEG image"));
        let reader =
            ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| no_image())?;
        let ending = match reader.format() {
            Some(ImageFormat::Png) => "png",
            Some(ImageFormat::Jpeg) => "jpg",
            _ => return Err(no_image()),
        };
        let (width, height) = reader.into_dimensions().map_err(|_| no_image())?;
        if u64::from(width) * u64::from(height) > max_pixels {
            return Err(Problem::too_large(format!(
                "`{name}` has {width}x{height} pixels; {max_pixels} are allowed"
            )));
        }
        Ok(ending)
    };
    uploads.iter().map(one).collect()
}

/// The data set of one frame from uploaded files. The files last as long as the folder.
///
/// # Errors
/// If a file is no image, too large, or of a modality that is not known.
pub(crate) fn dataset(
    uploads: &Uploads,
    known: &[DataModality],
    max_pixels: u64,
) -> Result<(Dataset, tempfile::TempDir), Problem> {
    if uploads.is_empty() {
        return Err(Problem::malformed("no image was sent"));
    }
    for name in uploads.keys() {
        if !known.iter().any(|modality| modality.name == *name) {
            let names: Vec<&str> = known.iter().map(|modality| modality.name.as_str()).collect();
            return Err(Problem::unfit(format!(
                "there is no input `{name}`; there are {}",
                names.join(", ")
            )));
        }
    }
    let endings = endings(uploads, max_pixels)?;
    let broken = |error: std::io::Error| {
        let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "server", format!("keeping the image for decoding: {error}"))
    };
    let folder = tempfile::tempdir().map_err(broken)?;
    let mut inputs = Vec::new();
    for (number, ((name, bytes), ending)) in uploads.iter().zip(endings).enumerate() {
        // Names of clients are no part of a path.
        let path: PathBuf = folder.path().join(format!("{number}.{ending}"));
        fs_err::write(&path, bytes).map_err(broken)?;
        inputs.push(InputPath { modality: Some(name.clone()), path });
    }
    let sources = FrameSources::of(&inputs, None, known);
    let sources = sources.map_err(|error| Problem::unfit(without_paths(&error, &folder)))?;
    Ok((sources.dataset, folder))
}

/// An error's text without the server's own folders.
pub(crate) fn without_paths(error: &impl ToString, folder: &tempfile::TempDir) -> String {
    error.to_string().replace(&*folder.path().to_string_lossy(), "image")
}
