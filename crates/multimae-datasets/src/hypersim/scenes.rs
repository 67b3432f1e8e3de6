//! The frames on disk, and their lists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::prepare::ColorChoice;
use crate::csv::Table;
use crate::source_files::{self, Listing};
use crate::{Error, Result};

/// The lists in their order.
pub(super) const LISTS: [&str; 3] = ["train", "val", "test"];
const COLUMNS: [&str; 5] =
    ["scene_name", "camera_name", "frame_id", "included_in_public_release", "split_partition_name"];
/// Scenes may lie right in the given folder, or where the project's own tools put them.
const SCENES: [&str; 3] = ["", "evermotion_dataset/scenes", "scenes"];

/// A file of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Depth,
    Semantic,
    Normal,
    Entity,
    Color,
    Preview,
}

impl Part {
    /// The folder behind `scene_<camera>_`, and the end of the name behind the number.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Depth => ("geometry_hdf5", "depth_meters.hdf5"),
            Self::Semantic => ("geometry_hdf5", "semantic.hdf5"),
            Self::Normal => ("geometry_hdf5", "normal_cam.hdf5"),
            Self::Entity => ("geometry_hdf5", "render_entity_id.hdf5"),
            Self::Color => ("final_hdf5", "color.hdf5"),
            Self::Preview => ("final_preview", "tonemap.jpg"),
        }
    }
}

/// A frame of the public release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HypersimFrame {
    pub(super) scene: String,
    pub(super) camera: String,
    pub(super) number: u32,
    pub(super) list: &'static str,
}

impl HypersimFrame {
    /// The name of the frame in the prepared folder.
    pub(super) fn name(&self) -> String {
        format!("{}_{}_{:04}", self.scene, self.camera, self.number)
    }

    pub(super) fn path(&self, scenes: &Path, part: Part) -> PathBuf {
        let (folder, end) = part.place();
        let Self { scene, camera, number, .. } = self;
        let folder = format!("{scene}/images/scene_{camera}_{folder}");
        scenes.join(folder).join(format!("frame.{number:04}.{end}"))
    }
}

/// The frames that are there with every file that is asked for.
#[derive(Debug)]
pub(super) struct Frames {
    /// The folder of the scenes.
    pub(super) scenes: PathBuf,
    pub(super) frames: Vec<HypersimFrame>,
    pub(super) parts: Vec<Part>,
    pub(super) listing: Listing,
    /// Frames on disk that lack a file, by the end of its name.
    pub(super) left_out: BTreeMap<&'static str, Vec<String>>,
    /// Frames on disk that are not in the public release.
    pub(super) excluded: usize,
}

/// The folder of the scenes.
pub(super) fn scenes_folder(given: &Path) -> Option<PathBuf> {
    let has_scene = |folder: &PathBuf| {
        let Ok(folders) = source_files::folders(folder) else { return false };
        folders.iter().any(|(name, path)| is_scene(name) && path.join("images").is_dir())
    };
    SCENES.into_iter().map(|inner| given.join(inner)).find(has_scene)
}

/// `ai_VVV_NNN`.
fn is_scene(name: &str) -> bool {
    let mut parts = name.split('_');
    let is_number = |text: Option<&str>| {
        text.is_some_and(|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    parts.next() == Some("ai")
        && is_number(parts.next())
        && is_number(parts.next())
        && parts.next().is_none()
}

/// Finds the frames of the split file that are on disk.
///
/// # Errors
/// [`Error::Input`] if there are no scenes, the split file is damaged, or no frame has every file;
/// [`Error::Io`].
pub(super) fn find(
    given: &Path,
    split: &Path,
    color: ColorChoice,
    normals: bool,
) -> Result<Frames> {
    let bad = |path: &Path, problem: String| Error::Input { path: path.to_owned(), problem };
    let scenes = scenes_folder(given).ok_or_else(|| {
        bad(
            given,
            "it has no scenes `ai_VVV_NNN` with `images`; give the folder that contains them"
                .to_owned(),
        )
    })?;
    let rows = rows(split)?;
    let disk = Disk::read(&scenes)?;
    let there = |frame: &HypersimFrame, part| disk.bytes(&scenes, frame, part);
    let (public, excluded): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, public)| *public);
    let on_disk =
        |(frame, _): (HypersimFrame, bool)| (there(&frame, Part::Depth).is_some()).then_some(frame);
    let frames: Vec<HypersimFrame> = public.into_iter().filter_map(on_disk).collect();
    let excluded = excluded.into_iter().filter_map(on_disk).count();
    let any = |part| frames.iter().any(|frame| there(frame, part).is_some());
    let parts = parts(color, normals, &any);
    let mut found = Frames {
        scenes: scenes.clone(),
        frames: Vec::new(),
        parts,
        listing: Listing::default(),
        left_out: BTreeMap::new(),
        excluded,
    };
    for frame in frames {
        let lacking: Vec<Part> =
            found.parts.iter().copied().filter(|part| there(&frame, *part).is_none()).collect();
        for part in &lacking {
            found.left_out.entry(part.place().1).or_default().push(frame.name());
        }
        if lacking.is_empty() {
            for part in &found.parts {
                let bytes = there(&frame, *part).unwrap_or_default();
                found.listing.add(&format!("{}.{}", frame.name(), part.place().1), bytes);
            }
            found.frames.push(frame);
        }
    }
    if found.frames.is_empty() {
        let ends: Vec<&str> = found.parts.iter().map(|part| part.place().1).collect();
        let problem = format!(
            "no frame of the public release is there with all of {}; check the names below \
             ai_VVV_NNN/images, or ask for less",
            ends.join(", ")
        );
        return Err(bad(&scenes, problem));
    }
    Ok(found)
}

