//! From distances along rays to depth along the optical axis.

use std::collections::BTreeMap;
use std::path::Path;

use crate::csv::{Row, Table};
use crate::{Error, Result};

/// The columns of the matrix, row by row.
const COLUMNS: [[&str; 3]; 3] = [
    ["M_cam_from_uv_00", "M_cam_from_uv_01", "M_cam_from_uv_02"],
    ["M_cam_from_uv_10", "M_cam_from_uv_11", "M_cam_from_uv_12"],
    ["M_cam_from_uv_20", "M_cam_from_uv_21", "M_cam_from_uv_22"],
];
/// The tangent of half the horizontal field of view of most scenes, 60 degrees.
const TAN_30: f64 = 0.577_350_269_189_625_8;

/// The camera of a scene: a matrix from (u, v, 1), the place in the picture from -1 to 1 with v
/// upwards, to the direction of the ray in camera coordinates, in which the camera looks along -z.
///
/// ```
/// use multimae_datasets::hypersim::Camera;
///
/// // On the axis, distance and depth agree; in the corner of 60 degrees they do not.
/// let camera = Camera::one_focal(3, 3);
/// assert_eq!(camera.depth_share(1, 1, 3, 3), 1.0);
/// assert!(camera.depth_share(0, 0, 3, 3) < 0.9);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    matrix: [[f64; 3]; 3],
}

impl Camera {
    /// The camera with a horizontal field of view of 60 degrees and no tilt or shift, whose focal
    /// length is 886.81 pixels in pictures of 1024 x 768. Many users take it for all scenes.
    #[must_use]
    pub fn one_focal(height: usize, width: usize) -> Self {
        let aspect = height as f64 / width as f64;
        Self { matrix: [[TAN_30, 0.0, 0.0], [0.0, TAN_30 * aspect, 0.0], [0.0, 0.0, -1.0]] }
    }

    /// The depth along the optical axis over the distance along the ray, of a pixel of a picture of
    /// `height x width` pixels.
    #[must_use]
    pub fn depth_share(&self, row: usize, column: usize, height: usize, width: usize) -> f64 {
        let u = (2 * column + 1) as f64 / width as f64 - 1.0;
        let v = 1.0 - (2 * row + 1) as f64 / height as f64;
        let [x, y, z] = self.matrix.map(|[a, b, c]| a * u + b * v + c);
        z.abs() / (x * x + y * y + z * z).sqrt()
    }

    fn of_row(row: Row<'_>) -> std::result::Result<Self, String> {
        let mut matrix = [[0.0; 3]; 3];
        for (values, columns) in matrix.iter_mut().zip(COLUMNS) {
            for (value, column) in values.iter_mut().zip(columns) {
                let text = row.get(column);
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                *value =
                    number.ok_or_else(|| format!("line {}: {column} is `{text}`", row.line))?;
            }
        }
        Ok(Self { matrix })
    }
}

/// Reads the cameras of all scenes from `metadata_camera_parameters.csv`.
///
/// # Errors
/// [`Error::Input`] if columns or numbers are missing; [`Error::Io`].
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Camera>> {
    let bad = |problem| Error::Input { path: path.to_owned(), problem };
    let table = Table::parse(&fs_err::read_to_string(path)?);
    let mut columns = COLUMNS.concat();
    columns.push("scene_name");
    if let Some(column) = table.lacks(&columns) {
        return Err(bad(format!(
            "it has no column `{column}`; give metadata_camera_parameters.csv of \
             contrib/mikeroberts3000 in apple/ml-hypersim"
        )));
    }
    let camera =
        |row: Row<'_>| Ok((row.get("scene_name").to_owned(), Camera::of_row(row).map_err(bad)?));
    table.rows().map(camera).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_focal_is_the_published_number() {
        let camera = Camera::one_focal(768, 1024);
        for (row, column) in [(0, 0), (383, 511), (767, 3), (100, 1000)] {
            let (x, y, focal) = (column as f64 - 511.5, row as f64 - 383.5, 886.81);
            let expected = focal / (x * x + y * y + focal * focal).sqrt();
            let share = camera.depth_share(row, column, 768, 1024);
            assert!((share - expected).abs() < 1e-6, "{row} {column}: {share} {expected}");
        }
    }

    #[test]
    fn damaged_tables_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cameras.csv");
        let head = format!("scene_name,{}", COLUMNS.concat().join(","));
        fs_err::write(&path, format!("{head}\na,1,0,0,0,1,0,0,0,x\n")).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("line 2: M_cam_from_uv_22 is `x`"), "{message}");
        fs_err::write(&path, "scene_name,b\n").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("`M_cam_from_uv_00`"), "{message}");
    }
}
