//! Adapters at run time.

use std::path::{Path as FilePath, PathBuf};

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use multimae_infer::weights_source::ADAPTER_FILE;
use serde::Deserialize;
use serde_json::{Value, json};

use super::predict::colour;
use super::upload::json_body;
use super::{App, refused};
use crate::error::Problem;
use crate::queue::Refusal;

/// The adapter to load.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    name: String,
    file: String,
}

/// The adapters with their inputs and tasks.
pub(super) fn described(state: &App) -> Vec<Value> {
    let entries = state.queue().catalog();
    let one = |entry: &crate::AdapterEntry| {
        let inputs: Vec<&str> =
            entry.card.inputs.iter().map(|input| input.data.name.as_str()).collect();
        let tasks: serde_json::Map<String, Value> = entry
            .card
            .tasks
            .iter()
            .map(|(name, task)| {
                let mut described = json!({"kind": task.task.kind()});
                if let (Value::Object(all), Value::Object(own)) = (&mut described, task.task.api())
                {
                    all.extend(own);
                }
                (name.clone(), described)
            })
            .collect();
        let data: Vec<_> = entry.card.inputs.iter().map(|input| input.data.clone()).collect();
        json!({"name": entry.name, "inputs": inputs, "image": colour(&data), "tasks": tasks})
    };
    entries.iter().map(one).collect()
}

pub(super) async fn list(State(state): State<App>) -> Json<Value> {
    Json(json!({"adapters": described(&state)}))
}

pub(super) async fn load(
    State(state): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let deadline = state.deadline(request.headers())?;
    let permit = state.admit()?;
    let body = json_body(request, deadline).await?;
    let wanted: Load = serde_json::from_slice(&body).map_err(|error| {
        Problem::malformed(format!("expected {{\"name\": .., \"file\": ..}}: {error}"))
    })?;
    check_name(&wanted.name)?;
    let app = state.clone();
    let work = move || {
        // Held until the adapter is loaded, also after the client has disconnected.
        let _permit = permit;
        let path = allowed(&app.config().adapter_folders, &wanted.file)?;
        check_room(&app, &wanted.name)?;
        let loaded = app.queue().load(&wanted.name, &path);
        loaded.map_err(|refusal| match refusal {
            Refusal::Failed(text) => {
                Problem::unfit(text.replace(&*path.to_string_lossy(), &wanted.file))
            }
            other => refused(other),
        })?;
        Ok(wanted.name)
    };
    let name = state.loader().run(deadline, work).await?;
    Ok((StatusCode::CREATED, Json(json!({"name": name}))))
}

pub(super) async fn unload(
    State(state): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let deadline = state.deadline(&headers)?;
    let permit = state.admit()?;
    let (queue, wanted) = (state.queue().clone(), name.clone());
    let work = move || {
        let _permit = permit;
        queue.unload(&wanted).map_err(refused)
    };
    let was_there = state.loader().run(deadline, work).await?;
    let missing = || Problem::not_found("there is no such adapter");
    if was_there { Ok(Json(json!({"name": name}))) } else { Err(missing()) }
}

/// The number of adapters is bounded: each takes memory.
fn check_room(state: &App, name: &str) -> Result<(), Problem> {
    let (catalog, most) = (state.queue().catalog(), state.config().max_adapters);
    if catalog.len() < most || catalog.iter().any(|entry| entry.name == name) {
        return Ok(());
    }
    let text = format!("{most} adapters are loaded, the limit (--max-adapters); unload one first");
    Err(Problem::new(StatusCode::CONFLICT, "full", text))
}

/// Names stand in addresses and counters.
fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(Problem::malformed("a name is of up to 64 letters, digits, `.`, `_` and `-`"));
    }
    Ok(())
}

/// The file in one of the folders, wherever links and dots lead; a run's folder means its adapter.
fn allowed(folders: &[PathBuf], file: &str) -> Result<PathBuf, Problem> {
    if folders.is_empty() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "no folder of adapters is allowed; start the server with --adapters DIR",
        ));
    }
    let relative = FilePath::new(file);
    let plain = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    for folder in folders.iter().filter(|_| plain && !file.is_empty()) {
        let Ok(folder) = fs_err::canonicalize(folder) else { continue };
        let mut path = within(&folder, &folder.join(relative));
        if let Some(run) = path.as_ref().filter(|path| path.is_dir()) {
            // The file in it may be a link to anywhere.
            path = within(&folder, &run.join(ADAPTER_FILE));
        }
        if let Some(path) = path.filter(|path| path.is_file()) {
            return Ok(path);
        }
    }
    Err(Problem::not_found(
        "there is no such file, nor a folder with an adapter.safetensors, in the folders of adapters",
    ))
}

/// A path without links, if it is inside a folder.
fn within(folder: &FilePath, path: &FilePath) -> Option<PathBuf> {
    fs_err::canonicalize(path).ok().filter(|path| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_allowed_folders_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("adapters");
        fs_err::create_dir_all(folder.join("a")).unwrap();
        for file in ["adapters/a/b.safetensors", "secret.safetensors"] {
            fs_err::write(dir.path().join(file), b"x").unwrap();
        }
        let folders = [folder.clone()];
        assert!(allowed(&folders, "a/b.safetensors").is_ok());
        let secret = dir.path().join("secret.safetensors");
        let absolute = secret.to_string_lossy();
        for file in ["../secret.safetensors", "a/../../secret.safetensors", &absolute, "a", ""] {
            assert!(allowed(&folders, file).is_err(), "{file}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&secret, folder.join("link.safetensors")).unwrap();
            assert!(allowed(&folders, "link.safetensors").is_err());
        }
        // A run's folder means its adapter, which may not be elsewhere either.
        fs_err::create_dir_all(folder.join("run1")).unwrap();
        assert!(allowed(&folders, "run1").is_err());
        let adapter = folder.join("run1").join(ADAPTER_FILE);
        fs_err::write(&adapter, b"x").unwrap();
        let found = allowed(&folders, "run1").unwrap();
        assert_eq!(found, fs_err::canonicalize(&adapter).unwrap());
        assert!(allowed(&folders, "run1/").is_ok());
        #[cfg(unix)]
        {
            fs_err::remove_file(&adapter).unwrap();
            std::os::unix::fs::symlink(&secret, &adapter).unwrap();
            assert!(allowed(&folders, "run1").is_err());
            let elsewhere = dir.path().join("elsewhere");
            fs_err::create_dir_all(&elsewhere).unwrap();
            fs_err::write(elsewhere.join(ADAPTER_FILE), b"x").unwrap();
            std::os::unix::fs::symlink(&elsewhere, folder.join("run2")).unwrap();
            assert!(allowed(&folders, "run2").is_err());
        }
        assert_eq!(allowed(&[], "a/b.safetensors").unwrap_err().status, StatusCode::FORBIDDEN);
    }

    #[test]
    fn names_are_plain() {
        for name in ["", "a b", "a/b", "ü", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("deep-10.v2_x").is_ok());
    }
}
