//! The kernel side of Podwitness: a classifier for each direction on the host side of a pod's veth, and the sweep of the
//! connection table, which user space runs.
//!
//! The way of a packet: [`hook`] reads it and asks [`connections`] for what is remembered; a first packet goes to
//! [`decide`], which asks [`services`] what stands behind the address; what passes is remembered and told ([`record`]),
//! what does not is counted ([`denials`]). [`failure`] is the one place that says what happens where a decision cannot be
//! made.
//!
//! The verifier walks a function once for each way in which it is called, and the ways multiply. What decides is
//! therefore made of functions that it walks once alone (`extern "C"`, not mangled: "global" in the kernel's words,
//! commit 51c39bb1d5d1, Linux 5.6). They take numbers, and find what they are about in the [`room`].
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod connections;
mod count;
mod decide;
mod denials;
mod failure;
mod flow;
mod fragments;
mod hook;
mod maps;
mod readers;
mod record;
mod reopen;
mod room;
mod services;
mod sweep;
mod tables;

use aya_ebpf::{macros::classifier, programs::TcContext};
use podwitness_wire::{Direction, Learnt};

/// The host side's ingress hook: packets that leave the pod.
#[classifier]
pub fn pw_from_pod(context: TcContext) -> i32 {
    hook::run(&context, Direction::Egress)
}

/// The host side's egress hook: packets that enter the pod.
#[classifier]
pub fn pw_to_pod(context: TcContext) -> i32 {
    hook::run(&context, Direction::Ingress)
}

/// Not attached: user space runs it (`BPF_PROG_TEST_RUN`) to have owed records offered again, closed and idle
/// connections reported, and entries deleted.
#[classifier]
pub fn pw_sweep(_context: TcContext) -> i32 {
    sweep::run()
}

/// Not attached: user space runs it with a [`Learnt`] in place of a packet, to tell a connection its Service's backend.
#[classifier]
pub fn pw_learn(context: TcContext) -> i32 {
    match context.load::<Learnt>(0) {
        Ok(learnt) if services::learn_from_user(&learnt) => 0,
        _ => 1,
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this can be reached.
    loop {}
}

/// The kernel offers the helpers that these programs need to programs under the GPL alone; this source can be had under
/// it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
