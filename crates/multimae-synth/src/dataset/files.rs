//! The pictures of one frame.

use std::io::Write;
use std::path::Path;

use fs_err as fs;
use multimae_data::encode::encoded_png;
use png::{BitDepth, ColorType, Compression};

use crate::{Error, Frame, Result};

/// Folders of the four maps.
pub(super) const FOLDERS: [&str; 4] = ["rgb", "depth", "label40", "normal"];

/// The name of a frame, without folder and extension.
pub(super) fn name(index: usize) -> String {
    format!("{index:05}")
}

fn file_name(index: usize) -> String {
    format!("{}.png", name(index))
}

/// Whether all maps of a frame are there.
pub(super) fn is_complete(dir: &Path, index: usize) -> bool {
    FOLDERS.iter().all(|folder| dir.join(folder).join(file_name(index)).is_file())
}

/// Writes all maps of a frame.
pub(super) fn write_frame(dir: &Path, index: usize, frame: &Frame) -> Result<()> {
    let eight = |color| (color, BitDepth::Eight);
    let maps = [
        (frame.rgb.clone(), eight(ColorType::Rgb)),
        (millimetres(&frame.depth), (ColorType::Grayscale, BitDepth::Sixteen)),
        (frame.labels.clone(), eight(ColorType::Grayscale)),
        (normal_bytes(&frame.normals), eight(ColorType::Rgb)),
    ];
    for (folder, (bytes, format)) in FOLDERS.into_iter().zip(maps) {
        let path = dir.join(folder).join(file_name(index));
        let encoded =
            encoded_png(&bytes, (frame.height, frame.width), format, Compression::Fast, None)
                .map_err(|source| Error::Picture { path: path.clone(), source })?;
        write_atomically(&path, &encoded)?;
    }
    Ok(())
}

/// Depth as 16-bit millimetres, big-endian as PNG wants it. What is too far gets the largest
/// number, and nothing gets 0, which would mean that the depth is not known.
fn millimetres(depth: &[f32]) -> Vec<u8> {
    let number = |metres: f32| (metres * 1000.0).round().clamp(1.0, 65535.0) as u16;
    depth.iter().flat_map(|&metres| number(metres).to_be_bytes()).collect()
}

/// `(3, H, W)` from -1 to 1, to `(H, W, 3)` from 0 to 255.
fn normal_bytes(normals: &[f32]) -> Vec<u8> {
    let pixels = normals.len() / 3;
    let byte = |n: f32| ((n + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
    (0..pixels).flat_map(|i| [0, 1, 2].map(|c| byte(normals[c * pixels + i]))).collect()
}

/// Writes a file beside its place and renames it into it. What an interruption leaves behind ends
/// in `.part`, and is replaced the next time.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_added_extension("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&part, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_files() {
        assert_eq!(millimetres(&[1.2344, 99.0, 0.0]), [4, 210, 255, 255, 0, 1]);
        assert_eq!(normal_bytes(&[-1.0, 0.0, 1.0]), [0, 128, 255]);
        assert_eq!(normal_bytes(&[-1.0, 1.0, 0.0, 0.0, 1.0, -1.0]), [0, 128, 255, 255, 128, 0]);
    }
}
