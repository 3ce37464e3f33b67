//! A Docker engine for tests: a dockerd of our own, in a folder and in network, mount and process namespaces of its own,
//! so that nothing of the machine's is touched and nothing is left behind.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // in a test a failure shows itself
#![allow(dead_code)] // every test uses its part of it
#![allow(clippy::disallowed_methods)] // it waits for processes, outside of any runtime

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The one image there is: a busybox.
pub const IMAGE: &str = "davylamp-test:1";

/// With the machine's containerd in sight, dockerd would use that one instead of starting its own.
const HIDE_CONTAINERD: &str = "[ ! -d /run/containerd ] || mount -t tmpfs tmpfs /run/containerd && exec \"$@\"";

/// A running engine. Dropping it removes its containers, its processes and its folder. Drop it on the thread that
/// started it: when that thread ends, the kernel ends the engine.
pub struct Engine {
    folder: tempfile::TempDir,
    unshare: Child,
}

impl Engine {
    /// Starts an engine and imports the image; `None`, said loudly, where that is not possible.
    pub fn start() -> Option<Engine> {
        if let Some(reason) = missing() {
            eprintln!("SKIPPED: no Docker engine can be started here: {reason}");
            return None;
        }
        // Short: a socket's path may have 107 characters.
        let folder = tempfile::Builder::new().prefix("dk").tempdir_in("/tmp").unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let unshare = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", HIDE_CONTAINERD, "sh", "dockerd"])
            .args(["--iptables=false"])
            .args(["--ip6tables=false", "--ip-masq=false", "--ip-forward=false", "--userland-proxy=false"])
            .args(["--storage-driver=vfs", "--data-root", &at("data"), "--exec-root", &at("exec")])
            .args(["--pidfile", &at("pid"), "--host", &format!("unix://{}", at("s"))])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let engine = Engine { folder, unshare };
        let deadline = Instant::now() + Duration::from_secs(30);
        while engine.try_docker(&["version"]).is_err() {
            assert!(Instant::now() < deadline, "dockerd does not answer:\n{}", engine.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        engine.import();
        Some(engine)
    }

    /// The path of the engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// `docker run --detach --name NAME ARGS… IMAGE CMD…`. Without `--network` among the arguments it has the network
    /// namespace's own bridge.
    pub fn run(&self, name: &str, args: &[&str], cmd: &[&str]) -> String {
        let before = ["run", "--detach", "--name", name];
        self.docker(&[&before, args, &[IMAGE], cmd].concat())
    }

    /// Any docker command; its output.
    pub fn docker(&self, args: &[&str]) -> String {
        self.try_docker(args).unwrap_or_else(|error| panic!("docker {args:?}: {error}\n{}", self.log()))
    }

    /// Process id of dockerd, for measurements.
    pub fn pid(&self) -> String {
        let unshare = self.unshare.id();
        let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
        children.trim().to_string()
    }

    fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        let host = format!("unix://{}", self.socket().display());
        let output = Command::new("docker").args(["--host", &host]).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn import(&self) {
        let root = self.folder.path().join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::copy(busybox().unwrap(), root.join("bin/busybox")).unwrap();
        for applet in ["sh", "sleep", "true", "false", "dd", "ping"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let archive = self.folder.path().join("root.tar");
        let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status().unwrap();
        assert!(packed.success());
        self.docker(&["import", &archive.display().to_string(), IMAGE]);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(ids) = self.try_docker(&["ps", "--all", "--quiet"]) {
            let ids: Vec<&str> = ids.split_whitespace().collect();
            if !ids.is_empty() {
                let _ = self.try_docker(&[&["rm", "--force", "--volumes"], &ids[..]].concat());
            }
        }
        // By its own handle, never by name: the machine may run another engine. The end of the process namespace's
        // first process is the end of all of them, and of the other namespaces with them.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

fn busybox() -> Option<&'static Path> {
    ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists())
}

/// Why no engine can be started.
fn missing() -> Option<String> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        return Some("this needs root".to_string());
    }
    if busybox().is_none() {
        return Some("no busybox (package busybox-static)".to_string());
    }
    for program in ["dockerd", "docker", "unshare", "setpriv", "tar"] {
        if Command::new(program).arg("--version").output().is_err() {
            return Some(format!("{program} is not installed"));
        }
    }
    let has = |name: &str| Path::new("/sys/fs/cgroup").join(name).exists();
    if !has("cgroup.controllers") && !has("memory") {
        return Some("no cgroups are mounted at /sys/fs/cgroup (package cgroupfs-mount)".to_string());
    }
    None
}
