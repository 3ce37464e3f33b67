//! Reads a metrics page: Prometheus text 0.0.4 and OpenMetrics 1.0 alike, told apart by `# EOF`.
//!
//! Families keep the full names that they have in Prometheus' text format (`x_total`, `x_info`). Timestamps and
//! exemplars are dropped: a sample's time is the start of our poll. `_created` becomes the start timestamps of the samples
//! that it speaks of. One bad line fails the whole page, as in
//! Prometheus: half a page with `up` 1 would be believed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use super::created::Created;
use super::line;
use super::line::LineError;
use crate::collect::ParseError;
use crate::model::{Family, FamilyRef, Labels, MetricType, Reading, Sample, Suffix};

/// The key in [`Reading::rejected`] of samples whose metric or label name is not of the classic alphabet. A fixed
/// word: the names themselves come from the target and would become label values of ours.
pub const ILLEGAL_NAME: &str = "illegal_name";

/// The key in [`Reading::rejected`] of samples whose series stood on the page already.
pub const DUPLICATE: &str = "duplicate_sample";

/// How much of a page is accepted; one more fails the page as too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLimits {
    /// Samples that are kept, and families that are described.
    pub max_samples: usize,
    /// Labels of one sample.
    pub max_labels: usize,
    /// Bytes of a metric or label name.
    pub max_name: usize,
    /// Bytes of a label value.
    pub max_value: usize,
}

/// Room for a large exporter, while a hostile page of 4 MiB still costs less than 32 MiB.
impl Default for TextLimits {
    fn default() -> Self {
        TextLimits { max_samples: 10_000, max_labels: 30, max_name: 200, max_value: 1024 }
    }
}

impl TextLimits {
    pub(super) fn name_too_long(&self, name: &str) -> LineError {
        let start: String = name.chars().take(40).collect();
        LineError::Limit(format!("the name {start}… has {} bytes, more than {}", name.len(), self.max_name))
    }
}

/// Reads a whole page.
///
/// # Errors
/// `Malformed` with the line and column, also for a page that has neither a sample nor a HELP, TYPE, UNIT or EOF line:
/// nothing shows that it is a metrics page. `TooLarge` beyond a limit.
pub fn read_text(body: &[u8], limits: &TextLimits) -> Result<Reading, ParseError> {
    read_selected(body, limits, |_| true)
}

/// [`read_text`], keeping only the series whose full name (`x_bucket`, `x_total`) `select` accepts. What is not
/// selected is checked for its form all the same, but does not count against `max_samples`.
///
/// # Errors
/// As [`read_text`].
pub fn read_selected(body: &[u8], limits: &TextLimits, select: impl Fn(&str) -> bool) -> Result<Reading, ParseError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let line = body[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        malformed(line, "not UTF-8 text")
    })?;
    let page = Page::describe(text, limits)?;
    let mut reader = Reader {
        page: &page,
        limits,
        select,
        homes: HashMap::new(),
        last: None,
        families: HashMap::new(),
        seen: HashSet::new(),
        created: Created::default(),
        odd: Odd::default(),
        reading: Reading::default(),
    };
    let (mut labels, mut lines) = (Vec::new(), 0_usize);
    for (index, line) in trimmed_lines(text) {
        if line.starts_with('#') {
            continue;
        }
        lines += 1;
        let at = |error| from_line(index, line, error);
        let sample = line::read(line, limits, &mut labels).map_err(at)?;
        reader.take(&sample, &mut labels).map_err(at)?;
    }
    if lines == 0 && !page.recognised {
        let reason = "no samples and no HELP, TYPE or EOF line: not a metrics page".to_string();
        return Err(ParseError::Malformed { request: REQUEST.to_string(), reason });
    }
    Ok(reader.finish())
}

/// What errors call the page.
const REQUEST: &str = "metrics page";

fn malformed(line: usize, reason: impl std::fmt::Display) -> ParseError {
    ParseError::Malformed { request: REQUEST.to_string(), reason: format!("line {line}: {reason}") }
}

