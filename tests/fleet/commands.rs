//! Families told something over real sockets, behind the login that each wants: what was asked is done and read back, what
//! was before is known with the command that brings it back, what already is so is left alone, and a stranger is refused.

use std::time::Duration;

use davylamp::collect::command::{Call, CommandError, Outcome, Ready};
use davylamp::demo::{DeviceHandle, DeviceSpec, Fleet, Model};
use davylamp::model::Target;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{password, target};

/// A command, how the device stood before, and what undoes it.
type Step = (&'static str, Option<&'static str>, Option<&'static str>);

const UP: Option<&str> = Some("up for");
const STORY: &[(Model, &[Step])] = &[
    (
        Model::Auradine,
        &[
            ("pause", Some("hashing"), Some("resume")),
            ("resume", Some("sleeping"), Some("pause")),
            ("power-limit 3000", Some("3500"), Some("power-limit 3500")),
            ("mode eco", Some("custom"), Some("power-limit 3000")),
            ("power-limit 3200", None, Some("mode eco")),
            ("fan 70", Some("not known: 91 now, fixed or by the temperature"), Some("fan auto")),
            ("fan auto", None, None),
            ("identify on", None, None),
            ("restart", UP, None),
            ("reboot", UP, None),
        ],
    ),
    (
        Model::Elphapex,
        &[
            ("mode low", Some("normal"), Some("mode normal")),
            ("pause", Some("hashing"), Some("mode low")),
            ("mode normal", None, None),
            ("pause", Some("hashing"), Some("mode normal")),
            ("resume", Some("sleeping"), Some("pause")),
            ("identify on", None, None),
            ("reboot", UP, None),
        ],
    ),
    (Model::Hammer, &[("identify on", None, None), ("reboot", UP, None)]),
    (
        Model::Goldshell,
        &[
            ("mode 1", Some("0"), Some("mode 0")),
            ("pause", Some("hashing"), Some("mode 1")),
            ("resume", Some("sleeping"), Some("pause")),
            ("reboot", UP, None),
        ],
    ),
    (
        Model::Proto,
        &[
            ("pause", Some("hashing"), Some("resume")),
            ("resume", Some("paused"), Some("pause")),
            ("power-limit 2500", Some("3400"), Some("power-limit 3400")),
            ("fan 80", Some("auto"), Some("fan auto")),
            ("fan 40", Some("80"), Some("fan 80")),
            ("fan auto", Some("40"), Some("fan 40")),
            ("identify", None, None),
            ("reboot", UP, None),
        ],
    ),
    (Model::Iceriver, &[("identify on", Some("off"), Some("identify off"))]),
    (
        Model::Sealminer,
        &[
            ("pause", Some("hashing"), Some("resume")),
            ("resume", Some("paused"), Some("pause")),
            ("power-limit 3000", Some("3500"), Some("power-limit 3500")),
            ("identify on", None, None),
            ("restart", UP, None),
            ("reboot", UP, None),
        ],
    ),
    (Model::BraiinsRpc, &[("pause", Some("running"), Some("resume")), ("resume", Some("stopped"), Some("pause"))]),
    (
        Model::BraiinsGraphql,
        &[
            ("pause", Some("running"), Some("resume")),
            ("resume", Some("stopped"), Some("pause")),
            ("power-limit 3000", Some("3878"), Some("power-limit 3878")),
        ],
    ),
    (Model::Xmrig, &[("pause", Some("hashing"), Some("resume")), ("resume", Some("paused"), Some("pause"))]),
];

async fn one(model: Model) -> Fleet {
    Fleet::start(vec![DeviceSpec::new("rig", model)], 5).await.unwrap()
}

async fn tell(target: Target, text: &str) -> Result<(Outcome, Option<String>), CommandError> {
    let call = Call::read(&target.kind, text)?;
    let by = Instant::now() + Duration::from_secs(20);
    let plan = call.plan(&target)?;
    let ready = Ready::ask(target, plan, by).await?;
    let undo = ready.undo(&call);
    Ok((ready.tell(by).await?, undo))
}

/// Whether the device shows what it was told, seen from within.
fn shows(device: &DeviceHandle, text: &str) -> bool {
    match text {
        "pause" => device.vitals().paused,
        "resume" | "mode normal" => !device.vitals().paused,
        "restart" | "reboot" => device.restarts() > 0,
        "identify on" | "identify" => device.light(),
        _ => true,
    }
}

async fn live(model: Model, steps: &[Step]) {
    let fleet = one(model).await;
    let device = &fleet.devices()[0];
    for (text, before, undo) in steps {
        let place = format!("{model:?}: {text}");
        let (outcome, back) = tell(target(device), text).await.unwrap_or_else(|error| panic!("{place}: {error:?}"));
        let stood = outcome.before.as_deref();
        let right = match *before {
            UP => stood.is_some_and(|stood| stood.starts_with("up for")),
            before => stood == before,
        };
        assert!(right && outcome.changed, "{place}: {outcome:?}");
        // Work modes have several ways back.
        assert!(back.as_deref() == *undo || (*text == "mode normal" && undo.is_none()), "{place}: {back:?}");
        assert!(shows(device, text), "{place}: the device knows nothing of it");
        let call = Call::read(device.kind(), text).unwrap();
        if call.command.is_idempotent()
            && outcome.detail.starts_with("it")
            && before.is_some()
            && !text.starts_with("fan")
        {
            let (again, _) = tell(target(device), text).await.unwrap();
            assert!(!again.changed, "{place}: {again:?}");
        }
    }
}

#[tokio::test]
async fn what_they_are_told_is_done_and_can_be_undone() {
    join_all(STORY.iter().map(|(model, steps)| live(*model, steps))).await;
}

#[tokio::test]
async fn nobody_is_told_anything_without_the_password() {
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "guessed").unwrap();
    for (model, steps) in STORY {
        let fleet = one(*model).await;
        let device = &fleet.devices()[0];
        // cgminer's API lets in whom its configuration names.
        let open =
            ["braiins_rpc pause", "braiins_rpc resume", "sealminer pause", "sealminer resume", "sealminer restart"];
        for (text, ..) in *steps {
            if open.contains(&&*format!("{} {text}", device.kind())) {
                continue;
            }
            let mut without = target(device);
            without.options = serde_json::json!({});
            if let Err(missing) = tell(without, text).await {
                let named = ["options.password is missing", "options.token is missing", "HTTP 401"];
                assert!(named.iter().any(|word| missing.to_string().contains(word)), "{model:?} {text}: {missing}");
            }
            let mut stranger = target(device);
            stranger.options = device.options(wrong.path());
            match tell(stranger, text).await {
                // What already is so needs no word to anybody.
                Ok((outcome, _)) => assert!(!outcome.changed, "{model:?} {text}: {outcome:?}"),
                Err(CommandError::Refused(why)) => assert!(!why.contains("guessed"), "{why}"),
                Err(error) => panic!("{model:?} {text}: {error:?}"),
            }
        }
        assert!(!device.vitals().paused && !device.light() && device.restarts() == 0, "{model:?}");
    }
    assert!(password().is_file());
}

#[tokio::test]
async fn what_a_machine_cannot_do_is_said_before_anything_is_sent() {
    for (kind, text, word) in [
        ("cgminer", "reboot", "cannot restart the machine, and restart starts mining anew; there are restart, pool,"),
        ("iceriver", "pause", "there are identify"),
        ("braiins_rpc", "pool", "there are pause, resume"),
        ("prometheus", "restart", "takes no commands"),
        ("hammer", "rebot", "did you mean \"reboot\"?"),
    ] {
        let error = Call::read(kind, text).err().unwrap();
        assert!(error.to_string().contains(word), "{kind} {text}: {error}");
    }
    // A power plan that the machine does not have.
    let fleet = one(Model::Goldshell).await;
    let error = tell(target(&fleet.devices()[0]), "mode 2").await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("no such power plan; it has 0 (525 MHz") && said.contains("nothing was sent"), "{said}");
}
