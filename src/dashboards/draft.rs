//! Drafts of panels: what every panel of ours has in common, said once.

use std::collections::BTreeMap;

use super::json::DATASOURCE;
use super::json::DashboardLink;
use super::json::GridPos;
use super::json::Number;
use super::json::Panel;
use super::json::Step;
use super::json::panel::Color;
use super::json::panel::Custom;
use super::json::panel::FieldConfig;
use super::json::panel::FieldDefaults;
use super::json::panel::Legend;
use super::json::panel::Mapping;
use super::json::panel::MappingResult;
use super::json::panel::Options;
use super::json::panel::Override;
use super::json::panel::Query;
use super::json::panel::Reduce;
use super::json::panel::Thresholds;
use super::json::panel::ThresholdsStyle;
use super::json::panel::Tooltip;

/// Words for a value that is really a yes or no, with their colours.
pub(super) const UP_DOWN: &[(&str, &str, &str)] = &[("0", "down", "red"), ("1", "up", "green")];
/// Words for "0 is good, 1 is bad".
pub(super) const NO_YES: &[(&str, &str, &str)] = &[("0", "no", "green"), ("1", "yes", "red")];

/// A panel under construction.
#[derive(Clone, Debug)]
pub(super) struct Draft(pub(super) Panel);

impl Draft {
    fn new(id: u32, kind: &'static str, title: &str, options: Options) -> Self {
        let defaults = FieldDefaults {
            unit: "none".to_string(),
            decimals: None,
            min: None,
            max: None,
            no_value: "no data".to_string(),
            color: Color { mode: "thresholds" },
            thresholds: absolute(vec![Step { color: "blue", value: None }]),
            mappings: Vec::new(),
            links: Vec::new(),
            custom: None,
        };
        Draft(Panel {
            id,
            r#type: kind,
            title: title.to_string(),
            description: String::new(),
            datasource: DATASOURCE,
            grid_pos: GridPos { h: 8, w: 12, x: 0, y: 0 },
            targets: Vec::new(),
            transformations: Vec::new(),
            field_config: FieldConfig { defaults, overrides: Vec::new() },
            options,
        })
    }

    /// One large number with its recent course behind it.
    pub(super) fn stat(id: u32, title: &str) -> Self {
        let options = Options::Stat {
            color_mode: "value",
            graph_mode: "area",
            justify_mode: "auto",
            orientation: "auto",
            percent_change_color_mode: "standard",
            reduce_options: last_value(),
            show_percent_change: false,
            text_mode: "auto",
            wide_layout: true,
        };
        Draft::new(id, "stat", title, options).size(4, 4)
    }

    /// Lines over time.
    pub(super) fn lines(id: u32, title: &str) -> Self {
        let legend =
            Legend { calcs: vec!["lastNotNull", "max"], display_mode: "table", placement: "bottom", show_legend: true };
        let options = Options::TimeSeries { legend, tooltip: Tooltip { mode: "multi", sort: "desc" } };
        let mut draft = Draft::new(id, "timeseries", title, options);
        draft.0.field_config.defaults.color.mode = "palette-classic-by-name";
        draft.0.field_config.defaults.custom = Some(Custom::TimeSeries {
            draw_style: "line",
            fill_opacity: 8,
            line_width: 1,
            show_points: "never",
            // A gap is a device that did not answer: drawing through it would hide exactly that.
            span_nulls: false,
            thresholds_style: ThresholdsStyle { mode: "off" },
        });
        draft
    }

    /// A short list of bars, one per series.
    pub(super) fn bars(id: u32, title: &str) -> Self {
        let options = Options::BarGauge {
            display_mode: "gradient",
            legend: Legend { calcs: Vec::new(), display_mode: "list", placement: "bottom", show_legend: false },
            max_viz_height: 300,
            min_viz_height: 16,
            min_viz_width: 8,
            name_placement: "auto",
            orientation: "horizontal",
            reduce_options: last_value(),
            show_unfilled: true,
            sizing: "auto",
            value_mode: "color",
        };
        Draft::new(id, "bargauge", title, options)
    }

    /// Coloured bands: which state held when.
    pub(super) fn timeline(id: u32, title: &str, words: &[(&str, &'static str, &'static str)]) -> Self {
        let options = Options::Timeline {
            align_value: "left",
            legend: Legend { calcs: Vec::new(), display_mode: "list", placement: "bottom", show_legend: true },
            merge_values: true,
            row_height: Number(0.9),
            show_value: "never",
            tooltip: Tooltip { mode: "single", sort: "none" },
        };
        let mut draft = Draft::new(id, "state-timeline", title, options).words(words);
        draft.0.field_config.defaults.custom = Some(Custom::Timeline { fill_opacity: 70, line_width: 0 });
        draft
    }

    /// An empty table; [`super::table`] adds columns.
    pub(super) fn table(id: u32, title: &str) -> Self {
        let options = Options::Table { cell_height: "sm", frame_index: 0, show_header: true, sort_by: Vec::new() };
        let mut draft = Draft::new(id, "table", title, options).size(24, 10);
        draft.0.field_config.defaults.custom = Some(Custom::Table { align: "auto", inspect: false });
        draft
    }

    /// What it shows, in what unit, what bad looks like, where it comes from.
    pub(super) fn about(mut self, description: &str) -> Self {
        self.0.description = description.to_string();
        self
    }

    /// Width (of 24) and height.
    pub(super) fn size(mut self, w: u32, h: u32) -> Self {
        self.0.grid_pos = GridPos { h, w, ..self.0.grid_pos };
        self
    }

