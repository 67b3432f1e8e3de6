//! From a copy to the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::find::{Found, find};
use super::{CopyFrame, CopyMaps, FrameId, NyuCopy, OpenCopy, Region, files, normals};
use crate::folder::{
    ComparedKey, Each, Extent, FrameFiles, FrameFolder, Manifest, ManifestFacts, Maps, table_row,
};
use crate::frame::Frame;
use crate::nyuv2::prepare::{Nyuv2Options, TERMS, prepare};
use crate::nyuv2::source::Shape;
use crate::nyuv2::splits::{LISTS, Splits};
use crate::nyuv2::{Classes, Crop, Error, Result};
use crate::{PrepareRun, Summary, checksum};

/// Raised whenever the same copy gives other files.
const VERSION: u32 = 1;

/// The folders that copies may have.
const FOLDERS: [&str; 6] = ["rgb", "depth", "label40", "label13", "mask_valid", normals::FOLDER];

const COMPARED: [ComparedKey; 4] = [
    ComparedKey { name: "files of the copy", pointer: "/source/listing_md5", absent: "none" },
    ComparedKey { name: "crop", pointer: "/mask_crop", absent: "none" },
    ComparedKey { name: "valid part", pointer: "/mask_region", absent: "whole frames" },
    ComparedKey { name: "surface normals", pointer: "/normals", absent: "none" },
];

/// A copy of NYUv2 and the options that all copies have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// The file or folder.
    pub path: PathBuf,
    /// `mask_valid` is 0 outside of this.
    pub crop: Crop,
}

/// Prepares any copy of NYUv2 in the folder [`PrepareRun::out`]: the copy is recognised by its
/// layout, and the first notice of the summary names it. The layout of the folder is that of
/// [the module](crate::nyuv2), without labels where the copy has none.
///
/// One frame per thread is in memory.
///
/// # Errors
/// If no copy has this layout or several have; if a file is missing, damaged or holds values that
/// the copy does not have; if the folder holds something else; if a file cannot be read or written.
pub fn prepare_copy(options: &CopyOptions, run: &PrepareRun<'_>) -> Result<Summary> {
    match find(&options.path)? {
        Found::Copy(copy) => prepare_open(copy, options, run),
        Found::Mat => {
            let options = Nyuv2Options {
                mat: options.path.clone(),
                splits: None,
                ids: None,
                classes: Classes::Forty,
                class_map: None,
                crop: options.crop,
                measured_only: false,
            };
            prepare(&options, run)
        }
    }
}

/// Prepares a recognised copy.
pub(in crate::nyuv2) fn prepare_open(
    copy: &dyn NyuCopy,
    options: &CopyOptions,
    run: &PrepareRun<'_>,
) -> Result<Summary> {
    let opened = copy.open(&options.path)?;
    check(&opened, options)?;
    let notes = notes(copy, &opened);
    let folder = folder(copy, &opened, options)?;
    let files = Frames { opened: &opened, crop: options.crop };
    folder.write(&Each { files: &files, measured: None }, run, notes)
}

fn check(opened: &OpenCopy, options: &CopyOptions) -> Result<()> {
    let input = |problem| Error::Input { path: options.path.clone(), problem };
    if opened.frames.is_empty() {
        return Err(input("it has no frames".to_owned()));
    }
    let (height, width) = opened.facts.size;
    if !options.crop.fits(Shape { frames: opened.frames.len(), height, width }) {
        return Err(Error::Options(format!(
            "crops are those of 640 x 480 pixels, and the frames of this copy have {width} x \
             {height}; ask for no crop"
        )));
    }
    let mut seen = BTreeMap::new();
    for frame in &opened.frames {
        if let Some(first) = seen.insert(frame.id.name(), &frame.source) {
            let (name, source) = (frame.id.name(), &frame.source);
            return Err(input(format!("two frames would be named {name}: {first} and {source}")));
        }
    }
    Ok(())
}

impl OpenCopy {
    /// The number of frames, and of every list.
    pub(super) fn lists(&self) -> String {
        let lists =
            self.by_list().into_iter().map(|(list, frames)| format!("{list} {}", frames.len()));
        format!("{} frames: {}", self.frames.len(), lists.collect::<Vec<_>>().join(", "))
    }

