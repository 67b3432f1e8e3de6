//! The copy of BTS (Lee et al., 2019) from the official file, "official_splits": depth as measured,
//! colours black at the border.

use std::path::Path;

use super::files::{folder_names, has_file, number, shown};
use super::ids::{Base, are_official};
use super::pairs::{BTS_DEPTH, Pair, Pairs, bts_numbers, bts_pair};
use super::{CopyFacts, CopyFrame, Error, FULL_SIZE, FrameId, NyuCopy, OpenCopy, Region, Result};
use crate::nyuv2::splits::Splits;

/// Its folders, which are its lists.
const LISTS: [&str; 2] = ["train", "test"];

/// The copy of BTS, frames of the official file.
#[derive(Debug)]
pub(super) struct BtsOfficial;

/// A frame by its folders and its number.
struct Numbered {
    list: &'static str,
    scene_type: String,
    number: String,
}

impl NyuCopy for BtsOfficial {
    fn title(&self) -> &'static str {
        "NYU Depth V2, the copy of BTS (official_splits, raw depth)"
    }

    fn layout(&self) -> &'static str {
        "a folder with {train,test}/<type of scene>/rgb_NNNNN.jpg and sync_depth_NNNNN.png"
    }

    fn recognises(&self, path: &Path) -> bool {
        let is_depth = |name: &str| number(name, BTS_DEPTH.0, BTS_DEPTH.1).is_some();
        LISTS.iter().map(|list| path.join(list)).any(|list| {
            let mut types = folder_names(&list).into_iter();
            types.any(|kind| has_file(&list.join(kind), is_depth))
        })
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let (mut found, mut pairs) = (Vec::new(), Vec::new());
        for list in LISTS {
            for scene_type in folder_names(&path.join(list)) {
                let folder = Path::new(list).join(&scene_type);
                let numbers = bts_numbers(&path.join(&folder))?;
                if let Some(name) = numbers.unpaired.first() {
                    let problem = format!(
                        "it has no partner of the same number (rgb_N.jpg and sync_depth_N.png), as \
                         {} files of this folder; make the copy again",
                        numbers.unpaired.len()
                    );
                    return Err(Error::Input { path: path.join(folder).join(name), problem });
                }
                for number in numbers.paired {
                    pairs.push(bts_pair(&folder, &number));
                    found.push(Numbered { list, scene_type: scene_type.clone(), number });
                }
            }
        }
        let (frames, notes) = frames(found, &pairs)?;
        let reader = Pairs { root: path.to_owned(), pairs };
        let facts = CopyFacts {
            size: FULL_SIZE,
            depth:
                "16-bit PNG, millimetres of rawDepths, cut off and not rounded, 0 where invalid: \
                    within 1 mm"
                    .to_owned(),
            classes: None,
            normals: None,
            region: Some(Region {
                rows: 7..474,
                columns: 7..632,
                reason: "the colours of this copy are black outside",
            }),
            notes,
        };
        Ok(OpenCopy { frames, files: reader.files(), facts, reader: Box::new(reader) })
    }
}

/// The frames, with their official ids if their numbers are such.
fn frames(found: Vec<Numbered>, pairs: &[Pair]) -> Result<(Vec<CopyFrame>, Vec<String>)> {
    let official = Splits::official()?;
    let numbers: Option<Vec<_>> =
        found.iter().map(|frame| Some((frame.list, frame.number.parse().ok()?))).collect();
    let numbers = numbers.unwrap_or_default();
    let mut bases = [Base::Zero, Base::One].into_iter();
    let base = bases.find(|&base| are_official(&numbers, base, &official));
    let id = |frame: &Numbered| match (base, frame.number.parse()) {
        (Some(base), Ok(number)) => FrameId::Official(base.id(number)),
        _ => FrameId::Own(format!("{}_{}_{}", frame.list, frame.scene_type, frame.number)),
    };
    let frame = |(frame, pair): (Numbered, &Pair)| CopyFrame {
        id: id(&frame),
        list: frame.list,
        scene: String::new(),
        scene_type: frame.scene_type,
        source: shown(&pair.colors),
    };
    let note = match base {
        Some(Base::Zero) => None,
        Some(Base::One) => Some("its numbers are official ids from 1, not from 0 as published"),
        None => Some(
            "its numbers are not official ids of the lists that they are on, so they are taken \
             for names",
        ),
    };
    let frames = found.into_iter().zip(pairs).map(frame).collect();
    Ok((frames, note.map(str::to_owned).into_iter().collect()))
}
