//! Content that is no file of weights, told by its first bytes: what it is, and what to do.

use super::Problem;
use super::safetensors::looks_like_safetensors;

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
/// Characters in which the marks of a web page are looked for.
const PAGE_START: usize = 1024;
/// Marks of a web page, in lower case.
const PAGE: [&str; 2] = ["<!doctype html", "<html"];
/// The same for pages that begin in the middle.
const PAGE_BEGINNINGS: [&str; 3] = ["<head", "<body", "<script"];

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
    // The length of a header may have the first bytes of any other format.
    if looks_like_safetensors(bytes) {
        return None;
    }
    if let Some((_, kind)) = SIGNATURES.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some((*kind).to_owned());
    }
    text_of(bytes).and_then(|text| known_text(&text, bytes.len()))
}

/// The beginning of a file that is text. Bytes that are no UTF-8, as in Latin-1, are text in web
/// pages alone.
fn text_of(bytes: &[u8]) -> Option<String> {
    let start = &bytes[..bytes.len().min(START)];
    let text = utf16(start).unwrap_or_else(|| String::from_utf8_lossy(start).into_owned());
    // A character may be cut at the end.
    let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    let control = |c: char| c.is_control() && !c.is_whitespace();
    let binary = text.is_empty()
        || text.chars().any(control)
        || (text.contains(char::REPLACEMENT_CHARACTER) && !is_page(&text.to_ascii_lowercase()));
    (!binary).then(|| text.trim_start_matches('\u{feff}').trim().to_owned())
}

/// Decodes UTF-16, which its first bytes show: a byte order mark, or two characters of ASCII.
fn utf16(bytes: &[u8]) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match *bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        [a, 0, b, 0, ..] if a.is_ascii_graphic() && b.is_ascii_graphic() => u16::from_le_bytes,
        [0, a, 0, b, ..] if a.is_ascii_graphic() && b.is_ascii_graphic() => u16::from_be_bytes,
        _ => return None,
    };
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// Whether text in lower case is a web page.
fn is_page(lower: &str) -> bool {
    let start: String = lower.trim_start().chars().take(PAGE_START).collect();
    PAGE.iter().any(|mark| start.contains(mark))
        || PAGE_BEGINNINGS.iter().any(|mark| start.starts_with(mark))
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
    let lower = text.to_ascii_lowercase();
    if !text.starts_with('{') && is_page(&lower) {
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
            (
                b"<!-- saved -->\n<!DOCTYPE HTML><title>Sign in</title>",
                &["web page", "\"Sign in\""],
            ),
            (b"<script>go()</script>", &["web page"]),
            (b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC ''><html>", &["web page"]),
            (
                b"<html><title>Zugriff verweigert f\xfcr \x93Gast\x94</title>",
                &["web page", "Zugriff"],
            ),
            (b"Warning: quota\n<!doctype HTML>", &["web page"]),
            (b"f\xfcr", &["damaged"]),
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

    #[test]
    fn utf16_is_text_in_both_byte_orders_with_and_without_a_mark() {
        let page = "<!DOCTYPE html><title>Prüfung</title>";
        let little: Vec<u8> = page.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = page.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            little.clone(),
            big.clone(),
            [b"\xff\xfe", &little[..]].concat(),
            [b"\xfe\xff", &big[..]].concat(),
        ] {
            let problem = described(&bytes);
            assert!(problem.contains("web page") && problem.contains("Prüfung"), "{problem}");
        }
        let pointer: Vec<u8> = format!("\u{feff}{LFS}v1\nsize 7\n")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert!(described(&pointer).contains("of 7 bytes"));
    }

    /// The lengths 896, 1152 and 1408 are the first bytes of pickles, 35615 is that of gzip.
    #[test]
    fn any_length_of_a_header_is_that_of_safetensors() {
        for length in [896_u64, 1152, 1408, 896 + (5 << 16), 35_615] {
            let start = [&length.to_le_bytes()[..], b"{\"__metadata__\""].concat();
            assert_eq!(known(&start), None, "{length}");
        }
        // A pickle of the text "{".
        assert!(described(b"\x80\x04\x95\x05\0\0\0\0\0\0\0\x8c\x01{\x94.").contains("pickle"));
        assert!(described(b"\x80\x04\xff\xff\xff\xff\xff\xff{").contains("pickle"));
    }
}
