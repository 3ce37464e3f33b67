//! Configurations as people write them: those that load, and those that do not, with every word of every message.
//!
//! `GOLDEN=1 cargo test --test config` rewrites the expected messages in `tests/config/bad/*.err`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and says loudly what it skips")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use davylamp::act::binding::{Action, StepPlan};
use davylamp::collect::{KINDS, Kind};
use davylamp::config::{Config, json_schema};
use davylamp::model::Labels;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn corpus(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(ROOT).join("tests/config").join(folder)).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Every message, with paths of this machine taken out.
fn messages(path: &Path) -> String {
    let text = match Config::load(path) {
        Ok(config) => config.warnings.iter().map(|warning| format!("{warning}\n")).collect(),
        Err(error) => format!("{error}\n"),
    };
    let folder = path.parent().unwrap();
    text.replace(&format!("{}/", folder.display()), "").replace(&format!("{}/", ROOT), "")
}

fn refused(folder: &Path, content: &[u8]) -> String {
    let path = folder.join("davylamp.yml");
    std::fs::write(&path, content).unwrap();
    messages(&path)
}

#[test]
fn good_configurations_load_without_a_word() {
    for path in corpus("good") {
        assert_eq!(messages(&path), "", "{}", path.display());
    }
}

/// What the runbook names must be there, and heat must never be answered with a restart.
#[test]
fn the_example_of_a_farm_holds_what_the_runbook_promises() {
    let path = Path::new(ROOT).join("config/examples/miners.yml");
    let config = Config::load(&path).unwrap();
    assert_eq!(config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    let runbook = std::fs::read_to_string(Path::new(ROOT).join("docs/runbook.md")).unwrap();
    let chapters = runbook.split("\n### ").skip(1).map(|chapter| chapter.split_once('\n').unwrap());
    for (alert, body) in chapters {
        let labels = Labels::new([("alertname", alert)]);
        let bindings: Vec<_> = config.act.bindings.iter().filter(|binding| binding.matches(alert, &labels)).collect();
        let named: Vec<&str> =
            body.split('`').filter(|word| config.act.bindings.iter().any(|b| b.name == **word)).collect();
        assert_eq!(bindings.iter().map(|binding| &*binding.name).collect::<Vec<_>>(), named, "{alert}");
        for binding in bindings {
            assert!(binding.guards.runs.within.as_secs() >= 86_400, "{} has no cap per day", binding.name);
            let restarts = |step: &StepPlan| match &step.action {
                Action::Playbook(_) => true,
                Action::Device(command) => command.contains("restart") || command.contains("reboot"),
                _ => false,
            };
            let hot = ["Temperature", "Overheated", "Fan"].iter().any(|word| alert.contains(word));
            assert!(!hot || !binding.steps.iter().any(restarts), "{alert} is answered with a restart");
        }
    }
}

#[test]
fn bad_configurations_are_told_every_mistake() {
    let mut faults = Vec::new();
    for path in corpus("bad") {
        let found = messages(&path);
        let golden = path.with_extension("err");
        if std::env::var_os("GOLDEN").is_some() {
            std::fs::write(&golden, &found).unwrap();
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        if found != std::fs::read_to_string(&golden).unwrap_or_default() {
            faults.push(format!("{name} says something new:\n{found}"));
        }
        let lines: Vec<&str> = found.lines().collect();
        if lines.is_empty() || lines.len() != lines.iter().collect::<BTreeSet<_>>().len() {
            faults.push(format!("{name} is accepted, or is told a thing twice:\n{found}"));
        }
        for word in [
            "struct ",
            "enum ",
            "u64",
            "usize",
            "sequence",
            "invalid type",
            "invalid value",
            "Some(",
            "unit value",
            "hunter2",
        ] {
            if found.contains(word) {
                faults.push(format!("{name}: {word:?} is no word for people:\n{found}"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_that_are_no_configuration_at_all_are_refused_soon() {
    let folder = tempfile::tempdir().unwrap();
    let started = std::time::Instant::now();
    let mut large = b"log: {level: info}\n#".to_vec();
    large.resize((1 << 20) + 1, b'x');
    let deep_list = [b"targets: ".to_vec(), vec![b'['; 100_000]].concat();
    let deep_map = "{a: ".repeat(100_000).into_bytes();
    let closed = [vec![b'['; 1_000], vec![b']'; 1_000]].concat();
    let indented: String = (0..700).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let dashes = "- ".repeat(100_000);
    let cases: [(&str, &[u8], &str); 8] = [
        ("too large", &large, "davylamp.yml: is larger than 1048576 bytes; split it\n"),
        ("not UTF-8", b"log:\n  level: \xff\n", "davylamp.yml:2: is not UTF-8 text\n"),
        ("binary", &[0x7f, b'E', b'L', b'F', 0, 1, 2, 3], "davylamp.yml:1: control characters are not allowed"),
        ("deep list", &deep_list, "davylamp.yml: more than 5000 brackets are opened and not closed\n"),
        ("deep mapping", &deep_map, "davylamp.yml: more than 5000 brackets are opened and not closed\n"),
        ("deep and closed", &closed, "davylamp.yml:1: "),
        ("deeply indented", indented.as_bytes(), "davylamp.yml:"),
        ("deep dashes", dashes.as_bytes(), "davylamp.yml:"),
    ];
    for (name, content, wanted) in cases {
        let found = refused(folder.path(), content);
        assert!(found.starts_with(wanted), "{name}: {found}");
        assert_eq!(found.lines().count(), 1, "{name}: {found}");
        assert!(found.len() < 400, "{name}: {} bytes of message", found.len());
    }
    assert!(messages(Path::new("/nowhere/davylamp.yml")).contains("cannot be read: No such file or directory"));
    assert!(messages(folder.path()).contains("cannot be read: Is a directory"));
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn playbooks_that_anybody_could_change_are_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let playbooks = folder.path().join("playbooks");
    std::fs::create_dir(&playbooks).unwrap();
    std::fs::write(playbooks.join("open.yml"), "[]").unwrap();
    std::fs::set_permissions(playbooks.join("open.yml"), PermissionsExt::from_mode(0o666)).unwrap();
    std::fs::write(folder.path().join("outside.yml"), "[]").unwrap();
    symlink(folder.path().join("outside.yml"), playbooks.join("link.yml")).unwrap();
    let binding = |name: &str| {
        format!(
            "- {{name: {name}, match: ['a=\"b\"'], sources: [grafana], target: '{{{{ $labels.x }}}}', steps: [{{playbook: {name}.yml}}]}}\n"
        )
    };
    let found = refused(folder.path(), format!("remediations:\n{}{}", binding("open"), binding("link")).as_bytes());
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2, "{found}");
    assert!(lines[0].starts_with("davylamp.yml:2: remediations[0].steps[0].playbook: "), "{found}");
    assert!(lines[0].contains("can be written by everybody"), "{found}");
    assert!(lines[1].starts_with("davylamp.yml:3: remediations[1].steps[0].playbook: "), "{found}");
    assert!(lines[1].contains("outside"), "{found}");
}

fn shipped() -> PathBuf {
    Path::new(ROOT).join("config/davylamp.yml")
}

#[test]
fn the_shipped_configuration_works_as_it_is() {
    assert_eq!(messages(&shipped()), "");
}

/// The shipped configuration with everything said that is commented out.
fn uncommented() -> String {
    let text = std::fs::read_to_string(shipped()).unwrap();
    let mut said = String::new();
    let mut section = false;
    for line in text.lines() {
        let bare = line.trim_start();
        let indent = &line[..line.len() - bare.len()];
        let example = bare.strip_prefix("# ").filter(|rest| is_yaml(rest));
        // Comments at the margin are prose, but for a section that is commented out as a whole: `# windows:`.
        section = bare.starts_with("# ") && (section || example.is_some_and(|rest| rest.ends_with(':')));
        match example {
            Some(rest) if section || !indent.is_empty() => said.push_str(&format!("{indent}{rest}\n")),
            _ => said.push_str(&format!("{line}\n")),
        }
    }
    said
}

/// Whether a comment's text is an entry: `key: value`, or an item of a list. Prose has capitals or blanks in front of a
/// colon.
fn is_yaml(text: &str) -> bool {
    let item = text.trim_start().trim_start_matches("- ");
    let key = item.split(':').next().unwrap_or_default();
    item.contains(':') && !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn every_commented_example_of_the_shipped_configuration_is_true() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [("config/rules", "rules"), ("config/playbooks", "playbooks")] {
        std::fs::create_dir(folder.path().join(to)).unwrap();
        for entry in std::fs::read_dir(Path::new(ROOT).join(from)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.path().join(to).join(path.file_name().unwrap())).unwrap();
        }
    }
    let text = uncommented();
    let found = refused(folder.path(), text.as_bytes());
    // True only where Ansible is installed by the distribution.
    let rest: Vec<&str> = found.lines().filter(|line| !line.contains("/etc/ansible/ansible.cfg")).collect();
    assert_eq!(rest, Vec::<&str>::new(), "{text}");

    let value: Value = serde_yaml::from_str(&text).unwrap();
    let missing: Vec<String> = properties().into_iter().filter(|path| !holds(&value, path)).collect();
    assert_eq!(missing, Vec::<String>::new(), "config/davylamp.yml does not name every key");
    // Miners are written alike, and so are accounts: a few examples and where to find the rest serve better than all.
    assert!(text.contains("davylamp kinds"), "it does not say where the kinds of miners are listed");
    let many = |kind: &Kind| ["miner", "account"].contains(&kind.subject);
    for kind in KINDS.iter().filter(|kind| !many(kind) || ["axeos", "cgminer", "pool_braiins"].contains(&kind.name)) {
        assert!(text.contains(&format!("kind: {}\n", kind.name)), "no example of {}", kind.name);
    }
}

/// Every key of the schema: `targets[].id`.
fn properties() -> Vec<String> {
    let schema = json_schema();
    let mut found = Vec::new();
    walk(&schema, &schema, "", &mut |path, _| found.push(path.to_string()));
    assert!(found.len() > 50, "{found:?}");
    found
}

fn walk(root: &Value, schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    let target = schema.get("$ref").and_then(Value::as_str);
    if let Some(target) = target.and_then(|target| root.pointer(target.strip_prefix('#')?)) {
        walk(root, target, path, visit);
    }
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let inner_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        visit(&inner_path, inner);
        walk(root, inner, &inner_path, visit);
    }
    if let Some(items) = schema.get("items") {
        walk(root, items, &format!("{path}[]"), visit);
    }
}

fn holds(value: &Value, path: &str) -> bool {
    match path.split_once('.') {
        None => value.get(path.trim_end_matches("[]")).is_some(),
        Some((head, rest)) => match head.strip_suffix("[]") {
            Some(list) => {
                value.get(list).and_then(Value::as_array).is_some_and(|items| items.iter().any(|i| holds(i, rest)))
            }
            None => value.get(head).is_some_and(|inner| holds(inner, rest)),
        },
    }
}

#[test]
fn the_schema_says_the_same_as_the_reader() {
    let schema = json_schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let json = |path: &Path| -> Value {
        let value: serde_yaml::Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        serde_json::to_value(value).unwrap()
    };
    for path in corpus("good").into_iter().chain([shipped()]) {
        let value = json(&path);
        // Keys that say nothing, and merged keys, are YAML's own ways; an editor resolves them itself.
        if path.ends_with("null-sections.yml") || path.ends_with("anchors.yml") || value.is_null() {
            continue;
        }
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", path.display());
    }
    let value: Value = serde_yaml::from_str(&uncommented()).unwrap();
    assert!(validator.is_valid(&value));
    for name in ["unknown-keys", "wrong-types", "missing-keys", "durations", "secrets-written-here"] {
        let path = Path::new(ROOT).join(format!("tests/config/bad/{name}.yml"));
        assert!(!validator.is_valid(&json(&path)), "{name}");
    }
    for text in ["0", "15s", "1h30m", "250ms", "1d"] {
        assert!(validator.is_valid(&serde_json::json!({"defaults": {"interval": text}})), "{text}");
    }
    for text in ["", "15", "15 s", "5M", "1m1h", "1.5h"] {
        assert!(!validator.is_valid(&serde_json::json!({"defaults": {"interval": text}})), "{text}");
    }
}

#[test]
fn every_key_of_the_schema_says_what_it_is_for() {
    let schema = json_schema();
    let mut silent = Vec::new();
    walk(&schema, &schema, "", &mut |path, property| {
        let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
        if text.len() < 8 {
            silent.push(path.to_string());
        }
    });
    assert_eq!(silent, Vec::<String>::new());
}
