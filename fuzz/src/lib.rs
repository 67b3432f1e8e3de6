//! Shared parts of the fuzz targets: a bound on memory, files in memory, and the description of modalities.

use std::alloc::System;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use cap::Cap;
use multimae_data::{DataModality, DecodeLimits, ModalityFile, RawSample};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Runs a target under a bound: a request that would bring the memory that it holds above `mebibytes`
/// fails, which aborts the process and counts as a fault.
pub fn bounded<T>(mebibytes: usize, target: impl FnOnce() -> T) -> T {
    let limit = ALLOCATOR.allocated() + (mebibytes << 20);
    // Threads of the runtime may have freed something since.
    if ALLOCATOR.set_limit(limit).is_err() {
        return target();
    }
    let result = target();
    let _ = ALLOCATOR.set_limit(usize::MAX);
    result
}

/// Lets panics that are caught inside the program pass, and prints the place of each once. A panic
/// that is not caught still ends the run. For the decoders of images, whose libraries panic on some
/// damaged files.
pub fn allow_caught_panics() {
    static PLACES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if let Ok(mut places) = PLACES.lock()
            && places.insert(place.clone())
        {
            eprintln!("caught panic at {place}: {panic}");
        }
    }));
}

/// A file of this process in a file system in memory.
fn scratch() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let shared = Path::new("/dev/shm");
        let dir = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        dir.join(format!("multimae-fuzz-{}", std::process::id()))
    })
}

/// A folder of this process in a file system in memory.
pub fn scratch_dir() -> PathBuf {
    scratch().with_extension("dir")
}

/// The bound of reading a file of weights of at most 12 KiB, in MiB: its values may be compressed a
/// thousandfold.
pub const WEIGHTS_BOUND: usize = 64;

/// Gives a target its input as a file.
pub fn with_file(data: &[u8], target: impl FnOnce(&Path)) {
    let path = scratch();
    if std::fs::write(path, data).is_ok() {
        target(path);
        let _ = std::fs::remove_file(path);
    }
}

/// Gives a target its input as a file of this name: where the extension matters.
pub fn with_named_file(name: &str, data: &[u8], target: impl FnOnce(&Path)) {
    let dir = scratch_dir();
    let path = dir.join(name);
    if std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, data)).is_ok() {
        target(&path);
        let _ = std::fs::remove_file(&path);
    }
}

/// One modality of each kind, by the name of its kind.
pub fn modalities() -> &'static [DataModality] {
    static ALL: OnceLock<Vec<DataModality>> = OnceLock::new();
    ALL.get_or_init(|| {
        let modality = |name: &str, encoding: serde_json::Value| {
            let value = serde_json::json!({
                "name": name, "folder": name, "encoding": encoding, "stride": 1,
            });
            serde_json::from_value(value).expect("the description of a modality")
        };
        let continuous = |channels: usize| {
            serde_json::json!({"continuous": {
                "channels": channels, "divisor": 1000.0, "mean": [], "std": [],
                "interpolation": "bicubic", "standardize": false,
            }})
        };
        vec![
            modality(
                "color",
                serde_json::json!({"color": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}),
            ),
            modality("depth", continuous(1)),
            modality("normals", continuous(3)),
            modality(
                "labels",
                serde_json::json!({"labels": {"classes": 40, "ignore": 255, "offset": -1}}),
            ),
        ]
    })
}

/// The bound of decoding an image of at most [`MAX_PIXELS`], in MiB.
pub const IMAGE_BOUND: usize = 64;
/// The limit that the decoders are given: larger images are slow, and no other code.
pub const MAX_PIXELS: u64 = 1 << 16;

/// Decodes an image as every kind of modality.
pub fn decode(data: &[u8]) {
    let limits = DecodeLimits { max_pixels: Some(MAX_PIXELS) };
    for modality in modalities() {
        let file = ModalityFile { modality, name: "input", bytes: data };
        bounded(IMAGE_BOUND, || drop(RawSample::from_bytes("input", &[file], limits)));
    }
}
