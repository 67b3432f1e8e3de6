//! Images as they come in: bounded before they are decoded.

use axum::body::Bytes;
use indexmap::IndexMap;
use multimae_data::{DataModality, DecodeLimits, Error, FileFormat, ModalityFile, RawSample};

use crate::error::Problem;

/// The id of the one frame of a request.
const FRAME: &str = "image";

/// The formats of images that are read.
const IMAGE: &str = "PNG, JPEG, TIFF, WebP, BMP, netpbm or JPEG 2000";

/// A file of a request.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    /// The client's name for it.
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
}

/// Files of a request by modality.
pub(crate) type Uploads = IndexMap<String, Upload>;

/// The frame of uploaded files. The headers of all are checked before the first is decoded.
///
/// # Errors
/// If a file is no image, too large, damaged, or of a modality that is not known.
pub(crate) fn decode(
    uploads: &Uploads,
    known: &[DataModality],
    max_pixels: u64,
) -> Result<RawSample, Problem> {
    if uploads.is_empty() {
        return Err(Problem::malformed("no image was sent"));
    }
    let modalities = uploads.keys().map(|input| {
        let modality = known.iter().find(|modality| modality.name == *input);
        let modality = modality.cloned().ok_or_else(|| unknown(input, known))?;
        Ok(if uploads.len() == 1 { modality.photo() } else { modality })
    });
    let modalities = modalities.collect::<Result<Vec<_>, Problem>>()?;
    let files = modalities.iter().zip(uploads.values()).map(|(modality, upload)| {
        // Arrays are no images.
        if matches!(FileFormat::infer(&upload.bytes), None | Some(FileFormat::Npy)) {
            return Err(Problem::unfit(format!("`{}` is no {IMAGE} image", modality.name)));
        }
        Ok(ModalityFile { modality, name: &upload.name, bytes: &upload.bytes })
    });
    let files = files.collect::<Result<Vec<_>, Problem>>()?;
    let limits = DecodeLimits { max_pixels: Some(max_pixels) };
    RawSample::from_bytes(FRAME, &files, limits).map_err(|error| match error {
        Error::TooLarge { modality, height, width, limit, .. } => Problem::too_large(format!(
            "`{modality}` has {width}x{height} pixels; {limit} are allowed"
        )),
        error => Problem::unfit(error.to_string()),
    })
}

fn unknown(input: &str, known: &[DataModality]) -> Problem {
    let names: Vec<&str> = known.iter().map(|modality| modality.name.as_str()).collect();
    Problem::unfit(format!("there is no input `{input}`; there are {}", names.join(", ")))
}
