//! The folders of a data set that is packed.

use std::collections::BTreeMap;
use std::path::Path;

use super::Content;
use crate::decode::{self, ExifOrientation, Frame, Problem, Stored};
use crate::file_source::FileSource;
use crate::files::{Files, subfolders};
use crate::folder_kind::Kind;
use crate::names::plain_folder;
use crate::{DataModality, Error, Orientation, Result, ValueRules, parquet};

/// The number of files that are read to infer a folder's kind.
const PROBED: usize = 5;

/// A folder to be packed.
#[derive(Debug, Clone, PartialEq)]
pub struct PackFolder {
    /// Its path below the data folder, with a pattern where the files of several modalities share
    /// it: `scenes/rgb_*`.
    pub folder: String,
    /// The type of its files.
    pub content: Content,
    /// Every file must fit each of these; without any, it need only be of the content's kind.
    pub modalities: Vec<DataModality>,
    /// The treatment of files that carry an EXIF orientation.
    pub orientation: Orientation,
    /// Keep the files as they are, in place of their decoded values. They are decoded once all the
    /// same, so that bad ones are found.
    pub encoded: bool,
}

impl PackFolder {
    /// A folder whose files need only be of the content's kind.
    pub(crate) fn of_any(folder: String, content: Content) -> Self {
        let (modalities, orientation) = (Vec::new(), Orientation::Apply);
        Self { folder, content, modalities, orientation, encoded: false }
    }

    fn decoder(&self) -> fn(&[u8]) -> Result<Frame, Problem> {
        let of_labels = |modality: &DataModality| modality.encoding.is_of_color_labels();
        match self.modalities.iter().any(of_labels) {
            true => decode::decode_color_labels,
            false => self.content.decoder(),
        }
    }

    /// Decodes the bytes of a file, and checks it. Also gives the orientation that it carries.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<(Frame, ExifOrientation), Problem> {
        let (frame, exif) = decode::upright(bytes, self.orientation, self.decoder())?;
        if self.modalities.is_empty() {
            // No rule for the values yet: the modality that reads them brings it.
            let liberal = self.content.liberal(&frame);
            decode::check_kind(&frame, &liberal, &ValueRules::default())?;
        }
        for modality in &self.modalities {
            decode::check(&frame, exif, modality)?;
        }
        Ok((frame, exif))
    }
}

/// The folders right below `root` that hold images or arrays. Their kinds are given by `kinds`,
/// else inferred from their names, else from their first files. If one of `kinds` has the name of a
/// pattern (`rgb_*`), files share folders, and those of `kinds` are all that is packed.
///
/// # Errors
/// [`Error::File`] if there is none, or if the folders of modalities are one level lower;
/// [`Error::Config`] if `kinds` names another folder; [`Error::Io`].
pub fn find_folders(root: &Path, kinds: &BTreeMap<String, Kind>) -> Result<Vec<PackFolder>> {
    parquet::refuse(root)?;
    if kinds.keys().any(|name| FileSource::is_pattern(name)) {
        return patterns(root, kinds);
    }
    let mut folders = Vec::new();
    let mut parts = Vec::new();
    for (name, path) in subfolders(root)? {
        let known = kinds.get(&name).copied().or_else(|| Kind::of_name(&name));
        if known.is_none() && subfolders(&path)?.iter().any(|(n, _)| Kind::of_name(n).is_some()) {
            parts.push(path);
            continue;
        }
        let files = Files::below(&path)?;
        if !files.usable.is_empty() {
            let content = known.unwrap_or_else(|| probe(&files)).into();
            folders.push(PackFolder::of_any(name, content));
        }
    }
    let error = |problem: String| Err(Error::File { path: root.to_owned(), problem });
    if let (true, Some(part)) = (folders.is_empty(), parts.first()) {
        return error(format!(
            "its folders of modalities are one level lower; pack each, for example {}",
            part.display()
        ));
    }
    if folders.is_empty() {
        return error(
            "it has no folder with images or arrays, one per modality, as in rgb/0001.png and \
             depth/0001.png"
                .to_owned(),
        );
    }
    if let Some(name) = kinds.keys().find(|name| !folders.iter().any(|f| f.folder == **name)) {
        return Err(Error::Config(format!("there is no folder `{name}` in {}", root.display())));
    }
    Ok(folders)
}

/// Folders and patterns whose kinds are given.
fn patterns(root: &Path, kinds: &BTreeMap<String, Kind>) -> Result<Vec<PackFolder>> {
    let folder = |(name, &kind): (&String, &Kind)| {
        if FileSource::parse(name).files(root)?.usable.is_empty() {
            return Err(Error::Config(format!("there is no file `{name}` in {}", root.display())));
        }
        Ok(PackFolder::of_any(plain_folder(name), kind.into()))
    };
    kinds.iter().map(folder).collect()
}

/// The folders of some modalities, every file to be checked against them.
///
/// # Errors
/// [`Error::Config`] if two modalities read the same folder in ways that no frame serves, or files
/// are paired by the columns of lists.
pub fn folders_of(modalities: &[DataModality]) -> Result<Vec<PackFolder>> {
    let mut folders: Vec<PackFolder> = Vec::new();
    for modality in modalities {
        if let Some(column) = modality.naming.column {
            return Err(Error::Config(format!(
                "modality `{}` has its files in column {column} of lists, and a pack pairs files by \
                 their names; use the files as they are",
                modality.name
            )));
        }
        let (name, content) = (plain_folder(&modality.source()), Content::of(&modality.encoding));
        match folders.iter_mut().find(|folder| folder.folder == name) {
            None => folders.push(PackFolder {
                folder: name,
                content,
                modalities: vec![modality.clone()],
                orientation: modality.orientation,
                encoded: false,
            }),
            Some(folder) if folder.orientation != modality.orientation => {
                return Err(Error::Config(format!(
                    "folder `{name}` is read with `orientation: {}` and, by modality `{}`, with \
                     `orientation: {}`; a pack holds one of them",
                    folder.orientation.word(),
                    modality.name,
                    modality.orientation.word()
                )));
            }
            Some(folder) if folder.content.serves(content) => {
                folder.modalities.push(modality.clone());
            }
            Some(folder) => {
                return Err(Error::Config(format!(
                    "folder `{name}` is read as {} and, by modality `{}`, as {}; a pack holds one \
                     of them",
                    folder.content.words(),
                    modality.name,
                    content.words()
                )));
            }
        }
    }
    Ok(folders)
}

/// Returns the kind of most of the first files.
fn probe(files: &Files) -> Kind {
    let stored = files
        .usable
        .values()
        .flatten()
        .filter_map(|path| Stored::read(path, Orientation::Ignore).ok());
    let kinds: Vec<Kind> = stored.take(PROBED).map(|stored| Kind::of_file(&stored)).collect();
    let count = |kind: &Kind| kinds.iter().filter(|other| *other == kind).count();
    kinds.iter().copied().max_by_key(count).unwrap_or(Kind::Other)
}
