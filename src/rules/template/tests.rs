//! Templates as rules use them; the expected texts are those of Prometheus.

use super::*;

struct Fleet;

impl Lookup for Fleet {
    fn query(&self, expression: &str) -> Result<Vec<(Labels, f64)>, LookupError> {
        match expression {
            "none" => Ok(Vec::new()),
            "up" => Ok(vec![
                (Labels::new([("__name__", "up"), ("instance", "b")]), 21.0),
                (Labels::new([("__name__", "up"), ("instance", "a")]), 11.0),
            ]),
            other => Err(LookupError(format!("no such thing as {other}"))),
        }
    }
}

fn expand(text: &str) -> Result<String, String> {
    let labels = Labels::new([("instance", "rig-7:4028"), ("miner", "rig-7")]);
    let external = Labels::new([("site", "north")]);
    let scope = Scope {
        labels: &labels,
        value: 1234.5,
        external_labels: &external,
        external_url: "http://lamp.example:9940/base",
        at: 1_500_000,
        lookup: &Fleet,
    };
    Template::parse(text).and_then(|template| template.expand(&scope)).map_err(|error| error.to_string())
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(expand(text).as_deref(), Ok(*expected), "{text}");
    }
}

fn refused(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(expand(text).as_ref().map_err(String::as_str), Err(*expected), "{text}");
    }
}

#[test]
fn what_annotations_say() {
    check(&[
        ("plain { text }", "plain { text }"),
        ("{{ $labels.miner }} at {{ $value }}", "rig-7 at 1234.5"),
        ("{{ .Labels.miner }} {{ .Value | humanize }}", "rig-7 1.234k"),
        ("{{ $labels.absent }}|{{ $externalLabels.site }}|{{ $externalURL }}", "|north|http://lamp.example:9940/base"),
        ("{{ printf \"%.2f\" $value }} {{ $value | printf \"%.0f\" }}", "1234.50 1234"),
        (
            "{{ humanizeDuration 3661 }} {{ 0.256 | humanizePercentage }} {{ humanize1024 1048576 }}",
            "1h 1m 1s 25.6% 1Mi",
        ),
        ("{{ humanizeTimestamp 1435065584.128 }} {{ now }}", "2015-06-23 13:19:44.128 +0000 UTC 1500"),
        ("{{ stripPort $labels.instance }} {{ stripDomain \"a.b.c:80\" }}", "rig-7 a:80"),
        (
            "{{ reReplaceAll \"(.*):(.*)\" \"$2/${1}x\" $labels.instance }} {{ match \"rig-\\\\d\" $labels.miner }}",
            "4028/rig-7x true",
        ),
        ("{{ title \"ab cd\" }}{{ toUpper \"x\" }}{{ toLower \"Y\" }}", "Ab CdXy"),
        ("{{ graphLink \"up == 0\" }} {{ pathPrefix }}", "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /base"),
        (
            "{{ ($value | toTime).Format \"15:04:05\" }} {{ (toTime $value).UTC.Month }} {{ printf \"%02d\" (toTime 0).Month }}",
            "00:20:34 January 01",
        ),
        (
            "{{ with toTime 86400 }}{{ .Weekday }} {{ .Sub (toTime 0) }} {{ .After (toTime 0) }}{{ end }}",
            "Friday 24h0m0s true",
        ),
        ("{{ eq (toTime 0).Month 1 }} {{ \"15:04\" | (toTime 60).Format }}", "true 00:01"),
        (
            "{{ slice \"abcde\" 1 3 }}{{ slice \"abc\" 2 }} {{ js \"it's\" }} {{ len (slice (query \"up\") 1) }}",
            "bcc it\\'s 1",
        ),
        ("{{ parseDuration \"1h30m\" }} {{ (toTime 86400).Year }} {{ (toDuration 90).Minutes }}", "5400 1970 1.5"),
        ("{{ $labels }} {{ args 1 2.5 \"x\" }}", "map[instance:rig-7:4028 miner:rig-7] map[arg0:1 arg1:2.5 arg2:x]"),
        ("{{ index $labels \"miner\" }} {{ len $labels }} {{ print 1 2 \"a\" }}{{ `raw\\n` }}", "rig-7 2 1 2araw\\n"),
        (
            "{{ html \"<b>\" }} {{ urlquery \"a b\" }} {{ true }} {{ 'a' }} {{ 0x10 }} {{ -1.5e3 }}",
            "&lt;b&gt; a+b true 97 16 -1500",
        ),
    ]);
}

