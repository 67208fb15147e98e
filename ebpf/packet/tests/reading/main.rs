//! What is read from frames: well-formed ones, broken ones, and any bytes at all.

mod broken;
mod corpus;
mod frames;
mod ipv4;
mod ipv6;
mod link;
mod quoted;
mod random;
mod second_parser;
mod tags;
