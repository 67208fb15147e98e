//! Reading what anybody may have written, with a library that panics on some of it.
//!
//! Our programs end where they panic, and one file must not end a verification. So a file is read on a thread of its own, which
//! stays where it is when it panics; what it has in memory is lost until the program ends, so that may not happen often.

use std::cell::Cell;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, mpsc};
use std::thread;

use crate::failure::Failure;

/// Each may keep one file in memory that is read as a whole.
const MOST_PANICS: usize = 64;

/// Who is told of a panic, and why it came.
type Tell = Box<dyn Fn(String)>;

thread_local! {
    /// What tells of a panic of this thread.
    static TELL: Cell<Option<Tell>> = const { Cell::new(None) };
}

/// What `work` gives, which looks at the object at `path`; that the library failed, where it panics.
pub(super) fn run<T: Send + 'static>(
    path: &str,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<Result<T, String>, Failure> {
    static HOOK: Once = Once::new();
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| match TELL.take() {
            Some(tell) => {
                tell(what_failed(info));
                // A harness of tests takes the hook away at its end, and waits until nobody is in it; and there a panic ends nothing.
                while cfg!(not(test)) {
                    thread::park();
                }
            }
            None => before(info),
        }));
    });
    let question = |why: &dyn std::fmt::Display| Failure::question(format_args!("cannot look at {path}: {why}"));
    let (give, given) = mpsc::channel();
    let reader = thread::Builder::new().spawn(move || {
        let tell = give.clone();
        TELL.set(Some(Box::new(move |why| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            // Nobody waits where the program ends.
            let _ = tell.send(Err(why));
        })));
        let done = work();
        TELL.set(None);
        let _ = give.send(done);
    });
    reader.map_err(|error| question(&error))?;
    let told = given.recv().map_err(|error| question(&error))?;
    match PANICS.load(Ordering::Relaxed) {
        ..=MOST_PANICS => Ok(told),
        count => Err(question(&format!(
            "{count} files made their reader fail, and each of them costs memory; remove those that seals do not list"
        ))),
    }
}

fn what_failed(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let why = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("its reader failed: {}", why.unwrap_or("it does not say why"))
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn a_panic_is_told_and_ends_nothing() {
        let tell = |work: fn() -> Result<u8, String>| run("x", work).map_err(|_| ()).unwrap();
        assert_eq!(tell(|| Ok(7)), Ok(7));
        assert_eq!(tell(|| Err("no".to_owned())), Err("no".to_owned()));
        assert_eq!(tell(|| panic!("on purpose")), Err("its reader failed: on purpose".to_owned()));
        assert_eq!(tell(|| Ok(8)), Ok(8));
    }
}
