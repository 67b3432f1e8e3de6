//! The files that are written from the declarations of keys.

use std::path::Path;

use fs_err as fs;
use multimae_config::reference;

#[test]
fn the_reference_is_that_of_the_declared_keys() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let write = std::env::var_os("MULTIMAE_WRITE_REFERENCE").is_some();
    for (name, text) in reference::files() {
        let path = dir.join(name);
        if write {
            fs::write(&path, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap() == text,
            "{name} is not up to date: multimae reference --out docs/reference"
        );
    }
}