fn from_line(number: usize, text: &str, error: LineError) -> ParseError {
    match error {
        LineError::Limit(reason) => {
            ParseError::TooLarge { request: REQUEST.to_string(), reason: format!("line {number}: {reason}") }
        }
        LineError::Twice(name) => malformed(number, format!("label {name} stands twice or is reserved")),
        LineError::Syntax(at, expected) => {
            let found: String = text.get(at..).unwrap_or_default().chars().take(20).collect();
            let html = if number == 1 && text.starts_with('<') { "; this is an HTML page, check the path" } else { "" };
            malformed(number, format!("expected {expected} at column {}, found {found:?}{html}", at + 1))
        }
    }
}

/// Numbered lines that are not empty. Some small web servers end lines with CR LF, so both go.
fn trimmed_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.split('\n').enumerate();
    lines.map(|(index, line)| (index + 1, line.trim_matches([' ', '\t', '\r']))).filter(|(_, line)| !line.is_empty())
}

/// What the comment lines of a page say: read before the samples, because a description may follow what it describes.
struct Page<'a> {
    described: HashMap<Cow<'a, str>, Description<'a>>,
    /// OpenMetrics, because it ends with `# EOF`.
    open_metrics: bool,
    /// At least one comment line is of the format.
    recognised: bool,
}

#[derive(Default)]
struct Description<'a> {
    kind: Option<MetricType>,
    help: Option<&'a str>,
}

impl<'a> Page<'a> {
    fn describe(text: &'a str, limits: &TextLimits) -> Result<Self, ParseError> {
        let mut page = Page { described: HashMap::new(), open_metrics: false, recognised: false };
        for (number, line) in trimmed_lines(text) {
            if page.open_metrics {
                return Err(malformed(number, "there is more after # EOF"));
            }
            // Without a blank it is a plain comment, as in Prometheus.
            let Some(comment) = line.strip_prefix("# ").or_else(|| line.strip_prefix("#\t")) else { continue };
            let comment = comment.trim_start_matches([' ', '\t']);
            let (keyword, rest) = comment.split_once([' ', '\t']).unwrap_or((comment, ""));
            match keyword {
                "EOF" if rest.is_empty() => page.open_metrics = true,
                "UNIT" => {}
                "HELP" | "TYPE" => {
                    let fault = |reason| malformed(number, format!("{keyword} {reason}"));
                    page.note(keyword, rest.trim_start_matches([' ', '\t'])).map_err(fault)?;
                }
                _ => continue,
            }
            page.recognised = true;
            if page.described.len() > limits.max_samples {
                let reason = format!("more than {} families are described", limits.max_samples);
                return Err(ParseError::TooLarge { request: REQUEST.to_string(), reason });
            }
        }
        Ok(page)
    }

    fn note(&mut self, keyword: &str, rest: &'a str) -> Result<(), String> {
        let (name, rest) = line::read_name(rest).ok_or("without a metric name")?;
        let description = self.described.entry(name).or_default();
        if keyword == "HELP" {
            description.help.get_or_insert(rest);
            return Ok(());
        }
        let kind = match rest.trim_end() {
            "counter" => MetricType::Counter,
            "gauge" | "stateset" => MetricType::Gauge,
            "histogram" => MetricType::Histogram,
            "summary" => MetricType::Summary,
            "info" => MetricType::Info,
            // Its series are carried on one by one: no other format knows a histogram that may fall.
            "untyped" | "unknown" | "gaugehistogram" => MetricType::Unknown,
            other => return Err(format!("{other:?} is no metric type")),
        };
        match description.kind.replace(kind) {
            Some(before) if before != kind => Err("says something else than an earlier TYPE line".to_string()),
            _ => Ok(()),
        }
    }

    fn kind(&self, name: &str) -> Option<MetricType> {
        self.described.get(name).and_then(|description| description.kind)
    }

