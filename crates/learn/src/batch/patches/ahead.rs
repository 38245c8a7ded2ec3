//! Making batches while the training computes.
//!
//! One thread takes the steps in order and puts finished batches into a queue; it waits while the
//! queue is full. It has threads of its own, half as many as compute: on a pool shared with the
//! nets' kernels a kernel would wait for a batch that one of its threads had begun, and a batch for a
//! kernel, and the operating system shares the cores out more finely than either. Making a batch
//! takes a few hundredths of a step's time, so these threads mostly sleep.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::{PatchBatch, Patches};
use crate::Result;

/// Batches in the queue; one more may be finished and waiting to enter it.
const WAITING: usize = 1;

/// Makes the batches of the next steps ahead of them.
#[derive(Debug)]
pub struct Ahead {
    patches: Arc<Patches>,
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    /// The step whose batch comes next.
    step: u64,
    /// None once the worker is to end.
    batches: Option<Receiver<Result<PatchBatch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Begins with the batch of `first_step`; at most two wait.
    #[must_use]
    pub fn new(patches: Patches, first_step: u64) -> Self {
        let patches = Arc::new(patches);
        let worker = Worker::start(&patches, first_step);
        Self { patches, worker }
    }

    /// The batch of a step, which is the same as [`Patches::batch`] makes. Asked for another than
    /// the next, it begins anew there.
    ///
    /// # Errors
    /// What making that batch gives.
    pub fn next(&mut self, step: u64) -> Result<PatchBatch> {
        if self
            .worker
            .as_ref()
            .is_none_or(|worker| worker.step != step)
        {
            self.worker = None;
            self.worker = Worker::start(&self.patches, step);
        }
        match &mut self.worker {
            Some(worker) => worker.next(),
            // Without a thread to be had, batches are made here.
            None => self.patches.batch(step),
        }
    }

    /// What batches are made of.
    #[must_use]
    pub fn patches(&self) -> &Patches {
        &self.patches
    }
}

impl Worker {
    /// A thread that makes batches from `step` on; `None` where the system gives none.
    fn start(patches: &Arc<Patches>, step: u64) -> Option<Self> {
        let threads = (rayon::current_num_threads() / 2).max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("patches-{i}"))
            .build()
            .ok()?;
        let (sender, batches) = sync_channel(WAITING);
        let patches = Arc::clone(patches);
        let work = move || {
            for step in step.. {
                // Nobody listens once the worker is dropped.
                if sender.send(pool.install(|| patches.batch(step))).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("patches".into())
            .spawn(work)
            .ok()?;
        Some(Self {
            step,
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    fn next(&mut self) -> Result<PatchBatch> {
        self.step += 1;
        let received = self.batches.as_ref().map(Receiver::recv);
        if let Some(Ok(batch)) = received {
            return batch;
        }
        // The thread ends by itself only where it panicked.
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => unreachable!("the thread that makes batches ends by itself only in a panic"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Lets go of the queue first, so that a thread waiting to fill it wakes up.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was seen by `next`, or concerns nobody any more.
            let _ = thread.join();
        }
    }
}
