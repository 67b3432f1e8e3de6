//! Names of files: those that are left out, and the one form of all others.

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// Files and folders that operating systems leave beside data, in lower case.
const STRAY: [&str; 10] = [
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
];

/// Whether a file or folder of this name is no data: hidden (`.DS_Store`, `._a.jpg`), or left by an
/// operating system (`Thumbs.db`, `desktop.ini`, `__MACOSX` and the like). Every reader of folders
/// leaves these out.
///
/// ```
/// use multimae_data::is_stray;
///
/// assert!(is_stray(".DS_Store") && is_stray("Thumbs.db"));
/// assert!(!is_stray("0001.png"));
/// ```
#[must_use]
pub fn is_stray(name: &str) -> bool {
    name.starts_with('.') || STRAY.contains(&name.to_lowercase().as_str())
}

/// A notice about [stray](is_stray) files that were left out, if there are any.
#[must_use]
pub fn stray_notice(count: usize) -> Option<String> {
    let files = match count {
        0 => return None,
        1 => "1 hidden file or file of an operating system is".to_owned(),
        count => format!("{count} hidden files or files of operating systems are"),
    };
    Some(format!("{files} left out"))
}

/// The composed form (NFC) of a name. macOS stores an accented letter as two characters, and other
/// systems as one, so that the same name may differ between two folders.
pub(crate) fn composed(name: &str) -> String {
    match is_nfc_quick(name.chars()) {
        IsNormalized::Yes => name.to_owned(),
        _ => name.nfc().collect(),
    }
}

/// The plain form of a modality's folder: `./rgb/` is `rgb`.
pub(crate) fn plain_folder(folder: &str) -> String {
    let parts: Vec<&str> =
        folder.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}
