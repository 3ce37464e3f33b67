//! The configuration for people: as it was read, without comments, and without what could be a secret.

use serde_json::Value;

/// Parts of keys (lower case, without `-` and `_`) that name a secret.
const SECRET: &[&str] = &["pass", "pwd", "secret", "token", "apikey", "credential", "authorization", "cookie"];

/// YAML of the document. Secrets are references and stay; a text behind a key that names a secret is masked, for it
/// stands where the configuration cannot know better (an option of a kind, a label).
pub(super) fn yaml(tree: &Value) -> String {
    let mut tree = tree.clone();
    mask(&mut tree);
    serde_yaml::to_string(&tree).unwrap_or_default()
}

fn mask(tree: &mut Value) {
    match tree {
        Value::Array(list) => list.iter_mut().for_each(mask),
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.to_ascii_lowercase().replace(['-', '_'], "");
                match value {
                    Value::String(text) if SECRET.iter().any(|word| key.contains(word)) => *text = "<secret>".into(),
                    value => mask(value),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn references_stay_and_texts_behind_secret_keys_go() {
        let shown = super::yaml(&json!({
            "server": {"token": {"file": "/run/token"}},
            "targets": [{"id": "a", "options": {"headers": {"X-Api-Key": "k1"}, "password": "hunter2"}}],
        }));
        assert!(shown.contains("file: /run/token"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("k1"), "{shown}");
    }
}
