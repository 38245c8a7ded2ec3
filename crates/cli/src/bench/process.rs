//! A side in a process of its own, which answers requests, one JSON object a line.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;
use crossmod_learn::device::Kind;
use serde_json::Value;

/// What PyTorch's own tuning guide sets jemalloc to: memory is kept, not given back.
const JEMALLOC: &str = "oversize_threshold:1,background_thread:true,metadata_thp:auto,\
                        dirty_decay_ms:9000000000,muzzy_decay_ms:9000000000";

/// A running side.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    command: String,
}

impl Process {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (requests, answers) = pipes.context("a process started without its pipes")?;
        Ok(Self {
            child,
            requests,
            answers: BufReader::new(answers),
            command: name,
        })
    }

    /// This program's other side, such as `crossmod bench train --side ours`.
    pub(crate) fn ours(what: &str, threads: usize, device: Kind) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("could not find this program's file")?;
        let threads = threads.to_string();
        let arguments = ["bench", what, "--side", "ours", "--quiet", "--threads"];
        let mut command = Command::new(program);
        command.args(arguments).arg(threads);
        Self::start(command.args(["--device", device.name()]))
    }

    /// The answer to a request.
    pub(crate) fn ask(&mut self, request: &Value) -> anyhow::Result<Value> {
        // One that has ended says so by its silence.
        let _ = writeln!(self.requests, "{request}").and_then(|()| self.requests.flush());
        self.answer()
            .with_context(|| format!("was asked for {request}"))
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            anyhow::bail!(
                "expected an answer, found that the process has ended; what it said is above: {}",
                self.command
            );
        }
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("expected JSON, found {}", line.trim_end()))?;
        match answer["error"].as_str() {
            Some(error) => anyhow::bail!("{error}: {}", self.command),
            None => Ok(answer),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be in the middle of a long answer that nobody will read.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The times in an answer.
pub(crate) fn milliseconds(answer: &Value) -> anyhow::Result<Vec<f64>> {
    let times = answer["ms"].as_array().map(|a| a.iter().map(Value::as_f64));
    times
        .and_then(|times| times.collect::<Option<Vec<f64>>>())
        .with_context(|| format!("expected times in `ms`, found {answer}"))
}

/// A peer: what it is called, and its processes, one for each allocator it is tried with.
#[derive(Debug)]
pub(crate) struct Peer {
    /// As it says itself: `PyTorch 2.15.0`.
    pub(crate) name: String,
    /// Name of the allocator and the process.
    pub(crate) processes: Vec<(String, Process)>,
}

/// How a peer is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerCommand<'a> {
    /// The Python interpreter.
    pub(crate) python: &'a Path,
    /// The server.
    pub(crate) script: &'a Path,
    /// Threads it may use.
    pub(crate) threads: usize,
    /// What else it is told.
    pub(crate) options: &'a [String],
}

impl PeerCommand<'_> {
    /// Starts the peer with the system's allocator and, where it is installed, with jemalloc.
    pub(crate) fn start(&self) -> anyhow::Result<Peer> {
        anyhow::ensure!(
            self.script.is_file(),
            "expected the peer's server, found nothing; run in crossmod's checkout, or name it \
             with --peer-script: {}",
            self.script.display()
        );
        let mut peer = Peer {
            name: String::new(),
            processes: Vec::new(),
        };
        let allocators = std::iter::once(None).chain(jemalloc().map(Some));
        for preload in allocators {
            let (process, who) = self.start_one(preload.as_deref())?;
            let said = |key: &str| who[key].as_str().unwrap_or("unnamed").to_owned();
            peer.name = said("peer");
            peer.processes.push((said("allocator"), process));
        }
        Ok(peer)
    }

    /// Starts one process of the peer, whose time does not matter.
    pub(crate) fn start_plain(&self) -> anyhow::Result<Process> {
        Ok(self.start_one(None)?.0)
    }

    /// A process and what it says of itself, with this allocator in place of the system's.
    pub(crate) fn start_one(&self, preload: Option<&Path>) -> anyhow::Result<(Process, Value)> {
        let mut process = Process::start(&mut self.command(preload))?;
        let who = process.answer().with_context(|| {
            format!(
                "could not start the peer; a script in benches/peers makes its environment: {}",
                self.python.display()
            )
        })?;
        Ok((process, who))
    }

    fn command(&self, preload: Option<&Path>) -> Command {
        let mut command = Command::new(self.python);
        let threads = self.threads.to_string();
        let arguments = [OsStr::new("--threads"), OsStr::new(&threads)];
        command.arg(self.script).args(arguments).args(self.options);
        if let Some(library) = preload {
            command
                .env("LD_PRELOAD", library)
                .env("MALLOC_CONF", JEMALLOC);
        }
        command
    }
}

/// The library, in the usual places.
fn jemalloc() -> Option<PathBuf> {
    let library = |folder: PathBuf| Some(folder.join("libjemalloc.so.2")).filter(|p| p.exists());
    let fixed = ["/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from);
    // Debian has a folder for each architecture.
    let nested = std::fs::read_dir("/usr/lib").into_iter().flatten();
    nested
        .filter_map(|entry| Some(entry.ok()?.path()))
        .chain(fixed)
        .find_map(library)
}
