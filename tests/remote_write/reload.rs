//! A reload brings other receivers, all or nothing, while samples flow.

use std::time::Duration;

use rustix::process::Signal;

use crate::lamp::Lamp;
use crate::receiver::{Receiver, Taken};
use crate::send::Pages;

const PATIENCE: Duration = Duration::from_secs(60);

/// The counter's values in the order in which they were first told.
fn values(taken: &[Taken]) -> Vec<u64> {
    let mut found = Vec::new();
    for (labels, _, bits) in taken.iter().flat_map(|request| &request.samples) {
        let value = f64::from_bits(*bits);
        let told = labels.iter().any(|(name, value)| name == "__name__" && value == "told_total");
        if told && !value.is_nan() && !found.contains(&(value as u64)) {
            found.push(value as u64);
        }
    }
    found
}

#[test]
fn receivers_come_change_and_go_and_no_sample_is_lost_between() {
    let pages = Pages::start();
    let [first, second] = [(); 2].map(|()| Receiver::start(|_, _| (204, None, true)));
    let head = format!(
        "server: {{listen: '127.0.0.1:0'}}\nstorage: {{path: state, ballast_bytes: 0}}\n\
         targets: [{{id: pages, kind: prometheus, address: 'http://{}/metrics', interval: 1s, timeout: 900ms, options: {{keep_alive: false}}}}]\n",
        pages.address
    );
    let receiver = |name: &str, to: &Receiver| {
        format!(
            "- {{name: {name}, url: 'http://{}/write', queue_config: {{batch_send_deadline: 100ms}}}}\n",
            to.address
        )
    };
    let mut lamp = Lamp::new(&head);
    lamp.start();
    let polled = |count: u64| lamp.until("polls", PATIENCE, || (pages.told() >= count).then_some(()));
    let reload = |more: &str, outcome: &str| {
        let before = lamp.log().matches(outcome).count();
        lamp.write("davylamp.yml", &format!("{head}{more}"));
        lamp.signal(Signal::HUP);
        lamp.until(outcome, PATIENCE, || (lamp.log().matches(outcome).count() > before).then_some(()));
    };
    let (good, bad) = ("configuration loaded anew", "the configuration was not loaded");
    polled(2);
    reload(&format!("remote_write:\n{}", receiver("there", &first)), good);
    let begun = values(&first.wait("a sample", |taken| !values(taken).is_empty()))[0];

    // The same queue goes on to another address.
    reload(&format!("remote_write:\n{}", receiver("there", &second)), good);
    second.wait("a sample", |taken| !values(taken).is_empty());
    let seen = pages.told();

    // A queue that cannot be opened: nothing changes.
    lamp.write("state/remote_write/blocked", "a file where a folder must be");
    reload(&format!("remote_write:\n{}{}", receiver("there", &first), receiver("blocked", &first)), bad);
    assert!(lamp.log().contains("remote_write: the queue "), "{}", lamp.log());
    polled(seen + 2);
    second.wait("samples of the old configuration", |taken| values(taken).contains(&(seen + 1)));

    pages.settle(&lamp);
    let last = pages.told();
    let late = second.wait("the last sample", |taken| values(taken).contains(&last));
    let early = first.wait("requests", |taken| !taken.is_empty());
    let mut all = values(&early);
    all.extend(values(&late).into_iter().filter(|value| !all.contains(value)).collect::<Vec<_>>());
    assert_eq!(all, (begun..=last).collect::<Vec<_>>(), "every value, in order\n{}", lamp.log());

    let pending = |lamp: &Lamp| lamp.metrics().0.contains("davylamp_remote_write_samples_pending{");
    assert!(pending(&lamp));
    reload("log: {level: debug}\n", "changes of log need a restart");
    assert!(!pending(&lamp), "nobody is sent to any more");
    assert!(lamp.get("/").body.contains("changes of log need a restart"));
    reload("", good);
    lamp.finish();
}