    /// The family's described name, its own name and the role of a series in it; of `_created`, the described name alone.
    fn home<'n>(&self, series: &'n str) -> Result<(&'n str, &'n str, MetricType, Suffix), &'n str> {
        use MetricType::{Counter, Histogram, Info, Summary, Unknown};
        if let Some(kind) = self.kind(series) {
            return Ok((series, series, kind, Suffix::None));
        }
        let (base, suffix) = series.rfind('_').map_or((series, ""), |at| series.split_at(at));
        match (suffix, self.kind(base)) {
            ("_bucket", Some(Histogram)) => Ok((base, base, Histogram, Suffix::Bucket)),
            ("_sum", Some(kind @ (Histogram | Summary))) => Ok((base, base, kind, Suffix::Sum)),
            ("_count", Some(kind @ (Histogram | Summary))) => Ok((base, base, kind, Suffix::Count)),
            ("_total", Some(Counter)) => Ok((base, series, Counter, Suffix::None)),
            ("_info", Some(Info)) => Ok((base, series, Info, Suffix::None)),
            ("_created", Some(Counter | Histogram | Summary)) => Err(base),
            _ => Ok((series, series, Unknown, Suffix::None)),
        }
    }

    fn help(&self, name: &str) -> String {
        let raw = self.described.get(name).and_then(|description| description.help).unwrap_or_default();
        line::unescape(raw, self.open_metrics)
    }
}

/// Where the samples of a name go.
#[derive(Clone)]
enum Home<'a> {
    Family(FamilyRef, Suffix),
    /// The time at which a series of the family began.
    Created(&'a str),
    NotSelected,
}

/// What was dropped or ignored, counted for the notes.
#[derive(Default)]
struct Odd {
    timestamps: usize,
    exemplars: usize,
    created: usize,
    illegal: u64,
    duplicates: u64,
    first_duplicate: String,
}

struct Reader<'a, 'p, F> {
    page: &'p Page<'a>,
    limits: &'p TextLimits,
    select: F,
    homes: HashMap<&'a str, Home<'a>>,
    /// The samples of a family stand together, so most lines are answered from here.
    last: Option<(&'a str, Home<'a>)>,
    families: HashMap<&'a str, Arc<Family>>,
    seen: HashSet<(&'a str, Labels)>,
    created: Created<'a>,
    odd: Odd,
    reading: Reading,
}

impl<'a, F: Fn(&str) -> bool> Reader<'a, '_, F> {
    fn take(&mut self, line: &line::Line<'a>, labels: &mut line::Pairs<'a>) -> Result<(), LineError> {
        self.odd.timestamps += usize::from(line.timestamp);
        self.odd.exemplars += usize::from(line.exemplar);
        let Some(name) = line.name else {
            self.odd.illegal += 1;
            return Ok(());
        };
        let (family, suffix) = match self.home(name) {
            Home::Family(family, suffix) => (family, suffix),
            Home::Created(family) => {
                let said = self.created.say(family, labels_of(labels), line.value, self.limits.max_samples);
                self.odd.created += usize::from(!said);
                return Ok(());
            }
            Home::NotSelected => return Ok(()),
        };
        check_shape(&family, suffix, labels)?;
        if self.reading.samples.len() == self.limits.max_samples {
            return Err(LineError::Limit(format!("more than {} samples", self.limits.max_samples)));
        }
        let labels = labels_of(labels);
        if self.seen.insert((name, labels.clone())) {
            // Not through `Reading::put`: a NaN that the target says is carried on, as Prometheus does.
            self.reading.samples.push(Sample { family, suffix, labels, value: line.value });
        } else {
            self.odd.duplicates += 1;
            if self.odd.first_duplicate.is_empty() {
                self.odd.first_duplicate = format!("{name}{labels}");
            }
        }
        Ok(())
    }

