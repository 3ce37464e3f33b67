//! Grafana's classic dashboard JSON as types, as far as our dashboards use it.
//!
//! Fields are written in the order in which they stand here, maps are sorted: the same value always gives the same
//! bytes. Grafana compares files by the MD5 of their bytes, so that order is part of the contract.

use serde::Serialize;

pub mod panel;

pub use panel::{Number, Panel, Step};

/// The dashboard model's version that is stamped. 39 loads on Grafana 10 to 13; each migrates it upwards by itself.
pub const SCHEMA_VERSION: u32 = 39;

/// One dashboard: the whole file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    pub uid: String,
    pub title: String,
    pub description: String,
    pub tags: Vec<String>,
    pub schema_version: u32,
    /// False: an edit in the browser would be lost at the next write.
    pub editable: bool,
    /// 1: one crosshair over all panels.
    pub graph_tooltip: u8,
    pub refresh: String,
    pub time: TimeRange,
    pub timezone: String,
    pub links: Vec<DashboardLink>,
    pub annotations: List<Annotation>,
    pub templating: List<Variable>,
    pub panels: Vec<Item>,
}

/// `{"list": […]}`, as annotations and variables are wrapped.
#[derive(Clone, Debug, Serialize)]
pub struct List<T> {
    pub list: Vec<T>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TimeRange {
    pub from: String,
    pub to: String,
}

/// Which data source a query goes to.
#[derive(Clone, Debug, Serialize)]
pub struct DataSource {
    pub r#type: &'static str,
    pub uid: &'static str,
}

/// The data source that the dashboard's `datasource` variable holds.
pub const DATASOURCE: DataSource = DataSource { r#type: "prometheus", uid: "${datasource}" };

/// A link: above the dashboard, or on a value (then only the URL counts).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DashboardLink {
    pub title: String,
    pub r#type: &'static str,
    pub icon: &'static str,
    pub tooltip: String,
    pub url: String,
    pub tags: Vec<String>,
    pub as_dropdown: bool,
    pub target_blank: bool,
    pub include_vars: bool,
    pub keep_time: bool,
}

/// Marks on the time axis.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotation {
    pub name: String,
    pub datasource: DataSource,
    pub enable: bool,
    pub hide: bool,
    pub icon_color: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_in: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_keys: Option<String>,
}

/// A variable of a dashboard: a data source or the values of a label.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    pub name: String,
    pub label: String,
    pub description: String,
    pub r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<DataSource>,
    pub query: VariableQuery,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    pub current: VariableOption,
    pub options: Vec<VariableOption>,
    pub multi: bool,
    pub include_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_value: Option<&'static str>,
    /// 1: when the dashboard loads; 2: also when the time range changes.
    pub refresh: u8,
    pub regex: String,
    /// 0: as they come; 5: by name, without regard to case.
    pub sort: u8,
    pub hide: u8,
    pub skip_url_sync: bool,
}

/// What a variable asks for.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum VariableQuery {
    /// The type of data source.
    Plugin(&'static str),
    /// A query of Prometheus' editor; 1 is "label values".
    #[serde(rename_all = "camelCase")]
    Labels { qry_type: u8, query: String, ref_id: &'static str },
}

/// The chosen value of a variable.
#[derive(Clone, Debug, Serialize)]
pub struct VariableOption {
    pub selected: bool,
    pub text: Texts,
    pub value: Texts,
}

/// One text, or several for a variable with several values.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Texts {
    One(String),
    Many(Vec<String>),
}

/// What stands on the grid.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Item {
    Row(Row),
    Panel(Box<Panel>),
}

/// A heading over the panels below it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub id: u32,
    pub r#type: &'static str,
    pub title: String,
    pub collapsed: bool,
    pub grid_pos: GridPos,
    pub panels: Vec<Panel>,
}

/// Place on a grid that is 24 wide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GridPos {
    pub h: u32,
    pub w: u32,
    pub x: u32,
    pub y: u32,
}
