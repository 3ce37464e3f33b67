//! Files behind a path with `*` in its last part, as rule files are named.

use std::path::Path;
use std::path::PathBuf;

/// Resolves `*` in the last part of a path. A pattern may match nothing, a plain path must exist: as Prometheus has it.
///
/// # Errors
/// When the file is not there, or the folder cannot be read.
pub fn expand(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.contains('*') {
        return std::fs::metadata(path).map(|_| vec![path.to_path_buf()]);
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|file| matches(name, file)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether `name` fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|cut| rest.is_char_boundary(cut) && matches(tail, &rest[cut..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(matches("*.yml", "miners.yml") && matches("a*b*.yml", "axxbyy.yml") && matches("*", ""));
        assert!(!matches("*.yml", "miners.yaml") && !matches("a*", "ba"));
    }
}
