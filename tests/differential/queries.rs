//! The questions.

/// What Prometheus has changed since 2.42: the query and the reason. They are asked all the same, and must differ.
pub const DIFFERENT: [(&str, &str); 10] = [
    ("temperature atan2 up", "it forgot to drop the metric's name"),
    ("stddev_over_time(odd[4m])", "the correction of a sum that overflows is dropped, where it made NaN of infinity"),
    ("stdvar_over_time(odd[4m])", "as above"),
    ("rate(patchy[3m])", "a series that begins inside the window is extrapolated to zero at most half a spacing back"),
    ("increase(patchy[3m])", "as above"),
    ("stddev without (instance) ( odd)", "one value that is NaN or infinite has no deviation, not one of 0"),
    ("stdvar without (instance) ( odd)", "as above"),
    ("topk (2, patchy)", "of equal values any was taken; here the labels decide"),
    ("minute({__name__=~\"temperature|odd\"})", "Go's conversion of 1e300 to a time overflows; it has none here"),
    ("year({__name__=~\"temperature|odd\"})", "as above"),
];

/// Too long for one line.
pub const LONG: [&str; 3] = [
    "sum by (job, instance) (rate(requests_total{job=~\"api|web\", instance!=\"7\"}[5m])) / ignoring (version) group_left (version) count by (job) (build_info{version=~\"1.*\"})",
    "label_replace(topk(3, max_over_time(temperature{job=\"api\", instance=\"0\"}[10m:1m] offset 5m)), \"place\", \"$1\", \"instance\", \"(.*)\")",
    "-(histogram_quantile(0.9, sum by (le, job) (rate(latency_seconds_bucket[5m]))) > bool 0.1 and on (job) (up == 1 or up == 0))",
];

const OVER_TIME: [&str; 12] = [
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "present_over_time",
    "changes",
    "resets",
    "absent_over_time",
];

const RATES: [&str; 7] = ["rate", "increase", "delta", "irate", "idelta", "deriv", "absent_over_time"];

const AGGREGATIONS: [&str; 10] =
    ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk(2,", "quantile(0.3,"];

const SIMPLE: [&str; 22] = [
    "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "deg", "rad", "minute", "year",
];

const OTHERS: [&str; 73] = [
    "1 + 2 * 3 ^ 2 % 5",
    "-2 ^ 2",
    "time()",
    "vector(7)",
    "scalar(constant)",
    "scalar(temperature)",
    "temperature",
    "temperature{job=\"api\"}",
    "temperature{job!=\"api\"}",
    "temperature{instance=~\"0|7\"}",
    "temperature{instance!~\"0|7\"}",
    "{__name__=~\"temp.*|up\", job=\"web\"}",
    "temperature offset 3m",
    "temperature offset -3m",
    "temperature @ 1700001000",
    "patchy",
    "ended",
    "ended offset 10m",
    "odd",
    "absent(nothing)",
    "absent(nothing{job=\"x\", a=~\"b\"})",
    "absent(up)",
    "temperature > 30",
    "temperature > bool 30",
    "30 < temperature",
    "temperature == temperature",
    "odd == odd",
    "odd != odd",
    "up == 0",
    "temperature + 1",
    "2 - temperature",
    "temperature / 0",
    "temperature % 7",
    "temperature ^ 0.5",
    "requests_total * up",
    "temperature + on (job, instance) up",
    "temperature + ignoring (x) up",
    "temperature * on (job) group_left (version) build_info",
    "build_info * on (job) group_right () temperature",
    "temperature * on (job) build_info",
    "up * on (job) group_left () temperature",
    "temperature and on (job) build_info{version=\"1.2\"}",
    "temperature unless on (job) build_info{version=\"1.2\"}",
    "build_info or up",
    "up > 0 or up == 0",
    "temperature atan2 up",
    "-temperature",
    "-odd",
    "histogram_quantile(0.5, latency_seconds_bucket)",
    "histogram_quantile(0.99, sum by (le) (rate(latency_seconds_bucket[5m])))",
    "histogram_quantile(1.5, latency_seconds_bucket)",
    "histogram_quantile(0.9, sum by (job, le) (latency_seconds_bucket))",
    "label_replace(up, \"place\", \"x$1\", \"instance\", \"(.)\")",
    "label_join(up, \"both\", \"-\", \"job\", \"instance\")",
    "sort(temperature)",
    "sort_desc(odd)",
    "clamp(temperature, 25, 35)",
    "clamp_min(temperature, 30)",
    "clamp_max(odd, 5)",
    "round(temperature)",
    "round(temperature, 0.5)",
    "timestamp(temperature)",
    "timestamp(patchy)",
    "predict_linear(temperature[10m], 3600)",
    "quantile_over_time(0.4, temperature[10m])",
    "count_values(\"v\", up)",
    "bottomk(1, temperature)",
    "topk by (job) (1, temperature)",
    "sum(rate(requests_total[5m])) by (job) / sum(up) by (job)",
    "max_over_time(rate(requests_total[2m])[10m:1m])",
    "avg_over_time((temperature > 25)[10m:30s])",
    "sum_over_time(up[10m:])",
    "count_over_time(patchy[20m:45s] offset 5m)",
];

pub fn all() -> Vec<String> {
    let mut all: Vec<String> = OTHERS.map(String::from).to_vec();
    for function in OVER_TIME {
        for range in ["temperature[5m]", "patchy[10m]", "odd[4m]", "ended[15m]"] {
            all.push(format!("{function}({range})"));
        }
    }
    for function in RATES {
        for range in ["requests_total[1m]", "requests_total[10m]", "patchy[3m]", "latency_seconds_bucket[5m]"] {
            all.push(format!("{function}({range})"));
        }
    }
    for aggregation in AGGREGATIONS {
        let (name, open) = aggregation.split_once('(').map_or((aggregation, ""), |(name, rest)| (name, rest));
        for grouping in ["", " by (job)", " without (instance)"] {
            for vector in ["temperature", "odd", "patchy"] {
                all.push(format!("{name}{grouping} ({open} {vector})"));
            }
        }
    }
    all.extend(SIMPLE.iter().map(|function| format!("{function}({{__name__=~\"temperature|odd\"}})")));
    all
}
