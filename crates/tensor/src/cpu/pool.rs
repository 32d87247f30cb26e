//! Persistent threads that share out numbered tasks.
//!
//! A call allocates nothing, blocks until every task is done, and takes
//! whoever is awake: a worker that the operating system has put aside is never waited for
//! unless it has begun a task. Which worker runs which task changes from call to
//! call, so a task's result must depend on its number alone.
//!
//! Must never know what the tasks compute.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::matmul::{Scratch, SharedScratch};

/// How often a thread looks again before it sleeps: some tens of
/// microseconds, longer than the gap between two kernels, too short to be felt
/// by the machine's other users.
const SPINS: u32 = 1000;

/// A task: called with its number and the number of the worker that runs it.
type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// `Shared::ticket`: the number of workers inside the job, ...
const ACTIVE: u64 = (1 << 31) - 1;
/// ... whether more may enter, ...
const OPEN: u64 = 1 << 31;
/// ... and the job's number in the upper half.
const JOB: u64 = 1 << 32;

#[derive(Clone, Copy)]
struct Job {
    task: *const Task<'static>,
    tasks: usize,
}

struct Shared {
    /// Job number, open flag and count of workers inside, in one word so that
    /// a worker can enter exactly the job it saw.
    ticket: AtomicU64,
    /// The next task to claim.
    next: AtomicUsize,
    /// Written by the caller while no worker is inside; read by workers inside.
    job: UnsafeCell<Option<Job>>,
    /// Workers asleep or about to be.
    sleepers: AtomicUsize,
    /// Workers that have begun their life.
    begun: AtomicUsize,
    shutdown: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
    done: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is the only field that is not already shareable. The caller
// writes it only while the ticket is closed and counts no worker; workers read it only
// after entering an open ticket, which the caller published after the write.
// The task it points to is `Sync` and outlives the job (see `Pool::run_with_worker`).
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to a particular thread.
unsafe impl Send for Shared {}

thread_local! {
    static INSIDE_TASK: Cell<bool> = const { Cell::new(false) };
}

/// A lock that outlives panics: what the locks here guard is valid at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `threads - 1` waiting workers; the calling thread is the last one.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One caller at a time.
    caller: Mutex<()>,
    /// One per worker, allocated here so that no later task needs to, whichever
    /// worker it falls to. The pages are committed at first touch.
    scratch: Box<[Mutex<Scratch>]>,
    /// One for all workers.
    shared_scratch: Mutex<SharedScratch>,
}

