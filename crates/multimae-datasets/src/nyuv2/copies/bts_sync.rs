//! The copy of BTS (Lee et al., 2019), `sync.zip`: frames of the raw recordings, depth with invalid pixels.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::files::{folder_names, has_file, number, shown};
use super::pairs::{BTS_COLORS, BTS_DEPTH, DepthForm, Pair, Pairs, bts_numbers, bts_pair};
use super::{CopyFacts, CopyFrame, Error, FULL_SIZE, FrameId, NyuCopy, OpenCopy, Result};

/// The list of its training frames, which is kept beside the code of BTS.
const LIST: &str = "nyudepthv2_train_files_with_gt.txt";
/// Lines of a list that are named in a message.
const SHOWN: usize = 3;

/// The copy of BTS, frames of the raw recordings.
#[derive(Debug)]
pub(super) struct BtsSync;

impl NyuCopy for BtsSync {
    fn title(&self) -> &'static str {
        "NYU Depth V2, the copy of BTS (sync.zip, raw depth)"
    }

    fn layout(&self) -> &'static str {
        "a folder with <scene>_NNNN/rgb_NNNNN.jpg and sync_depth_NNNNN.png, and perhaps \
         nyudepthv2_train_files_with_gt.txt"
    }

    fn recognises(&self, path: &Path) -> bool {
        let is_depth = |name: &str| number(name, BTS_DEPTH.0, BTS_DEPTH.1).is_some();
        let mut scenes = folder_names(path).into_iter().filter(|folder| is_scene(folder));
        scenes.any(|scene| has_file(&path.join(scene), is_depth))
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let (mut pairs, mut unpaired) = (Vec::new(), Vec::new());
        for scene in folder_names(path) {
            let numbers = bts_numbers(&path.join(&scene))?;
            let folder = Path::new(&scene);
            pairs.extend(numbers.paired.iter().map(|number| bts_pair(folder, number)));
            unpaired.extend(numbers.unpaired.into_iter().map(|name| folder.join(name)));
        }
        let list = [path, path.parent().unwrap_or(path)].map(|folder| folder.join(LIST));
        let list = list.into_iter().find(|list| list.is_file());
        let (pairs, note) = match &list {
            Some(list) => listed(list, pairs)?,
            None => (all(path, pairs, &unpaired)?, unlisted()),
        };
        let reader = Pairs { root: path.to_owned(), pairs };
        let facts = CopyFacts {
            size: FULL_SIZE,
            depth: "16-bit PNG, whole millimetres as measured, 0 where invalid: within 1 mm"
                .to_owned(),
            classes: None,
            normals: None,
            region: None,
            notes: vec![note],
        };
        let frames = reader.pairs.iter().map(frame).collect();
        Ok(OpenCopy { frames, files: reader.files(), facts, reader: Box::new(reader) })
    }
}

/// Whether a folder is named like a recording, `kitchen_0028b`; folders of the types of scenes, as
/// in the other copy of BTS, are not.
fn is_scene(folder: &str) -> bool {
    folder.rsplit_once('_').is_some_and(|(_, take)| {
        let digits = take.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn frame(pair: &Pair) -> CopyFrame {
    let scene = pair.colors.parent().map(shown).unwrap_or_default();
    let stem = pair.colors.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let number = stem.strip_prefix(BTS_COLORS.0).unwrap_or(&stem);
    CopyFrame {
        id: FrameId::Own(format!("{scene}_{number}")),
        list: "train",
        scene,
        scene_type: String::new(),
        source: shown(&pair.colors),
    }
}

fn unlisted() -> String {
    format!("all frames are on the list `train`; with {LIST} in the folder, those that it names")
}

/// All pairs, unless a file has no partner.
fn all(path: &Path, pairs: Vec<Pair>, unpaired: &[PathBuf]) -> Result<Vec<Pair>> {
    let Some(first) = unpaired.first() else { return Ok(pairs) };
    let problem = format!(
        "{} files have no partner of the same number (rgb_N.jpg and sync_depth_N.png), {} for one; \
         unpack the archive again, or put {LIST} into the folder, which names the frames to read",
        unpaired.len(),
        shown(first)
    );
    Err(Error::Input { path: path.to_owned(), problem })
}

/// The pairs that a list names, in its order, and a notice about the others.
fn listed(list: &Path, pairs: Vec<Pair>) -> Result<(Vec<Pair>, String)> {
    let text = fs_err::read_to_string(list)?;
    let known: BTreeSet<PathBuf> =
        pairs.iter().flat_map(|pair| [pair.colors.clone(), pair.depth.clone()]).collect();
    let (mut named, mut missing) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let path = |column: &str| PathBuf::from(column.replace('\\', "/").trim_start_matches('/'));
        let mut columns = line.split_whitespace().map(path);
        match (columns.next(), columns.next()) {
            (Some(colors), Some(depth)) if known.contains(&colors) && known.contains(&depth) => {
                named.push(Pair { colors, depth, form: DepthForm::Millimetres });
            }
            _ => missing.push(format!("line {}: {line}", at + 1)),
        }
    }
    if !missing.is_empty() {
        let problem = format!(
            "{} lines name no two files of a frame that are there: {}",
            missing.len(),
            missing.into_iter().take(SHOWN).collect::<Vec<_>>().join("; ")
        );
        return Err(Error::Input { path: list.to_owned(), problem });
    }
    let others = pairs.len().saturating_sub(named.len());
    let note = format!(
        "the list `train` is that of {}; {others} frames of the folder are not on it and left out",
        list.display()
    );
    Ok((named, note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_told_from_types_of_scenes() {
        assert!(
            ["kitchen_0028b", "office_0003", "study_room_0005a"].iter().all(|name| is_scene(name))
        );
        assert!(
            !["kitchen", "home_office", "train", "rgb_00045"].iter().any(|name| is_scene(name))
        );
    }
}
