//! How long the controller takes for each of its steps, and the hooker beside it, from the spans in which they do them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The controller's span around its others.
const APPLY: &str = "apply";
/// The hooker's span.
pub(crate) const HOOK: &str = "hook";

/// The present was put in force once, or interfaces have their hooks.
pub(crate) struct Applied {
    /// How many changes the controller had learnt; 0 where it is about hooks.
    pub(crate) changes: u64,
    /// When it was done.
    pub(crate) at: Instant,
    /// What each step took, by its name; the whole too.
    pub(crate) steps: BTreeMap<&'static str, Cost>,
}

/// What a step took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// On the clock on the wall.
    pub(crate) wall: Duration,
    /// Of the thread on a processor, in the kernel too.
    pub(crate) cpu: Duration,
}

/// Follows the controller from now on.
pub(crate) fn follow() -> Receiver<Applied> {
    let (sender, receiver) = channel();
    tracing_subscriber::registry().with(Steps { sender }).init();
    receiver
}

struct Steps {
    sender: Sender<Applied>,
}

struct Changes(u64);

impl Visit for Changes {
    fn record_u64(&mut self, _field: &Field, value: u64) {
        self.0 = value;
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

thread_local! {
    static BEGUN: RefCell<Vec<(Instant, Duration)>> = const { RefCell::new(Vec::new()) };
    static DONE: RefCell<BTreeMap<&'static str, Cost>> = const { RefCell::new(BTreeMap::new()) };
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("each thread has the clock").into()
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Steps {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut changes = Changes(0);
        attributes.record(&mut changes);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(changes);
        }
    }

    fn on_enter(&self, _id: &Id, _context: Context<'_, S>) {
        BEGUN.with_borrow_mut(|begun| begun.push((Instant::now(), cpu())));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let at = Instant::now();
        let (Some(span), Some((wall, cpu_before))) = (context.span(id), BEGUN.with_borrow_mut(Vec::pop)) else {
            return;
        };
        let cost = Cost { wall: at - wall, cpu: cpu().saturating_sub(cpu_before) };
        DONE.with_borrow_mut(|done| done.insert(span.name(), cost));
        if [APPLY, HOOK].contains(&span.name()) {
            let changes = span.extensions().get::<Changes>().map_or(0, |changes| changes.0);
            // Nobody listens any more at the end.
            let _ = self.sender.send(Applied { changes, at, steps: DONE.take() });
        }
    }
}
