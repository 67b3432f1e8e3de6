//! The views that the folders of tasks hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source_files::{self, Listing, some_of};
use crate::{Error, Result};

/// The tasks whose files are read; RGB is the first.
pub(super) const TASKS: [&str; 14] = [
    "rgb",
    "depth_zbuffer",
    "depth_euclidean",
    "normal",
    "principal_curvature",
    "reshading",
    "edge_texture",
    "edge_occlusion",
    "keypoints2d",
    "keypoints3d",
    "segment_semantic",
    "segment_unsup2d",
    "segment_unsup25d",
    "mask_valid",
];

/// The folder of the component in downloads by Omnidata's tools.
const COMPONENT: &str = "taskonomy";

/// A task that is there.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) name: &'static str,
    folder: PathBuf,
    /// The word behind `_domain_` in the names of its files.
    domain: String,
}

/// A view of a building.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct View {
    pub(super) building: String,
    /// `point_<p>_view_<v>`.
    pub(super) stem: String,
}

/// All views that every task has, in the order of their names.
#[derive(Debug)]
pub(super) struct Views {
    pub(super) tasks: Vec<Task>,
    pub(super) views: Vec<View>,
    pub(super) listing: Listing,
    /// Views that some task lacks, by the task.
    pub(super) left_out: BTreeMap<&'static str, Vec<String>>,
}

impl View {
    /// The name of the view in the prepared folder.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.building, self.stem)
    }
}

impl Task {
    pub(super) fn path(&self, view: &View) -> PathBuf {
        self.folder.join(&view.building).join(format!("{}_domain_{}.png", view.stem, self.domain))
    }
}

/// The folder of a task, with or without one for the component.
fn task_folder(root: &Path, task: &str) -> Option<PathBuf> {
    let folder = root.join(task);
    let inner = folder.join(COMPONENT);
    if inner.is_dir() { Some(inner) } else { folder.is_dir().then_some(folder) }
}

/// Whether a folder looks like Taskonomy: RGB and a task of it, with files of its names.
pub(super) fn is_taskonomy(root: &Path) -> bool {
    let named = |task: &str| {
        let folder = task_folder(root, task)?;
        let (_, building) = source_files::folders(&folder).ok()?.into_iter().next()?;
        let mut names = fs_err::read_dir(building).ok()?.take(16).flatten();
        names.find_map(|entry| parse(&entry.file_name().to_string_lossy()).map(|_| ()))
    };
    named(TASKS[0]).is_some() && TASKS[1..].iter().any(|task| named(task).is_some())
}

/// `point_<p>_view_<v>` and the domain in the name of a file.
fn parse(name: &str) -> Option<(&str, &str)> {
    let (stem, domain) = name.strip_suffix(".png")?.split_once("_domain_")?;
    let (point, view) = stem.strip_prefix("point_")?.split_once("_view_")?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(point) && is_number(view)).then_some((stem, domain))
}

/// Finds the views of the buildings that `wanted` accepts, building by building.
///
/// # Errors
/// [`Error::Input`] if there is no RGB or no other task, a folder mixes tasks, or no view has a file in
/// every task; [`Error::Io`].
pub(super) fn find(root: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Views> {
    let mut found = Views {
        tasks: tasks(root)?,
        views: Vec::new(),
        listing: Listing::default(),
        left_out: BTreeMap::new(),
    };
    let mut buildings = BTreeSet::new();
    for task in &found.tasks {
        buildings.extend(source_files::folders(&task.folder)?.into_iter().map(|(name, _)| name));
    }
    for building in buildings.iter().filter(|building| wanted(building)) {
        found.add_building(building)?;
    }
    if found.views.is_empty() {
        let lacks = |(task, of): (&&str, &Vec<String>)| format!("`{task}` lacks {}", some_of(of));
        let lacks: Vec<String> = found.left_out.iter().map(lacks).collect();
        let problem = format!(
            "no view has a file in every task; download the same buildings for all, or move the \
             folders of other tasks away ({})",
            if lacks.is_empty() { "there are no views".to_owned() } else { lacks.join("; ") }
        );
        return Err(Error::Input { path: root.to_owned(), problem });
    }
    Ok(found)
}

/// The tasks that are there.
fn tasks(root: &Path) -> Result<Vec<Task>> {
    let task = |name| Some(Task { name, folder: task_folder(root, name)?, domain: String::new() });
    let tasks: Vec<Task> = TASKS.into_iter().filter_map(task).collect();
    if tasks.first().is_some_and(|task| task.name == TASKS[0]) && tasks.len() > 1 {
        return Ok(tasks);
    }
    let problem = format!(
        "it has no folder `rgb` and a folder of another task (of {}), with a folder per building in \
         each; give the folder that contains those of the tasks",
        TASKS[1..].join(", ")
    );
    Err(Error::Input { path: root.to_owned(), problem })
}

impl Views {
    /// Adds the views of a building that every task has.
    fn add_building(&mut self, building: &str) -> Result<()> {
        let mut of_tasks = Vec::new();
        for task in &mut self.tasks {
            of_tasks.push(task.stems(building, &mut self.listing)?);
        }
        let all: BTreeSet<&String> = of_tasks.iter().flatten().collect();
        for stem in all {
            let view = View { building: building.to_owned(), stem: stem.clone() };
            let lacking =
                self.tasks.iter().zip(&of_tasks).filter(|(_, stems)| !stems.contains(stem));
            let lacking: Vec<&'static str> = lacking.map(|(task, _)| task.name).collect();
            for task in &lacking {
                self.left_out.entry(task).or_default().push(view.id());
            }
            if lacking.is_empty() {
                self.views.push(view);
            }
        }
        Ok(())
    }
}

impl Task {
    /// The views of a building in this task. Their files have to name one domain.
    fn stems(&mut self, building: &str, listing: &mut Listing) -> Result<BTreeSet<String>> {
        let mut stems = BTreeSet::new();
        let folder = self.folder.join(building);
        if !folder.is_dir() {
            return Ok(stems);
        }
        for file in source_files::files(&folder)? {
            let Some((stem, domain)) = parse(&file.name) else {
                let problem =
                    "its name is not point_<p>_view_<v>_domain_<task>.png; move it away".to_owned();
                return Err(Error::Input { path: file.path, problem });
            };
            if self.domain.is_empty() {
                domain.clone_into(&mut self.domain);
            } else if self.domain != domain {
                let problem =
                    format!("it is of `{domain}` among files of `{}`; move it away", self.domain);
                return Err(Error::Input { path: file.path, problem });
            }
            listing.add(&format!("{}/{building}/{stem}", self.name), file.bytes);
            stems.insert(stem.to_owned());
        }
        Ok(stems)
    }
}

/// The names of buildings in the folder of RGB.
pub(super) fn buildings(root: &Path) -> Result<Vec<String>> {
    let Some(folder) = task_folder(root, TASKS[0]) else { return Ok(Vec::new()) };
    Ok(source_files::folders(&folder)?.into_iter().map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_point_a_view_and_a_domain() {
        let parsed = parse("point_12_view_3_domain_depth_zbuffer.png");
        assert_eq!(parsed, Some(("point_12_view_3", "depth_zbuffer")));
        for other in
            ["point_12_view_3.png", "point_a_view_3_domain_rgb.png", "point_1_domain_rgb.png"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
