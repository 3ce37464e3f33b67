//! Data of a caller's own for a template's dot: notifications have alerts and groups where rules have labels.

use std::sync::Arc;

use super::value::Value;
use super::{Lookup, LookupError, Scope, Template, TemplateError, exec};
use crate::model::Labels;

/// What a template's dot holds.
#[derive(Clone, Debug)]
pub enum Data {
    /// A text.
    Text(String),
    /// Labels or annotations: a missing one is the empty text.
    Labels(Labels),
    /// A time, milliseconds since the epoch.
    Time(i64),
    /// Named fields.
    Map(Vec<(&'static str, Data)>),
    /// A list.
    List(Vec<Data>),
}

impl From<Data> for Value {
    fn from(data: Data) -> Self {
        match data {
            Data::Text(text) => Value::text(text),
            Data::Labels(labels) => Value::Labels(labels),
            Data::Time(millis) => Value::Time(millis.saturating_mul(1_000_000)),
            Data::Map(fields) => Value::Map(Arc::new(
                fields.into_iter().map(|(name, data)| (name.to_string(), Value::from(data))).collect(),
            )),
            Data::List(items) => Value::List(items.into_iter().map(Value::from).collect()),
        }
    }
}

/// There are no samples behind a notification.
struct NoQueries;

impl Lookup for NoQueries {
    fn query(&self, _: &str) -> Result<Vec<(Labels, f64)>, LookupError> {
        Err(LookupError("a notification cannot query; let the rule put it into an annotation".to_string()))
    }
}

impl Template {
    /// Expands the template with a dot of the caller's own; `$labels` and `$value` are empty.
    ///
    /// # Errors
    /// As [`Template::expand`].
    pub fn expand_data(&self, dot: Data, external_url: &str, at: i64) -> Result<String, TemplateError> {
        let empty = Labels::empty();
        let scope = Scope { labels: &empty, value: 0.0, external_labels: &empty, external_url, at, lookup: &NoQueries };
        exec::expand_dot(self, &scope, dot.into())
    }
}
