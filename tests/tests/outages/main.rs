//! The exporter before a real store over real sockets, and what befalls both.

mod away;
mod bench;
mod clock;
mod credentials;
mod damage;
mod table;
mod verified;