#[test]
fn queries_and_loops() {
    check(&[
        ("{{ query \"up\" | first | value }}", "21"),
        ("{{ with query \"up\" }}{{ . | first | label \"instance\" }}{{ end }}", "b"),
        (
            "{{ range query \"up\" | sortByLabel \"instance\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}",
            "a=11;b=21;",
        ),
        ("{{ range $i, $s := query \"up\" }}{{ $i }}{{ $s.Labels.instance }}{{ end }}", "0b1a"),
        ("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing"),
        ("{{ range $k, $v := $labels }}{{ $k }}={{ $v }},{{ end }}", "instance=rig-7:4028,miner=rig-7,"),
        (
            "{{ range 5 }}{{ if eq . 3 }}{{ break }}{{ end }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ . }}{{ end }}",
            "02",
        ),
        ("{{ $sum := 0.0 }}{{ range query \"up\" }}{{ $sum = .Value }}{{ end }}{{ $sum }}", "11"),
    ]);
    refused(&[
        ("{{ query \"none\" | first | value }}", "1:19: first: called on a vector with no elements"),
        ("a\n {{ query \"bad\" }}", "2:5: query: no such thing as bad"),
    ]);
}

#[test]
fn branches_definitions_and_trimming() {
    check(&[
        ("{{ if gt $value 1000.0 }}high{{ else if gt $value 10.0 }}mid{{ else }}low{{ end }}", "high"),
        ("{{ if and (lt $value 1.0) (query \"bad\") }}x{{ else }}short{{ end }}", "short"),
        ("{{ if or \"\" $labels.miner | eq \"rig-7\" }}yes{{ end }}", "yes"),
        ("{{ with $labels.absent }}{{ . }}{{ else with $labels.miner }}{{ . }}{{ end }}", "rig-7"),
        ("{{ define \"t\" }}<{{ .arg0 }} {{ .arg1 }}>{{ end }}{{ template \"t\" (args $value \"x\") }}", "<1234.5 x>"),
        ("{{ define \"t\" }}{{ . }}{{ end }}{{ template \"t\" }}", "<no value>"),
        ("{{ block \"b\" 7 }}[{{ . }}]{{ end }}", "[7]"),
        ("a  {{- /* note */ -}}  b {{- 1 -}} c", "ab1c"),
        ("{{/* only */}}x{{- \" y\" }}", "x y"),
        (
            "{{ not true }} {{ eq 1 2 1 }} {{ ne \"a\" \"b\" }} {{ le 1 1 }} {{ ge 1.5 2.5 }}",
            "false true true true false",
        ),
        ("{{ $x := \"out\" }}{{ if true }}{{ $x := \"in\" }}{{ $x }}{{ end }}{{ $x }}", "inout"),
    ]);
}

