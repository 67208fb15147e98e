//! What a store is given, and what a person is told when it refuses.

#[path = "../conformance/mod.rs"]
mod conformance;
mod gateway;
mod operations;
mod server;
