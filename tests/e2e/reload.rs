//! A new configuration: all or nothing, by difference, and only for those who may ask.

use davylamp::demo::Model;
use rustix::process::Signal;

use crate::http::send;
use crate::lamp::Lamp;
use crate::world::{Farm, PLAYED, config, posted, seconds};

const MINERS: [(&str, Model); 3] = [("kept", Model::Bitaxe), ("removed", Model::Bitaxe), ("added", Model::Cgminer)];

fn target(farm: &Farm, id: &str) -> String {
    farm.targets().lines().find(|line| line.contains(&format!("id: {id},"))).unwrap().to_string() + "\n"
}

#[test]
fn all_or_nothing_by_difference() {
    let farm = Farm::start(&MINERS);
    let head = config(None, "");
    let mut lamp = Lamp::new(&(head.clone() + &target(&farm, "kept") + &target(&farm, "removed")));
    lamp.write("rules.yml", "groups: []");
    lamp.start();
    lamp.wait("both miners", seconds(30), |page| page.value("davylamp_target_up", &[]) == Some(2.0));
    let loaded = |value| {
        move |page: &crate::http::Page| page.value("davylamp_config_last_reload_successful", &[]) == Some(value)
    };
    lamp.wait("a good start", seconds(5), loaded(1.0));

    let kept_polls = |page: &crate::http::Page| page.value("davylamp_polls_total", &[("target", "kept")]).unwrap();
    let before = kept_polls(&lamp.metrics());
    // One mistake beside two good changes: none of them may take effect.
    lamp.write(
        "davylamp.yml",
        &(head.clone() + &target(&farm, "kept") + &target(&farm, "added") + "- {id: x, kind: axeoss, address: y}\n"),
    );
    lamp.signal(Signal::HUP);
    lamp.wait("the refusal", seconds(10), loaded(0.0));
    let status = lamp.get("/").body;
    assert!(status.contains("The last reload failed") && status.contains("axeoss"), "{status}");
    assert!(lamp.log().contains("axeoss"));
    let page = lamp.wait("polls of the old targets", seconds(15), |page| kept_polls(page) > before);
    assert_eq!(page.value("davylamp_target_up", &[("target", "removed")]), Some(1.0));
    assert_eq!(page.value("davylamp_target_up", &[("target", "added")]), None);
    assert_eq!(farm.device("added").requests(), 0);

    lamp.write("davylamp.yml", &(head + &target(&farm, "kept") + &target(&farm, "added")));
    let polls = kept_polls(&lamp.metrics());
    lamp.signal(Signal::HUP);
    lamp.wait("the reload", seconds(10), loaded(1.0));
    let page = lamp.wait("the new target", seconds(15), |page| {
        page.value("davylamp_target_up", &[("target", "added")]) == Some(1.0)
    });
    assert!(kept_polls(&page) >= polls, "an unchanged target begins anew");
    // A device that was found and put away is `removed` too, as a state.
    let of_it = |line: &&str| line.contains("\"removed\"") && !line.contains("state=\"removed\"");
    let gone: Vec<&str> = page.0.lines().filter(of_it).collect();
    assert!(gone.is_empty(), "{gone:?}");
    assert!(!lamp.get("/").body.contains("The last reload failed"));
    let asked = farm.device("removed").requests();
    lamp.wait("more polls", seconds(20), |page| kept_polls(page) > polls + 1.0);
    assert_eq!(farm.device("removed").requests(), asked, "it is still polled");
    lamp.finish();
}

#[test]
fn only_with_the_token() {
    let farm = Farm::start(&MINERS[..1]);
    let mut lamp = Lamp::new(&(config(None, "") + &farm.targets()));
    lamp.write("rules.yml", "groups: []");
    lamp.start();
    let refused = lamp.request("POST", "/-/reload", &[("Authorization", "Bearer guess")]);
    assert_eq!(refused.status, 403, "without a token configured nobody may: {}", refused.body);
    lamp.finish();

    let mut lamp =
        Lamp::new(&(config(None, "").replace("{listen:", "{token: {file: token}, listen:") + &farm.targets()));
    lamp.write("rules.yml", "groups: []");
    lamp.write("token", "open-sesame\n");
    lamp.start();
    let timestamp =
        |lamp: &Lamp| lamp.metrics().value("davylamp_config_last_reload_success_timestamp_seconds", &[]).unwrap();
    let before = timestamp(&lamp);
    for headers in [&[][..], &[("Authorization", "Bearer guess")], &[("Authorization", "open-sesame")]] {
        let answer = lamp.request("POST", "/-/reload", headers);
        assert_eq!(answer.status, 401, "{headers:?}: {}", answer.body);
    }
    assert_eq!(timestamp(&lamp), before);
    let right = [("Authorization", "Bearer open-sesame")];
    assert_eq!(lamp.request("GET", "/-/reload", &right).status, 405, "a link that is followed changes nothing");
    let answer = lamp.request("POST", "/-/reload", &right);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("1 kept"), "{}", answer.body);
    assert!(timestamp(&lamp) > before);
    lamp.write("rules.yml", "groups: [{name: a, rules: [{alert: A, expr: 'x >'}]}]");
    let answer = lamp.request("POST", "/-/reload", &right);
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.head.contains("application/problem+json") && answer.body.contains("rules.yml"), "{}", answer.body);
    lamp.finish();
}

