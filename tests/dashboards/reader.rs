//! A model of Grafana's file reader, and that what we write survives it: at every moment, for every crash.
//!
//! What the model knows was observed on real servers: the walk takes hidden files too, a change is a change of the
//! bytes' digest, a duplicate uid anywhere or a duplicate title in a folder freezes all providers' updates, what has
//! no file any more is deleted, and a dashboard whose file moved is a new one.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use davylamp::dashboards::{self, DashboardError, File, Finding, Problem, Settings};
use serde_json::Value;

use super::fixture;

#[derive(Default)]
struct Grafana {
    /// Path → uid, title, digest and how often it was saved.
    known: BTreeMap<PathBuf, (String, String, u64, u32)>,
    frozen: bool,
    errors: Vec<String>,
}

impl Grafana {
    /// One turn of the reader over the folders that the provider file names.
    fn turn(&mut self, dir: &Path) {
        let text = fs::read_to_string(dir.join("dashboards/dashboards.yaml")).unwrap();
        let yaml: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let mut seen = BTreeMap::new();
        for provider in yaml["providers"].as_sequence().unwrap() {
            let path = provider["options"]["path"].as_str().unwrap();
            let folder = dir.join(path.strip_prefix("/etc/grafana/provisioning/").unwrap());
            self.walk(&folder, &mut seen);
        }
        self.frozen = duplicates(&seen);
        if self.frozen {
            return;
        }
        self.known.retain(|path, _| seen.contains_key(path));
        for (path, (uid, title, digest)) in seen {
            let saved = self.known.get(&path).map_or(0, |(_, _, _, saved)| *saved);
            let same = self.known.get(&path).is_some_and(|(_, _, old, _)| *old == digest);
            self.known.insert(path, (uid, title, digest, if same { saved } else { saved + 1 }));
        }
    }

    fn walk(&mut self, folder: &Path, seen: &mut BTreeMap<PathBuf, (String, String, u64)>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.walk(&path, seen);
            } else if path.to_string_lossy().ends_with(".json") {
                let content = fs::read(&path).unwrap();
                let Ok(value) = serde_json::from_slice::<Value>(&content) else {
                    self.errors.push(path.display().to_string());
                    continue;
                };
                let mut hasher = DefaultHasher::new();
                content.hash(&mut hasher);
                let text = |key: &str| value[key].as_str().unwrap_or_default().to_string();
                seen.insert(path, (text("uid"), text("title"), hasher.finish()));
            }
        }
    }

    fn saves(&self) -> u32 {
        self.known.values().map(|(_, _, _, saved)| saved).sum()
    }
}

fn duplicates(seen: &BTreeMap<PathBuf, (String, String, u64)>) -> bool {
    let pairs = seen.iter().flat_map(|a| seen.iter().map(move |b| (a, b))).filter(|(a, b)| a.0 < b.0);
    pairs.into_iter().any(|((path, a), (other, b))| a.0 == b.0 || (path.parent() == other.parent() && a.1 == b.1))
}

/// A folder that other users may read.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn fine(_: &str) -> Result<(), String> {
    Ok(())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn grafana_loads_all_once_and_notices_only_changes() {
    let dir = folder();
    let files = fixture::shipped();
    let dashboards = files.iter().filter(|file| file.path.ends_with(".json")).count();
    let first = dashboards::write(dir.path(), &files).unwrap();
    assert_eq!((first.written.len(), first.unchanged.len(), first.deleted.len()), (files.len(), 0, 0));
    let mut grafana = Grafana::default();
    grafana.turn(dir.path());
    assert_eq!((grafana.known.len(), grafana.saves(), grafana.frozen), (dashboards, dashboards as u32, false));

    let before: Vec<_> =
        files.iter().map(|file| fs::metadata(dir.path().join(&file.path)).unwrap().modified().unwrap()).collect();
    let again = dashboards::write(dir.path(), &files).unwrap();
    assert_eq!((again.written.len(), again.unchanged.len()), (0, files.len()));
    let after: Vec<_> =
        files.iter().map(|file| fs::metadata(dir.path().join(&file.path)).unwrap().modified().unwrap()).collect();
    assert_eq!(before, after, "an unchanged file must not be touched");

    // Another threshold changes two dashboards, a removed kind deletes one; the others keep their history.
    let mut facts = fixture::facts();
    facts.kinds.remove("docker");
    let fewer = dashboards::all(&Settings::default(), &facts);
    let third = dashboards::write(dir.path(), &fewer).unwrap();
    assert_eq!(third.deleted, ["docker/davylamp-docker.json"]);
    grafana.turn(dir.path());
    assert_eq!(grafana.known.len(), dashboards - 1);
    assert!(grafana.errors.is_empty(), "{:?}", grafana.errors);
    assert_eq!(dashboards::check(dir.path(), &fewer, fine), []);
}

