//! The steps of a protocol, at each of which a test can stop the process: kill it there, fill its disk, take its store
//! away, and let it go on.
//!
//! A program lists its steps in one `enum` ([`steps!`](crate::steps)); its test goes through all of them, so that a step
//! that is added is a step that is tried. In release builds a step is nothing.

/// The variable of the environment that names the step to stop at; `<step>:<n>` stops at the n-th time, from 1.
pub const STOP_AT: &str = "PODWITNESS_STOP_AT";

/// Says that a step is reached. In debug builds, where [`STOP_AT`] names it, the process stops (SIGSTOP) until somebody
/// lets it go on or kills it.
#[inline]
pub fn reached(step: &str) {
    #[cfg(debug_assertions)]
    stop::at(step);
    #[cfg(not(debug_assertions))]
    let _ = step;
}

/// Makes an `enum` of steps with a name and a sentence each, [`reached`] for each, and all of them in order.
#[macro_export]
macro_rules! steps {
    ($(#[$attribute:meta])* $list:ident { $($(#[$doc:meta])* $step:ident = $name:literal;)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $list {
            $($(#[$doc])* $step,)+
        }

        impl $list {
            /// All of them, in the order in which they follow each other.
            pub const ALL: &'static [Self] = &[$(Self::$step),+];

            /// What it is called.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)+
                }
            }

            /// Says that it is reached; see [`reached`]($crate::step::reached).
            #[inline]
            pub fn reached(self) {
                $crate::step::reached(self.name());
            }
        }
    };
}

#[cfg(debug_assertions)]
mod stop {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, raise};

    /// Where to stop, and how many times are left to pass it.
    static STOP: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let wanted = std::env::var(super::STOP_AT).ok()?;
        let (step, time) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((step.to_owned(), AtomicU32::new(time.parse().unwrap_or(1))))
    });

    pub(super) fn at(step: &str) {
        let Some((wanted, left)) = &*STOP else { return };
        if wanted == step && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = raise(Signal::SIGSTOP);
        }
    }
}
