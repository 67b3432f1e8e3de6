//! Data sets of any form written as packs or tar shards.
//!
//! The source is whatever [`Dataset::open`](crate::Dataset::open) takes: folders, a pack, parquet
//! tables or tar shards. Files keep their bytes wherever the source has them. Decoded frames of packs
//! and arrays of tables become images or npy arrays of the same values in the same type, from which
//! the same samples are read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::dataset::{TableFiles, table_columns};
use crate::decode::Stored;
use crate::folder_kind::Kind;
use crate::packed::{self, Content, Options, Pack, PackFiles, PackFolder, Summary, is_pack};
use crate::parquet::is_parquet;
use crate::sample_files::SampleFiles;
use crate::shards::{self, ShardFiles, ShardOptions, ShardSummary, may_be_shards};
use crate::{DataModality, Encoding, Error, Interpolation, Orientation, Quantity, Result};

/// The number of files that are read to infer a folder's kind.
const PROBED: usize = 5;

/// The form of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Folders,
    Tables,
    Shards,
    Pack,
}

impl Form {
    fn of(root: &Path) -> Self {
        if is_parquet(root) {
            Self::Tables
        } else if may_be_shards(root) {
            Self::Shards
        } else if is_pack(root) {
            Self::Pack
        } else {
            Self::Folders
        }
    }
}

/// The folders of a data set with their kinds: folders of files, columns of tables, fields or folders
/// of shards. A name of `kinds` sets a kind; of shards, it may also name the folder that reads images
/// without a name of their own, which otherwise is their extension.
///
/// # Errors
/// Those of [`packed::find_folders`] and of opening the data set; [`Error::Config`] if `kinds` names
/// another folder.
pub fn find_folders(root: &Path, kinds: &BTreeMap<String, Kind>) -> Result<Vec<PackFolder>> {
    let named = match Form::of(root) {
        Form::Folders => return packed::find_folders(root, kinds),
        Form::Pack => return with_kinds(root, Pack::open(root)?.pack_folders(), kinds),
        Form::Tables => table_columns(root)?,
        Form::Shards => {
            let colors = kinds.iter().filter(|(_, kind)| **kind == Kind::Color);
            let colors: Vec<&str> = colors.map(|(name, _)| name.as_str()).collect();
            shards::folders(root, &colors)?
        }
    };
    let folder = |(name, kind): (String, Option<Kind>)| {
        let kind = kinds.get(&name).copied().or(kind);
        let kind = kind.map_or_else(|| probe(root, &name), Ok)?;
        Ok(PackFolder::of_any(name, kind.into()))
    };
    let folders = named.into_iter().map(folder).collect::<Result<Vec<PackFolder>>>()?;
    with_kinds(root, folders, kinds)
}

/// Sets the kinds that are given, each of which must be that of a folder.
fn with_kinds(
    root: &Path,
    mut folders: Vec<PackFolder>,
    kinds: &BTreeMap<String, Kind>,
) -> Result<Vec<PackFolder>> {
    for (name, kind) in kinds {
        let Some(folder) = folders.iter_mut().find(|folder| folder.folder == *name) else {
            let problem = format!("there is no folder `{name}` in {}", root.display());
            return Err(Error::Config(problem));
        };
        folder.content = (*kind).into();
    }
    Ok(folders)
}

/// The kind of most of the first files of a folder.
fn probe(root: &Path, name: &str) -> Result<Kind> {
    let folder = PackFolder::of_any(name.to_owned(), Content::Real);
    let files = open(root, std::slice::from_ref(&folder))?;
    let read = |sample: usize| files.read(sample, 0).ok();
    let stored = (0..files.ids().len())
        .filter_map(read)
        .filter_map(|bytes| Stored::decode(&bytes, Orientation::Ignore).ok());
    let kinds: Vec<Kind> = stored.take(PROBED).map(|stored| Kind::of_file(&stored)).collect();
    let count = |kind: &Kind| kinds.iter().filter(|other| *other == kind).count();
    Ok(kinds.iter().copied().max_by_key(count).unwrap_or(Kind::Other))
}

/// The files of a data set that is no folder of files.
fn open(root: &Path, folders: &[PackFolder]) -> Result<Box<dyn SampleFiles>> {
    let names: Vec<&str> = folders.iter().map(|folder| folder.folder.as_str()).collect();
    Ok(match Form::of(root) {
        Form::Tables => Box::new(TableFiles::open(root, &names)?),
        Form::Shards => {
            let modalities: Vec<DataModality> = folders.iter().map(modality).collect();
            Box::new(ShardFiles::open(root, &modalities)?)
        }
        Form::Pack | Form::Folders => Box::new(PackFiles::open(root, &names)?),
    })
}

/// A modality that reads a folder: of shards, its kind decides about fields without a name.
fn modality(folder: &PackFolder) -> DataModality {
    let encoding = match folder.content {
        Content::Color => Encoding::Color { mean: [0.0; 3], std: [1.0; 3] },
        Content::Labels => Encoding::labels(usize::MAX, None, 0),
        Content::Real => Encoding::Continuous {
            channels: 1,
            divisor: 1.0,
            mean: Vec::new(),
            std: Vec::new(),
            interpolation: Interpolation::Nearest,
            standardize: false,
            quantity: Quantity::Plain,
        },
    };
    DataModality::new(&folder.folder, encoding)
}

/// Packs a data set of any form, as [`packed::create`] packs folders.
///
/// Of folders, the pack notices when they change; of other sources it knows nothing.
///
/// # Errors
/// Those of [`packed::create`], and of opening the data set.
pub fn create_pack(
    root: &Path,
    out: &Path,
    options: &Options,
    progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<Summary> {
    if Form::of(root) == Form::Folders {
        return packed::create(root, out, options, progress, stop);
    }
    packed::check_options(out, options)?;
    let files = open(root, &options.folders)?;
    packed::create_from(&*files, None, out, options, progress, stop)
}

/// Writes a data set of any form as shards, as [`shards::write_shards`] writes folders.
///
/// # Errors
/// Those of [`shards::write_shards`], and of opening the data set.
pub fn write_shards(
    root: &Path,
    out: &Path,
    options: &ShardOptions,
    progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<ShardSummary> {
    if Form::of(root) == Form::Folders {
        return shards::write_shards(root, out, options, progress, stop);
    }
    let kinds = options.unnamed.iter().map(|name| (name.clone(), Kind::Color)).collect();
    let folders = find_folders(root, &kinds)?;
    let chosen = options.folders.iter().map(|name| {
        let found = folders.iter().find(|folder| folder.folder == *name).cloned();
        found.unwrap_or_else(|| {
            PackFolder::of_any(name.clone(), Kind::of_name(name).unwrap_or(Kind::Other).into())
        })
    });
    let files = open(root, &chosen.collect::<Vec<_>>())?;
    shards::write_from(&*files, out, options, progress, stop)
}