#[test]
fn uids_of_folders_and_dashboards_share_one_name_space() {
    let mut uids: Vec<String> =
        fixture::shipped_dashboards().iter().map(|(_, value)| value["uid"].as_str().unwrap().to_string()).collect();
    for (path, value) in fixture::shipped_dashboards() {
        let name = Path::new(&path).file_stem().unwrap().to_string_lossy().into_owned();
        assert_eq!(value["uid"], name.as_str(), "a file is named by its uid");
        assert_eq!(Path::new(&path).components().count(), 2, "one folder, no deeper: {path}");
    }
    let files = fixture::shipped();
    let yaml = &files.iter().find(|file| file.path.ends_with("dashboards.yaml")).unwrap().content;
    let yaml: serde_yaml::Value = serde_yaml::from_str(yaml).unwrap();
    uids.extend(
        yaml["providers"].as_sequence().unwrap().iter().map(|item| item["folderUid"].as_str().unwrap().to_string()),
    );
    let count = uids.len();
    uids.sort();
    uids.dedup();
    assert_eq!(uids.len(), count, "{uids:?}");
    assert!(uids.iter().all(|uid| uid.len() <= 40));
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    let dir = folder();
    let root = dir.path().join("deep/out");
    let files = fixture::shipped();
    dashboards::write(&root, &files).unwrap();
    // As a closed umask would have left them.
    for (path, mode) in [("miners/davylamp-fleet.json", 0o600), ("docker", 0o700), (".", 0o700)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let closed = |path: &str, mode| Finding { path: PathBuf::from(path), problem: Problem::Closed(mode) };
    let expected = [closed(".", 0o700), closed("docker", 0o700), closed("miners/davylamp-fleet.json", 0o600)];
    assert_eq!(dashboards::check(&root, &files, fine), expected);
    // A folder that was there before us stays as its owner made it.
    dashboards::write(&root, &files).unwrap();
    assert_eq!(dashboards::check(&root, &files, fine), expected[..1]);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    dashboards::write(&root, &files).unwrap();
    for folder in ["", "..", "miners"] {
        assert_eq!(mode(&root.join(folder)), 0o755, "{folder:?}");
    }
    for file in &files {
        assert_eq!(mode(&root.join(&file.path)), 0o644, "{}", file.path);
    }
}

#[test]
fn an_empty_set_deletes_nothing() {
    let dir = folder();
    let files = fixture::shipped();
    dashboards::write(dir.path(), &files).unwrap();
    for set in [Vec::new(), vec![File { path: "dashboards/dashboards.yaml".to_string(), content: String::new() }]] {
        assert!(matches!(dashboards::write(dir.path(), &set), Err(DashboardError::Empty { .. })));
    }
    assert_eq!(dashboards::check(dir.path(), &files, fine), []);
}

#[test]
fn what_others_put_there_stays() {
    let dir = folder();
    let mine = [("miners/mine.json", "{\"title\":\"m\",\"uid\":\"m\",\"schemaVersion\":39}"), ("keep.yaml", "a: 1")];
    fs::create_dir(dir.path().join("miners")).unwrap();
    for (path, content) in mine {
        fs::write(dir.path().join(path), content).unwrap();
    }
    let files = fixture::shipped();
    dashboards::write(dir.path(), &files).unwrap();
    let mut facts = fixture::facts();
    facts.kinds.clear();
    dashboards::write(dir.path(), &dashboards::all(&Settings::default(), &facts)).unwrap();
    for (path, content) in mine {
        assert_eq!(fs::read_to_string(dir.path().join(path)).unwrap(), content);
    }
    // Somebody else's file under one of our names is not overwritten, an edited one of ours is.
    let place = dir.path().join("datasources/datasources.yaml");
    fs::write(&place, "edited").unwrap();
    assert_eq!(dashboards::write(dir.path(), &files).unwrap().written.len(), files.len());
    fs::remove_file(dir.path().join(".davylamp-files")).unwrap();
    assert_eq!(
        dashboards::write(dir.path(), &files).unwrap().unchanged.len(),
        files.len(),
        "a lost list is no trouble"
    );
    fs::remove_file(dir.path().join(".davylamp-files")).unwrap();
    fs::write(&place, "apiVersion: 1 # of the operator").unwrap();
    let error = dashboards::write(dir.path(), &files).unwrap_err();
    assert!(error.to_string().contains("was not written by davylamp"), "{error}");
    assert_eq!(fs::read_to_string(&place).unwrap(), "apiVersion: 1 # of the operator");
}

#[test]
fn nothing_outside_of_the_folder_is_touched() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("out");
    let victim = outer.path().join("victim.json");
    fs::write(&victim, "{}").unwrap();
    let files = fixture::shipped();
    dashboards::write(&dir, &files).unwrap();
    // A list that somebody else wrote.
    let list = fs::read_to_string(dir.join(".davylamp-files")).unwrap();
    let evil = format!("{list}../victim.json\n{}\nminers/../../victim.json\n", victim.display());
    fs::write(dir.join(".davylamp-files"), evil).unwrap();
    dashboards::write(&dir, &files).unwrap();
    assert!(victim.exists());
    for path in ["../x.json", "/x.json", "a/b/c.json", ".x.json", "a/.x.json", "x.txt", "", "a\nb.json"] {
        let bad = [File { path: path.to_string(), content: "{}".to_string() }, files.last().unwrap().clone()];
        assert!(matches!(dashboards::write(&dir, &bad), Err(DashboardError::BadPath { .. })), "{path:?}");
    }
    // A folder that leads elsewhere.
    fs::remove_dir_all(dir.join("docker")).unwrap();
    std::os::unix::fs::symlink(outer.path(), dir.join("docker")).unwrap();
    assert!(matches!(dashboards::write(&dir, &files), Err(DashboardError::Foreign { .. })));
}

