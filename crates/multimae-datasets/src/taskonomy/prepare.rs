//! From the folders of tasks to folders whose names pair up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::buildings::{self, LISTS};
use super::views::{self, TASKS, Task, View, Views};
use crate::csv::Table;
use crate::decoded::{Wanted, decode};
use crate::folder::{
    ComparedKey, Each, Extent, FrameFiles, FrameFolder, KEPT_EXTENSIONS, Manifest, ManifestFacts,
    Maps, SOURCE_FILES, evenly_spaced, table_row,
};
use crate::frame::Frame;
use crate::source_files::{some_of, text_entry};
use crate::{Error, PrepareRun, Result, Summary};

/// Raised whenever the same input gives other files.
const VERSION: u32 = 1;
/// Views of each list whose files are decoded for the statistics.
const MEASURED: usize = 500;
/// Stored units of depth per metre.
const DEPTH_PER_METRE: f32 = 512.0;
/// Stored depth where there is no surface.
const NO_SURFACE: u16 = u16::MAX;
/// The tasks that say where there is no surface, the preferred one first.
const DEPTHS: [&str; 2] = ["depth_zbuffer", "depth_euclidean"];
const MASK: &str = "mask_valid";
const COLUMNS: [&str; 3] = ["building", "point", "view"];

const COMPARED: [ComparedKey; 3] = [
    SOURCE_FILES,
    ComparedKey { name: "tasks", pointer: "/tasks", absent: "none" },
    ComparedKey { name: "lists", pointer: "/split", absent: "none" },
];

/// The input of Taskonomy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskonomyOptions {
    /// The folder with a folder per task.
    pub data: PathBuf,
    /// Tables `building,point,view` of the views to train on, to validate with and to test on. If
    /// none is given, the lists are those of the "tiny" split, by building.
    pub lists: [Option<PathBuf>; 3],
}

/// Prepares Taskonomy in the folder [`PrepareRun::out`]. The layout is that of
/// [the module](super).
///
/// # Errors
/// If there is no RGB and another task, a name is not one of Taskonomy's, no view has a file in every
/// task, a list names views that are not there, or a file cannot be read or written.
pub fn prepare(options: &TaskonomyOptions, run: &PrepareRun<'_>) -> Result<Summary> {
    let tables = options.tables()?;
    let tiny = tables.iter().all(Option::is_none);
    let named: BTreeSet<&str> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.views.iter().map(|view| view.building.as_str()))
        .collect();
    let wanted = |building: &str| {
        if tiny { buildings::tiny_list(building).is_some() } else { named.contains(building) }
    };
    let mut found = views::find(&options.data, &wanted)?;
    let lists = if tiny { tiny_lists(&found.views) } else { listed(&tables, &mut found)? };
    let mut notes = left_out_notes(&found);
    notes.extend(building_notes(&views::buildings(&options.data)?, tiny, &wanted));
    let source = Source::new(found);
    notes.extend(source.mask_note());
    let names: Vec<String> = source.found.views.iter().map(View::id).collect();
    let measured = evenly_spaced(&names, &lists, MEASURED);
    let maps = source.maps();
    let facts = ManifestFacts {
        dataset: "Taskonomy (Zamir et al., CVPR 2018)",
        version: VERSION,
        terms: "for non-commercial research, by the agreement that comes with the download",
        names: "BUILDING/point_P_view_V",
        size: None,
        label_names: Vec::new(),
        details: source.details(&tables),
    };
    let folder = FrameFolder {
        manifest: Manifest::new(facts, &maps, names.len()),
        maps,
        extent: Extent {
            folders: &TASKS,
            lists: &LISTS,
            names: names.clone(),
            extensions: KEPT_EXTENSIONS,
        },
        compared: &COMPARED,
        table: source.table(&lists),
        names,
        lists,
        measured: Some(measured.clone()),
    };
    folder.write(&Each { files: &source, measured: Some(&measured) }, run, notes)
}

/// A table of views of the user's own.
struct ListTable {
    views: Vec<View>,
    entry: Value,
}

impl TaskonomyOptions {
    fn tables(&self) -> Result<[Option<ListTable>; 3]> {
        let [train, val, test] = &self.lists;
        let read = |path: &Option<PathBuf>| path.as_ref().map(read_table).transpose();
        Ok([read(train)?, read(val)?, read(test)?])
    }
}