/// How playbooks are run, and which, before and after the reload.
fn acting(command: &str, runs: &str, step: &str) -> String {
    format!(
        "server: {{listen: '127.0.0.1:0'}}
storage: {{path: state, ballast_bytes: 0}}
ansible: {{command: {command}/ansible-playbook, inventory: hosts, runs: {runs}, startup_grace: 0s, kill_grace: 1s}}
webhooks: {{alertmanager: {{bearer: {{file: token}}}}}}
remediations:
- name: repair
  match: ['alertname=\"Hot\"']
  target: '{{{{ $labels.miner }}}}'
  sources: [alertmanager]
  mode: auto
  steps: [{{playbook: {step}, timeout: 1m}}]
"
    )
}

#[test]
fn how_playbooks_are_run_changes_and_runs_go_on() {
    let mut lamp = Lamp::new(&acting("one", "runs", "old.yml"));
    lamp.write("token", "s3cret");
    lamp.write("hosts", "m1\nm2\n");
    lamp.write("playbooks/old.yml", "- hosts: all\n");
    lamp.write("playbooks/new.yml", "- hosts: all\n");
    // The first one goes on until it is told to end.
    let slow = PLAYED.replace("sleep 0.05", "until [ -e \"${0%/*}/go\" ]; do sleep 0.05; done");
    lamp.program("one/ansible-playbook", &slow);
    lamp.program("two/ansible-playbook", PLAYED);
    for folder in ["one", "two"] {
        let inventory = "#!/bin/sh\necho '{\"all\": {\"hosts\": [\"m1\", \"m2\"]}}'\n";
        lamp.program(&format!("{folder}/ansible-inventory"), inventory);
    }
    lamp.start();
    let fire = |miner: &str| {
        let (path, bearer) = ("/api/v1/webhooks/alertmanager", ("Authorization", "Bearer s3cret"));
        let answer = send(lamp.address(), "POST", path, &[bearer], &posted("firing", "Hot", miner)).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    };
    let traces = |folder: &str| std::fs::read_to_string(lamp.path(folder).join("trace")).unwrap_or_default();
    fire("m1");
    lamp.until("the first play", seconds(30), || (traces("one") == "m1 old.yml real\n").then_some(()));

    // One mistake, and nothing of it is taken over.
    lamp.write("davylamp.yml", &acting("two", "runs2", "nwe.yml"));
    lamp.signal(Signal::HUP);
    lamp.until("the refusal", seconds(20), || lamp.log().contains("no playbook \"nwe.yml\"").then_some(()));
    lamp.write("davylamp.yml", &acting("two", "runs2", "new.yml"));
    lamp.signal(Signal::HUP);
    lamp.until("the reload", seconds(20), || lamp.log().contains("configuration loaded anew").then_some(()));
    assert!(!lamp.log().contains("need a restart"), "{}", lamp.log());
    fire("m2");
    lamp.until("the second play", seconds(30), || (traces("two") == "m2 new.yml real\n").then_some(()));

    // The first one went on all the while, and its end is seen where it was begun.
    std::fs::write(lamp.path("one/go"), "").unwrap();
    let succeeded = |page: &crate::http::Page| page.value("davylamp_runs_total", &[("result", "succeeded")]);
    lamp.wait("both ends", seconds(30), |page| succeeded(page) == Some(2.0));
    assert_eq!((traces("one").lines().count(), traces("two").lines().count()), (1, 1));
    assert!(lamp.path("state/runs2").is_dir());
    lamp.finish();
}