    fn by_list(&self) -> BTreeMap<&'static str, Vec<&CopyFrame>> {
        let mut lists = BTreeMap::<_, Vec<&CopyFrame>>::new();
        for frame in &self.frames {
            lists.entry(frame.list).or_default().push(frame);
        }
        lists
    }
}

/// The official ids of the frames on a list, if all have one.
fn official_ids(frames: &[&CopyFrame]) -> Option<Vec<u32>> {
    let id = |frame: &&CopyFrame| match frame.id {
        FrameId::Official(id) => Some(id),
        FrameId::Own(_) => None,
    };
    frames.iter().map(id).collect()
}

/// The copy, its lists, and notices of the copy.
fn notes(copy: &dyn NyuCopy, opened: &OpenCopy) -> Vec<String> {
    let mut notes = vec![format!("this is {}: {}", copy.title(), opened.lists())];
    let of_list = |(list, frames): (&str, Vec<&CopyFrame>)| {
        let whole = if list == "train" { 795 } else { 654 };
        let of = match official_ids(&frames) {
            Some(ids) if ids.len() == whole => return None,
            Some(ids) => format!("has {} of the {whole} frames of the official split", ids.len()),
            None => "is a list of this copy, not of the official split".to_owned(),
        };
        Some(format!("`{list}` {of}: scores on it are not comparable with published ones"))
    };
    notes.extend(opened.by_list().into_iter().filter_map(of_list));
    if let Some(Region { rows, columns, reason }) = &opened.facts.region {
        notes.push(format!(
            "mask_valid is 0 outside of rows {} to {} and columns {} to {}: {reason}",
            rows.start,
            rows.end.saturating_sub(1),
            columns.start,
            columns.end.saturating_sub(1)
        ));
    }
    if opened.facts.classes.is_none() {
        notes.push("no labels are written, since the copy has none that are known".to_owned());
    }
    notes.extend(opened.facts.notes.iter().cloned());
    notes
}

fn folder(copy: &dyn NyuCopy, opened: &OpenCopy, options: &CopyOptions) -> Result<FrameFolder> {
    let facts = &opened.facts;
    let splits = Splits::official()?;
    let labels = facts.classes.map(Classes::folder);
    let further = facts.normals.map(|_| normals::FOLDER).into_iter().collect();
    let maps = Maps { depth: true, labels, valid: true, further, ..Maps::default() };
    let names: Vec<String> = opened.frames.iter().map(|frame| frame.id.name()).collect();
    let of_ids = |frame: &CopyFrame| matches!(frame.id, FrameId::Official(_));
    let ids = match opened.frames.iter().filter(|frame| of_ids(frame)).count() {
        0 => "names of the copy",
        count if count == names.len() => "official ids, from 1",
        _ => "official ids, from 1, and names of the copy",
    };
    let manifest_facts = ManifestFacts {
        dataset: copy.title(),
        version: VERSION,
        terms: TERMS,
        names: ids,
        size: Some(facts.size),
        label_names: facts.classes.map(Classes::names).unwrap_or_default(),
        details: details(copy, opened, options)?,
    };
    Ok(FrameFolder {
        manifest: Manifest::new(manifest_facts, &maps, names.len()),
        maps,
        extent: Extent {
            folders: &FOLDERS,
            extensions: &["png"],
            lists: &LISTS,
            names: names.clone(),
        },
        compared: &COMPARED,
        names,
        lists: lists(opened, &splits),
        table: table(opened, &splits),
        measured: None,
    })
}

/// The lists: those of the copy, and the official ones of frames with official ids.
fn lists(opened: &OpenCopy, splits: &Splits) -> BTreeMap<&'static str, Vec<String>> {
    let mut lists = BTreeMap::new();
    let mut ids = Vec::new();
    for (list, frames) in opened.by_list() {
        match official_ids(&frames) {
            Some(of_list) => ids.extend(of_list),
            None => {
                let names = frames.iter().map(|frame| frame.id.name()).collect();
                lists.insert(list, names);
            }
        }
    }
    let official = splits.lists(&ids).into_iter();
    lists.extend(official.map(|(list, ids)| {
        (list, ids.into_iter().map(|id| FrameId::Official(id).name()).collect())
    }));
    lists
}

