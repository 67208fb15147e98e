//! What a store is given, and what a person is told when it refuses.

mod gateway;
mod operations;
mod server;
