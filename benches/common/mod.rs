//! What the benches share: figures of a process from `/proc`, children of this same program, and tables.
#![allow(dead_code, reason = "no bench uses all of it")]

pub mod peer;

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The variable that tells a child what to be.
const ROLE: &str = "DAVYLAMP_BENCH_ROLE";

/// What this process is to be: empty in the one that a person started.
pub fn role() -> String {
    std::env::var(ROLE).unwrap_or_default()
}

/// A number from the environment.
pub fn option(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A process, by its id.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    pub fn me() -> Self {
        Process(std::process::id())
    }

    /// User and system time of all of its threads; the kernel counts in hundredths of a second.
    pub fn cpu(self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        // The name in parentheses may hold blanks; user and system time are the 12th and 13th field behind it.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident memory in bytes.
    pub fn resident(self) -> usize {
        self.status("VmRSS:")
    }

    /// What of the resident memory is no file, in bytes.
    pub fn anonymous(self) -> usize {
        self.status("RssAnon:")
    }

    /// Highest resident memory in bytes, since the start or since [`forget_peak`].
    pub fn peak(self) -> usize {
        self.status("VmHWM:")
    }

    fn status(self, key: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }
}

/// Makes [`Process::peak`] of this process begin anew.
pub fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// CPU time of this thread.
pub fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Median CPU time of `work`, of `runs` runs.
pub fn median<T>(runs: usize, mut work: impl FnMut() -> T) -> Duration {
    let run = |_| {
        let start = thread_cpu();
        std::hint::black_box(work());
        thread_cpu() - start
    };
    let mut times: Vec<_> = (0..runs).map(run).collect();
    times.sort();
    times[times.len() / 2]
}

/// This same program once more, in another role, so that its CPU time and memory are not ours.
pub struct Child {
    child: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    pub fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Child { child, input, output }
    }

    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the child has ended");
        line.trim_end().to_string()
    }

    /// Numbers, as [`say`] writes them.
    pub fn numbers(&mut self) -> Vec<f64> {
        self.line().split(' ').map(|word| word.parse().unwrap()).collect()
    }
}

impl Drop for Child {
    /// A child ends when nothing can be told to it any more.
    fn drop(&mut self) {
        self.input.take();
        let _ = self.child.wait();
    }
}

/// Tells numbers to the parent.
pub fn say(numbers: &[f64]) {
    let words: Vec<_> = numbers.iter().map(f64::to_string).collect();
    println!("{}", words.join(" "));
}

/// The next line from the parent; `None` when it is gone.
pub fn hear() -> Option<String> {
    let mut line = String::new();
    let length = std::io::stdin().read_line(&mut line).unwrap();
    (length > 0).then(|| line.trim_end().to_string())
}

/// Prints a Markdown table.
pub fn table(title: &str, header: &[&str], rows: &[Vec<String>]) {
    println!("\n{title}\n\n| {} |", header.join(" | "));
    println!("|---|{}", "---:|".repeat(header.len() - 1));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}

pub fn micros(duration: Duration) -> String {
    format!("{:.1} µs", duration.as_secs_f64() * 1e6)
}

pub fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
