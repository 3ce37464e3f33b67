//! The page of current values: laid out once per change of shape, its values rendered at each request.
//!
//! A layout holds, sorted, the ready bytes of every line up to its value, and where the value stands. Rendering copies
//! those bytes and writes numbers; it never sorts, escapes or formats a label.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::recent::Inner;
use crate::model::labels::METRIC_NAME;
use crate::model::{Family, FamilyRef, Labels, MetricType, Suffix};

/// The two formats of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// The layout, kept until the shape changes.
#[derive(Default)]
pub(super) struct Page {
    layout: Mutex<Option<Arc<Layout>>>,
}

impl Page {
    pub(super) fn render(&self, inner: &Inner, format: Format) -> Vec<u8> {
        let layout = {
            let mut kept = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
            match &*kept {
                Some(layout) if layout.shape == inner.shape => layout.clone(),
                _ => kept.insert(Arc::new(Layout::prepare(inner, None))).clone(),
            }
        };
        layout.render(inner, format)
    }
}

/// A prepared page.
pub(super) struct Layout {
    shape: u64,
    /// Numbers of blocks, each with the line of each of its rows.
    targets: Vec<(u32, Vec<u32>)>,
    families: Vec<Section>,
}

struct Section {
    text_header: Vec<u8>,
    open_metrics_header: Vec<u8>,
    /// All line starts of this family, one after the other.
    starts: Vec<u8>,
    /// Where each line's start ends in `starts`; it begins where the one before ends.
    ends: Vec<usize>,
}

/// A row on its way to its line.
struct Entry {
    suffix: Suffix,
    labels: Labels,
    target: usize,
    row: usize,
}

/// All rows of one family on their way to its section.
struct Group {
    family: FamilyRef,
    /// Whether all targets say that it is of the same type.
    agreed: bool,
    entries: Vec<Entry>,
}

type Families<'a> = HashMap<Cow<'a, str>, Group>;