    /// One of Grafana's units.
    pub(super) fn unit(mut self, unit: &str) -> Self {
        self.0.field_config.defaults.unit = unit.to_string();
        self
    }

    /// Digits behind the point.
    pub(super) fn decimals(mut self, decimals: u8) -> Self {
        self.0.field_config.defaults.decimals = Some(decimals);
        self
    }

    /// Both ends of the scale.
    pub(super) fn range(mut self, min: f64, max: f64) -> Self {
        self.0.field_config.defaults.min = Some(Number(min));
        self.0.field_config.defaults.max = Some(Number(max));
        self
    }

    /// A scale that starts at zero.
    pub(super) fn zero_based(mut self) -> Self {
        self.0.field_config.defaults.min = Some(Number(0.0));
        self
    }

    /// What stands there when there is no value.
    pub(super) fn no_value(mut self, text: &str) -> Self {
        self.0.field_config.defaults.no_value = text.to_string();
        self
    }

    /// Words instead of numbers: value, word, colour.
    pub(super) fn words(mut self, words: &[(&str, &'static str, &'static str)]) -> Self {
        self.0.field_config.defaults.mappings = mapping(words);
        self
    }

    /// Colours; on lines also dashes at each step. `None` changes nothing.
    pub(super) fn steps(mut self, steps: Option<Vec<Step>>) -> Self {
        let Some(steps) = steps else { return self };
        self.0.field_config.defaults.thresholds = absolute(steps);
        if let Some(Custom::TimeSeries { thresholds_style, .. }) = &mut self.0.field_config.defaults.custom {
            thresholds_style.mode = "dashed";
        }
        self
    }

    /// Green at zero, red from `bad` on: for counts of things that should not be.
    pub(super) fn red_from(self, bad: f64) -> Self {
        self.steps(Some(vec![Step { color: "green", value: None }, Step { color: "red", value: Some(Number(bad)) }]))
    }

    /// A link on every value.
    pub(super) fn link(mut self, title: &str, url: String) -> Self {
        self.0.field_config.defaults.links.push(value_link(title, url));
        self
    }

    /// Red at zero, green from one on: for things that should answer.
    pub(super) fn red_below_one(self) -> Self {
        self.steps(Some(vec![Step { color: "red", value: None }, Step { color: "green", value: Some(Number(1.0)) }]))
    }

    /// Adds a range query with its legend.
    pub(super) fn query(self, expr: impl Into<String>, legend: &str) -> Self {
        self.push(expr.into(), legend, false, "time_series")
    }

    /// Adds an instant query: one value, with no course to draw behind it.
    pub(super) fn now(self, expr: impl Into<String>, legend: &str) -> Self {
        self.plain().push(expr.into(), legend, true, "time_series")
    }

    pub(super) fn push(mut self, expr: String, legend: &str, instant: bool, format: &'static str) -> Self {
        self.0.targets.push(Query {
            ref_id: ref_id(self.0.targets.len()),
            datasource: DATASOURCE,
            editor_mode: "code",
            expr,
            format,
            instant,
            range: !instant,
            // Filled in by the page, which knows the slowest poll.
            interval: String::new(),
            legend_format: legend.to_string(),
        });
        self
    }

    /// No sparkline: for facts that do not move.
    pub(super) fn plain(mut self) -> Self {
        if let Options::Stat { graph_mode, .. } = &mut self.0.options {
            *graph_mode = "none";
        }
        self
    }

    /// Shows the series' name, for info metrics whose value is always 1.
    pub(super) fn name_only(mut self) -> Self {
        if let Options::Stat { text_mode, .. } = &mut self.0.options {
            *text_mode = "name";
        }
        self.plain()
    }

    pub(super) fn add_override(&mut self, field: &str, properties: Vec<super::json::panel::Property>) {
        let matcher = super::json::panel::Matcher { id: "byName", options: field.to_string() };
        self.0.field_config.overrides.push(Override { matcher, properties });
    }
}

/// A, B, … Z, AA, AB, … as Grafana names queries.
pub(super) fn ref_id(index: usize) -> String {
    let letter = |n: usize| char::from(b'A' + u8::try_from(n % 26).unwrap_or(0));
    if index < 26 { letter(index).to_string() } else { format!("{}{}", letter(index / 26 - 1), letter(index)) }
}

/// Thresholds on the value itself.
pub(super) fn absolute(steps: Vec<Step>) -> Thresholds {
    Thresholds { mode: "absolute", steps }
}

/// One mapping from values to words.
pub(super) fn mapping(words: &[(&str, &'static str, &'static str)]) -> Vec<Mapping> {
    let options: BTreeMap<String, MappingResult> = (0_u32..)
        .zip(words)
        .map(|(index, (value, text, color))| (value.to_string(), MappingResult { color, index, text }))
        .collect();
    vec![Mapping { r#type: "value", options }]
}

/// A link that stands on a value.
pub(super) fn value_link(title: &str, url: String) -> DashboardLink {
    DashboardLink {
        title: title.to_string(),
        r#type: "link",
        icon: "",
        tooltip: String::new(),
        url,
        tags: Vec::new(),
        as_dropdown: false,
        target_blank: false,
        include_vars: false,
        keep_time: false,
    }
}

fn last_value() -> Reduce {
    Reduce { calcs: vec!["lastNotNull"], fields: "", values: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_named_as_grafana_does() {
        assert_eq!([0, 25, 26, 27, 52].map(ref_id), ["A", "Z", "AA", "AB", "BA"]);
    }
}
