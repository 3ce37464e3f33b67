//! Which files of the playbook folder a playbook uses: imports, task files, variables, roles, and what Ansible loads
//! by itself from beside a playbook. All of them are run, so all of them are checked and stand in the digest.
//!
//! A name that is a template can mean any file, so then the whole folder counts as used.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use serde_yaml::Value;

use crate::act::files::read_capped;
use crate::act::playbook::{MAX_PLAYBOOK, PlaybookError, sha256};

/// Most files of one playbook.
const MAX_FILES: usize = 2000;
/// Most bytes of them, all together.
const MAX_BYTES: u64 = 64 << 20;
/// Deepest folder below a role, and deepest nesting of YAML that is looked through.
const MAX_DEPTH: usize = 32;
/// Folders from beside a playbook that Ansible looks into by itself.
const BESIDE: [&str; 17] = [
    "action_plugins",
    "become_plugins",
    "cache_plugins",
    "callback_plugins",
    "connection_plugins",
    "files",
    "filter_plugins",
    "group_vars",
    "host_vars",
    "inventory_plugins",
    "library",
    "lookup_plugins",
    "module_utils",
    "strategy_plugins",
    "templates",
    "test_plugins",
    "vars_plugins",
];

/// Finds and checks every file that `playbook` uses, itself included. Both paths are real ones. Gives the files,
/// relative to `root` and sorted, and their digest: that of the file's own content where it uses no other.
pub(super) fn used(root: &Path, playbook: &Path) -> Result<(Vec<String>, String), PlaybookError> {
    let mut search = Search { root, files: BTreeSet::new(), checked: BTreeSet::new(), bytes: 0 };
    search.playbook(playbook)?;
    search.digest(playbook)
}

struct Search<'a> {
    root: &'a Path,
    files: BTreeSet<PathBuf>,
    /// Folders whose mode has been looked at.
    checked: BTreeSet<PathBuf>,
    bytes: u64,
}

/// What a key of a playbook names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Playbook,
    Tasks,
    Vars,
    Role,
}

impl Names {
    fn of(key: &str) -> Option<Names> {
        let key = key.strip_prefix("ansible.builtin.").or(key.strip_prefix("ansible.legacy.")).unwrap_or(key);
        match key {
            "import_playbook" => Some(Names::Playbook),
            "include_tasks" | "import_tasks" | "include" => Some(Names::Tasks),
            "vars_files" | "include_vars" => Some(Names::Vars),
            "roles" | "dependencies" | "include_role" | "import_role" => Some(Names::Role),
            _ => None,
        }
    }
}

