//! What goes to each service, as files that can be read: `tests/notify/*.json`, `email.txt`. `GOLDEN=1` rewrites them.
//!
//! The alert is as hostile as a device can make it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::model::Labels;
use crate::notify::check::{Entries, check};
use crate::notify::letter::{Group, Message};
use crate::notify::settings::ReceiverEntry;
use crate::notify::{Checked, Notice};
use crate::silence::Windows;

const AT: i64 = 1_795_320_000_000;

fn checked(folder: &Path) -> Checked {
    let secret = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        format!("{{file: {}}}", path.display())
    };
    let (url, token) = (secret("url", "https://hooks.example.com/T0/B0/canary"), secret("token", "123:canary"));
    let text = format!(
        "[{{name: ops,
           webhook_configs: [{{url: 'https://example.com/hook', secret: {token}}}],
           email_configs: [{{to: [ops@example.com], from: lamp@example.com, smarthost: 'mail.example.com:587'}}],
           slack_configs: [{{api_url: {url}, channel: '#ops'}}],
           discord_configs: [{{webhook_url: {url}}}],
           telegram_configs: [{{bot_token: {token}, chat_id: -1001}}],
           ntfy_configs: [{{topic: lamp, token: {token}}}],
           pagerduty_configs: [{{routing_key: {token}}}]}}]"
    );
    let receivers: Vec<ReceiverEntry> = serde_yaml::from_str(&text).unwrap();
    let entries = Entries {
        alertmanagers: &[],
        receivers: &receivers,
        route: None,
        windows: &Windows::default(),
        folder,
        external_url: "https://lamp.example.com",
    };
    check(&entries).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn hostile(resolved_at: Option<i64>) -> Vec<Notice> {
    let labels = [("alertname", "MinerHot"), ("miner", "<!channel> @everyone *x*"), ("severity", "critical")];
    let summary =
        "<script>alert(1)</script> & [link](https://evil.example) {{ .Secret }}\r\nBcc: all@example.com\u{1b}[31m";
    vec![Notice {
        labels: Labels::new(labels),
        annotations: Labels::new([("summary", summary)]),
        starts_at: AT - 60_000,
        resolved_at,
        generator_url: "https://lamp.example.com/graph?g0.expr=x".into(),
        interval: Duration::from_secs(15),
    }]
}

fn letter(alerts: &[Notice], integration: &Integration) -> Letter {
    let labels = Labels::new([("alertname", "MinerHot")]);
    let group = Group {
        receiver: "ops",
        key: "{}:{alertname=\"MinerHot\"}",
        labels: &labels,
        alerts,
        external_url: "https://lamp.example.com",
        max_alerts: 0,
        at: AT,
    };
    Letter::of_group(&group, &integration.templates)
}

/// What goes over the wire, in words.
fn written(integration: &Integration, letter: &Letter) -> String {
    match integration.service.render(letter).unwrap_or_else(|fault| panic!("{fault}")) {
        Parcel::Http(parcel) => {
            let body: serde_json::Value = serde_json::from_slice(&parcel.body).unwrap();
            let headers: Vec<String> =
                parcel.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            format!("POST {}\n{}\n{}\n", parcel.url, headers.concat(), serde_json::to_string_pretty(&body).unwrap())
        }
        Parcel::Mail(mail) => String::from_utf8(mail.formatted()).unwrap().replace("\r\n", "\n"),
    }
}

#[test]
fn every_service_is_told_in_its_own_words_and_no_text_is_more_than_text() {
    let folder = tempfile::tempdir().unwrap();
    let checked = checked(folder.path());
    let golden = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/notify"));
    let (firing, resolved) = (hostile(None), hostile(Some(AT)));
    let message = Message {
        title: "Approve restart of garage-1?".into(),
        text: "MinerHot fires on garage-1; step 2 of miner-restart waits.".into(),
        severity: "warning".into(),
        links: vec![("Approve".into(), "https://lamp.example.com/approve/1".into())],
        key: "run-1".into(),
    };
    let mut faults = Vec::new();
    for integration in &checked.receivers["ops"].integrations {
        let mut text = String::new();
        let note = Letter::of_message(&message, "ops", "https://lamp.example.com", "id", AT);
        for letter in [letter(&firing, integration), letter(&resolved, integration), note] {
            text.push_str(&written(integration, &letter));
        }
        let path = golden.join(format!("{}.txt", integration.kind));
        if std::env::var_os("GOLDEN").is_some() {
            std::fs::create_dir_all(&golden).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        if text != std::fs::read_to_string(&path).unwrap_or_default() {
            faults.push(format!("{}:\n{text}", integration.kind));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn long_texts_are_cut_to_what_each_service_takes() {
    let folder = tempfile::tempdir().unwrap();
    let checked = checked(folder.path());
    let long = "*😀<".repeat(20_000);
    let message = Message { title: long.clone(), text: long, ..Message::default() };
    let letter = Letter::of_message(&message, "ops", "", "id", AT);
    for integration in &checked.receivers["ops"].integrations {
        let Parcel::Http(parcel) = integration.service.render(&letter).unwrap_or_else(|fault| panic!("{fault}")) else {
            continue;
        };
        let body: serde_json::Value = serde_json::from_slice(&parcel.body).unwrap();
        let text = |pointer: &str| body.pointer(pointer).unwrap().as_str().unwrap().to_string();
        match integration.kind {
            "discord" => {
                assert!(text("/embeds/0/title").chars().count() <= 256);
                assert!(text("/embeds/0/description").chars().count() <= 4096);
            }
            "telegram" => assert!(text("/text").encode_utf16().count() <= 4096),
            "ntfy" => assert!(text("/message").len() <= 4096 && text("/title").len() <= 1024),
            "pagerduty" => assert!(text("/payload/summary").chars().count() <= 1024 && parcel.body.len() < 512_000),
            "slack" => assert!(text("/attachments/0/text").len() < 40_000),
            _ => {}
        }
    }
}

#[test]
fn templates_see_alertmanagers_data_and_a_failing_one_keeps_no_alert_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = checked(folder.path());
    let receiver = checked.receivers.remove("ops").unwrap();
    let mut integration = std::sync::Arc::into_inner(receiver).unwrap().integrations.remove(0);
    let read = |text: &str| Some(crate::rules::template::Template::parse(text).unwrap());
    integration.templates.title = read("{{ .Status | toUpper }} {{ .GroupLabels.alertname }} {{ len .Alerts.Firing }}");
    integration.templates.text = read(
        "{{ range .Alerts }}{{ .Labels.severity }} since {{ .StartsAt.Unix }}{{ end }} {{ .CommonLabels.severity }}",
    );
    let good = letter(&hostile(None), &integration);
    assert_eq!((good.title.as_str(), good.text.as_str()), ("FIRING MinerHot 1", "critical since 1795319940 critical"));
    integration.templates.text = read("{{ query \"up\" }}");
    let bad = letter(&hostile(None), &integration);
    assert!(bad.text.starts_with("• <script>") && bad.text.contains("template failed"), "{}", bad.text);
}

#[test]
fn no_fault_shows_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let checked = checked(folder.path());
    let letter = letter(&hostile(None), &checked.receivers["ops"].integrations[0]);
    std::fs::write(folder.path().join("url"), "not a url canary").unwrap();
    std::fs::write(folder.path().join("token"), "canary/../../x\u{7f}").unwrap();
    for integration in &checked.receivers["ops"].integrations {
        if let Err(fault) = integration.service.render(&letter) {
            assert!(!fault.to_string().contains("canary"), "{}: {fault}", integration.kind);
        }
    }
}
