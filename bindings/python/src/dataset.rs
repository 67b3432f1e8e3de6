//! Data sets over NumPy arrays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use multimae_config::keys::RecipeValue as _;
use multimae_config::{Kind, Modalities, ModalityDefaults, ModalityRecipe, Role, usual};
use multimae_data::packed::{Content, Pack, find_folders, is_pack};
use multimae_data::parquet::is_parquet;
use multimae_data::{DataModality, Layout, RawMap, RawSample, is_stored};
use pyo3::exceptions::{PyFileNotFoundError, PyIndexError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::{Map, Value, json};

use crate::arrays::array;
use crate::error::{PyContext, error};
use crate::json::of_python;

/// The name under which a sample holds its id.
const ID: &str = "id";
/// The number of classes of labels that are given as files store them.
const ANY_LABEL: usize = 1 << 16;

/// The samples of a folder or a pack, as arrays in the form that `Model.predict` takes.
///
/// `path` is a folder with a folder per modality, a pack of `multimae pack`, a parquet table or tar
/// shards; `split` names a list `path/split.txt`, or a split of the table or the shards. `modalities` names the folders to read, or holds an entry of a recipe's
/// `modalities:` for each, as in `{"depth": {"divisor": 5000}}`. By default all folders of colours, depth
/// (in millimetres), labels and masks are read; other numbers, such as normals, need an entry.
///
/// `dataset[i]` is a dictionary with the sample's `id` and by modality: uint8 `(H, W, 3)`; float32
/// `(H, W)` or `(C, H, W)` after the divisor, NaN where invalid; int64 `(H, W)`, labels as files store them
/// unless the entry has `offset` or `values`.
///
/// Files are listed when it is made and read when a sample is asked for, without threads: it can be used
/// in forked workers, and is pickled by its arguments.
#[pyclass(frozen, module = "multimae")]
pub(crate) struct Dataset {
    root: PathBuf,
    split: Option<String>,
    modalities: Option<String>,
    dataset: multimae_data::Dataset,
}

#[pymethods]
impl Dataset {
    #[new]
    #[pyo3(signature = (path, split=None, modalities=None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        split: Option<String>,
        modalities: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let entries = modalities.filter(|given| !given.is_none()).map(of_python).transpose()?;
        py.detach(|| {
            let root = std::path::absolute(&path)?;
            if !root.exists() && !is_stored(&root) {
                let text = format!("{}: there is no such folder or pack", root.display());
                return Err(PyFileNotFoundError::new_err(text));
            }
            let own = modalities_of(&root, entries.as_ref())?;
            let layout = Layout::of(split.as_deref());
            let dataset = multimae_data::Dataset::open(&root, &layout, &own).py()?;
            let modalities = entries.map(|entries| entries.to_string());
            Ok(Self { root, split, modalities, dataset })
        })
    }

    fn __len__(&self) -> usize {
        self.dataset.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Bound<'py, PyDict>> {
        let len = self.dataset.len();
        let counted = if index < 0 { index + len as isize } else { index };
        let place = usize::try_from(counted).ok().filter(|place| *place < len);
        let place = place.ok_or_else(|| {
            PyIndexError::new_err(format!("there is no sample {index}: the data set has {len}"))
        })?;
        let sample = py.detach(|| self.dataset.decode(place)).py()?;
        self.arrays(py, sample)
    }

    /// The ids of the samples, in their order.
    #[getter]
    fn ids(&self) -> Vec<String> {
        self.dataset.samples().iter().map(|sample| sample.id.clone()).collect()
    }

    /// The names of the modalities.
    #[getter]
    fn modalities(&self) -> Vec<String> {
        self.dataset.modalities().iter().map(|modality| modality.name.clone()).collect()
    }

    fn __repr__(&self) -> String {
        format!(
            "<multimae.Dataset {}: {} samples of {}>",
            self.root.display(),
            self.dataset.len(),
            self.modalities().join(", ")
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let kind = py.get_type::<Self>();
        let entries = match &self.modalities {
            Some(text) => Some(py.import("json")?.call_method1("loads", (text,))?),
            None => None,
        };
        Ok((kind, (&self.root, &self.split, entries)).into_pyobject(py)?.into_any())
    }
}

impl Dataset {
    fn arrays<'py>(&self, py: Python<'py>, sample: RawSample) -> PyResult<Bound<'py, PyDict>> {
        let RawSample { id, height, width, maps, .. } = sample;
        let dict = PyDict::new(py);
        dict.set_item(ID, id)?;
        for (modality, (name, map)) in self.dataset.modalities().iter().zip(maps) {
            let name = PyString::new(py, &name);
            match map {
                RawMap::Color(rgb) => dict.set_item(name, array(py, rgb, &[height, width, 3])?)?,
                RawMap::Continuous { channels, data } => {
                    let values = modality.encoding.decoded_values(&data, channels);
                    let shape = [channels, height, width];
                    let shape = if channels == 1 { &shape[1..] } else { &shape[..] };
                    dict.set_item(name, array(py, values, shape)?)?;
                }
                RawMap::Labels(labels) => {
                    dict.set_item(name, array(py, labels, &[height, width])?)?
                }
            }
        }
        Ok(dict)
    }
}