/// The files that every frame has to have: labels only if some frame has them.
fn parts(color: ColorChoice, normals: bool, any: &dyn Fn(Part) -> bool) -> Vec<Part> {
    let radiance = match color {
        ColorChoice::Auto => any(Part::Color) && any(Part::Entity),
        ColorChoice::Hdf5 => true,
        ColorChoice::Preview => false,
    };
    let of_color: &[Part] = if radiance { &[Part::Color, Part::Entity] } else { &[Part::Preview] };
    let semantic = any(Part::Semantic).then_some(Part::Semantic);
    let normal = normals.then_some(Part::Normal);
    [Some(Part::Depth), semantic, normal]
        .into_iter()
        .flatten()
        .chain(of_color.iter().copied())
        .collect()
}

/// The rows of the split file, and whether each is in the public release.
fn rows(path: &Path) -> Result<Vec<(HypersimFrame, bool)>> {
    let bad = |problem| Error::Input { path: path.to_owned(), problem };
    let table = Table::parse(&fs_err::read_to_string(path)?);
    if let Some(column) = table.lacks(&COLUMNS) {
        return Err(bad(format!(
            "it has no column `{column}`; give metadata_images_split_scene_v1.csv of \
             evermotion_dataset/analysis in apple/ml-hypersim"
        )));
    }
    let row = |row: crate::csv::Row<'_>| {
        let [scene, camera, number, public, list] = COLUMNS.map(|column| row.get(column));
        let public = public.eq_ignore_ascii_case("true");
        let list = LISTS.into_iter().find(|known| *known == list);
        let number = number.parse().ok();
        match (number, list) {
            (Some(number), list) if is_scene(scene) && (list.is_some() || !public) => {
                let (scene, camera) = (scene.to_owned(), camera.to_owned());
                Ok((
                    HypersimFrame { scene, camera, number, list: list.unwrap_or_default() },
                    public,
                ))
            }
            _ => Err(bad(format!("line {} is not that of a frame", row.line))),
        }
    };
    table.rows().map(row).collect()
}

/// The sizes of all files of the scenes, by their paths.
struct Disk(BTreeMap<PathBuf, u64>);

impl Disk {
    fn read(scenes: &Path) -> Result<Self> {
        let mut sizes = BTreeMap::new();
        for (scene, folder) in source_files::folders(scenes)? {
            let images = folder.join("images");
            if !is_scene(&scene) || !images.is_dir() {
                continue;
            }
            for (_, folder) in source_files::folders(&images)? {
                sizes.extend(
                    source_files::files(&folder)?.into_iter().map(|file| (file.path, file.bytes)),
                );
            }
        }
        Ok(Self(sizes))
    }

    fn bytes(&self, scenes: &Path, frame: &HypersimFrame, part: Part) -> Option<u64> {
        self.0.get(&frame.path(scenes, part)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_have_two_numbers_of_three_digits() {
        assert!(is_scene("ai_001_010"));
        for other in ["ai_1_010", "ai_001", "ai_001_010_x", "bi_001_010", "ai_001_01a"] {
            assert!(!is_scene(other), "{other}");
        }
    }
}