/// Takes families apart of which one target says something else than another, series name by series name, without a
/// type. One section cannot hold a gauge and a histogram, and no two sections series of one name: some readers refuse
/// the whole page for it, and one odd target would blind them to all others.
fn split_disputed(families: &mut Families<'_>) {
    const PARTS: [Suffix; 3] = [Suffix::Bucket, Suffix::Sum, Suffix::Count];
    let has_parts = |kind| matches!(kind, MetricType::Histogram | MetricType::Summary);
    let clashes = |name: &str| PARTS.iter().any(|part| families.contains_key(&*format!("{name}{}", part.as_str())));
    let disputed =
        |(name, group): &(&Cow<'_, str>, &Group)| !group.agreed || (has_parts(group.family.kind) && clashes(name));
    let names: Vec<_> = families.iter().filter(disputed).map(|(name, _)| name.clone()).collect();
    let groups: Vec<_> = names.iter().filter_map(|name| families.remove(name)).collect();
    for entry in groups.into_iter().flat_map(|group| group.entries) {
        let name = entry.labels.name().unwrap_or_default().to_string();
        let fresh = || Group { family: untyped(&name), agreed: true, entries: Vec::new() };
        // A line of its own has no place in the order of buckets.
        let entry = Entry { suffix: Suffix::None, ..entry };
        families.entry(Cow::Owned(name.clone())).or_insert_with(fresh).entries.push(entry);
    }
}

fn untyped(name: &str) -> FamilyRef {
    Arc::new(Family::read(name.to_string(), MetricType::Unknown, "")).into()
}

impl Layout {
    pub(super) fn prepare(inner: &Inner, kind: Option<&str>) -> Self {
        let mut targets = Vec::new();
        let mut by_family: Families<'_> = HashMap::new();
        for block in inner.shown(kind) {
            for (row, known) in block.rows.iter().enumerate() {
                let Some(form) = inner.forms.get(known.form) else { continue };
                let fresh = || Group { family: form.family.clone(), agreed: true, entries: Vec::new() };
                let group = by_family.entry(Cow::Borrowed(&form.family.name)).or_insert_with(fresh);
                group.agreed &= group.family.kind == form.family.kind;
                let (suffix, labels) = (form.suffix, block.labels(form));
                group.entries.push(Entry { suffix, labels, target: targets.len(), row });
            }
            targets.push((block.number, vec![0; block.rows.len()]));
        }
        split_disputed(&mut by_family);
        let mut families: Vec<_> = by_family.into_iter().collect();
        families.sort_by(|a, b| a.0.cmp(&b.0));
        let mut names: HashSet<String> = families.iter().map(|(name, _)| name.to_string()).collect();
        let mut lines = 0..;
        let mut section = |(_, Group { family, mut entries, .. }): (_, Group)| {
            entries.sort_by_cached_key(|entry| sort_key(entry.suffix, &entry.labels));
            for (entry, line) in entries.iter().zip(&mut lines) {
                targets[entry.target].1[entry.row] = line;
            }
            Section::prepare(&family, &entries, &mut names)
        };
        let families = families.into_iter().map(&mut section).collect();
        Layout { shape: inner.shape, targets, families }
    }

    pub(super) fn render(&self, inner: &Inner, format: Format) -> Vec<u8> {
        let mut values = self.values(inner).into_iter();
        let size = self.families.iter().map(|family| family.starts.len() + family.ends.len() * 12 + 160).sum();
        let mut out = Vec::with_capacity(size);
        for family in &self.families {
            let header = match format {
                Format::Text => &family.text_header,
                Format::OpenMetrics => &family.open_metrics_header,
            };
            let (mut begun, mut start, mut shown) = (false, 0, None);
            for (end, value) in family.ends.iter().zip(&mut values) {
                let bytes = &family.starts[start..*end];
                start = *end;
                // Two groups may record the same series; a page may not say it twice.
                let Some(value) = value.filter(|_| shown != Some(bytes)) else { continue };
                shown = Some(bytes);
                if !std::mem::replace(&mut begun, true) {
                    out.extend_from_slice(header);
                }
                out.extend_from_slice(bytes);
                write_value(&mut out, value);
                out.push(b'\n');
            }
        }
        if format == Format::OpenMetrics {
            out.extend_from_slice(b"# EOF\n");
        }
        out
    }

    /// The value of each line. Read target by target, in the order of memory: line by line, each would be waited for.
    fn values(&self, inner: &Inner) -> Vec<Option<f64>> {
        let mut values = vec![None; self.families.iter().map(|family| family.ends.len()).sum()];
        for (number, lines) in &self.targets {
            for (row, line) in inner.rows(*number).iter().zip(lines) {
                values[*line as usize] = row.last();
            }
        }
        values
    }
}

impl Section {
    /// `names` are those that are taken by other sections.
    fn prepare(family: &FamilyRef, entries: &[Entry], names: &mut HashSet<String>) -> Self {
        let mut starts = Vec::new();
        let ends = entries.iter().map(|entry| {
            write_start(&mut starts, &entry.labels);
            starts.len()
        });
        let ends = ends.collect();
        starts.shrink_to_fit();
        let (text_header, open_metrics_header) = (text_header(family), open_metrics_header(family, names));
        Section { text_header, open_metrics_header, starts, ends }
    }
}

/// Series of one histogram stay together, its buckets in rising order of `le`, as both formats demand.
fn sort_key(suffix: Suffix, labels: &Labels) -> (Labels, Suffix, u64) {
    let bound: f64 = labels.get("le").and_then(|le| le.parse().ok()).unwrap_or(0.0);
    // Maps the order of floats to the order of integers.
    let bits = bound.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    match suffix {
        Suffix::None => (labels.clone(), suffix, 0),
        _ => (labels.filter(|name| name != "le" && name != METRIC_NAME), suffix, ordered),
    }
}

fn write_start(out: &mut Vec<u8>, labels: &Labels) {
    out.extend_from_slice(labels.name().unwrap_or_default().as_bytes());
    let mut separator = b'{';
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        out.push(separator);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escape(out, value, true);
        out.push(b'"');
        separator = b',';
    }
    if separator == b',' {
        out.push(b'}');
    }
    out.push(b' ');
}

fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            other => out.push(other),
        }
    }
}

fn text_header(family: &FamilyRef) -> Vec<u8> {
    let kind = match family.kind {
        MetricType::Counter => "counter",
        MetricType::Gauge | MetricType::Info => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Summary => "summary",
        MetricType::Unknown => "untyped",
    };
    header(&family.name, kind, &family.help, false)
}

fn open_metrics_header(family: &FamilyRef, names: &mut HashSet<String>) -> Vec<u8> {
    // OpenMetrics demands the suffix of counters and infos, and names the family without it. What was carried on
    // without it has no type there, nor has what another family's name stands in the way of: a gauge `jobs` beside a
    // counter `jobs_total`.
    let mut stem = |suffix: &str| family.name.strip_suffix(suffix).filter(|stem| names.insert(stem.to_string()));
    let (name, kind) = match family.kind {
        MetricType::Counter => (stem("_total"), "counter"),
        MetricType::Info => (stem("_info"), "info"),
        MetricType::Gauge => (Some(&*family.name), "gauge"),
        MetricType::Histogram => (Some(&*family.name), "histogram"),
        MetricType::Summary => (Some(&*family.name), "summary"),
        MetricType::Unknown => (None, ""),
    };
    header(name.unwrap_or(&family.name), if name.is_some() { kind } else { "unknown" }, &family.help, true)
}

fn header(name: &str, kind: &str, help: &str, quotes: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if !help.is_empty() {
        out.extend_from_slice(format!("# HELP {name} ").as_bytes());
        escape(&mut out, help, quotes);
        out.push(b'\n');
    }
    out.extend_from_slice(format!("# TYPE {name} {kind}\n").as_bytes());
    out
}