/// The types of the folders of a data set; none are known of tables and shards.
fn folders(root: &Path) -> PyResult<Vec<(String, Content)>> {
    let is_tar = root.extension().is_some_and(|extension| extension == "tar");
    if is_parquet(root) || is_tar || is_stored(root) && !is_pack(root) {
        return Ok(Vec::new());
    }
    if is_pack(root) {
        let pack = Pack::open(root).py()?;
        let folders = pack.folders().into_iter();
        return Ok(folders.map(|(name, content, _)| (name.to_owned(), content)).collect());
    }
    let found = find_folders(root, &BTreeMap::new()).py()?;
    Ok(found.into_iter().map(|folder| (folder.folder, folder.content)).collect())
}

/// The modalities to read: those of the entries, or those that need none.
fn modalities_of(root: &Path, entries: Option<&Value>) -> PyResult<Vec<DataModality>> {
    let found = folders(root)?;
    let entries: Map<String, Value> = match entries {
        Some(Value::Object(entries)) => entries.clone(),
        Some(Value::Array(names)) => {
            let name = |name: &Value| name.as_str().map(|name| (name.to_owned(), json!({})));
            let named: Option<_> = names.iter().map(name).collect();
            named.ok_or_else(|| error("modalities: give names of folders"))?
        }
        Some(_) => {
            return Err(error("modalities: give a list of names or a dictionary of entries"));
        }
        None if found.is_empty() => {
            return Err(error(
                "modalities: name the columns of the table, or the fields of the shards, with an entry \
                 for each that is not rgb, as in {\"depth\": {\"divisor\": 1000}}",
            ));
        }
        None => {
            let known =
                |(name, content): &&(String, Content)| *content != Content::Real || is_depth(name);
            found.iter().filter(known).map(|(name, _)| (name.clone(), json!({}))).collect()
        }
    };
    entries.iter().map(|(name, entry)| modality(name, entry, &found)).collect()
}

fn is_depth(folder: &str) -> bool {
    folder.to_ascii_lowercase().starts_with("depth")
}

/// A modality by its entry, where that says nothing by its usual properties, and by its files where there
/// are none.
fn modality(name: &str, entry: &Value, found: &[(String, Content)]) -> PyResult<DataModality> {
    let mut entry = match entry {
        Value::Object(entry) => entry.clone(),
        Value::Null => Map::new(),
        _ => return Err(error(format!("modality `{name}`: its entry is a dictionary"))),
    };
    let folder = entry.get("folder").and_then(Value::as_str).unwrap_or(name).to_owned();
    let says = |keys: &[&str]| keys.iter().any(|key| entry.contains_key(*key));
    let defaults = ModalityDefaults::PUBLISHED;
    let usual = usual(name, Role::Target, defaults);
    if !says(&["kind", "channels", "classes", "values"]) && usual == ModalityRecipe::default() {
        let content = found.iter().find(|(own, _)| *own == folder).map(|(_, content)| *content);
        let guessed = match content {
            Some(Content::Color) => json!({"kind": "color"}),
            Some(Content::Labels) => json!({"kind": "labels"}),
            Some(Content::Real) if is_depth(&folder) => {
                json!({"kind": "continuous", "channels": 1, "divisor": 1000, "quantity": "distance"})
            }
            _ => json!({}),
        };
        for (key, value) in guessed.as_object().into_iter().flatten() {
            entry.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let read = |entry: &Map<String, Value>| {
        let mut entries = Map::new();
        entries.insert(name.to_owned(), Value::Object(entry.clone()));
        Modalities::read(&Value::Object(entries)).py()
    };
    let labels = read(&entry)?.kind_in(name, Role::Target) == Kind::Labels;
    if labels && !entry.contains_key("classes") && !entry.contains_key("values") {
        entry.insert("classes".to_owned(), ANY_LABEL.into());
    }
    Ok(read(&entry)?.resolve(name, Role::Target, defaults).py()?.data)
}
