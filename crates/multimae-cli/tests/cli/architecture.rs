//! The crates depend on each other as ARCHITECTURE.md says, and files stay short.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::Value;

/// Lines of a source file outside tests.
const LONGEST: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The crates of the workspace with the names of their direct dependencies, outside tests.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
        let names = normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned());
        (package["name"].as_str().unwrap().to_owned(), names.collect())
    };
    metadata["packages"].as_array().unwrap().iter().map(of).collect()
}

/// Everything that a crate depends on, directly or not.
fn closure(crates: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(next) = open.pop() {
        for dependency in crates.get(&next).into_iter().flatten() {
            if all.insert(dependency.clone()) {
                open.push(dependency.clone());
            }
        }
    }
    all
}

/// The rows of ARCHITECTURE.md's table of crates: name, and what it must not depend on.
fn documented() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `multimae"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let code = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        (code(cells[0])[0].clone(), code(cells[cells.len() - 1]))
    };
    rows.map(row).collect()
}

#[test]
fn the_table_of_crates_is_complete_and_in_the_order_of_the_arrows() {
    let crates = crates();
    let documented = documented();
    let order: Vec<&String> = documented.iter().map(|(name, _)| name).collect();
    let known: BTreeSet<&String> = crates.keys().collect();
    assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), known);
    for (place, (name, _)) in documented.iter().enumerate() {
        for dependency in crates[name].iter().filter(|name| crates.contains_key(*name)) {
            let below = order.iter().position(|other| *other == dependency).unwrap();
            assert!(below > place, "{name} depends on {dependency}, which stands above it");
        }
    }
}

#[test]
fn no_crate_depends_on_what_it_must_not() {
    let crates = crates();
    let mut rules = 0;
    for (name, forbidden) in documented() {
        let reached = closure(&crates, &name);
        for other in &forbidden {
            // A crate of the workspace is forbidden however it is reached; `burn` stands for
            // tensors in a crate's own code.
            let depends = if crates.contains_key(other) {
                reached.contains(other)
            } else {
                crates[&name].contains(other)
            };
            assert!(!depends, "{name} must not depend on {other}");
            rules += 1;
        }
    }
    assert!(rules >= 12, "ARCHITECTURE.md's table forbids only {rules} dependencies");
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn files_are_short() {
    // Fused kernels are long by nature.
    let exempt = ["multimae-kernels/src"];
    let mut files = Vec::new();
    for crate_dir in fs::read_dir(root().join("crates")).unwrap() {
        sources(&crate_dir.unwrap().path().join("src"), &mut files);
    }
    assert!(files.len() > 200);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let own = text.split("\n#[cfg(test)]").next().unwrap_or_default().lines().count();
        let named = path.to_string_lossy().replace('\\', "/");
        let exempt = exempt.iter().any(|dir| named.contains(dir));
        assert!(exempt || own <= LONGEST, "{named} has {own} lines");
    }
}

/// Files outside tests that name `wanted`.
fn files_with(wanted: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for crate_dir in fs::read_dir(root().join("crates")).unwrap() {
        sources(&crate_dir.unwrap().path().join("src"), &mut files);
    }
    let names = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.split("\n#[cfg(test)]").next().unwrap_or_default().contains(wanted)
    };
    files.retain(names);
    files
}

#[test]
fn kinds_of_tasks_are_told_apart_in_the_registry_alone() {
    for kind in ["normals", "values", "classes"] {
        let module = format!("kinds::{kind}");
        let found: Vec<PathBuf> = files_with(&module)
            .into_iter()
            .filter(|path| !path.to_string_lossy().contains("multimae-tasks"))
            .collect();
        assert!(found.is_empty(), "{kind} is named in {found:?}");
    }
    let matched = files_with("TaskKind::");
    assert!(matched.len() <= 3, "{matched:?}");
}

#[test]
fn nothing_compares_the_names_of_modalities() {
    for name in ["rgb", "depth", "semseg", "normal"] {
        let forms = [
            format!("\"{name}\" =>"),
            format!("== \"{name}\""),
            format!(".name.contains(\"{name}"),
        ];
        for form in forms {
            // The benchmark's cases are fixed models of its own.
            let found: Vec<PathBuf> = files_with(&form)
                .into_iter()
                .filter(|path| !path.to_string_lossy().contains("multimae-bench"))
                .collect();
            assert!(found.is_empty(), "`{form}` in {found:?}");
        }
    }
}
