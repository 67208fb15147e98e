//! What writes of a policy took, and how it is shown.

use std::time::{Duration, Instant};

use crate::probe::Turn;

/// Many writes, one after the other. Times are in milliseconds, from a moment to the one at which the policy was in force; one that
/// is negative ended before it began.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// From when the request was sent.
    pub(crate) sent: Vec<f64>,
    /// From when the API server had answered it.
    pub(crate) answered: Vec<f64>,
    /// From when another watcher was told of it.
    pub(crate) watched: Vec<f64>,
    /// How much earlier it may have been in force.
    pub(crate) blur: Vec<f64>,
}

impl Times {
    pub(crate) fn add(&mut self, [sent, answered, watched]: [Instant; 3], Turn { at, blur }: Turn) {
        self.sent.push(between(sent, at));
        self.answered.push(between(answered, at));
        self.watched.push(between(watched, at));
        self.blur.push(milliseconds(blur));
    }

    pub(crate) fn len(&self) -> usize {
        self.sent.len()
    }

    /// From the watch event, from the answer and from the request.
    pub(crate) fn from(&self) -> [&[f64]; 3] {
        [&self.watched, &self.answered, &self.sent]
    }

    pub(crate) fn print(&self, what: &str) {
        println!(
            "  {what}: {} writes, ms to in force{:>16}{:>9}{:>9}{:>9}",
            self.len(),
            "median",
            "90 %",
            "99 %",
            "most"
        );
        for (name, times) in [
            ("from the watch event", &self.watched),
            ("from the server's answer", &self.answered),
            ("from the request", &self.sent),
            ("what the method blurs", &self.blur),
        ] {
            let [half, ninety, most, all] = [0.5, 0.9, 0.99, 1.0].map(|share| quantile(times, share));
            println!("    {name:40}{half:9.2}{ninety:9.2}{most:9.2}{all:9.2}");
        }
        let within = self.watched.iter().filter(|time| **time <= GOAL).count();
        println!("    within {GOAL:.0} ms of the watch event: {:.1} %", share(within, self.len()));
    }
}

/// Within so many milliseconds of the watch event 99 % of policies shall be in force.
pub(crate) const GOAL: f64 = 10.0;

/// The smallest that so large a share of them does not exceed.
pub(crate) fn quantile(of: &[f64], share: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// In per cent.
pub(crate) fn share(part: usize, of: usize) -> f64 {
    part as f64 / of as f64 * 1e2
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn between(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(time) => milliseconds(time),
        None => -milliseconds(from - to),
    }
}
