//! Floor 0: a stack of tasks shared by as many threads as there are cores, for
//! walks over trees. The last task added is the first taken, so a walk that
//! adds what is below a directory stays depth first, and few are open.

use std::num::NonZero;
use std::thread;

use parking_lot::{Condvar, Mutex};

/// Tasks that wait, each of which may add others.
pub struct Tasks<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Vec<T>,
    /// Threads that may still add tasks.
    busy: usize,
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Vec::new(),
                busy: 0,
            }),
            changed: Condvar::new(),
        }
    }
}

impl<T: Send> Tasks<T> {
    /// Adds tasks; the last of them is done first.
    pub fn push(&self, mut new: Vec<T>) {
        if !new.is_empty() {
            self.state.lock().waiting.append(&mut new);
            self.changed.notify_all();
        }
    }

    /// Does all tasks and those that they add, on all cores.
    pub fn run(&self, work: impl Fn(T) + Sync) {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.run_here(&work));
            }
        });
    }

    /// Does tasks in this thread until none waits and nobody can add one.
    pub fn run_here(&self, work: impl Fn(T)) {
        while let Some(task) = self.next() {
            work(task);
            let mut state = self.state.lock();
            state.busy -= 1;
            if state.busy == 0 && state.waiting.is_empty() {
                self.changed.notify_all();
            }
        }
    }

    fn next(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(task) = state.waiting.pop() {
                state.busy += 1;
                return Some(task);
            }
            if state.busy == 0 {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn every_task_is_done_once_with_those_that_it_adds() {
        let (tasks, done) = (Tasks::default(), AtomicU64::new(0));
        tasks.push(vec![10_u64]);
        tasks.run(|left| {
            done.fetch_add(1, Ordering::Relaxed);
            if let Some(left) = left.checked_sub(1) {
                tasks.push(vec![left, left]);
            }
        });
        assert_eq!(done.into_inner(), (1 << 11) - 1);
    }
}
