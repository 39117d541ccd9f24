//! Who reads the next request. As few threads as the work needs: one that has
//! just answered finds its caches warm and need not be woken, which takes longer
//! than most requests do, above all in a virtual machine.
//!
//! * Whoever has answered and finds nobody else reading looks for the next request
//!   for a moment before it sleeps in read(2).
//! * Where somebody else reads again and again, a thread rests.
//! * A thread that takes a request while nobody reads calls one that rests if
//!   another request is waiting, or if its own will be slow. Where its own turns
//!   out to be slow, or others come to wait, the deputy calls one.
//!
//! Each request is served within a [`Turn`] or, having no reply, a [`Silent`] one:
//! whoever is in neither counts as reading. `reading + serving` is never 0.
//!
//! **Locks**: one mutex, a leaf, held for some instructions or one poll(2).

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::sys::fuse_device::{self, Pending};

/// How long to look. A program that works through small files asks again well
/// within it.
const LOOK_FOR: Duration = Duration::from_micros(50);

/// Having found nothing so many times in a row, whoever waits sleeps ...
const GIVE_UP_AFTER: u32 = 8;

/// ... but for one time in so many.
const TRY_ONE_IN: u32 = 16;

/// Having found somebody else reading so many times in a row, a thread rests.
const REST_AFTER: u32 = 8;

/// With nobody reading, a request that takes longer is slow.
const SLOW: Duration = Duration::from_millis(2);

/// What flushes in less is no disk to wait for.
const QUICK_FLUSH: Duration = Duration::from_micros(300);

/// After so many times [`SLOW`] without a request the deputy sleeps.
const QUIET: u32 = 10;

/// Whether threads may rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// The backing answers soon.
    Allowed,
    /// Each request may wait for a network.
    Never,
}

/// The threads that serve one connection.
pub(super) struct Readers {
    device: OwnedFd,
    rest: Rest,
    state: Mutex<State>,
    /// Whether the last flush took as long as a disk does.
    flushes_slowly: AtomicBool,
    /// Where threads rest.
    resting: Condvar,
    /// Where the deputy waits.
    deputy: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Threads that have served a request.
    known: usize,
    /// Of these: those that serve one now.
    serving: usize,
    /// Those that rest, and how many of them have been called.
    resting: usize,
    called: usize,
    /// How often in a row somebody who had answered found another one reading.
    surplus: u32,
    /// How often in a row looking found nothing.
    misses: u32,
    /// Requests taken so far.
    taken: u64,
    deputy_sleeps: bool,
    closed: bool,
}

impl State {
    fn at_rest(&self) -> usize {
        self.resting - self.called
    }

    /// Known threads that read or are about to.
    fn reading(&self) -> usize {
        self.known - self.serving - self.at_rest()
    }

    /// Somebody could read, but nobody does.
    fn is_unattended(&self) -> bool {
        self.reading() == 0 && self.at_rest() > 0
    }
}

thread_local! {
    /// The readers this thread is one of.
    static MEMBER: RefCell<Option<Member>> = const { RefCell::new(None) };
}

/// Ends the resting of all once a thread of theirs ends, as they do with the
/// connection.
struct Member(Arc<Readers>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A request being served: to be taken before it is, and dropped after the reply
/// was sent.
#[must_use]
pub(super) struct Turn<'a>(&'a Readers);

/// A request being served that has no reply; one of many in a row, maybe.
#[must_use]
pub(super) struct Silent<'a>(&'a Readers);

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        self.0.state.lock().serving -= 1;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.answered();
    }
}

impl Readers {
    /// For the connection behind `device`, an open `/dev/fuse`.
    pub(super) fn new(device: OwnedFd, rest: Rest) -> Arc<Self> {
        Arc::new(Self {
            device,
            rest,
            state: Mutex::default(),
            flushes_slowly: AtomicBool::new(true),
            resting: Condvar::new(),
            deputy: Condvar::new(),
        })
    }

    /// Starts the deputy, which ends with [`Self::close`]. Without one nobody rests.
    pub(super) fn appoint_deputy(self: &Arc<Self>) {
        let readers = Arc::clone(self);
        let deputy = thread::Builder::new().name("deputy".to_owned());
        match self.rest {
            Rest::Allowed => {
                if let Err(error) = deputy.spawn(move || readers.stand_in()) {
                    tracing::warn!(%error, "all threads stay awake");
                    self.close();
                }
            }
            Rest::Never => {}
        }
    }

