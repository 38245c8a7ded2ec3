//! The machine a table was measured on.

use std::collections::BTreeSet;
use std::fs;

use crossmod_kernels::{fma_peak, instructions};
use serde::Serialize;

/// What times depend on beside the program.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Name of the processor.
    pub(crate) cpu: String,
    /// Cores, without the second threads of a core; none where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<usize>,
    /// Threads that both sides were given.
    pub(crate) threads: usize,
    /// What our nets run on, if not the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    /// Instructions in use by our kernels.
    pub(crate) instructions: &'static str,
    /// The most multiply-adds of these threads, measured now.
    pub(crate) fma_peak_gflops: f64,
    /// Memory in units of 10⁹ bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_gb: Option<f64>,
    /// Processes that wanted to run in the minute before: 0 on an idle machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) load: Option<f64>,
}

impl Machine {
    /// Looks, and measures the peak.
    pub(crate) fn here() -> Self {
        let threads = rayon::current_num_threads();
        // Before the peak is measured, which loads the machine itself.
        let load = read("/proc/loadavg").and_then(|t| t.split(' ').next()?.parse().ok());
        let info = read("/proc/cpuinfo").unwrap_or_default();
        Self {
            cpu: values(&info, "model name")
                .next()
                .unwrap_or(std::env::consts::ARCH)
                .to_owned(),
            cores: cores(&info),
            threads,
            device: None,
            instructions: instructions(),
            fma_peak_gflops: fma_peak(threads),
            memory_gb: read("/proc/meminfo").and_then(|text| kib(&text, "MemTotal")),
            load,
        }
    }

    /// The same with nets on a device of this name.
    pub(crate) fn with_device(self, device: Option<String>) -> Self {
        Self { device, ..self }
    }
}

/// A file of the system, where there is one.
pub(super) fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Seconds of the processor that this process has used, all threads together; where the system tells
/// it as Linux does, in hundredths.
pub(crate) fn processor_s() -> Option<f64> {
    let stat = read("/proc/self/stat")?;
    // After the program's name, which may hold anything.
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<f64>);
    Some(ticks.sum::<Result<f64, _>>().ok()? / 100.0)
}

/// The values of lines `key : value`.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

/// A size said in KiB, in units of 10⁹ bytes.
pub(super) fn kib(text: &str, key: &str) -> Option<f64> {
    let kib: f64 = values(text, key).next()?.split(' ').next()?.parse().ok()?;
    Some(kib * 1024.0 / 1e9)
}

/// Processor time that this process has used, all threads together, where the system tells.
pub(super) fn processor_ms() -> Option<f64> {
    // Linux counts it in hundredths of a second; before the 14th field comes a name in brackets.
    let stat = read("/proc/self/stat")?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let [user, system] = [fields.next()?, fields.next()?].map(|field| field.parse::<f64>().ok());
    Some((user? + system?) * 10.0)
}

/// Different pairs of socket and core.
fn cores(info: &str) -> Option<usize> {
    let pairs: BTreeSet<_> = values(info, "physical id")
        .zip(values(info, "core id"))
        .collect();
    (!pairs.is_empty()).then_some(pairs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_of_a_core_are_one_core() {
        let cpu = |socket, core| {
            format!("model name\t: X 1\nphysical id\t: {socket}\ncore id : {core}\n\n")
        };
        let info = [cpu(0, 0), cpu(0, 1), cpu(0, 0), cpu(0, 1), cpu(1, 0)].concat();
        assert_eq!(cores(&info), Some(3));
        assert_eq!(values(&info, "model name").next(), Some("X 1"));
        assert_eq!(cores("processor : 0\n"), None);
    }

    #[test]
    fn work_takes_processor_time() {
        let Some(before) = processor_ms() else { return };
        let start = std::time::Instant::now();
        while processor_ms().is_some_and(|now| now < before + 30.0) {
            assert!(start.elapsed().as_secs() < 60, "no time passes");
        }
    }

    #[test]
    fn sizes_are_in_kib() {
        let size = kib("MemFree:  1 kB\nMemTotal:    2000000 kB\n", "MemTotal");
        assert_eq!(size, Some(2.048));
    }
}
