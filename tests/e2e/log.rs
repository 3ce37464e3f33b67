//! A device that speaks by itself, through the daemon: its last lines, its next ones, and who is not listened to.

use std::process::Stdio;

use futures_util::SinkExt;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use crate::lamp::Lamp;
use crate::world::{config, seconds};

#[test]
fn a_device_log_is_shown_and_followed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (next, heard) = tokio::sync::watch::channel(false);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut heard = heard.clone();
            tokio::spawn(async move {
                // Polls come here too, and get no answer.
                let Ok(mut socket) = accept_async(stream).await else { return };
                let _ = socket.send(Message::text("I (1) main: \u{1b}[31mhello\u{1b}[0m")).await;
                let _ = heard.wait_for(|said| *said).await;
                let _ = socket.send(Message::text("W (2) main: again")).await;
                std::future::pending::<()>().await;
            });
        }
    });
    let logs = "device_logs: {match: ['target=\"talker\"'], counters: [{name: hello, pattern: 'hel+o'}]}\n";
    let targets = format!(
        "- {{id: talker, kind: axeos, address: '{address}'}}\n- {{id: mute, kind: axeos, address: '127.0.0.1:1'}}\n"
    );
    let mut lamp = Lamp::new(&(config(None, logs) + &targets));
    lamp.write("rules.yml", "groups: []");
    lamp.start();
    let counter = [("target", "talker"), ("counter", "hello")];
    let page =
        lamp.wait("a line", seconds(30), |page| page.value("davylamp_device_log_matches_total", &counter) == Some(1.0));
    assert_eq!(page.value("davylamp_device_log_connected", &[("target", "talker")]), Some(1.0));
    let lines: serde_json::Value = serde_json::from_str(&lamp.get("/api/v1/targets/talker/log").body).unwrap();
    assert_eq!((&lines[0]["number"], &lines[0]["text"]), (&1.into(), &"I (1) main: hello".into()));
    let refused = lamp.get("/api/v1/targets/mute/log");
    assert!(refused.status == 404 && refused.body.contains("device_logs"), "{}", refused.body);

    let url = format!("http://{}", lamp.address());
    let once = lamp.output(&["log", "talker", "--url", &url]);
    let text = String::from_utf8(once.stdout).unwrap();
    assert!(once.status.success() && text.ends_with("Z I (1) main: hello\n"), "{text}");
    let followed = std::fs::File::create(lamp.path("followed")).unwrap();
    let mut follow = lamp.command(&["log", "talker", "--follow", "--url", &url]);
    let mut follow = follow.stdout(followed).stderr(Stdio::null()).spawn().unwrap();
    let read = || std::fs::read_to_string(lamp.path("followed")).unwrap();
    lamp.until("the first line", seconds(20), || read().contains("hello").then_some(()));
    next.send(true).unwrap();
    lamp.until("the next line", seconds(20), || read().contains("W (2) main: again").then_some(()));
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert_eq!(read().matches("hello").count(), 1, "a line is shown once");
    lamp.finish();
}