impl Search<'_> {
    fn outside(&self, path: &Path) -> PlaybookError {
        PlaybookError::Outside { name: path.display().to_string(), folder: self.root.to_path_buf() }
    }

    /// The real path of a name, if there is such a file. A link that leads out is an error.
    fn real(&self, path: &Path) -> Result<Option<PathBuf>, PlaybookError> {
        match path.canonicalize() {
            Ok(real) if real.starts_with(self.root) => Ok(Some(real)),
            Ok(_) => Err(self.outside(path)),
            Err(_) => Ok(None),
        }
    }

    /// Checks the modes of a path and of the folders above it, up to the root.
    fn check(&mut self, path: &Path) -> Result<(), PlaybookError> {
        for part in path.ancestors().take_while(|part| part.starts_with(self.root)) {
            if !self.checked.insert(part.to_path_buf()) {
                break;
            }
            if part.metadata().map_or(true, |data| data.mode() & 0o002 != 0) {
                return Err(PlaybookError::WorldWritable { path: part.to_path_buf() });
            }
        }
        Ok(())
    }

    /// Adds a file; false when it was known.
    fn add(&mut self, path: &Path) -> Result<bool, PlaybookError> {
        if !self.files.insert(path.to_path_buf()) {
            return Ok(false);
        }
        self.check(path)?;
        self.bytes += path.metadata().map_or(0, |data| data.len());
        if self.files.len() > MAX_FILES || self.bytes > MAX_BYTES {
            return Err(PlaybookError::TooMuch { folder: self.root.to_path_buf() });
        }
        Ok(true)
    }

    /// Adds everything below a folder, links followed as far as they stay inside.
    fn tree(&mut self, folder: &Path, depth: usize) -> Result<(), PlaybookError> {
        self.check(folder)?;
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        if depth > MAX_DEPTH {
            return Err(PlaybookError::TooMuch { folder: self.root.to_path_buf() });
        }
        for entry in entries.flatten().filter(|entry| entry.file_name() != ".git") {
            let path = entry.path();
            // A link to nowhere cannot be run.
            let Some(real) = self.real(&path)? else { continue };
            if real.is_dir() {
                self.tree(&real, depth + 1)?;
            } else if self.add(&real)? && is_yaml(&real) {
                self.references(&real, &real)?;
            }
        }
        Ok(())
    }

    fn playbook(&mut self, path: &Path) -> Result<(), PlaybookError> {
        if !self.add(path)? {
            return Ok(());
        }
        let beside = path.parent().unwrap_or(self.root).to_path_buf();
        for name in BESIDE {
            if let Some(folder) = self.real(&beside.join(name))?.filter(|folder| folder.is_dir()) {
                self.tree(&folder, 0)?;
            }
        }
        self.references(path, path)
    }

    /// Follows what a YAML file names. What is not YAML names nothing, and Ansible says the rest.
    fn references(&mut self, file: &Path, playbook: &Path) -> Result<(), PlaybookError> {
        let text = read_capped(file, MAX_PLAYBOOK).ok().flatten().unwrap_or_default();
        let Ok(value) = serde_yaml::from_slice::<Value>(&text) else { return Ok(()) };
        let mut found = Vec::new();
        walk(&value, 0, &mut found);
        for (names, name) in found {
            self.follow(names, &name, file, playbook)?;
        }
        Ok(())
    }

    fn follow(&mut self, names: Names, name: &str, file: &Path, playbook: &Path) -> Result<(), PlaybookError> {
        if name.contains("{{") {
            let root = self.root.to_path_buf();
            // Only once: every file of the folder is known after that.
            return if self.files.len() < MAX_FILES && self.checked.insert(root.join("{{")) {
                self.tree(&root, 0)
            } else {
                Ok(())
            };
        }
        let path = Path::new(name);
        if path.is_absolute() && names != Names::Vars {
            return Err(self.outside(path));
        }
        let folders = [file.parent(), playbook.parent(), Some(self.root)];
        for folder in folders.into_iter().flatten() {
            let places = match names {
                Names::Role => vec![folder.join("roles").join(path), folder.join("..").join(path), folder.join(path)],
                Names::Vars => {
                    vec![folder.join("vars").join(path), folder.join("../vars").join(path), folder.join(path)]
                }
                Names::Playbook | Names::Tasks => vec![folder.join(path)],
            };
            for place in places {
                // Names like `common` may well exist elsewhere above us: only what is named as outside is refused.
                let climbs = path.components().any(|part| part == Component::ParentDir);
                let Some(real) = (match self.real(&place) {
                    Err(_) if !climbs && !place.starts_with(self.root) => None,
                    other => other?,
                }) else {
                    continue;
                };
                if names == Names::Role && real.is_dir() && real != self.root {
                    return self.tree(&real, 0);
                }
                if names != Names::Role && real.is_file() {
                    return match names {
                        Names::Playbook => self.playbook(&real),
                        _ if self.add(&real)? => self.references(&real, playbook),
                        _ => Ok(()),
                    };
                }
            }
        }
        // In no place of ours: a role or collection that is installed, or a file that Ansible will miss.
        Ok(())
    }

    fn digest(&self, playbook: &Path) -> Result<(Vec<String>, String), PlaybookError> {
        let mut files = Vec::new();
        let mut list = String::new();
        let mut single = String::new();
        for path in &self.files {
            let not_readable = || PlaybookError::NotReadable { path: path.clone() };
            let content = read_capped(path, MAX_BYTES).ok().flatten().ok_or_else(not_readable)?;
            if path == playbook && content.len() as u64 > MAX_PLAYBOOK {
                return Err(not_readable());
            }
            let name = path.strip_prefix(self.root).unwrap_or(path).to_string_lossy().into_owned();
            single = sha256(&content);
            list.push_str(&format!("{single}  {name}\n"));
            files.push(name);
        }
        let digest = if files.len() == 1 { single } else { sha256(list.as_bytes()) };
        Ok((files, digest))
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

/// Collects what the keys of a document name.
fn walk(value: &Value, depth: usize, found: &mut Vec<(Names, String)>) {
    if depth > MAX_DEPTH || found.len() > MAX_FILES {
        return;
    }
    match value {
        Value::Sequence(items) => items.iter().for_each(|item| walk(item, depth + 1, found)),
        Value::Mapping(map) => {
            for (key, value) in map {
                if let Some(names) = key.as_str().and_then(Names::of) {
                    named(names, value, found);
                }
                walk(value, depth + 1, found);
            }
        }
        _ => {}
    }
}

/// The names under one key: one word, a list, or a mapping that says `file`, `name` or `role`.
fn named(names: Names, value: &Value, found: &mut Vec<(Names, String)>) {
    match value {
        // The old short form may carry parameters: `include_tasks: setup.yml a=b`.
        Value::String(text) => {
            let words = text.split_whitespace().map(|word| word.strip_prefix("name=").unwrap_or(word));
            let first = if text.contains("{{") { Some(text.as_str()) } else { words.into_iter().next() };
            found.extend(first.map(|name| (names, name.to_string())));
        }
        Value::Sequence(items) => items.iter().for_each(|item| named(names, item, found)),
        Value::Mapping(map) => {
            let keys = if names == Names::Role { ["name", "role", "src"] } else { ["file", "_raw_params", "dir"] };
            for value in keys.iter().filter_map(|key| map.get(*key)) {
                named(names, value, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Folder {
            let folder = Folder(tempfile::tempdir().unwrap());
            files.iter().for_each(|(name, text)| folder.write(name, text));
            folder
        }
        fn root(&self) -> PathBuf {
            self.0.path().canonicalize().unwrap()
        }
        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            for part in path.ancestors().take_while(|part| part.starts_with(self.0.path())) {
                let mode = if part == path { 0o644 } else { 0o755 };
                std::fs::set_permissions(part, PermissionsExt::from_mode(mode)).unwrap();
            }
        }
        fn used(&self) -> Result<(Vec<String>, String), PlaybookError> {
            used(&self.root(), &self.root().join("site.yml"))
        }
    }

    const FILES: &[(&str, &str)] = &[
        ("site.yml", "- import_playbook: more/second.yml\n- hosts: all\n  roles: [common]\n  vars_files: [v.yml]\n"),
        ("more/second.yml", "- hosts: all\n  tasks:\n  - block:\n    - ansible.builtin.include_tasks: {file: t.yml}\n"),
        ("more/t.yml", "- import_role: {name: deep}\n"),
        ("v.yml", "a: 1\n"),
        ("group_vars/all.yml", "b: 2\n"),
        ("roles/common/tasks/main.yml", "- debug:\n"),
        ("roles/common/meta/main.yml", "dependencies:\n- role: other\n"),
        ("roles/other/files/x", "x"),
        ("roles/deep/tasks/main.yml", "- debug:\n"),
        ("roles/unused/tasks/main.yml", "- debug:\n"),
        ("unused.yml", "- hosts: all\n"),
    ];

    #[test]
    fn follows_what_ansible_would() {
        let folder = Folder::new(FILES);
        let (files, digest) = folder.used().unwrap();
        let expected: Vec<&str> = vec![
            "group_vars/all.yml",
            "more/second.yml",
            "more/t.yml",
            "roles/common/meta/main.yml",
            "roles/common/tasks/main.yml",
            "roles/deep/tasks/main.yml",
            "roles/other/files/x",
            "site.yml",
            "v.yml",
        ];
        assert_eq!(files, expected);
        folder.write("roles/unused/tasks/main.yml", "- fail:\n");
        assert_eq!(folder.used().unwrap().1, digest, "what is not used does not count");
        folder.write("roles/other/files/x", "y");
        assert_ne!(folder.used().unwrap().1, digest, "what a dependency holds counts");
        folder.write("more/t.yml", "- include_tasks: '{{ x }}.yml'\n");
        assert!(folder.used().unwrap().0.contains(&"unused.yml".to_string()), "a template may mean any file");
        let alone = Folder::new(&[("site.yml", "- hosts: all\n")]);
        assert_eq!(alone.used().unwrap().1, sha256(b"- hosts: all\n"));
    }

    #[test]
    fn nobody_else_decides_what_is_run() {
        let folder = Folder::new(FILES);
        let open = folder.root().join("roles/other/files/x");
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o666)).unwrap();
        assert!(matches!(folder.used(), Err(PlaybookError::WorldWritable { path }) if path == open));
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).unwrap();
        let role = folder.root().join("roles/deep");
        std::fs::set_permissions(&role, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(matches!(folder.used(), Err(PlaybookError::WorldWritable { path }) if path == role));
        std::fs::set_permissions(&role, PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.root().join("roles/deep/tasks/out.yml")).unwrap();
        assert!(matches!(folder.used(), Err(PlaybookError::Outside { .. })));
        std::fs::remove_file(folder.root().join("roles/deep/tasks/out.yml")).unwrap();
        assert!(folder.used().is_ok());
        for text in ["- include_tasks: /etc/evil.yml\n", "- import_tasks: ../../../../../../../../etc/hostname\n"] {
            folder.write("more/t.yml", text);
            assert!(matches!(folder.used(), Err(PlaybookError::Outside { .. })), "{text}");
        }
    }
}
