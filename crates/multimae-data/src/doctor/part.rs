//! Folders of modalities beside each other, before and after their files are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::facts::{File, FileFacts};
use super::hints::Hints;
use super::lists::Lists;
use super::report::{DataSetReport, Finding, Folder, Severity, Values};
use super::sources::{Folders, Source, find_shards, find_tables};
use super::{Kind, Options, checks, pairing};
use crate::file_source::FileSource;
use crate::files::{Files, subfolders};
use crate::{Orientation, Result};

/// The number of files that are read to infer a folder's kind.
const PROBED: usize = 5;

/// A part whose files are known by name only.
pub(super) struct Unread {
    pub(super) name: String,
    /// The folder of lists and of the manifest.
    pub(super) path: PathBuf,
    /// The arrangement of the files, in words.
    pub(super) layout: String,
    pub(super) folders: BTreeMap<String, Files>,
    /// The ids of the samples of the splits that are stated elsewhere than in lists.
    pub(super) splits: BTreeMap<String, Vec<String>>,
    /// Findings about the place of the files.
    pub(super) findings: Vec<Finding>,
    pub(super) source: Box<dyn Source>,
}

/// A folder whose files were read.
pub(super) struct ReadFolder {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// In the order of their ids.
    pub(super) files: Vec<File>,
}

/// The parts of a data folder, of tables or of shards.
pub(super) fn find(root: &Path, options: &Options) -> Result<Vec<Unread>> {
    let stored = match find_tables(root)? {
        tables if tables.is_empty() => find_shards(root)?,
        tables => tables,
    };
    if !stored.is_empty() || root.is_file() {
        return Ok(stored);
    }
    in_folders(root, options)
}

/// The parts of a folder of files.
fn in_folders(root: &Path, options: &Options) -> Result<Vec<Unread>> {
    if options.kinds.keys().any(|name| FileSource::is_pattern(name)) {
        return Ok(vec![Unread::of_patterns(root, options)?]);
    }
    let here = Unread::find(root, "")?;
    if here.is_named() {
        return Ok(vec![here]);
    }
    // No folder has the name of a modality: perhaps train/ and test/ come first.
    let below = subfolders(root)?;
    let below = below.iter().map(|(name, path)| Unread::find(path, name));
    let below: Vec<Unread> = below.collect::<Result<_>>()?;
    let named: Vec<Unread> = below.into_iter().filter(Unread::is_named).collect();
    match named.is_empty() {
        true if here.files() > 0 => Ok(vec![here]),
        _ => Ok(named),
    }
}

impl Unread {
    /// The folders below `path` that hold files of modalities, or should by their names.
    fn find(path: &Path, name: &str) -> Result<Self> {
        let mut folders = BTreeMap::new();
        for (folder, path) in subfolders(path)? {
            let files = Files::below(&path)?;
            if !files.usable.is_empty() || Kind::of_name(&folder).is_some() {
                folders.insert(folder, files);
            }
        }
        Ok(Self::of_folders(name, path, folders))
    }

