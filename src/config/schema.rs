//! The JSON Schema of the configuration, so that editors complete it and say what a key is for.

use serde_json::Value;

use super::file::File;

/// The schema, for `davylamp check --schema`.
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "davylamp.yml".into());
    }
    schema
}
