//! Tables: one instant query per column, merged on the labels that they share.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::draft::absolute;
use super::draft::mapping;
use super::draft::ref_id;
use super::draft::value_link;
use super::json::Step;
use super::json::panel::CellOptions;
use super::json::panel::Options;
use super::json::panel::Property;
use super::json::panel::PropertyValue;
use super::json::panel::SortBy;
use super::json::panel::Thresholds;
use super::json::panel::Transformation;
use super::json::panel::TransformationOptions;
use super::page::Context;

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    title: &'static str,
    /// A label that a query brings, or the query whose value it is.
    source: Source,
    unit: &'static str,
    /// In pixels; `None` takes its part of what the other columns leave.
    width: Option<u32>,
    decimals: Option<u8>,
    steps: Option<Vec<Step>>,
    words: Option<&'static [(&'static str, &'static str, &'static str)]>,
    link: Option<(&'static str, String)>,
}

#[derive(Clone, Debug)]
enum Source {
    Label(&'static str),
    Value(String),
    /// A query whose labels matter and whose value does not: an info metric.
    Labels(String),
}

impl Column {
    fn new(title: &'static str, source: Source, unit: &'static str) -> Self {
        Column { title, source, unit, width: Some(100), decimals: None, steps: None, words: None, link: None }
    }

    /// Shows a label of the rows.
    pub(super) fn label(name: &'static str, title: &'static str) -> Self {
        Column::new(title, Source::Label(name), "string")
    }

    /// Shows the value of a query.
    pub(super) fn value(title: &'static str, unit: &'static str, expr: impl Into<String>) -> Self {
        Column::new(title, Source::Value(expr.into()), unit)
    }

    /// Asks for labels only; the columns for them follow.
    pub(super) fn labels(expr: impl Into<String>) -> Self {
        Column::new("", Source::Labels(expr.into()), "none")
    }

    pub(super) fn width(mut self, width: u32) -> Self {
        self.width = Some(width);
        self
    }

    /// A column that shares the room that the others leave, so that a wide screen is filled and a narrow one not wasted.
    pub(super) fn flexible(mut self) -> Self {
        self.width = None;
        self
    }

    /// As many decimals in every row: figures of different lengths cannot be compared at a glance.
    pub(super) fn decimals(mut self, decimals: u8) -> Self {
        self.decimals = Some(decimals);
        self
    }

    pub(super) fn steps(mut self, steps: Option<Vec<Step>>) -> Self {
        self.steps = steps;
        self
    }

    pub(super) fn words(mut self, words: &'static [(&'static str, &'static str, &'static str)]) -> Self {
        self.words = Some(words);
        self
    }

    pub(super) fn link(mut self, title: &'static str, url: String) -> Self {
        self.link = Some((title, url));
        self
    }

    fn properties(&self) -> Vec<Property> {
        let mut list = vec![Property { id: "unit", value: PropertyValue::Text(self.unit.to_string()) }];
        if let Some(width) = self.width {
            list.push(Property { id: "custom.width", value: PropertyValue::Number(width) });
        }
        if let Some(decimals) = self.decimals {
            list.push(Property { id: "decimals", value: PropertyValue::Number(decimals.into()) });
        }
        if let Some(steps) = &self.steps {
            let thresholds: Thresholds = absolute(steps.clone());
            list.push(Property { id: "thresholds", value: PropertyValue::Thresholds(thresholds) });
        }
        if let Some(words) = self.words {
            list.push(Property { id: "mappings", value: PropertyValue::Mappings(mapping(words)) });
        }
        if self.steps.is_some() || self.words.is_some() {
            let cell = CellOptions { r#type: "color-text" };
            list.push(Property { id: "custom.cellOptions", value: PropertyValue::Cell(cell) });
        }
        if let Some((title, url)) = &self.link {
            list.push(Property { id: "links", value: PropertyValue::Links(vec![value_link(title, url.clone())]) });
        }
        list
    }
}

/// Fills an empty table with the columns that this fleet can report, sorted by the column named `sort`.
pub(super) fn fill(mut draft: Draft, context: &Context<'_>, columns: Vec<Column>, sort: (&str, bool)) -> Draft {
    let (mut exclude, mut index, mut rename) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    exclude.insert("Time".to_string(), true);
    // With one query Grafana calls the value "Value", with several "Value #A", "Value #B", …
    let asks = |column: &&Column| match &column.source {
        Source::Value(expr) | Source::Labels(expr) => context.reports(expr),
        Source::Label(_) => false,
    };
    let single = columns.iter().filter(asks).count() == 1;
    for (position, column) in (0_u32..).zip(&columns) {
        let expr = match &column.source {
            Source::Label(name) => {
                index.insert((*name).to_string(), position);
                rename.insert((*name).to_string(), column.title.to_string());
                None
            }
            Source::Value(expr) | Source::Labels(expr) if context.reports(expr) => Some(expr),
            Source::Value(_) | Source::Labels(_) => continue,
        };
        if let Some(expr) = expr {
            let id = ref_id(draft.0.targets.len());
            let name = if single { "Value".to_string() } else { format!("Value #{id}") };
            draft = draft.push(expr.clone(), "", true, "table");
            if matches!(column.source, Source::Labels(_)) {
                exclude.insert(name, true);
                continue;
            }
            index.insert(name.clone(), position);
            rename.insert(name, column.title.to_string());
        }
        draft.add_override(column.title, column.properties());
    }
    draft.0.transformations = vec![
        Transformation { id: "merge", options: TransformationOptions::Merge {} },
        Transformation {
            id: "organize",
            options: TransformationOptions::Organize {
                exclude_by_name: exclude,
                index_by_name: index,
                rename_by_name: rename,
            },
        },
    ];
    if let Options::Table { sort_by, .. } = &mut draft.0.options {
        sort_by.push(SortBy { desc: sort.1, display_name: sort.0.to_string() });
    }
    draft
}
