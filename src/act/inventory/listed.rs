//! Static inventories, read as far as is needed to know their hosts before any play is run: INI and YAML files, folders of
//! them, ranges like `web[01:10]`.
//!
//! What only Ansible can list (programs, plugins, constructed groups) is nobody's to guess: the answer is then `None`.
//! Source: <https://docs.ansible.com/ansible/latest/inventory_guide/intro_inventory.html>.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_yaml::Value;

use super::Inventory;
use crate::act::files::read_capped;

/// Largest file that is read, in bytes, and most files of a folder.
const MAX_BYTES: u64 = 4 << 20;
const MAX_FILES: usize = 1000;
/// Most hosts that one range may mean, and most of an inventory: a mistyped `[1:1000000000]` must not take all memory.
const MAX_RANGE: usize = 100_000;
const MAX_HOSTS: usize = 1_000_000;
/// Deepest nesting of groups and of folders.
const MAX_DEPTH: usize = 16;
/// Endings that Ansible passes over in a folder.
const PASSED_OVER: [&str; 12] =
    ["~", ".bak", ".cfg", ".md", ".orig", ".pyc", ".pyo", ".retry", ".rpm", ".rst", ".swp", ".txt"];

/// Reads the hosts of an inventory at a path; `None` where only Ansible can list them, or where the file is not what
/// Ansible would read.
pub(super) fn read(path: &Path) -> Option<Inventory> {
    let mut inventory = Inventory::default();
    inventory.groups.extend(["all".to_string(), "ungrouped".to_string()]);
    let mut files = 0;
    place(path, 0, &mut files, &mut inventory)?;
    Some(inventory)
}

fn place(path: &Path, depth: usize, files: &mut usize, inventory: &mut Inventory) -> Option<()> {
    let data = path.metadata().ok()?;
    *files += 1;
    if depth > MAX_DEPTH || *files > MAX_FILES {
        return None;
    }
    if data.is_dir() {
        for entry in path.read_dir().ok()? {
            let entry = entry.ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let vars = ["group_vars", "host_vars", "vars_plugins"].contains(&name.as_str());
            if !vars && !name.starts_with('.') && !PASSED_OVER.iter().any(|ending| name.ends_with(ending)) {
                place(&entry.path(), depth + 1, files, inventory)?;
            }
        }
        return Some(());
    }
    if data.permissions().mode() & 0o111 != 0 {
        return None;
    }
    let text = String::from_utf8(read_capped(path, MAX_BYTES).ok()??).ok()?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yml" | "yaml" | "json") => yaml(&serde_yaml::from_str(&text).ok()?, inventory),
        _ => ini(&text, inventory),
    }
}

fn yaml(document: &Value, inventory: &mut Inventory) -> Option<()> {
    let groups = document.as_mapping()?;
    if groups.contains_key("plugin") {
        return None;
    }
    groups.iter().try_for_each(|(name, group)| yaml_group(name, group, 0, inventory))
}

fn yaml_group(name: &Value, group: &Value, depth: usize, inventory: &mut Inventory) -> Option<()> {
    inventory.groups.insert(scalar(name)?);
    if depth > MAX_DEPTH {
        return None;
    }
    for (host, _) in group.get("hosts").and_then(Value::as_mapping).into_iter().flatten() {
        add(&scalar(host)?, inventory)?;
    }
    let children = group.get("children").and_then(Value::as_mapping).into_iter().flatten();
    children.into_iter().try_for_each(|(name, child)| yaml_group(name, child, depth + 1, inventory))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn ini(text: &str, inventory: &mut Inventory) -> Option<()> {
    let mut kind = "hosts".to_string();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name)
            && !section.contains(char::is_whitespace)
            && is_section(line)
        {
            let (name, what) = section.split_once(':').unwrap_or((section, "hosts"));
            inventory.groups.insert(name.to_string());
            kind = what.to_string();
            continue;
        }
        let word = line.split_whitespace().next()?;
        match kind.as_str() {
            "hosts" => add(word, inventory)?,
            "children" => drop(inventory.groups.insert(word.to_string())),
            "vars" => {}
            _ => return None,
        }
    }
    Some(())
}

/// Whether a line in brackets is a section, and not a host like `[a:c].example`.
fn is_section(line: &str) -> bool {
    let behind = line.split_once(']').map_or("", |(_, behind)| behind.trim_start());
    behind.is_empty() || behind.starts_with(['#', ';'])
}

fn add(pattern: &str, inventory: &mut Inventory) -> Option<()> {
    let hosts = expand(without_port(pattern))?;
    if inventory.hosts.len() + hosts.len() > MAX_HOSTS {
        return None;
    }
    inventory.hosts.extend(hosts);
    Some(())
}

/// The name before `:22`. A range has colons of its own, and so has an IPv6 address, which takes a port only in brackets.
fn without_port(word: &str) -> &str {
    let Some((name, port)) = word.rsplit_once(':') else { return word };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || name.ends_with(':') || name.matches('[').count() != name.matches(']').count() {
        return word;
    }
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match address.filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()) {
        Some(inner) => inner,
        None if word.parse::<std::net::Ipv6Addr>().is_ok() => word,
        None => name,
    }
}