    /// The calling thread has taken a request.
    pub(super) fn take(self: &Arc<Self>) -> Turn<'_> {
        self.begin();
        Turn(self)
    }

    /// The calling thread has taken a request that has no reply.
    pub(super) fn take_silent(self: &Arc<Self>) -> Silent<'_> {
        self.begin();
        Silent(self)
    }

    fn begin(self: &Arc<Self>) {
        let joined = self.join();
        let mut state = self.state.lock();
        state.known += joined;
        state.serving += 1;
        state.taken = state.taken.wrapping_add(1);
        if state.is_unattended() {
            if std::mem::take(&mut state.deputy_sleeps) {
                self.deputy.notify_one();
            }
            drop(state);
            if self.pending() == Pending::Request {
                self.let_another_read();
            }
        }
    }

    /// Makes the calling thread one of the readers; how many there are more.
    fn join(self: &Arc<Self>) -> usize {
        MEMBER.with_borrow_mut(|member| {
            if member.as_ref().is_some_and(|one| Arc::ptr_eq(&one.0, self)) {
                return 0;
            }
            *member = Some(Member(Arc::clone(self)));
            1
        })
    }

    /// Serves a request that waits for a disk, if there is one.
    pub(super) fn flush<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.flushes_slowly.load(Ordering::Relaxed) {
            self.let_another_read();
        }
        let began = Instant::now();
        let done = work();
        self.flushes_slowly
            .store(began.elapsed() > QUICK_FLUSH, Ordering::Relaxed);
        done
    }

    /// To be called where the request at hand may take long.
    pub(super) fn let_another_read(&self) {
        let mut state = self.state.lock();
        if state.is_unattended() {
            self.call(&mut state);
        }
    }

    /// The calling thread has answered. Returns when it shall read.
    fn answered(&self) {
        let mut state = self.state.lock();
        state.serving -= 1;
        if state.reading() > 1 {
            state.surplus = state.surplus.saturating_add(1);
            if state.surplus >= REST_AFTER && self.rest == Rest::Allowed && !state.closed {
                self.rest(state);
            }
            return;
        }
        state.surplus = 0;
        if state.misses >= GIVE_UP_AFTER && !state.misses.is_multiple_of(TRY_ONE_IN) {
            state.misses = state.misses.wrapping_add(1);
            return;
        }
        drop(state);
        let found = self.look();
        let mut state = self.state.lock();
        state.misses = match found {
            Pending::Request => 0,
            Pending::Nothing => state.misses.wrapping_add(1),
        };
    }

    /// Waits to be called, unless a request waits to be read.
    fn rest(&self, mut state: MutexGuard<'_, State>) {
        state.surplus = 0;
        if self.pending() == Pending::Request {
            return;
        }
        state.resting += 1;
        while state.called == 0 && !state.closed {
            self.resting.wait(&mut state);
        }
        state.called = state.called.saturating_sub(1);
        state.resting -= 1;
    }

    /// Looks for a request for a moment, yielding the processor.
    fn look(&self) -> Pending {
        let began = Instant::now();
        loop {
            match self.pending() {
                Pending::Nothing if began.elapsed() < LOOK_FOR => thread::yield_now(),
                found @ (Pending::Request | Pending::Nothing) => return found,
            }
        }
    }

    fn pending(&self) -> Pending {
        fuse_device::pending(self.device.as_fd())
    }

    /// Has one that rests read.
    fn call(&self, state: &mut State) {
        state.called += 1;
        self.resting.notify_one();
    }

    /// What the deputy does: calls somebody where nobody has read for a while.
    fn stand_in(&self) {
        let mut state = self.state.lock();
        let mut quiet = 0;
        while !state.closed {
            if quiet >= QUIET {
                quiet = 0;
                state.deputy_sleeps = true;
                self.deputy.wait(&mut state);
                continue;
            }
            let before = state.taken;
            self.deputy.wait_for(&mut state, SLOW);
            let is_still = state.taken == before;
            self.look_after(&mut state, is_still);
            quiet = if is_still { quiet + 1 } else { 0 };
        }
    }

    /// Has somebody read if nobody does and that is missed: `is_still` where no
    /// request was taken for [`SLOW`].
    fn look_after(&self, state: &mut State, is_still: bool) {
        if state.is_unattended() && (is_still || self.pending() == Pending::Request) {
            self.call(state);
        }
    }

    /// Nobody rests any more: the connection has ended.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.resting.notify_all();
        self.deputy.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use std::io::{PipeWriter, Write, pipe};
    use std::sync::mpsc::{Sender, channel};
    use std::thread::JoinHandle;

    use super::*;

    fn connection(rest: Rest) -> (Arc<Readers>, PipeWriter) {
        let (device, requests) = pipe().unwrap();
        (Readers::new(device.into(), rest), requests)
    }

    /// A reader that does what it is told until nobody tells it any more.
    struct Reader {
        orders: Sender<Box<dyn FnOnce() + Send>>,
        thread: JoinHandle<()>,
    }

    impl Reader {
        /// One that has served a request.
        fn of(readers: &Arc<Readers>) -> Self {
            let (orders, told) = channel::<Box<dyn FnOnce() + Send>>();
            let thread = thread::spawn(move || told.into_iter().for_each(|order| order()));
            let reader = Self { orders, thread };
            reader.serve(readers, 1);
            wait_until(readers, |state| state.serving == 0);
            reader
        }

        fn order(&self, order: impl FnOnce() + Send + 'static) {
            self.orders.send(Box::new(order)).unwrap();
        }

        /// Serves so many requests in a row, unless it comes to rest.
        fn serve(&self, readers: &Arc<Readers>, count: u32) {
            let taken = readers.state.lock().taken;
            let all = Arc::clone(readers);
            self.order(move || (0..count).for_each(|_| drop(all.take())));
            wait_until(readers, |state| state.taken >= taken + u64::from(count));
        }

        /// Serves a request until the sender is dropped.
        fn serve_long(&self, readers: &Arc<Readers>) -> Sender<()> {
            let (end, ended) = channel();
            let all = Arc::clone(readers);
            self.order(move || {
                let _turn = all.take();
                let _ended = ended.recv();
            });
            wait_until(readers, |state| state.serving == 1);
            end
        }

        fn end(self) {
            drop(self.orders);
            self.thread.join().unwrap();
        }
    }

    fn wait_until(readers: &Readers, condition: impl Fn(&State) -> bool) {
        let began = Instant::now();
        while !condition(&readers.state.lock()) {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "nothing came of it"
            );
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Two readers, of which the second rests.
    fn one_rests(rest: Rest) -> (Arc<Readers>, PipeWriter, Reader, Reader) {
        let (readers, requests) = connection(rest);
        let (first, second) = (Reader::of(&readers), Reader::of(&readers));
        second.serve(&readers, REST_AFTER - 1);
        wait_until(&readers, |state| state.resting == 1);
        (readers, requests, first, second)
    }

    #[test]
    fn a_thread_rests_where_another_reads_again_and_again() {
        let (readers, _requests, first, second) = one_rests(Rest::Allowed);
        assert_eq!(readers.state.lock().reading(), 1);
        // The other one does not, for then nobody would read.
        first.serve(&readers, 3 * REST_AFTER);
        wait_until(&readers, |state| state.serving == 0);
        assert_eq!(readers.state.lock().resting, 1);
        first.end();
        second.end();
    }

    #[test]
    fn nobody_rests_while_a_request_waits_or_where_the_backing_is_remote() {
        let (readers, mut requests) = connection(Rest::Allowed);
        requests.write_all(b"x").unwrap();
        let (far, _requests) = connection(Rest::Never);
        for readers in [readers, far] {
            let pair = [Reader::of(&readers), Reader::of(&readers)];
            for reader in &pair {
                reader.serve(&readers, 3 * REST_AFTER);
            }
            wait_until(&readers, |state| state.serving == 0);
            assert_eq!(readers.state.lock().resting, 0);
            for reader in pair {
                reader.end();
            }
        }
    }

    #[test]
    fn whoever_takes_a_request_calls_another_if_one_more_waits() {
        let (readers, mut requests, first, second) = one_rests(Rest::Allowed);
        requests.write_all(b"x").unwrap();
        let end = first.serve_long(&readers);
        wait_until(&readers, |state| state.resting == 0);
        assert_eq!(readers.state.lock().reading(), 1);
        drop(end);
        first.end();
        second.end();
    }

    #[test]
    fn a_slow_request_leaves_another_reading() {
        let (readers, _requests, first, second) = one_rests(Rest::Allowed);
        let end = first.serve_long(&readers);
        assert_eq!(readers.state.lock().resting, 1);
        readers.let_another_read();
        readers.let_another_read();
        wait_until(&readers, |state| state.resting == 0 && state.called == 0);
        drop(end);
        first.end();
        second.end();
    }

    #[test]
    fn a_flush_leaves_another_reading_unless_the_last_was_quick() {
        let (readers, _requests, first, second) = one_rests(Rest::Allowed);
        let end = first.serve_long(&readers);
        readers.flushes_slowly.store(false, Ordering::Relaxed);
        readers.flush(|| thread::sleep(2 * QUICK_FLUSH));
        assert_eq!(readers.state.lock().resting, 1);
        readers.flush(|| wait_until(&readers, |state| state.resting == 0));
        drop(end);
        first.end();
        second.end();
    }

    #[test]
    fn the_deputy_calls_somebody_where_a_request_turns_out_slow() {
        let (readers, _requests, first, second) = one_rests(Rest::Allowed);
        readers.appoint_deputy();
        wait_until(&readers, |state| state.deputy_sleeps);
        let end = first.serve_long(&readers);
        wait_until(&readers, |state| state.resting == 0);
        drop(end);
        first.end();
        second.end();
    }

    #[test]
    fn the_deputy_calls_somebody_where_another_request_comes_to_wait() {
        let (readers, mut requests, first, second) = one_rests(Rest::Allowed);
        let end = first.serve_long(&readers);
        let is_still = false;
        readers.look_after(&mut readers.state.lock(), is_still);
        assert_eq!(readers.state.lock().called, 0);
        requests.write_all(b"x").unwrap();
        readers.look_after(&mut readers.state.lock(), is_still);
        wait_until(&readers, |state| state.resting == 0);
        drop(end);
        first.end();
        second.end();
    }

    #[test]
    fn a_request_without_a_reply_is_served_and_nobody_rests_after_it() {
        let (readers, _requests, first, second) = one_rests(Rest::Allowed);
        let all = Arc::clone(&readers);
        let (end, ended) = channel::<()>();
        first.order(move || {
            (0..3 * REST_AFTER).for_each(|_| drop(all.take_silent()));
            let _one = all.take_silent();
            let _ended = ended.recv();
        });
        wait_until(&readers, |state| state.is_unattended());
        readers.let_another_read();
        wait_until(&readers, |state| state.resting == 0);
        drop(end);
        wait_until(&readers, |state| state.reading() == 2);
        first.end();
        second.end();
    }

    #[test]
    fn the_end_of_one_thread_ends_all_resting() {
        let (readers, _requests, first, second) = one_rests(Rest::Allowed);
        readers.appoint_deputy();
        first.end();
        wait_until(&readers, |state| state.resting == 0);
        second.end();
        // The deputy has gone as well.
        let began = Instant::now();
        while Arc::strong_count(&readers) > 1 {
            assert!(began.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_micros(100));
        }
    }

    #[test]
    fn where_nothing_ever_comes_few_look_and_one_still_finds() {
        let (readers, mut requests) = connection(Rest::Allowed);
        let misses = || readers.state.lock().misses;
        for _ in 0..GIVE_UP_AFTER {
            drop(readers.take());
        }
        assert_eq!(misses(), GIVE_UP_AFTER);
        requests.write_all(b"x").unwrap();
        drop(readers.take());
        assert_eq!(misses(), GIVE_UP_AFTER + 1, "nobody looked");
        for _ in 0..TRY_ONE_IN {
            drop(readers.take());
        }
        assert_eq!(misses(), 0);
    }

    #[test]
    fn the_end_of_the_connection_is_found() {
        let (readers, requests) = connection(Rest::Allowed);
        drop(requests);
        drop(readers.take());
        assert_eq!(readers.state.lock().misses, 0);
    }
}