    /// Folders of files.
    fn of_folders(name: &str, path: &Path, folders: BTreeMap<String, Files>) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            layout: "folders of files".to_owned(),
            folders,
            splits: BTreeMap::new(),
            findings: Vec::new(),
            source: Box::new(Folders),
        }
    }

    /// The folders and patterns of files whose kinds are given.
    fn of_patterns(root: &Path, options: &Options) -> Result<Self> {
        let files = |name: &String| Ok((name.clone(), FileSource::parse(name).files(root)?));
        let folders = options.kinds.keys().map(files).collect::<Result<_>>()?;
        Ok(Self::of_folders("", root, folders))
    }

    fn is_named(&self) -> bool {
        self.folders.keys().any(|name| Kind::of_name(name).is_some())
    }

    pub(super) fn has(&self, folder: &str) -> bool {
        self.folders.contains_key(folder)
    }

    /// The files that can be read.
    pub(super) fn files(&self) -> usize {
        self.folders.values().flat_map(|files| files.usable.values()).map(Vec::len).sum()
    }

    /// Reads all files and looks for what is wrong.
    pub(super) fn examine(
        self,
        options: &Options,
        progress: impl Fn(usize) + Sync,
    ) -> Result<DataSetReport> {
        let hints = Hints::read(&self.path);
        let beside = self.source.has_lists().then_some(self.path.as_path());
        let lists = Lists::read(beside, &self.folders, self.splits)?;
        let mut findings = self.findings;
        findings.extend(pairing::findings(&self.folders, &lists));
        findings.extend(lists.findings());
        if hints.is_unfinished() {
            let message = "the program that writes this folder did not finish; run it again";
            findings.push(Finding::whole(Severity::Error, "unfinished", "manifest.json", message));
        }
        let (mut done, mut read) = (0, Vec::new());
        for (name, files) in &self.folders {
            let source = self.source.as_ref();
            let folder =
                ReadFolder::read((name, files, source), options, |so_far| progress(done + so_far));
            done += folder.files.len();
            read.push(folder);
        }
        let mut folders = Vec::new();
        for folder in &read {
            let (values, found) = checks::folder(folder, options, &hints);
            folders.push(folder.summary(values));
            findings.extend(found);
        }
        findings.extend(checks::samples(&read, &lists, options));
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let samples = pairing::ids(&self.folders).len();
        let (name, layout) = (self.name, self.layout);
        Ok(DataSetReport { name, layout, samples, lists: lists.sizes(), folders, findings })
    }
}

impl ReadFolder {
    fn read(
        (name, files, source): (&str, &Files, &dyn Source),
        options: &Options,
        progress: impl Fn(usize) + Sync,
    ) -> Self {
        let named =
            files.usable.iter().flat_map(|(id, paths)| paths.iter().map(move |path| (id, path)));
        let named: Vec<(&String, &PathBuf)> = named.collect();
        let kind = options.kinds.get(name).copied().or_else(|| Kind::of_name(name));
        let kind = kind.unwrap_or_else(|| probe(name, &named, source));
        let rule = options.orientation(name);
        let files = in_parallel(&named, options.threads, progress, |(id, path)| {
            let stored = source.read(name, id, path, rule);
            let facts = stored.map(|stored| {
                let mut facts = FileFacts::of(path, &stored, kind);
                facts.misnamed &= source.has_extensions();
                facts
            });
            File { id: (*id).clone(), path: (*path).clone(), facts }
        });
        Self { name: name.to_owned(), kind, files }
    }

    /// The files that could be read, with what they are like.
    pub(super) fn good(&self) -> impl Iterator<Item = (&File, &FileFacts)> {
        self.files.iter().filter_map(|file| Some((file, file.facts.as_ref().ok()?)))
    }

    fn summary(&self, values: Values) -> Folder {
        let (mut sizes, mut stored) = (BTreeMap::new(), BTreeMap::new());
        for (_, facts) in self.good() {
            *sizes.entry(format!("{} x {}", facts.size.0, facts.size.1)).or_default() += 1;
            *stored.entry(facts.described.clone()).or_default() += 1;
        }
        let (name, files) = (self.name.clone(), self.files.len());
        Folder { name, kind: self.kind, files, sizes, stored, values }
    }
}

/// Returns the kind of most of the first files.
fn probe(folder: &str, files: &[(&String, &PathBuf)], source: &dyn Source) -> Kind {
    let read =
        |(id, path): &(&String, &PathBuf)| source.read(folder, id, path, Orientation::Ignore).ok();
    let kinds = files.iter().filter_map(read);
    let kinds: Vec<Kind> = kinds.take(PROBED).map(|stored| Kind::of_file(&stored)).collect();
    let count = |kind: &Kind| kinds.iter().filter(|other| *other == kind).count();
    kinds.iter().copied().max_by_key(count).unwrap_or(Kind::Other)
}

/// Applies `work` to all items in several threads; results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    progress: impl Fn(usize) + Sync,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((index, result));
            progress(done.len());
        }
    };
    std::thread::scope(|scope| {
        (1..threads.min(items.len())).for_each(|_| drop(scope.spawn(run)));
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
