//! `frames.json`: the sums behind a run's scores, frame by frame.

use std::collections::HashMap;
use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;
use multimae_io::atomic::write_atomically;
use multimae_tasks::FrameSums;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The sums of the finished model on its sets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunFrames {
    /// On the set that chose the best model, if there was one.
    pub validation: Option<SetFrames>,
    /// On the set that was measured once, if there was one.
    pub test: Option<SetFrames>,
}

/// The sums on a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetFrames {
    /// The scene of each frame that is of a known one.
    pub scenes: IndexMap<String, String>,
    /// By task.
    pub tasks: IndexMap<String, FrameSums>,
}

impl SetFrames {
    /// The sums on a set of a data folder, whose `frames.csv`, where there is one, says which frames are of
    /// one scene.
    ///
    /// # Errors
    /// If the table is there and cannot be read.
    pub fn new(tasks: IndexMap<String, FrameSums>, root: Option<&Path>) -> Result<Self> {
        let known = root.map(scenes).transpose()?.unwrap_or_default();
        let mut of_frames = IndexMap::new();
        for id in tasks.values().flat_map(FrameSums::ids) {
            if let Some(scene) = known.get(id) {
                of_frames.insert(id.to_owned(), scene.clone());
            }
        }
        Ok(Self { scenes: of_frames, tasks })
    }
}

/// The scenes of the frames of a prepared data folder: the columns `id` and `scene` of its `frames.csv`.
/// None without the table or the columns.
fn scenes(root: &Path) -> Result<HashMap<String, String>> {
    let path = root.join("frames.csv");
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines().map(cells);
    let header = lines.next().unwrap_or_default();
    let column = |name: &str| header.iter().position(|own| *own == name);
    let (Some(id), Some(scene)) = (column("id"), column("scene")) else {
        return Ok(HashMap::new());
    };
    let named = lines.filter_map(|row| {
        let (id, scene) = (row.get(id)?, row.get(scene)?);
        (!scene.is_empty()).then(|| (id.clone(), scene.clone()))
    });
    Ok(named.collect())
}

/// The cells of a line of a table, of which quoted ones may hold commas and doubled quotes.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            other => cell.push(other),
        }
    }
    cells.push(cell);
    cells
}

impl RunFrames {
    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|error| Error::RunFolder {
            path: path.to_owned(),
            problem: format!("the frames' sums cannot be written: {error}"),
        })?;
        Ok(write_atomically(path, text.as_bytes())?)
    }

    /// Reads the file; `None` if there is none, as of runs of before it was written.
    ///
    /// # Errors
    /// If it cannot be read, or is not what this program writes.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path)?;
        let frames = serde_json::from_str(&text).map_err(|error| Error::RunFolder {
            path: path.to_owned(),
            problem: format!("does not hold the sums of frames: {error}"),
        })?;
        Ok(Some(frames))
    }
}

#[cfg(test)]
mod tests {
    use multimae::metrics::DepthMetrics;
    use multimae_tasks::FrameSum;

    use super::*;

    #[test]
    fn quoted_cells_are_whole() {
        assert_eq!(cells("1,\"a, \"\"b\"\"\",,c"), ["1", "a, \"b\"", "", "c"]);
    }

    #[test]
    fn scenes_come_from_the_table_of_a_prepared_folder() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = || -> IndexMap<String, FrameSums> {
            let frame = |id: &str| FrameSum { id: id.to_owned(), sum: DepthMetrics::default() };
            let frames = vec![frame("0001"), frame("0002"), frame("0007")];
            [("depth".to_owned(), FrameSums::Depth(frames))].into_iter().collect()
        };
        let of = |root: Option<&Path>| SetFrames::new(tasks(), root).unwrap().scenes;
        assert!(of(None).is_empty() && of(Some(dir.path())).is_empty());
        let table =
            "id,list,scene,scene_type\n0001,val,kitchen_1,kitchen\n0002,val,,\n0003,val,a,b\n";
        fs::write(dir.path().join("frames.csv"), table).unwrap();
        let found = of(Some(dir.path()));
        assert_eq!(found.len(), 1);
        assert_eq!(found["0001"], "kitchen_1");

        let path = dir.path().join("frames.json");
        assert_eq!(RunFrames::read(&path).unwrap(), None);
        let test = SetFrames::new(tasks(), Some(dir.path())).unwrap();
        let frames = RunFrames { validation: None, test: Some(test) };
        frames.write(&path).unwrap();
        assert_eq!(RunFrames::read(&path).unwrap(), Some(frames));
        fs::write(&path, "{}x").unwrap();
        assert!(RunFrames::read(&path).unwrap_err().to_string().contains("frames.json"));
    }
}
