//! Checks of the files that commands write: they exist, are not empty, and are of the kind of their name.

use std::path::Path;

use fs_err as fs;
use serde_json::Value;

type Checked = Result<(), String>;

/// Checks the outputs of a `multimae` command, given by its words, in a folder.
pub(crate) fn check(dir: &Path, words: &[String], stdout: &str) -> Checked {
    let option = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1).map(String::as_str)
    };
    let flag = |name: &str| words.iter().any(|word| word == name);
    let out = option("--out").map(|out| dir.join(out));
    let files = |names: &[&str]| -> Checked {
        let out = out.as_ref().ok_or("the command names no --out")?;
        names.iter().try_for_each(|name| check_file(&out.join(name)))
    };
    let written = || check_file(out.as_ref().ok_or("the command names no --out")?);
    match words[0].as_str() {
        "synth" => {
            files(&["train.txt", "val.txt", "manifest.json"])?;
            let count: usize = option("--count").map_or(Ok(400), str::parse).unwrap();
            for folder in ["rgb", "depth", "label40", "normal"] {
                let found = pictures(&out.as_ref().unwrap().join(folder))?;
                if found != count {
                    return Err(format!("{found} pictures in {folder}, not {count}"));
                }
            }
            Ok(())
        }
        "pretrain" | "finetune" => {
            files(&["recipe.yaml", "metrics.jsonl", "report.html", "model.safetensors"])?;
            files(&["checkpoints", "events"])?;
            if words[0] == "finetune" { files(&["result.json"]) } else { Ok(()) }
        }
        "compare" if flag("--dry-run") => said(stdout),
        "compare" | "bench" => files(&["table.md", "results.json", "report.html"]),
        "demo" => ["report.html", "pretrain/model.safetensors", "recipes/pretrain.yaml"]
            .iter()
            .try_for_each(|name| check_file(&dir.join("demo").join(name))),
        "evaluate" => {
            if let Some(json) = option("--json") {
                check_file(&dir.join(json))?;
            }
            if out.is_some() {
                files(&["report.html", "scores.json", "scores.md"])
            } else {
                said(stdout)
            }
        }
        "predict" => {
            for folder in ["depth", "depth_overlay", "semseg", "semseg_overlay"] {
                pictures(&out.as_ref().ok_or("no --out")?.join(folder))?;
            }
            Ok(())
        }
        "label" => {
            files(&["labels.json"])?;
            ["depth", "semseg"]
                .iter()
                .try_for_each(|folder| pictures(&out.as_ref().unwrap().join(folder)).map(|_| ()))
        }
        "quantize" => files(&["model.safetensors"]),
        "export" if option("--to") == Some("onnx") => files(&["model.onnx", "test"]),
        "export" => files(&["config.json", "model.safetensors", "test"]),
        "visualize" => {
            pictures(out.as_ref().ok_or("no --out")?)?;
            if flag("--usage") { files(&["usage.json"]) } else { Ok(()) }
        }
        "adapter" if words[1] == "merge" => written(),
        "pack" if flag("--verify") => Ok(()),
        "pack" | "shards" => written(),
        "convert" => check_file(&dir.join(option("--output").ok_or("no --output")?)),
        "prepare" if words[1] != "nyuv2" => {
            let manifest = out.as_ref().ok_or("the command names no --out")?.join("manifest.json");
            let text = fs::read_to_string(&manifest).map_err(|error| error.to_string())?;
            if text.contains("\"state\": \"complete\"") { Ok(()) } else { Err(text) }
        }
        "prepare" => {
            files(&["train.txt", "test.txt", "train_fit.txt", "val.txt", "manifest.json"])?;
            ["rgb", "depth", "label40"]
                .iter()
                .try_for_each(|folder| pictures(&out.as_ref().unwrap().join(folder)).map(|_| ()))
        }
        "adapter" | "inspect" | "doctor" | "load" => said(stdout),
        other => Err(format!("no outputs are known of `multimae {other}`: add them to outputs.rs")),
    }
}

fn said(stdout: &str) -> Checked {
    if stdout.trim().is_empty() { Err("nothing was printed".to_owned()) } else { Ok(()) }
}

/// Decodes the PNG files of a folder and gives their number.
fn pictures(folder: &Path) -> Result<usize, String> {
    let mut count = 0;
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.unwrap().path();
        check_file(&path)?;
        count += usize::from(path.extension().is_some_and(|extension| extension == "png"));
    }
    if count == 0 { Err(format!("{}: no picture", folder.display())) } else { Ok(count) }
}

/// Checks a file by its extension, or that a folder holds something.
pub(crate) fn check_file(path: &Path) -> Checked {
    let fail = |problem: &str| Err(format!("{}: {problem}", path.display()));
    if path.is_dir() {
        let empty = fs::read_dir(path).unwrap().next().is_none();
        return if empty { fail("an empty folder") } else { Ok(()) };
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        return fail("an empty file");
    }
    let text = || String::from_utf8_lossy(&bytes);
    let json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    let good = match path.extension().and_then(|extension| extension.to_str()) {
        // The version of the format, 8, in the first field.
        Some("onnx") => bytes.starts_with(&[0x08, 0x08]),
        Some("png") => image::load_from_memory(&bytes).is_ok(),
        Some("npy") => bytes.starts_with(b"\x93NUMPY"),
        Some("json") => json(&text()),
        Some("jsonl") => text().lines().all(json),
        Some("html") => text().contains("<html") && text().trim_end().ends_with("</html>"),
        Some("safetensors") => safetensors(&bytes),
        // A checkpoint of PyTorch is a zip archive.
        Some("pth") => bytes.starts_with(b"PK"),
        Some("md") => text().contains("| "),
        Some("mat") => bytes.starts_with(b"MATLAB"),
        Some("txt" | "yaml" | "pack") => true,
        other => return fail(&format!("no check of files of the kind {other:?}")),
    };
    if good { Ok(()) } else { fail("not a file of that kind") }
}

/// Whether the header of a file is that of safetensors and its tensors fill the file.
fn safetensors(bytes: &[u8]) -> bool {
    let Some(length) = bytes.get(..8).and_then(|length| length.try_into().ok()) else {
        return false;
    };
    let start = 8 + u64::from_le_bytes(length) as usize;
    let header =
        bytes.get(8..start).and_then(|header| serde_json::from_slice::<Value>(header).ok());
    let Some(Value::Object(header)) = header else { return false };
    let end = |tensor: &Value| tensor["data_offsets"][1].as_u64();
    let last =
        header.iter().filter(|(name, _)| *name != "__metadata__").filter_map(|(_, t)| end(t)).max();
    last.is_some_and(|last| start + last as usize == bytes.len())
}

#[test]
fn files_of_another_kind_and_missing_ones_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["a.png", "a.npy", "a.json", "a.jsonl", "a.html", "a.safetensors", "a.pth", "a.md"]
    {
        fs::write(path(name), "text").unwrap();
        assert!(check_file(&path(name)).is_err(), "{name}");
    }
    fs::write(path("empty.txt"), "").unwrap();
    fs::create_dir(path("empty")).unwrap();
    for name in ["empty.txt", "empty", "missing.txt"] {
        assert!(check_file(&path(name)).is_err(), "{name}");
    }
    fs::write(path("a.json"), "{}").unwrap();
    check_file(&path("a.json")).unwrap();
    let words = ["pack", "--out", "missing.pack"].map(str::to_owned);
    assert!(check(dir.path(), &words, "").is_err());
}