/// The table of the frames: `frames.csv`.
fn table(opened: &OpenCopy, splits: &Splits) -> String {
    let row = |frame: &CopyFrame| {
        let list = match frame.id {
            FrameId::Official(id) => splits.list(id).unwrap_or(frame.list),
            FrameId::Own(_) => frame.list,
        };
        table_row(&[&frame.id.name(), list, &frame.scene, &frame.scene_type, &frame.source])
    };
    let head = table_row(&["id", "list", "scene", "scene_type", "source"]);
    std::iter::once(head).chain(opened.frames.iter().map(row)).collect()
}

/// The entries of the manifest that only copies of NYUv2 have.
fn details(
    copy: &dyn NyuCopy,
    opened: &OpenCopy,
    options: &CopyOptions,
) -> Result<Map<String, Value>> {
    let facts = &opened.facts;
    let region = facts.region.as_ref().map(|region| {
        let range = |range: &Range<usize>| [range.start, range.end];
        json!({
            "rows": range(&region.rows), "columns": range(&region.columns), "reason": region.reason
        })
    });
    let official: BTreeSet<&str> = opened
        .by_list()
        .into_iter()
        .filter(|(_, frames)| official_ids(frames).is_some())
        .map(|(list, _)| list)
        .collect();
    let entries = [
        ("source", source_entry(copy, opened, &options.path)?),
        ("depth_from", json!(facts.depth)),
        ("official_lists", json!(official)),
        ("mask_crop", json!(options.crop)),
        ("mask_region", json!(region)),
        ("mask_valid", json!("255 inside crop and region where depth is known, 0 elsewhere")),
        ("classes", json!(facts.classes)),
        ("normals", json!(facts.normals)),
        ("notes", json!(facts.notes)),
    ];
    Ok(entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
}

/// The copy, and the names and sizes of its files in one digest.
fn source_entry(copy: &dyn NyuCopy, opened: &OpenCopy, root: &Path) -> Result<Value> {
    let sizes = files::sizes(root, &opened.files)?;
    let line = |(file, size): (&PathBuf, &u64)| format!("{}\t{size}\n", files::shown(file));
    let listing: String = opened.files.iter().zip(&sizes).map(line).collect();
    Ok(json!({
        "copy": copy.title(),
        "folder": root.file_name().unwrap_or_default().to_string_lossy(),
        "files": sizes.len(),
        "bytes": sizes.iter().sum::<u64>(),
        "listing_md5": checksum::of_bytes(listing.as_bytes()),
    }))
}

/// The frames of a copy.
struct Frames<'a> {
    opened: &'a OpenCopy,
    crop: Crop,
}

impl FrameFiles for Frames<'_> {
    fn frame(&self, index: usize, _measured: bool) -> Result<Frame> {
        let maps = self.opened.reader.read(index).map_err(|problem| {
            let name = self.opened.frames.get(index).map(|frame| frame.id.name());
            let frame = name.unwrap_or_default();
            Error::Frame { path: problem.path, frame, problem: problem.text }
        })?;
        Ok(self.converted(maps))
    }
}

impl Frames<'_> {
    fn converted(&self, maps: CopyMaps) -> Frame {
        let (height, width) = self.opened.facts.size;
        let region = self.opened.facts.region.as_ref();
        let valid = maps.depth.iter().enumerate().map(|(at, &depth)| {
            let (row, column) = (at / width, at % width);
            let declared = region.is_none_or(|region| {
                region.rows.contains(&row) && region.columns.contains(&column)
            });
            if depth > 0 && declared && self.crop.contains(row, column) { 255 } else { 0 }
        });
        Frame {
            height,
            width,
            valid: Some(valid.collect()),
            rgb: maps.rgb,
            depth: Some(maps.depth),
            labels: maps.labels,
            further: maps.normals.into_iter().collect(),
            ..Frame::default()
        }
    }
}
