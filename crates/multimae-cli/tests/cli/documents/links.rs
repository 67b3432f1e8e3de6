//! Links between documents.

use std::path::Path;

use fs_err as fs;

/// The relative links of a page whose file or heading does not exist.
pub(crate) fn broken(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let folder = page.parent().unwrap();
    let mut broken = Vec::new();
    for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        if link.contains("://") {
            continue;
        }
        let link = link.replace('\n', "");
        let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let target = if file.is_empty() { page.to_owned() } else { folder.join(file) };
        let found = target.exists()
            && (anchor.is_empty() || headings(&target).iter().any(|heading| heading == anchor));
        if !found {
            broken.push(format!("{}: {link}", page.display()));
        }
    }
    broken
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let anchor = |heading: &str| {
        heading.to_lowercase().replace(' ', "-").chars().filter(|c| kept(*c)).collect::<String>()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}
