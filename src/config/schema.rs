//! The JSON Schema of the configuration: for editors, and to find every unknown key in one go.
//!
//! serde stops at the first unknown key. The schema knows all keys, so a walk beside it finds all of them.

use serde_json::Value;

use super::file::File;
use crate::yaml::did_you_mean;

/// The schema, for `davylamp check --schema`.
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "davylamp.yml".into());
    }
    schema
}

/// Removes every key of `value` that the schema does not know and reports it: path and message.
pub(super) fn strip_unknown_keys(schema: &Value, value: &mut Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(schema, schema, value, "", &mut found);
    found
}

fn walk(root: &Value, schema: &Value, value: &mut Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) => {
            let Some(inner) = alternatives(root, schema).into_iter().find_map(|schema| schema.get("items")) else {
                return;
            };
            for (index, item) in items.iter_mut().enumerate() {
                walk(root, inner, item, &format!("{path}[{index}]"), found);
            }
        }
        Value::Object(object) => {
            let choices = alternatives(root, schema);
            let closed = choices.iter().any(|choice| choice.get("additionalProperties") == Some(&Value::Bool(false)));
            let properties: Vec<(&String, &Value)> =
                choices.iter().filter_map(|choice| choice.get("properties")?.as_object()).flatten().collect();
            let keys: Vec<String> = object.keys().cloned().collect();
            for key in keys {
                let inner_path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match properties.iter().find(|(name, _)| **name == key) {
                    Some((_, inner)) => {
                        if let Some(inner_value) = object.get_mut(&key) {
                            walk(root, inner, inner_value, &inner_path, found);
                        }
                    }
                    None if closed => {
                        object.remove(&key);
                        let known = properties.iter().map(|(name, _)| name.as_str());
                        let mut message = format!("unknown key {key:?}{}", did_you_mean(&key, known.clone()));
                        if !message.contains("did you mean") {
                            message.push_str(&format!("; there are {}", known.collect::<Vec<_>>().join(", ")));
                        }
                        found.push((inner_path, message));
                    }
                    None => {}
                }
            }
        }
        _ => {}
    }
}

/// The schemas that may apply: references followed, `anyOf` and `oneOf` opened (an `Option` is one).
fn alternatives<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let mut open = vec![schema];
    let mut all = Vec::new();
    // A schema that refers to itself without end does not come out of our own types; the bound is for the reader.
    while let Some(schema) = open.pop().filter(|_| all.len() < 64) {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|path| root.pointer(path.strip_prefix('#')?));
        open.extend(target);
        for word in ["anyOf", "oneOf", "allOf"] {
            open.extend(schema.get(word).and_then(Value::as_array).into_iter().flatten());
        }
        all.push(schema);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_unknown_key_is_found_at_once() {
        let mut value = json!({
            "servr": {},
            "server": {"listen": "x", "tokn": 1, "token": {"fil": "/x"}},
            "targets": [{"id": "a", "kind": "axeos", "adress": "x", "labels": {"anything": "goes"}, "options": {"any": 1}}],
        });
        let mut found = strip_unknown_keys(&json_schema(), &mut value);
        found.sort();
        let shown: Vec<String> = found.iter().map(|(path, message)| format!("{path}: {message}")).collect();
        assert_eq!(
            shown,
            [
                "server.token.fil: unknown key \"fil\"; did you mean \"file\"?",
                "server.tokn: unknown key \"tokn\"; did you mean \"token\"?",
                "servr: unknown key \"servr\"; did you mean \"server\"?",
                "targets[0].adress: unknown key \"adress\"; did you mean \"address\"?",
            ]
        );
        assert_eq!(value["targets"][0]["labels"]["anything"], "goes");
        assert!(value.get("servr").is_none());
    }
}
