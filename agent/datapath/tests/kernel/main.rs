//! The programs and the datapath on this machine's kernel: packets go through `BPF_PROG_TEST_RUN`, in a network
//! namespace and on a BPF file system that each test has for itself.

mod chain;
mod connections;
mod denials;
mod fixture;
mod fragments;
mod frames;
mod full;
mod hooks;
mod hostile;
mod in_place;
mod isolation;
mod layout;
mod learn;
mod migrate;
mod moved_addresses;
mod others;
mod pins;
mod policy;
mod readers;
mod reattach;
mod related;
mod ring;
mod seen_late;
mod services;
mod verifier;
mod wire;
mod world;