fn read_table(path: &PathBuf) -> Result<ListTable> {
    let text = fs_err::read_to_string(path)?;
    let bad = |problem: String| Error::Input { path: path.clone(), problem };
    let table = Table::parse(&text);
    if let Some(column) = table.lacks(&COLUMNS) {
        let problem = format!("it has no column `{column}`; expected {}", COLUMNS.join(","));
        return Err(bad(problem));
    }
    let view = |row: crate::csv::Row<'_>| {
        let [building, point, view] = COLUMNS.map(|column| row.get(column));
        View { building: building.to_owned(), stem: format!("point_{point}_view_{view}") }
    };
    let views: Vec<View> = table.rows().map(view).collect();
    let mut seen = BTreeSet::new();
    if let Some(twice) = views.iter().find(|view| !seen.insert(*view)) {
        return Err(bad(format!("{} is there twice", twice.id())));
    }
    Ok(ListTable { entry: text_entry(path, text.as_bytes()), views })
}

fn tiny_lists(views: &[View]) -> BTreeMap<&'static str, Vec<String>> {
    let mut lists = BTreeMap::<_, Vec<String>>::new();
    for view in views {
        if let Some(list) = buildings::tiny_list(&view.building) {
            lists.entry(list).or_default().push(view.id());
        }
    }
    lists
}

/// The lists of the tables, in their order; other views are left out.
fn listed(
    tables: &[Option<ListTable>; 3],
    found: &mut Views,
) -> Result<BTreeMap<&'static str, Vec<String>>> {
    let there: BTreeSet<&View> = found.views.iter().collect();
    let mut lists = BTreeMap::new();
    let mut wanted = BTreeSet::new();
    for (list, table) in LISTS.into_iter().zip(tables) {
        let Some(ListTable { views, .. }) = table else { continue };
        let absent: Vec<String> =
            views.iter().filter(|view| !there.contains(view)).map(View::id).collect();
        if !absent.is_empty() {
            return Err(Error::Options(format!(
                "--{list}-list names views without a file in every task: {} ({}); download them, or \
                 shorten the list",
                absent.len(),
                some_of(&absent)
            )));
        }
        lists.insert(list, views.iter().map(View::id).collect());
        wanted.extend(views.iter().cloned());
    }
    found.views.retain(|view| wanted.contains(view));
    Ok(lists)
}

fn left_out_notes(found: &Views) -> Vec<String> {
    let note = |(task, views): (&&str, &Vec<String>)| {
        format!("views left out without a file in `{task}`: {} ({})", views.len(), some_of(views))
    };
    found.left_out.iter().map(note).collect()
}

fn building_notes(all: &[String], tiny: bool, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let (used, others): (Vec<String>, Vec<String>) =
        all.iter().cloned().partition(|name| wanted(name));
    let mut notes: Vec<String> = used.iter().filter_map(|name| buildings::fault(name)).collect();
    if !others.is_empty() {
        let place = if tiny { "the tiny split" } else { "the given lists" };
        notes.push(format!(
            "buildings left out outside of {place}: {} ({})",
            others.len(),
            some_of(&others)
        ));
    }
    if tiny {
        for list in LISTS {
            let missing = buildings::missing(list, &used);
            if !missing.is_empty() {
                notes.push(format!(
                    "buildings of the tiny split that {list} lacks: {} ({}); its scores are not \
                     those of the whole split",
                    missing.len(),
                    some_of(&missing)
                ));
            }
        }
    }
    notes
}

/// The views, and the tasks with a role.
struct Source {
    found: Views,
    /// The task that says where there is no surface.
    depth: Option<&'static str>,
    has_mask: bool,
}

impl Source {
    fn new(found: Views) -> Self {
        let has = |name: &str| found.tasks.iter().any(|task| task.name == name);
        let depth = DEPTHS.into_iter().find(|name| has(name));
        Self { depth, has_mask: has(MASK), found }
    }

    /// Whether the masks are made here.
    fn makes_mask(&self) -> bool {
        !self.has_mask && self.depth.is_some()
    }

    fn mask_note(&self) -> Option<String> {
        match (self.has_mask, self.depth) {
            (true, _) => None,
            (false, Some(depth)) => Some(format!(
                "there is no {MASK}; it is made of {depth}: invalid where that is {NO_SURFACE}"
            )),
            (false, None) => Some(format!(
                "there is no {MASK} and no depth to make it of; recipes with `use_mask_valid` cannot use \
                 this folder"
            )),
        }
    }