/// Every name that a pattern with ranges means: `web[01:10].example`, `db-[a:c]`, `m[0:8:2]`. `None` when a range is
/// none, or means too many.
pub fn expand(pattern: &str) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::from([String::new()]);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, behind) = after.split_once(']')?;
        let parts = range(inside)?;
        if names.len().saturating_mul(parts.len()) > MAX_RANGE {
            return None;
        }
        names = names.iter().flat_map(|name| parts.iter().map(move |part| format!("{name}{before}{part}"))).collect();
        rest = behind;
    }
    Some(names.into_iter().map(|name| name + rest).collect())
}

/// The members of `01:10`, `a:f` or `0:8:2`, ends included. A leading zero gives the width of all of them.
fn range(text: &str) -> Option<Vec<String>> {
    let mut words = text.split(':');
    let (first, last, step) = (words.next()?, words.next()?, words.next().unwrap_or("1"));
    let step: usize = step.parse().ok().filter(|step| *step > 0 && words.next().is_none())?;
    let letter = |text: &str| text.chars().next().filter(|c| c.is_ascii_alphabetic() && text.len() == 1);
    if let (Some(first), Some(last)) = (letter(first), letter(last)) {
        // The same order as Python's `ascii_letters`: lower case comes first.
        let letters: Vec<char> = ('a'..='z').chain('A'..='Z').collect();
        let at = |wanted| letters.iter().position(|c| *c == wanted);
        let (from, to) = (at(first)?, at(last)?);
        return (from <= to).then(|| letters[from..=to].iter().step_by(step).map(char::to_string).collect());
    }
    let first = if first.is_empty() { "0" } else { first };
    let width = if first.len() > 1 && first.starts_with('0') { first.len() } else { 0 };
    if width > 0 && last.len() != width {
        return None;
    }
    let (from, to): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    if from > to || (to - from) / step >= MAX_RANGE {
        return None;
    }
    Some((from..=to).step_by(step).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<String> {
        expand(pattern).unwrap_or_default().into_iter().collect()
    }

    #[test]
    fn ranges_are_ansibles() {
        assert_eq!(names("web"), ["web"]);
        assert_eq!(names("web[08:11].lan"), ["web08.lan", "web09.lan", "web10.lan", "web11.lan"]);
        assert_eq!(names("m[8:10]"), ["m10", "m8", "m9"]);
        assert_eq!(names("db-[a:c]"), ["db-a", "db-b", "db-c"]);
        assert_eq!(names("m[0:8:4]"), ["m0", "m4", "m8"]);
        assert_eq!(names("r[1:2]-[a:b]"), ["r1-a", "r1-b", "r2-a", "r2-b"]);
        for bad in ["m[1:", "m[3:1]", "m[01:100]", "m[1]", "m[1:9:0]", "m[:]", "m[1:2000000]", "a[1:999]b[1:999]"] {
            assert_eq!(expand(bad), None, "{bad}");
        }
    }

    fn listed(files: &[(&str, &str)], name: &str) -> Option<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = read(&folder.path().join(name))?;
        let words = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" ");
        Some((words(found.hosts), words(found.groups)))
    }

    const INI: &str = "# racks\nlone ansible_host=10.0.0.1\n[miners]\nm[1:2]:2222 a=b ; x\n10.0.0.7\n[2001:db8::1]:22\n\
                       [all:children]\nminers\n[miners:vars]\nx=[1]\n[a:b].example x=1\n";

    #[test]
    fn files_and_folders_of_them() {
        let hosts = "10.0.0.7 2001:db8::1 lone m1 m2";
        assert_eq!(listed(&[("hosts", INI)], "hosts"), Some((hosts.into(), "all miners ungrouped".into())));
        let yaml =
            "all: {hosts: {h1: {x: 1}}, children: {rack: {hosts: {'r[1:2]': , 7: }, vars: {hosts: x}}, empty: }}\n";
        let expected = Some(("7 h1 r1 r2".into(), "all empty rack ungrouped".into()));
        assert_eq!(listed(&[("i.yml", yaml)], "i.yml"), expected);
        let files = [
            ("d/one", "h1\n"),
            ("d/two.yml", "g: {hosts: {h2: }}\n"),
            ("d/group_vars/g.yml", "- 1\n"),
            ("d/x.md", "h3"),
        ];
        assert_eq!(listed(&files, "d"), Some(("h1 h2".into(), "all g ungrouped".into())));
    }

    #[test]
    fn what_only_ansible_can_list_is_not_guessed() {
        assert_eq!(listed(&[("x.yml", "plugin: amazon.aws.aws_ec2\n")], "x.yml"), None);
        assert_eq!(listed(&[("d/a", "h1\n"), ("d/b.yml", "plugin: constructed\n")], "d"), None);
        for bad in ["[g:odd]\nh1\n", "m[1:\n"] {
            assert_eq!(listed(&[("hosts", bad)], "hosts"), None, "{bad}");
        }
        assert_eq!(listed(&[("x.yml", "- a\n")], "x.yml"), None);
        assert_eq!(listed(&[], "none"), None);
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("fleet.sh");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(read(&program), None);
    }
}
