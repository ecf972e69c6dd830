//! Running one block: a fiber for each thread, and turns between them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::finding::FindingKind;
use super::machine::{Machine, with};
use super::rendezvous::State;

/// Bytes of a fiber's stack; the system grants them page by page.
const STACK_BYTES: usize = 128 * 1024;

type Fiber = Coroutine<(), (), (), DefaultStack>;

thread_local! {
    /// The handle by which the running fiber gives up its turn.
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };

    /// Stacks of fibers that have ended, for those to come.
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// Ends the turn of the running thread until it is released.
pub fn suspend() {
    let yielder = YIELDER.get();
    // SAFETY: only fibers call this. Each stores its own handle, which lives as long as its stack,
    // when it starts and whenever it runs again.
    unsafe { (*yielder).suspend(()) };
    YIELDER.set(yielder);
}

/// Runs every thread of the block that the machine is prepared for. `false` where it hangs.
pub fn run(body: &Rc<dyn Fn()>) -> std::io::Result<bool> {
    let threads = with(|m| m.config.threads());
    let mut fibers = Vec::with_capacity(threads as usize);
    for _ in 0..threads {
        let stack = STACKS
            .with_borrow_mut(Vec::pop)
            .map_or_else(|| DefaultStack::new(STACK_BYTES), Ok)?;
        let body = Rc::clone(body);
        fibers.push(Fiber::with_stack(stack, move |yielder, ()| {
            YIELDER.set(yielder);
            body();
        }));
    }
    let finished = take_turns(&mut fibers);
    // A fiber that hangs or panicked may not give back its stack.
    let done = fibers.into_iter().filter(Fiber::done);
    STACKS.with_borrow_mut(|stacks| stacks.extend(done.map(Fiber::into_stack)));
    Ok(finished)
}

fn take_turns(fibers: &mut [Fiber]) -> bool {
    loop {
        while let Some(thread) = with(|m| m.rendezvous.next_ready()) {
            with(|m| m.current = thread);
            let fiber = &mut fibers[thread as usize];
            match catch_unwind(AssertUnwindSafe(|| fiber.resume(()))) {
                Ok(CoroutineResult::Yield(())) => {}
                Ok(CoroutineResult::Return(())) => with(|m| m.end_thread(thread)),
                Err(panic) => with(|m| {
                    m.report(FindingKind::Panic, panic_message(&*panic), None);
                    m.end_thread(thread);
                }),
            }
        }
        if with(|m| {
            m.rendezvous
                .states
                .iter()
                .all(|state| matches!(state, State::Done))
        }) {
            with(Machine::end_bulk_copies);
            return true;
        }
        // A copy arrives when nothing else can happen: as late as a device may let it.
        if with(Machine::finish_bulk_copy) {
            continue;
        }
        if !with(Machine::release_barrier) {
            return false;
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

impl Machine {
    fn end_thread(&mut self, thread: u32) {
        self.rendezvous.states[thread as usize] = State::Done;
    }

    /// Lets the block go on when no thread can run: all of them wait at the barrier, or are done.
    /// `false` where some wait for lanes that will never come.
    fn release_barrier(&mut self) -> bool {
        let mut waiting = Vec::new();
        let mut sites = Vec::new();
        let mut stuck = Vec::new();
        for (thread, state) in (0..).zip(&self.rendezvous.states) {
            match *state {
                State::Barrier(site) => {
                    waiting.push(thread);
                    sites.push(site);
                }
                State::Lanes(operation, mask, site) => {
                    let what = format!("{operation:?} with mask {mask:#010x} waits for lanes");
                    stuck.push((thread, what, site));
                }
                State::Phase(address, parity, site) => {
                    let phase = self.describe_phase(address);
                    stuck.push((thread, format!("a wait for parity {parity}, {phase}"), site));
                }
                State::Product(site) => {
                    stuck.push((thread, "a product waits for threads".to_owned(), site));
                }
                State::Ready | State::Done => {}
            }
        }
        for (thread, what, site) in &stuck {
            self.current = *thread;
            let message = format!(
                "{what} that do not come; {} threads wait so, {} at the block's barrier",
                stuck.len(),
                waiting.len()
            );
            self.report(FindingKind::Deadlock, message, Some(site));
        }
        if !stuck.is_empty() {
            return false;
        }
        let other = sites.iter().find(|site| **site != sites[0]);
        if waiting.len() < self.rendezvous.states.len() || other.is_some() {
            self.current = waiting[0];
            let ended = self.rendezvous.states.len() - waiting.len();
            let mut message = format!("{ended} threads of the block have ended without it");
            if let Some(other) = other {
                message += &format!(", some wait at {other}");
            }
            self.report(FindingKind::DivergentBarrier, message, Some(sites[0]));
        }
        self.clocks.join_block();
        self.rendezvous.release(waiting.into_iter());
        true
    }
}