impl Pool {
    /// A pool of `threads` threads (at least one), the caller included.
    ///
    /// # Errors
    /// If the operating system refuses a thread.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let mut pool = Self {
            shared: Arc::new(Shared {
                ticket: AtomicU64::new(0),
                next: AtomicUsize::new(0),
                job: UnsafeCell::new(None),
                sleepers: AtomicUsize::new(0),
                begun: AtomicUsize::new(0),
                shutdown: AtomicBool::new(false),
                lock: Mutex::new(()),
                wake: Condvar::new(),
                done: Condvar::new(),
                panic: Mutex::new(None),
            }),
            workers: Vec::with_capacity(threads - 1),
            caller: Mutex::new(()),
            scratch: (0..threads).map(|_| Mutex::new(Scratch::new())).collect(),
            shared_scratch: Mutex::new(SharedScratch::new()),
        };
        for worker in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new()
                .name(format!("cpu-{worker}"))
                .spawn(move || shared.work(worker))?;
            pool.workers.push(thread);
        }
        // A thread allocates while it starts: that belongs here and not into the first jobs.
        while pool.shared.begun.load(Ordering::Acquire) < pool.workers.len() {
            std::thread::yield_now();
        }
        Ok(pool)
    }

    /// The number of threads, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// The working memory of `worker`. Inside a task, ask only for the memory of the
    /// worker that runs it, and once: a second request waits forever.
    pub(crate) fn scratch(&self, worker: usize) -> MutexGuard<'_, Scratch> {
        lock(&self.scratch[worker])
    }

    /// The memory that workers share. For the caller of a job, not for its tasks.
    pub(crate) fn shared(&self) -> MutexGuard<'_, SharedScratch> {
        lock(&self.shared_scratch)
    }

    /// Calls `task(i)` once for every `i < tasks` and returns when all are done.
    ///
    /// # Panics
    /// With the first panic of a task, after the tasks already begun are done;
    /// the others are dropped. Also if called from inside a task.
    pub(crate) fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.run_with_worker(tasks, &|index, _| task(index));
    }

    /// Cuts `0..len` into ranges of `grain` (the last one shorter) and calls
    /// `task` once for each.
    ///
    /// # Panics
    /// As [`Pool::run`].
    pub(crate) fn run_ranges(&self, len: usize, grain: usize, task: &(dyn Fn(Range<usize>) + Sync)) {
        let grain = grain.max(1);
        self.run(len.div_ceil(grain), &|index| {
            task(index * grain..len.min((index + 1) * grain));
        });
    }

    /// [`Pool::run`] for tasks that need the number of the worker that runs
    /// them (below [`Pool::threads`]; no two tasks at once have the same).
    ///
    /// # Panics
    /// As [`Pool::run`].
    pub(crate) fn run_with_worker(&self, tasks: usize, task: &Task<'_>) {
        assert!(
            !INSIDE_TASK.get(),
            "a task of the thread pool must not start another job"
        );
        if tasks == 0 {
            return;
        }
        let one_caller = lock(&self.caller);
        let shared = &*self.shared;
        let open = !self.workers.is_empty() && tasks > 1;
        shared.next.store(0, Ordering::Relaxed);
        // SAFETY: only the lifetime changes. The reference, at once made a pointer, is used by this thread and by
        // workers inside the job, and `close` below returns only when none is inside.
        let task = unsafe { std::mem::transmute::<&Task<'_>, &'static Task<'static>>(task) };
        let job = Job { task, tasks };
        if open {
            // SAFETY: `close` ended the last job, so no worker is inside, and none can
            // enter before the ticket opens; `one_caller` keeps other callers out.
            unsafe { *shared.job.get() = Some(job) };
            shared.open(tasks);
        }
        shared.claim(job, 0);
        if open {
            shared.close();
        }
        let panic = lock(&shared.panic).take();
        drop(one_caller);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        {
            let _guard = lock(&self.shared.lock);
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks and has none of its own.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Runs tasks until none is left; a panic is kept for the caller.
    fn claim(&self, job: Job, worker: usize) {
        INSIDE_TASK.set(true);
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let index = self.next.fetch_add(1, Ordering::Relaxed);
                if index >= job.tasks {
                    break;
                }
                // SAFETY: the job is running (we are its caller, or a worker inside
                // it), so the caller's borrow of the task is alive.
                unsafe { (*job.task)(index, worker) };
            }
        }));
        INSIDE_TASK.set(false);
        if let Err(panic) = result {
            // Far past any number of tasks, and far from wrapping round.
            self.next.store(usize::MAX / 2, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(panic);
        }
    }

    /// Publishes the job just written and wakes as many sleepers as it can use.
    fn open(&self, tasks: usize) {
        let job = (self.ticket.load(Ordering::Relaxed) / JOB).wrapping_add(1);
        // SeqCst here and in `next_job`: either we see the sleeper, or it sees the job.
        self.ticket.store(job.wrapping_mul(JOB) | OPEN, Ordering::SeqCst);
        let sleepers = self.sleepers.load(Ordering::SeqCst);
        if sleepers > 0 {
            let _guard = lock(&self.lock);
            if tasks > sleepers {
                self.wake.notify_all();
            } else {
                (1..tasks).for_each(|_| self.wake.notify_one());
            }
        }
    }

    /// Lets no more workers in and waits for those inside.
    fn close(&self) {
        let idle = |ticket: u64| ticket & ACTIVE == 0;
        if idle(self.ticket.fetch_and(!OPEN, Ordering::SeqCst)) {
            return;
        }
        for _ in 0..SPINS {
            if idle(self.ticket.load(Ordering::Acquire)) {
                return;
            }
            spin_loop();
        }
        let mut guard = lock(&self.lock);
        while !idle(self.ticket.load(Ordering::Acquire)) {
            guard = self.done.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A worker's life.
    fn work(&self, worker: usize) {
        self.begun.fetch_add(1, Ordering::Release);
        let mut last = 0;
        while let Some(job) = self.next_job(&mut last) {
            self.claim(job, worker);
            // Release: what the tasks wrote is visible to the caller that sees us leave.
            let before = self.ticket.fetch_sub(1, Ordering::AcqRel);
            if before & ACTIVE == 1 && before & OPEN == 0 {
                let _guard = lock(&self.lock);
                self.done.notify_one();
            }
        }
    }

    /// Waits for a job other than number `last` and enters it; `None` at shutdown.
    fn next_job(&self, last: &mut u64) -> Option<Job> {
        loop {
            for _ in 0..SPINS {
                if self.shutdown.load(Ordering::Relaxed) {
                    return None;
                }
                if let Some(job) = self.try_enter(last) {
                    return Some(job);
                }
                spin_loop();
            }
            let mut guard = lock(&self.lock);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            while !self.shutdown.load(Ordering::SeqCst) && !self.is_new(*last) {
                guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn is_new(&self, last: u64) -> bool {
        let ticket = self.ticket.load(Ordering::SeqCst);
        ticket & OPEN != 0 && ticket / JOB != last
    }

    fn try_enter(&self, last: &mut u64) -> Option<Job> {
        let ticket = self.ticket.load(Ordering::Relaxed);
        if ticket & OPEN == 0 || ticket / JOB == *last {
            return None;
        }
        self.ticket
            .compare_exchange(ticket, ticket + 1, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        *last = ticket / JOB;
        // SAFETY: we entered an open ticket, so the write of `job` came before, and
        // the next one comes after we leave.
        unsafe { *self.job.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_for_any_number_of_threads() {
        for threads in 1..=4 {
            let pool = Pool::new(threads).unwrap();
            for tasks in [0, 1, 2, 3, 7, 100] {
                let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run_with_worker(tasks, &|task, worker| {
                    assert!(worker < threads);
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn ranges_cover_the_whole_length() {
        let pool = Pool::new(2).unwrap();
        let sum = AtomicUsize::new(0);
        pool.run_ranges(1001, 64, &|range| {
            sum.fetch_add(range.sum(), Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 1000 * 1001 / 2);
    }

    #[test]
    fn many_short_jobs_with_pauses_lose_no_task_and_no_wakeup() {
        let pool = Pool::new(3).unwrap();
        let sum = AtomicUsize::new(0);
        for round in 0..3000 {
            if round % 500 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
            pool.run(5, &|task| {
                sum.fetch_add(task + 1, Ordering::Relaxed);
            });
        }
        assert_eq!(sum.into_inner(), 3000 * 15);
    }

    /// As on a machine of 128 cores, or with far more threads than cores: whoever is awake does the work.
    #[test]
    fn more_threads_than_cores_end_all_the_same() {
        let pool = Pool::new(128).unwrap();
        let sums: Vec<_> = (0..300).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..50 {
            pool.run_with_worker(sums.len(), &|task, worker| {
                assert!(worker < 128);
                sums[task].fetch_add(task, Ordering::Relaxed);
            });
        }
        let wanted = (0..sums.len()).map(|task| 50 * task);
        assert!(
            sums.iter()
                .zip(wanted)
                .all(|(sum, wanted)| sum.load(Ordering::Relaxed) == wanted)
        );
    }

    #[test]
    fn several_callers_take_turns() {
        let pool = Pool::new(2).unwrap();
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.run_with_worker(8, &|_, worker| {
                            let _mine = pool.scratch(worker);
                            sum.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 3 * 200 * 8);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        for threads in [1, 3] {
            let pool = Pool::new(threads).unwrap();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.run(50, &|task| assert!(task != 17, "task seventeen"));
            }));
            let message = caught.unwrap_err();
            assert!(message.downcast_ref::<&str>().is_some());
            let count = AtomicUsize::new(0);
            pool.run(10, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 10);
        }
    }

    #[test]
    fn a_job_inside_a_task_is_refused() {
        let pool = Pool::new(2).unwrap();
        let nested = catch_unwind(AssertUnwindSafe(|| {
            pool.run(2, &|_| pool.run(2, &|_| ()));
        }));
        assert!(nested.is_err());
    }
}