/// A crash can leave any prefix of the work. Grafana must see whole dashboards only, and the next write must finish.
#[test]
fn a_crash_between_any_two_steps_does_no_harm() {
    let files = fixture::shipped();
    for done in 0..=files.len() {
        let dir = folder();
        let mut facts = fixture::facts();
        facts.thresholds.clear();
        facts.kinds.remove("cgminer");
        dashboards::write(dir.path(), &dashboards::all(&Settings::default(), &facts)).unwrap();
        for file in &files[..done] {
            fs::create_dir_all(dir.path().join(&file.path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(&file.path), &file.content).unwrap();
        }
        if let Some(torn) = files.get(done) {
            let path = dir.path().join(&torn.path);
            let beside = path.with_file_name(format!(".{}.tmp", path.file_name().unwrap().to_string_lossy()));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(beside, &torn.content.as_bytes()[..torn.content.len() / 2]).unwrap();
        }
        let mut grafana = Grafana::default();
        grafana.turn(dir.path());
        assert!(grafana.errors.is_empty() && !grafana.frozen, "{done}: {:?}", grafana.errors);
        assert!(!grafana.known.is_empty());
        dashboards::write(dir.path(), &files).unwrap();
        assert_eq!(dashboards::check(dir.path(), &files, fine), [], "{done}");
        let left = walk_names(dir.path());
        assert!(!left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");
    }
}

fn walk_names(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(walk_names(&path));
        }
        names.push(path.display().to_string());
    }
    names
}

