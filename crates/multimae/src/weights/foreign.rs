//! Content that is no file of weights, told by its first bytes: what it is, and what to do.

use super::Problem;

/// First bytes of formats that hold no weights for this program, with what they are.
const SIGNATURES: [(&[u8], &str); 16] = [
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"\xfd7zXZ\0", "an xz archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file (Keras weights, or a data set); give the PyTorch or safetensors file of the \
         same weights",
    ),
    (b"GGUF", "a GGUF file; give the PyTorch or safetensors file of the same weights"),
    (b"\x93NUMPY", "a single NumPy array; a set of weights is an .npz with an array per tensor"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
];
const PICKLE: &str = "a plain pickle and no checkpoint of PyTorch; load it in Python and save its \
                      state dict with torch.save, if you trust the file";

/// The first words of a Git LFS pointer.
const LFS: &str = "version https://git-lfs.github.com/spec/";
/// Bytes in which text is looked for.
const START: usize = 4096;

/// The problem with a file that is of no format of weights: its kind, as far as that is certain,
/// and what to do.
pub(super) fn described(bytes: &[u8]) -> Problem {
    known(bytes).unwrap_or_else(|| {
        "no safetensors file, no PyTorch checkpoint and no npz file; it may be damaged: compare \
         its size with that of the original"
            .to_owned()
    })
}

/// The kind of a file that certainly holds no weights, and what to do; `None` if it may hold some.
pub(super) fn known(bytes: &[u8]) -> Option<Problem> {
    if bytes.is_empty() {
        return Some("it is empty; copy or download it again".to_owned());
    }
    if let Some((_, kind)) = SIGNATURES.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some((*kind).to_owned());
    }
    text_of(bytes).and_then(|text| known_text(&text, bytes.len()))
}

/// The beginning of a file that is text.
fn text_of(bytes: &[u8]) -> Option<String> {
    let start = &bytes[..bytes.len().min(START)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // A character may be cut at the end.
        Err(error) if start.len() - error.valid_up_to() < 4 => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let control = |c: char| c.is_control() && !c.is_whitespace();
    (!text.chars().any(control)).then(|| text.trim_start_matches('\u{feff}').trim().to_owned())
}

fn known_text(text: &str, len: usize) -> Option<Problem> {
    if text.starts_with(LFS) {
        let size = text.lines().find_map(|line| line.strip_prefix("size "));
        let size = size.map(|size| format!(" of {size} bytes")).unwrap_or_default();
        return Some(format!(
            "a Git LFS pointer ({len} bytes) in place of the file{size}; run `git lfs pull` in its \
             repository, or download the file itself"
        ));
    }
    let lower = text.to_lowercase();
    if ["<!doctype html", "<html", "<head"].iter().any(|start| lower.starts_with(start)) {
        return Some(format!(
            "a web page (HTML){} in place of the file: a download that needed a click or a login; \
             download it in a browser",
            title(text, &lower)
        ));
    }
    if lower.starts_with("<?xml") || lower.starts_with("<error") {
        return Some("an XML message in place of the file; download it again".to_owned());
    }
    if text.starts_with('{') {
        return Some(
            "JSON and no weights; give the .safetensors or .pth beside it, or the \
             .index.json of a sharded model"
                .to_owned(),
        );
    }
    let line: String = text.lines().next().unwrap_or_default().chars().take(40).collect();
    Some(format!("text and no weights; it begins with {line:?}"))
}

/// The title of a page.
fn title(text: &str, lower: &str) -> String {
    // Lowercasing can change lengths, then there is no title to show.
    let range = lower.find("<title>").zip(lower.find("</title>"));
    let title = range.and_then(|(start, end)| text.get(start + "<title>".len()..end));
    title.map(|title| format!(" titled {:?}", title.trim())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_weights_are_named_with_the_remedy() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0d\nsize 343262345\n";
        for (content, words) in [
            (pointer.as_bytes(), &["Git LFS pointer", "343262345 bytes", "git lfs pull"][..]),
            (
                b"\xef\xbb\xbf \n<!DOCTYPE html><html><title>Virus scan</title>",
                &["web page", "\"Virus scan\"", "browser"],
            ),
            (b"<html lang=de>", &["web page"]),
            (b"<?xml version='1.0'?><Error>", &["XML"]),
            (b"{\"architectures\": []}", &["JSON"]),
            (b"\x89HDF\r\n\x1a\n\0", &["HDF5"]),
            (b"\x1f\x8b\x08", &["gzip", "unpack"]),
            (b"\x80\x04\x95", &["pickle"]),
            (b"", &["empty"]),
            (b"no weights", &["text", "no weights"]),
        ] {
            let problem = described(content);
            for word in words {
                assert!(problem.contains(word), "`{word}` is not in: {problem}");
            }
        }
        assert_eq!(known(b"\x10\0\0\0\0\0\0\0{\"a\":{"), None);
        assert!(described(&[0xfe; 40]).contains("damaged"));
    }
}