#[test]
fn mistakes_name_their_place() {
    refused(&[
        ("{{ $labels.x", "1:1: the action is not closed: }} is missing"),
        ("{{ foo }}", "1:4: function \"foo\" is not defined"),
        ("{{ humanise $value }}", "1:4: function \"humanise\" is not defined; did you mean \"humanize\"?"),
        ("x\n{{ $nope }}", "2:4: undefined variable $nope"),
        ("{{ if true }}x", "1:4: the block is not closed: {{ end }} is missing"),
        ("{{ end }}", "1:4: {{ end }} without an open block"),
        ("{{ else }}", "1:4: {{ else }} without an open block"),
        ("{{ }}", "1:1: the action is empty"),
        ("{{ \"x }}", "1:4: the string is not closed"),
        ("{{ /* x }}", "1:4: the comment is not closed"),
        ("{{ 1 | 2 }}", "1:8: behind | there must be a function"),
        ("{{ break }}", "1:4: {{ break }} outside a range"),
        ("{{ (1 }}", "1:4: the parenthesis is not closed"),
        ("{{ 1x }}", "1:4: bad number \"1x\""),
        ("{{ gt $value 5 }}", "1:4: gt: cannot compare float64 with int: write the number with a point, as in 5.0"),
        ("{{ toUpper $value }}", "1:4: toUpper: argument 1 is float64, not a string"),
        ("{{ (toTime 0).Format 1 }}", "1:4: Format does not take (int)"),
        ("{{ (toTime 0).Frmat \"x\" }}", "1:4: *time.Time has no field \"Frmat\""),
        ("{{ slice \"abc\" 2 1 }}", "1:4: slice: the indices do not rise"),
        ("{{ slice \"abc\" 4 }}", "1:4: slice: index 4 is out of range"),
        ("{{ $labels.miner \"x\" }}", "1:4: map[string]string has no field \"miner\""),
        ("{{ $value.x }}", "1:4: float64 has no field \"x\""),
        ("{{ template \"t\" }}", "1:4: template \"t\" is not defined"),
        ("{{ label \"a\" }}", "1:4: label: wants 2 arguments and got 1"),
        ("{{ reReplaceAll \"(\" \"\" \"x\" }}", "1:4: reReplaceAll: bad regular expression \"(\""),
    ]);
}

#[test]
fn nothing_grows_without_limit() {
    let deep = format!("{}1{}", "{{ if true }}".repeat(60), "{{ end }}".repeat(60));
    assert!(expand(&deep).is_err_and(|error| error.ends_with("nested more than 50 deep")));
    let parens = format!("{{{{ {}1 }}}}", "(".repeat(60_000));
    assert!(expand(&parens).is_err_and(|error| error.ends_with("nested more than 50 deep")));
    refused(&[
        (
            "{{ define \"t\" }}{{ template \"t\" }}{{ end }}{{ template \"t\" }}",
            "1:20: templates call each other more than 50 deep",
        ),
        ("{{ range 90000 }}{{ range 90000 }}{{ end }}{{ end }}", "1:27: the expansion takes more than 100000 steps"),
        ("{{ range 40000 }}xy{{ end }}", "1:1: the expansion writes more than 65536 bytes"),
        (
            "{{ $x := \"ab\" }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}",
            "1:39: print: the text is longer than 65536 bytes",
        ),
    ]);
    assert!(Template::parse(&" ".repeat(MAX_TEXT + 1)).is_err());
}

#[test]
fn a_failed_annotation_is_still_a_text() {
    let scope = Scope {
        labels: &Labels::empty(),
        value: 1.0,
        external_labels: &Labels::empty(),
        external_url: "",
        at: 0,
        lookup: &Fleet,
    };
    let template = Template::parse("{{ query \"x\" }}").unwrap();
    assert_eq!(template.expand_or_error(&scope), "<error expanding template: 1:4: query: no such thing as x>");
}

#[test]
fn queries_in_words_are_known_before_they_are_asked() {
    for (text, minutes) in [
        ("{{ query \"up\" | first | value }}", 5),
        (
            "{{ with printf \"rate(x{instance='%s'}[1h])\" $labels.instance | query }}{{ . | first | value }}{{ end }}",
            60,
        ),
        (
            "{{ range query (printf \"max_over_time(x{a=%q}[2h])\" $labels.instance) }}{{ else }}{{ query \"x offset 3h\" }}{{ end }}",
            185,
        ),
        ("{{ define \"d\" }}{{ query \"x[1d:]\" }}{{ end }}x", 1445),
        ("nothing {{ $value }} {{ printf \"%d of [5m]\" 1 }}", 0),
    ] {
        let window = Template::parse(text).unwrap().window();
        // Ranges are left-open: the lookback and each range may count a millisecond less.
        assert_eq!((window.as_secs_f64() / 60.0).round() as u64, minutes, "{text}");
    }
}