    fn home(&mut self, name: &'a str) -> Home<'a> {
        if let Some((last, home)) = &self.last
            && *last == name
        {
            return home.clone();
        }
        let home = match self.homes.get(name) {
            Some(home) => home.clone(),
            None => {
                let home = self.find_home(name);
                // Only those: `max_samples` bounds them, while names that are not selected are as many as fit the page.
                if matches!(home, Home::Family(..)) {
                    self.homes.insert(name, home.clone());
                }
                home
            }
        };
        self.last = Some((name, home.clone()));
        home
    }

    fn find_home(&mut self, series: &'a str) -> Home<'a> {
        let page = self.page;
        // Selected with the series that it speaks of.
        let (described, name, kind, suffix) = match page.home(series) {
            Ok(home) => home,
            Err(family) => return Home::Created(family),
        };
        if !(self.select)(series) {
            return Home::NotSelected;
        }
        let family = self.families.entry(name).or_insert_with(|| {
            let (name, help) = (Cow::Owned(name.to_string()), Cow::Owned(page.help(described)));
            Arc::new(Family { name, kind, help, labels: &[], bounds: (f64::NEG_INFINITY, f64::INFINITY) })
        });
        Home::Family(FamilyRef::Shared(Arc::clone(family)), suffix)
    }

    fn finish(self) -> Reading {
        let (mut reading, odd) = (self.reading, self.odd);
        reading.starts = self.created.starts(&reading.samples);
        let mut note = |count: usize, text: String| {
            if count > 0 {
                reading.notes.push(format!("{count} {text}"));
            }
        };
        note(odd.timestamps, "timestamps ignored: samples carry the time of the poll".to_string());
        note(odd.exemplars, "exemplars dropped".to_string());
        note(odd.created, "_created lines without a usable time dropped".to_string());
        for (count, key) in [(odd.illegal, ILLEGAL_NAME), (odd.duplicates, DUPLICATE)] {
            if count > 0 {
                reading.rejected.insert(key.to_string(), count);
            }
        }
        if odd.illegal > 0 {
            reading.notes.push(format!("{} samples with a name beyond [a-zA-Z0-9_:] dropped", odd.illegal));
        }
        if odd.duplicates > 0 {
            let first = odd.first_duplicate.chars().take(200).collect::<String>();
            reading.notes.push(format!("{} samples stood twice, the first was kept: {first}", odd.duplicates));
        }
        reading
    }
}

fn labels_of(pairs: &mut line::Pairs<'_>) -> Labels {
    Labels::new(pairs.drain(..).map(|(name, value)| (name.to_string(), value)))
}

/// A histogram has no series of its own name, and a bucket has a bound: what is written later relies on both.
fn check_shape(family: &Family, suffix: Suffix, labels: &line::Pairs<'_>) -> Result<(), LineError> {
    match (family.kind, suffix) {
        (MetricType::Histogram, Suffix::None) => {
            Err(LineError::Syntax(0, "_bucket, _sum or _count after the name of a histogram"))
        }
        (_, Suffix::Bucket) if !labels.iter().any(|(name, _)| *name == "le") => {
            Err(LineError::Syntax(0, "a label `le` on a histogram's bucket"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Reading, ParseError> {
        read_text(text.as_bytes(), &TextLimits::default())
    }

    /// `type family+suffix{labels} value`, one for each sample.
    fn shown(reading: &Reading) -> Vec<String> {
        let line = |s: &Sample| {
            let kind = format!("{:?}", s.family.kind).to_lowercase();
            format!("{kind} {}{}{} {}", s.family.name, s.suffix.as_str(), s.labels, s.value)
        };
        reading.samples.iter().map(line).collect()
    }

    fn failure(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_text_0_0_4() {
        let reading = read(concat!(
            "# A comment.\n#HELP no blank, so a comment\n",
            "# HELP http_requests_total Requests\\nby \"code\" and \\\\.\n# TYPE http_requests_total counter\n",
            "http_requests_total{code=\"200\"} 1027 1395066363000\r\n",
            "latency_bucket{le=\"1\"} 3\nlatency_sum 4.5\nlatency_count 3\n# TYPE latency histogram\n",
            "# TYPE rpc summary\nrpc{quantile=\"0.5\"} NaN\nrpc_sum 1\nrpc_count 2\n",
            "\nuntyped 1e3\n# TYPE x_created gauge\nx_created 7\n",
        ))
        .unwrap();
        assert_eq!(
            shown(&reading),
            [
                "counter http_requests_total{code=\"200\"} 1027",
                "histogram latency_bucket{le=\"1\"} 3",
                "histogram latency_sum{} 4.5",
                "histogram latency_count{} 3",
                "summary rpc{quantile=\"0.5\"} NaN",
                "summary rpc_sum{} 1",
                "summary rpc_count{} 2",
                "unknown untyped{} 1000",
                "gauge x_created{} 7",
            ]
        );
        assert_eq!(reading.samples[0].family.help, "Requests\nby \"code\" and \\.");
        assert_eq!(reading.notes, ["1 timestamps ignored: samples carry the time of the poll"]);
    }

    #[test]
    fn reads_open_metrics() {
        let reading = read(concat!(
            "# HELP polls Polls \\\"so far\\\".\n# TYPE polls counter\n# UNIT polls polls\n",
            "polls_total{kind=\"axeos\"} 5 # {trace=\"a\"} 1 1.5\npolls_created{kind=\"axeos\"} 1.6e9\n",
            "# TYPE build info\nbuild_info{version=\"1\"} 1\n",
            "# TYPE state stateset\nstate{state=\"up\"} 1 1700000000.5\n",
            "# TYPE size gaugehistogram\nsize_bucket{le=\"+Inf\"} 1\nsize_gsum 2\n",
            "# EOF\n",
        ))
        .unwrap();
        assert_eq!(
            shown(&reading),
            [
                "counter polls_total{kind=\"axeos\"} 5",
                "info build_info{version=\"1\"} 1",
                "gauge state{state=\"up\"} 1",
                "unknown size_bucket{le=\"+Inf\"} 1",
                "unknown size_gsum{} 2",
            ]
        );
        assert_eq!(reading.samples[0].family.help, "Polls \"so far\".");
        assert_eq!(reading.notes.len(), 2, "{:?}", reading.notes);
        assert_eq!(reading.starts, [(0, 1_600_000_000_000)]);
    }

    #[test]
    fn creation_times_go_with_the_series_that_they_speak_of() {
        let page = concat!(
            "# TYPE a counter\na_created{x=\"1\"} 1.5\na_total{x=\"1\"} 5\na_total{x=\"2\"} 5\na_created{x=\"2\"} -1\n",
            "# TYPE h histogram\nh_bucket{x=\"1\",le=\"+Inf\"} 1\nh_count{x=\"1\"} 1\nh_sum{x=\"1\"} 2\nh_created{x=\"1\"} 2\n",
            "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_count 1\ns_created 3\n",
            "# TYPE b_total counter\nb_total 7\nb_total_created 4\n# EOF\n",
        );
        let reading = read(page).unwrap();
        assert_eq!(reading.starts, [(0, 1500), (2, 2000), (3, 2000), (4, 2000), (6, 3000), (7, 4000)]);
        assert_eq!(reading.notes, ["1 _created lines without a usable time dropped"]);
        let some = read_selected(page.as_bytes(), &TextLimits::default(), |name| name == "h_count").unwrap();
        assert_eq!((some.samples.len(), some.starts), (1, vec![(0, 2000)]));
    }

    #[test]
    fn what_the_crate_of_our_own_metrics_writes_is_read() {
        use prometheus_client::metrics::counter::Counter;
        use prometheus_client::metrics::family::Family as Metrics;
        use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
        use prometheus_client::metrics::info::Info;
        let mut registry = prometheus_client::registry::Registry::default();
        let polls = Metrics::<Vec<(String, String)>, Counter>::default();
        polls.get_or_create(&vec![("kind".into(), "a\"b\\c\nd".into())]).inc();
        registry.register("polls", "Polls", polls);
        registry.register("build", "Build", Info::new(vec![("version", "1")]));
        let times = Histogram::new(exponential_buckets(1.0, 2.0, 2));
        times.observe(1.5);
        registry.register("took_seconds", "Time", times);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        assert_eq!(
            shown(&read(&page).unwrap()),
            [
                "counter polls_total{kind=\"a\\\"b\\\\c\\nd\"} 1",
                "info build_info{version=\"1\"} 1",
                "histogram took_seconds_sum{} 1.5",
                "histogram took_seconds_count{} 1",
                "histogram took_seconds_bucket{le=\"1.0\"} 0",
                "histogram took_seconds_bucket{le=\"2.0\"} 1",
                "histogram took_seconds_bucket{le=\"+Inf\"} 1",
            ]
        );
    }

    #[test]
    fn garbage_is_never_a_success_with_nothing() {
        let nothing = "metrics page: no samples and no HELP, TYPE or EOF line: not a metrics page";
        for text in ["", "\n\n", "# just a comment\n", "#EOF"] {
            assert_eq!(failure(text), nothing, "{text:?}");
        }
        assert_eq!(read("# EOF").map(|reading| reading.samples.len()), Ok(0), "a page that says it is empty");
        assert_eq!(
            failure("<!DOCTYPE html>"),
            "metrics page: line 1: expected a metric name at column 1, found \"<!DOCTYPE html>\"; this is an HTML page, check the path"
        );
        assert_eq!(failure("up 1\n# EOF\nup 2"), "metrics page: line 3: there is more after # EOF");
        assert_eq!(failure("# TYPE up gauges"), "metrics page: line 1: TYPE \"gauges\" is no metric type");
        assert!(failure("# TYPE a gauge\n# TYPE a counter").contains("line 2: TYPE says something else"));
        assert!(failure("# TYPE a histogram\na 1").contains("_bucket, _sum or _count"));
        assert!(failure("# TYPE a histogram\na_bucket 1").contains("a label `le`"));
        let binary = read_text(b"up 1\nup \xff 2", &TextLimits::default()).unwrap_err();
        assert_eq!(binary.to_string(), "metrics page: line 2: not UTF-8 text");
    }

    #[test]
    fn duplicates_and_foreign_names_are_counted() {
        let reading = read("up{a=\"1\",b=\"2\"} 1\nup{b=\"2\",a=\"1\"} 2\n{\"my.metric\"} 1\n").unwrap();
        assert_eq!(shown(&reading), ["unknown up{a=\"1\", b=\"2\"} 1"]);
        assert_eq!(reading.rejected.get(DUPLICATE), Some(&1));
        assert_eq!(reading.rejected.get(ILLEGAL_NAME), Some(&1));
        assert_eq!(reading.notes.len(), 2);
    }

    #[test]
    fn limits_fail_the_page_as_too_large() {
        let limits = TextLimits { max_samples: 2, max_labels: 1, max_name: 5, max_value: 3 };
        let too_large = |text: &str| matches!(read_text(text.as_bytes(), &limits), Err(ParseError::TooLarge { .. }));
        assert!(!too_large("a{b=\"123\"} 1\nabcde 2"));
        for text in ["a 1\nb 1\nc 1", "a{b=\"1\",c=\"2\"} 1", "abcdef 1", "a{abcdef=\"1\"} 1", "a{b=\"1234\"} 1"] {
            assert!(too_large(text), "{text}");
        }
        assert!(too_large("# HELP a a\n# HELP b b\n# HELP c c\n"));
        let few = read_selected(b"a 1\nb 1\nc 1\nd 1", &limits, |name| name < "c").unwrap();
        assert_eq!(shown(&few), ["unknown a{} 1", "unknown b{} 1"]);
    }

    type Written = (String, Vec<(String, String)>, f64);

    /// Writes as our own page does: escapes, one line a sample.
    fn write(samples: &[Written]) -> String {
        let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut page = String::new();
        for (name, labels, value) in samples {
            let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{}\"", escape(v))).collect();
            page += &format!("# TYPE {name} gauge\n{name}{{{}}} {value:?}\n", labels.join(","));
        }
        page
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            samples in prop::collection::vec(
                ("[a-z_:][a-z0-9_:]{0,8}", prop::collection::btree_map("[a-z][a-z0-9_]{0,5}", ".{1,8}|[\\\\\"\nn]{1,6}", 0..4), any::<f64>()),
                1..20,
            )
        ) {
            let samples: Vec<_> =
                samples.into_iter().map(|(name, labels, value)| (name, labels.into_iter().collect(), value)).collect();
            let reading = read(&write(&samples)).unwrap();
            let mut expected = Vec::new();
            let mut seen = HashSet::new();
            for (name, labels, value) in samples {
                let labels = Labels::new(labels);
                if seen.insert((name.clone(), labels.clone())) {
                    expected.push((name, labels, value.to_bits()));
                }
            }
            // NaN has many bit patterns and one spelling.
            let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
            let expected: Vec<_> = expected.into_iter().map(|(n, l, b)| (n, l, bits(f64::from_bits(b)))).collect();
            let found: Vec<_> =
                reading.samples.into_iter().map(|s| (s.family.name.to_string(), s.labels, bits(s.value))).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn random_bytes_never_panic_and_never_pass_for_an_empty_page(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(reading) = read_text(&bytes, &TextLimits::default()) {
                prop_assert!(bytes.windows(2).any(|pair| pair == b"# ") || !reading.samples.is_empty() || !reading.rejected.is_empty());
            }
        }

        #[test]
        fn scrambled_pages_never_panic(text in "([a-c]|_total|_bucket|[{}\"=, \\\\#\n]|# TYPE |# HELP |counter|histogram|é|[0-9.]){0,40}") {
            let _ = read(&text);
        }
    }
}
