//! A container that burns CPU, fails, is restarted and dies, as seen through the daemon.

use crate::docker::Engine;
use crate::lamp::Lamp;
use crate::world::seconds;

/// The entry of the configuration's section `targets`.
pub fn target(engine: &Engine) -> String {
    let socket = engine.socket().display().to_string();
    format!(
        "- {{id: engine, kind: docker, address: \"unix://{socket}\", interval: 2s, timeout: 2s, options: {{disk_usage: true}}}}\n"
    )
}

/// Starts what the tests look at: one that burns, one that sleeps, one that is over.
pub fn start(engine: &Engine) {
    let limits = ["--cpus", "0.2", "--memory", "64m", "--health-cmd", "true", "--health-interval", "1s"];
    engine.run(
        "burner",
        &limits,
        &["sh", "-c", "dd if=/dev/zero of=/file bs=1M count=4 oflag=direct; while :; do :; done"],
    );
    engine.run("patient", &[], &["sleep", "1000"]);
    engine.run("ended", &[], &["true"]);
}

/// Whether this machine's kernel counts what containers read and write; says loudly when not.
pub fn counts_block_io(engine: &Engine) -> bool {
    let shown = engine.docker(&["stats", "--no-stream", "--format", "{{.BlockIO}}", "burner"]);
    if shown.starts_with("0B / 0B") {
        eprintln!("SKIPPED: panels of block I/O: the engine itself sees none of a container that writes: {shown}");
    }
    !shown.starts_with("0B / 0B")
}

/// Lets containers live and die, and follows them on `/metrics`.
pub fn follow(lamp: &Lamp, engine: &Engine) {
    let of = |name: &'static str, container: &'static str| {
        move |page: &crate::http::Page| page.value(name, &[("container", container)]).unwrap_or(-1.0)
    };
    let state = |container: &'static str, state: &'static str| {
        move |page: &crate::http::Page| {
            page.value("docker_container_state", &[("container", container), ("state", state)]) == Some(1.0)
        }
    };
    let cpu = of("docker_container_cpu_seconds_total", "burner");
    let before = cpu(&lamp.wait("the burner", seconds(30), |page| cpu(page) > 0.0));
    lamp.wait("CPU being burnt", seconds(30), |page| cpu(page) > before + 0.2);
    assert!(state("burner", "running")(&lamp.metrics()));

    engine.run("mortal", &[], &["sh", "-c", "sleep 3; exit 3"]);
    lamp.wait("mortal alive", seconds(20), state("mortal", "running"));
    let died = ("type", "container");
    let page = lamp.wait("mortal's end", seconds(30), |page| {
        of("docker_container_last_exit_code", "mortal")(page) == 3.0 && state("mortal", "exited")(page)
    });
    assert!(page.value("docker_events_total", &[died, ("action", "die")]) >= Some(1.0), "{}", page.0);

    let restarts = of("docker_container_restarts_total", "patient");
    assert_eq!(restarts(&page), 0.0);
    engine.docker(&["restart", "--time", "0", "patient"]);
    lamp.wait("the restart", seconds(20), |page| restarts(page) == 1.0);

    engine.docker(&["kill", "burner"]);
    let page = lamp.wait("burner's end", seconds(20), state("burner", "exited"));
    assert_eq!(of("docker_container_last_exit_code", "burner")(&page), 137.0);
    assert!(page.value("docker_events_total", &[died, ("action", "kill")]) >= Some(1.0), "{}", page.0);
    engine.docker(&["start", "burner"]);
    lamp.wait("burner alive again", seconds(20), state("burner", "running"));
    engine.docker(&["rm", "mortal"]);
    lamp.wait("mortal off the page", seconds(20), |page| !page.0.contains("container=\"mortal\""));
}
