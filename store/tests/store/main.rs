//! What a store is given, and what a person is told when it refuses.

mod operations;
mod server;