    fn maps(&self) -> Maps {
        let names = self.found.tasks.iter().map(|task| task.name);
        let has_role = |name: &str| name == TASKS[0] || name == MASK || Some(name) == self.depth;
        Maps {
            depth: self.depth.is_some(),
            depth_folder: self.depth.unwrap_or(DEPTHS[0]),
            depth_per_metre: DEPTH_PER_METRE,
            labels: None,
            valid: self.has_mask || self.makes_mask(),
            further: names.clone().filter(|name| !has_role(name)).collect(),
            kept: names.map(|name| (name, "png")).collect(),
        }
    }

    fn task(&self, name: &str) -> Option<&Task> {
        self.found.tasks.iter().find(|task| task.name == name)
    }

    fn details(&self, tables: &[Option<ListTable>; 3]) -> Map<String, Value> {
        let own: Vec<&Value> = tables.iter().flatten().map(|table| &table.entry).collect();
        let split = if own.is_empty() { json!("tiny, by building") } else { json!(own) };
        let tasks: Vec<&str> = self.found.tasks.iter().map(|task| task.name).collect();
        let left_out: BTreeMap<&str, usize> =
            self.found.left_out.iter().map(|(task, views)| (*task, views.len())).collect();
        let mask = match (self.has_mask, self.depth) {
            (true, _) => "published".to_owned(),
            (false, Some(depth)) => format!("255 where {depth} is not {NO_SURFACE}, 0 elsewhere"),
            (false, None) => "none".to_owned(),
        };
        let entries = [
            ("source", self.found.listing.entry()),
            ("tasks", json!(tasks)),
            ("split", split),
            ("depth_without_surface", json!(NO_SURFACE)),
            ("principal_curvature", json!("in the first two channels, 127 is 0")),
            ("mask_valid", json!(mask)),
            ("left_out", json!(left_out)),
            (
                "statistics_of",
                json!(format!("at most {MEASURED} evenly spaced views of every list")),
            ),
        ];
        entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }

    fn table(&self, lists: &BTreeMap<&'static str, Vec<String>>) -> String {
        let of: BTreeMap<&str, &str> = lists
            .iter()
            .flat_map(|(list, names)| names.iter().map(move |name| (name.as_str(), *list)))
            .collect();
        let row = |view: &View| {
            let id = view.id();
            table_row(&[&id, of.get(id.as_str()).copied().unwrap_or_default(), &view.building])
        };
        let rows = self.found.views.iter().map(row);
        std::iter::once(table_row(&["id", "list", "building"])).chain(rows).collect()
    }
}

impl FrameFiles for Source {
    fn frame(&self, index: usize, measured: bool) -> Result<Frame> {
        let Some(view) = self.found.views.get(index) else { return Ok(Frame::default()) };
        let kept = self.found.tasks.iter().map(|task| (task.name, task.path(view))).collect();
        let mut frame = Frame { kept, ..Frame::default() };
        let paths = [TASKS[0], self.depth.unwrap_or_default()]
            .map(|name| self.task(name).map(|task| task.path(view)));
        let [Some(rgb), depth] = paths else { return Ok(frame) };
        // A map whose file is kept needs no values.
        let mut wanted: Vec<Wanted<'_>> = Vec::new();
        if let Some(depth) = depth.as_deref().filter(|_| measured || self.makes_mask()) {
            wanted.push(Wanted::Numbers(depth));
        }
        let reads_depth = !wanted.is_empty();
        if measured {
            wanted.push(Wanted::Color(&rgb));
        }
        if wanted.is_empty() {
            return Ok(frame);
        }
        let mut decoded = decode(&view.id(), &wanted)?;
        (frame.height, frame.width) = (decoded.height, decoded.width);
        if reads_depth {
            let mut depth = decoded.numbers_16();
            depth.iter_mut().filter(|depth| **depth == NO_SURFACE).for_each(|depth| *depth = 0);
            if self.makes_mask() {
                frame.valid =
                    Some(depth.iter().map(|&depth| if depth > 0 { 255 } else { 0 }).collect());
            }
            frame.depth = Some(depth);
        }
        if measured {
            frame.rgb = decoded.color();
        }
        Ok(frame)
    }
}
