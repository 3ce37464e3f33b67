//! A panel: its queries, its field settings and the options of the six core panel types that we use.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::Serializer;

use super::DashboardLink;
use super::DataSource;
use super::GridPos;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    pub id: u32,
    pub r#type: &'static str,
    pub title: String,
    pub description: String,
    pub datasource: DataSource,
    pub grid_pos: GridPos,
    pub targets: Vec<Query>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transformations: Vec<Transformation>,
    pub field_config: FieldConfig,
    pub options: Options,
}

/// One PromQL query of a panel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    pub ref_id: String,
    pub datasource: DataSource,
    pub editor_mode: &'static str,
    pub expr: String,
    pub format: &'static str,
    pub instant: bool,
    pub range: bool,
    /// Least step. `$__rate_interval` is at least four times this, so rates are never empty on slow scrapes.
    pub interval: String,
    pub legend_format: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Transformation {
    pub id: &'static str,
    pub options: TransformationOptions,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum TransformationOptions {
    Merge {},
    #[serde(rename_all = "camelCase")]
    Organize {
        exclude_by_name: BTreeMap<String, bool>,
        index_by_name: BTreeMap<String, u32>,
        rename_by_name: BTreeMap<String, String>,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct FieldConfig {
    pub defaults: FieldDefaults,
    pub overrides: Vec<Override>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDefaults {
    pub unit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    pub no_value: String,
    pub color: Color,
    pub thresholds: Thresholds,
    pub mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<DashboardLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Color {
    pub mode: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub struct Thresholds {
    pub mode: &'static str,
    pub steps: Vec<Step>,
}

/// From `value` on, this colour; the first step has no value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    pub color: &'static str,
    pub value: Option<Number>,
}

/// A number that is written as people write it: 85 and not 85.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Above 2^53 an f64 no longer holds every integer, and a cast could change the value.
        if self.0.fract() == 0.0 && self.0.abs() < 9.0e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// What is shown instead of a number: the value as text → its wording.
#[derive(Clone, Debug, Serialize)]
pub struct Mapping {
    pub r#type: &'static str,
    pub options: BTreeMap<String, MappingResult>,
}

#[derive(Clone, Debug, Serialize)]
pub struct MappingResult {
    pub color: &'static str,
    pub index: u32,
    pub text: &'static str,
}

/// Settings of one column.
#[derive(Clone, Debug, Serialize)]
pub struct Override {
    pub matcher: Matcher,
    pub properties: Vec<Property>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Matcher {
    pub id: &'static str,
    pub options: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Property {
    pub id: &'static str,
    pub value: PropertyValue,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum PropertyValue {
    Text(String),
    Number(u32),
    Thresholds(Thresholds),
    Mappings(Vec<Mapping>),
    Links(Vec<DashboardLink>),
    Cell(CellOptions),
}

#[derive(Clone, Debug, Serialize)]
pub struct CellOptions {
    pub r#type: &'static str,
}

/// What a panel type adds to a field's settings.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Custom {
    #[serde(rename_all = "camelCase")]
    TimeSeries {
        draw_style: &'static str,
        fill_opacity: u8,
        line_width: u8,
        show_points: &'static str,
        span_nulls: bool,
        thresholds_style: ThresholdsStyle,
    },
    #[serde(rename_all = "camelCase")]
    Timeline { fill_opacity: u8, line_width: u8 },
    #[serde(rename_all = "camelCase")]
    Table { align: &'static str, inspect: bool },
}

#[derive(Clone, Debug, Serialize)]
pub struct ThresholdsStyle {
    pub mode: &'static str,
}

/// What a panel type can be told.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Options {
    #[serde(rename_all = "camelCase")]
    Stat {
        color_mode: &'static str,
        graph_mode: &'static str,
        justify_mode: &'static str,
        orientation: &'static str,
        percent_change_color_mode: &'static str,
        reduce_options: Reduce,
        show_percent_change: bool,
        text_mode: &'static str,
        wide_layout: bool,
    },
    TimeSeries {
        legend: Legend,
        tooltip: Tooltip,
    },
    #[serde(rename_all = "camelCase")]
    BarGauge {
        display_mode: &'static str,
        legend: Legend,
        max_viz_height: u32,
        min_viz_height: u32,
        min_viz_width: u32,
        name_placement: &'static str,
        orientation: &'static str,
        reduce_options: Reduce,
        show_unfilled: bool,
        sizing: &'static str,
        value_mode: &'static str,
    },
    #[serde(rename_all = "camelCase")]
    Table {
        cell_height: &'static str,
        frame_index: u32,
        show_header: bool,
        sort_by: Vec<SortBy>,
    },
    #[serde(rename_all = "camelCase")]
    Timeline {
        align_value: &'static str,
        legend: Legend,
        merge_values: bool,
        row_height: Number,
        show_value: &'static str,
        tooltip: Tooltip,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Reduce {
    pub calcs: Vec<&'static str>,
    pub fields: &'static str,
    pub values: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Legend {
    pub calcs: Vec<&'static str>,
    pub display_mode: &'static str,
    pub placement: &'static str,
    pub show_legend: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Tooltip {
    pub mode: &'static str,
    pub sort: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SortBy {
    pub desc: bool,
    pub display_name: String,
}