/// Integers without a point, all else in the shortest form that reads back the same.
pub(super) fn write_value(out: &mut Vec<u8>, value: f64) {
    /// Above this an f64 no longer holds every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value.fract() == 0.0 && value.abs() < EXACT {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(value as i64).as_bytes());
    } else {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Observation, Reading, Sample, TargetId};
    use crate::store::recent::{Limits, Recent};
    use std::sync::Arc;
    use std::time::Duration;

    fn value(value: f64) -> String {
        let mut out = Vec::new();
        write_value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_read_back_the_same() {
        let cases =
            [(0.0, "0"), (-0.0, "0"), (1.0, "1"), (-3.0, "-3"), (0.1, "0.1"), (1e21, "1e21"), (1.5e300, "1.5e300")];
        for (number, text) in cases {
            assert_eq!(value(number), text);
        }
        assert_eq!(value(f64::NAN), "NaN");
        assert_eq!(value(f64::NEG_INFINITY), "-Inf");
    }

    fn page(format: Format) -> String {
        let family = |name: &'static str, kind, help: &'static str| {
            Arc::new(Family::read(name, kind, help).within(f64::MIN, f64::INFINITY))
        };
        let mut reading = Reading::default();
        let hist = family("h_seconds", MetricType::Histogram, "A \"quoted\" back\\slash\nline");
        for (suffix, le, value) in [
            (Suffix::Bucket, "+Inf", 3.0),
            (Suffix::Bucket, "10.0", 2.0),
            (Suffix::Bucket, "2.0", 1.0),
            (Suffix::Sum, "", 4.5),
            (Suffix::Count, "", 3.0),
        ] {
            let labels = Labels::new([("le", le)]);
            reading.samples.push(Sample { family: hist.clone().into(), suffix, labels, value });
        }
        reading.put(family("c_total", MetricType::Counter, ""), &[("a", "x\"y\\z\nw")], 7.0);
        reading.put(family("b_info", MetricType::Info, "B"), &[], 1.0);
        reading.put(family("odd", MetricType::Counter, "O"), &[], 1.0);
        let recent = Recent::new(Duration::from_secs(60), Limits::default());
        let id: TargetId = "self".into();
        recent.declare_plain(&id, "self", false);
        recent.observe(&Observation { target: id, at: 1, took: Duration::ZERO, outcome: Ok(reading) }, &[]);
        String::from_utf8(recent.page(format, None)).unwrap()
    }

    #[test]
    fn text_format() {
        let want = "# HELP b_info B\n# TYPE b_info gauge\nb_info 1\n# TYPE c_total counter\nc_total{a=\"x\\\"y\\\\z\\nw\"} 7\n\
             # HELP h_seconds A \"quoted\" back\\\\slash\\nline\n# TYPE h_seconds histogram\n\
             h_seconds_bucket{le=\"2.0\"} 1\nh_seconds_bucket{le=\"10.0\"} 2\nh_seconds_bucket{le=\"+Inf\"} 3\n\
             h_seconds_sum 4.5\nh_seconds_count 3\n# HELP odd O\n# TYPE odd counter\nodd 1\n";
        assert_eq!(page(Format::Text), want);
    }

    #[test]
    fn targets_that_disagree_about_a_family_do_not_break_the_page() {
        let recent = Recent::new(Duration::from_secs(60), Limits::default());
        let family = |name: &str, kind| match untyped(name) {
            FamilyRef::Shared(family) => FamilyRef::from(Arc::new(Family { kind, ..(*family).clone() })),
            family @ FamilyRef::Static(_) => family,
        };
        let say = |id: &str, said: &[(&str, MetricType, Suffix, &str)]| {
            let mut reading = Reading::default();
            for (name, kind, suffix, le) in said {
                reading.put_labels(family(name, *kind), *suffix, Labels::new([("le", *le), ("t", id)]), 1.0);
            }
            let id: TargetId = id.into();
            recent.declare_plain(&id, "any", false);
            recent.observe(&Observation { target: id, at: 1, took: Duration::ZERO, outcome: Ok(reading) }, &[]);
        };
        use MetricType::{Counter, Gauge, Histogram};
        let h = |suffix, le| ("h", Histogram, suffix, le);
        say("a", &[h(Suffix::Bucket, "+Inf"), h(Suffix::Count, ""), ("jobs_total", Counter, Suffix::None, "")]);
        say(
            "b",
            &[("h", Gauge, Suffix::None, ""), ("jobs", Gauge, Suffix::None, ""), ("h_count", Gauge, Suffix::None, "")],
        );
        let page = |format| String::from_utf8(recent.page(format, None)).unwrap();
        let want = "# TYPE h untyped\nh{t=\"b\"} 1\n# TYPE h_bucket untyped\nh_bucket{le=\"+Inf\",t=\"a\"} 1\n\
                    # TYPE h_count gauge\nh_count{t=\"a\"} 1\nh_count{t=\"b\"} 1\n\
                    # TYPE jobs gauge\njobs{t=\"b\"} 1\n# TYPE jobs_total counter\njobs_total{t=\"a\"} 1\n";
        assert_eq!(page(Format::Text), want);
        let open = page(Format::OpenMetrics);
        assert!(open.contains("# TYPE jobs gauge\n") && open.contains("# TYPE jobs_total unknown\n"), "{open}");
    }

    #[test]
    fn open_metrics_format() {
        let page = page(Format::OpenMetrics);
        assert!(page.contains("# HELP b B\n# TYPE b info\nb_info 1\n# TYPE c counter\nc_total{"), "{page}");
        assert!(page.contains("# HELP h_seconds A \\\"quoted\\\" back\\\\slash\\nline\n"), "{page}");
        assert!(page.contains("# TYPE odd unknown\nodd 1\n# EOF\n"), "{page}");
    }
}
