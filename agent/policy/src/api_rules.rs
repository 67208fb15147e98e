//! The rules of the `NetworkPolicy` API, one test each by name. Every answer is asked of the evaluator and of the compiled
//! tables both.

mod claims;
mod endpoints;
mod peers;
mod ports;
mod selection;
mod selectors;
mod services;
mod world;
