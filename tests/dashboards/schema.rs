//! Every dashboard against Grafana's official JSON Schemas, which must have nothing to say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::fixture::{self, list, panels, text};

struct Schemas {
    documents: BTreeMap<String, Value>,
}

impl Schemas {
    fn read(dir: &Path) -> Self {
        let mut documents: BTreeMap<String, Value> = BTreeMap::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if let Some(name) = name.strip_suffix(".jsonschema.json") {
                documents.insert(name.to_string(), serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap());
            }
        }
        // Exported too narrowly: "any" became "object". The README beside the schemas names these three.
        let dashboard = documents.get_mut("dashboard").unwrap();
        for place in [
            "/definitions/DynamicConfigValue/properties/value",
            "/definitions/MatcherConfig/properties/options",
            "/definitions/VariableModel/properties/query",
        ] {
            *dashboard.pointer_mut(place).unwrap() = json!({});
        }
        Schemas { documents }
    }

    /// A validator for one definition of a document.
    fn of(&self, document: &str, definition: &str) -> Validator {
        let mut schema = self.documents.get(document).unwrap_or_else(|| panic!("no schema for {document}")).clone();
        assert!(schema.pointer(&format!("/definitions/{definition}")).is_some(), "{document} has no {definition}");
        schema["$ref"] = json!(format!("#/definitions/{definition}"));
        jsonschema::draft7::new(&schema).unwrap()
    }
}

fn findings(schemas: &Schemas, dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut validate = |place: String, document: &str, definition: &str, value: &Value| {
        let errors = schemas.of(document, definition);
        found.extend(errors.iter_errors(value).map(|error| format!("{place} {}: {error}", error.instance_path())));
    };
    validate("dashboard".to_string(), "dashboard", "Dashboard", dashboard);
    for item in list(dashboard, "/panels") {
        let definition = if text(item, "/type") == "row" { "RowPanel" } else { "Panel" };
        validate(text(item, "/title").to_string(), "dashboard", definition, item);
    }
    for panel in panels(dashboard) {
        let (title, kind) = (text(panel, "/title"), text(panel, "/type").replace('-', ""));
        validate(format!("{title} options"), &kind, "Options", &panel["options"]);
        if let Some(custom) = panel.pointer("/fieldConfig/defaults/custom") {
            validate(format!("{title} custom"), &kind, "FieldConfig", custom);
        }
        for target in list(panel, "/targets") {
            validate(format!("{title} target"), "prometheus", "Dataquery", target);
        }
        let overrides = list(panel, "/fieldConfig/overrides").flat_map(|item| list(item, "/properties"));
        for property in overrides.filter(|property| text(property, "/id") == "custom.cellOptions") {
            assert_eq!(text(property, "/value/type"), "color-text", "{title}");
            validate(format!("{title} cell"), "table", "TableColorTextCellOptions", &property["value"]);
        }
    }
    found
}

#[test]
fn official_schemas_have_nothing_to_say() {
    let Some(dir) = fixture::schemas() else { return };
    let schemas = Schemas::read(&dir);
    for (path, dashboard) in fixture::shipped_dashboards() {
        let found = findings(&schemas, &dashboard);
        assert!(found.is_empty(), "{path}: {} findings\n{}", found.len(), found.join("\n"));
    }
}

#[test]
fn the_schema_check_can_fail() {
    let Some(dir) = fixture::schemas() else { return };
    let schemas = Schemas::read(&dir);
    let (_, good) = fixture::shipped_dashboards().swap_remove(0);
    let index = good["panels"].as_array().unwrap().iter().position(|item| item.get("options").is_some()).unwrap();
    for (place, value) in [
        ("/graphTooltip".to_string(), json!(7)),
        (format!("/panels/{index}/options"), json!({"nonsense": true})),
        (format!("/panels/{index}/gridPos/w"), json!("wide")),
        (format!("/panels/{index}/targets/0/format"), json!("tabel")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(&place).unwrap() = value;
        assert!(!findings(&schemas, &bad).is_empty(), "{place}");
    }
}

#[test]
fn our_list_of_units_is_grafanas() {
    let Some(dir) = fixture::schemas() else { return };
    let schemas = Schemas::read(&dir);
    let official: BTreeSet<&str> = schemas.documents["units"]["definitions"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(|unit| unit.get("const")?.as_str())
        .collect();
    let ours: BTreeSet<&str> = davylamp::dashboards::units::UNITS.iter().copied().collect();
    assert_eq!(ours, official);
}