#[test]
fn check_finds_what_would_freeze_or_spoil() {
    let dir = folder();
    let files = fixture::shipped();
    dashboards::write(dir.path(), &files).unwrap();
    let put = |path: &str, content: &str| fs::write(dir.path().join(path), content).unwrap();
    let fleet = fs::read_to_string(dir.path().join("miners/davylamp-fleet.json")).unwrap();
    put("miners/.copy.json", &fleet);
    put("itself/davylamp-itself.json", &fleet.replace("davylamp-fleet", "other").replace("Fleet overview", "Other"));
    put("docker/broken.json", "{");
    put("docker/v2.json", r#"{"title":"v2","apiVersion":"dashboard.grafana.app/v2","spec":{}}"#);
    put(
        "docker/bad.json",
        r#"{"title":"bad","uid":"bad","schemaVersion":39,"__inputs":[],"panels":[
            {"id":1,"type":"stat","title":"p","gridPos":{"x":20,"y":0,"w":8,"h":1},
             "fieldConfig":{"defaults":{"unit":"celcius"},"overrides":[]},"targets":[{"expr":"sum(("}]},
            {"id":1,"type":"stat","title":"q","gridPos":{"x":0,"y":0,"w":8,"h":1}}]}"#,
    );
    fs::remove_file(dir.path().join("datasources/datasources.yaml")).unwrap();
    let wanted: Vec<File> = files.into_iter().filter(|file| !file.path.contains("cgminer")).collect();
    let parse = |expr: &str| promql_parser::parser::parse(expr).map(|_| ());
    let found: Vec<String> = dashboards::check(dir.path(), &wanted, parse).iter().map(ToString::to_string).collect();
    let expected = [
        ("datasources/datasources.yaml", "is missing"),
        ("itself/davylamp-itself.json", "differs"),
        ("docker/bad.json", "__inputs"),
        ("docker/bad.json", "id 1 is used twice"),
        ("docker/bad.json", "does not stand on the grid"),
        ("docker/bad.json", "unknown unit \"celcius\""),
        ("docker/bad.json", "\"sum((\""),
        ("docker/broken.json", "is not JSON"),
        ("docker/v2.json", "new schema"),
        ("miners/davylamp-fleet.json", "uid \"davylamp-fleet\" is also that of miners/.copy.json"),
        ("miners/davylamp-fleet.json", "title \"Fleet overview\""),
        ("miners/davylamp-device-cgminer.json", "no longer wanted"),
    ];
    for (path, words) in expected {
        assert!(found.iter().any(|line| line.starts_with(path) && line.contains(words)), "{path} {words}: {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn odd_names_cannot_break_anything() {
    let odd = "a\"b\\c{{ d }}$e |.*'`";
    let mut facts = fixture::facts();
    let kind = facts.kinds.remove("axeos").unwrap();
    facts.kinds.insert("axe\"os|.$x".to_string(), kind);
    let settings = Settings {
        datasource_name: odd.to_string(),
        folders: dashboards::Folders { miners: odd.to_string(), ..dashboards::Folders::default() },
        ..Settings::default()
    };
    for file in dashboards::all(&settings, &facts) {
        if !file.path.ends_with(".json") {
            serde_yaml::from_str::<serde_yaml::Value>(&file.content)
                .unwrap_or_else(|error| panic!("{}: {error}", file.path));
            continue;
        }
        let dashboard: Value = serde_json::from_str(&file.content).unwrap();
        for (place, expr) in fixture::expressions(&dashboard) {
            promql_parser::parser::parse(&expr).unwrap_or_else(|error| panic!("{place}: {expr}: {error}"));
        }
    }
}
