//! What a program reads while slots change one after the other: the tables of its own generation to its end, however long
//! it is held up.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use aya::{
    EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use podwitness_datapath::Tables;
use podwitness_wire::names;

use crate::{
    fixture::{Kernel, folder, maps, options},
    frames::{OUT, SYN},
    isolation::isolated,
    world::{EGRESS_ISOLATING, PEER_IDENTITY, POD_IDENTITY, World, families},
};

/// How long packets are sent while slots change.
const STORM: Duration = Duration::from_secs(4);
/// How often a packet is run between two times that its CPU is held up.
const RUNS: u32 = 3000;
/// A CPU runs so many timers in one go, with whatever it was at held up: about half of a millisecond.
const TIMERS: usize = 2000;
/// How long after they were set.
const UNTIL_TIMERS: Duration = Duration::from_micros(200);

/// Tables all of whose numbers say which generation they are.
fn of_generation(generation: u64) -> Tables {
    let offset = offset(generation);
    let mut tables = World { rule_set_offset: offset, ..World::isolated() }.tables();
    for (_, entry) in tables.addresses.iter_mut().filter(|(_, entry)| entry.identity == PEER_IDENTITY) {
        entry.identity += offset;
    }
    for (_, entry) in tables.endpoints.iter_mut() {
        entry.identity += offset;
    }
    tables
}

fn offset(generation: u64) -> u32 {
    u32::try_from(generation).unwrap() * 1000
}

/// Has every hook, of which there are none, tell when it reads.
fn trust(kernel: &mut Kernel) {
    assert!(kernel.hooking.set(&[]).unwrap().is_empty());
    kernel.drain();
}

fn activate_next(kernel: &mut Kernel) {
    let generation = kernel.control.generation() + 1;
    assert_eq!(kernel.control.activate(&of_generation(generation)).unwrap(), generation);
}

#[test]
fn a_program_that_is_held_up_reads_its_own_generation_to_the_end() {
    isolated(|| {
        let mut kernel = kernel();
        activate_next(&mut kernel);
        trust(&mut kernel);
        storm(&mut kernel, true);
    });
}

#[test]
fn so_does_a_program_of_before_that_does_not_tell_when_it_reads() {
    isolated(|| {
        let mut kernel = kernel();
        activate_next(&mut kernel);
        storm(&mut kernel, false);
    });
}

#[test]
fn changes_that_follow_each_other_do_not_wait_for_the_kernel() {
    /// Changes.
    const MANY: u32 = 40;
    isolated(|| {
        let mut kernel = kernel();
        activate_next(&mut kernel);
        activate_next(&mut kernel);
        trust(&mut kernel);
        let begin = Instant::now();
        (0..MANY).for_each(|_| activate_next(&mut kernel));
        let change = begin.elapsed() / MANY;
        let begin = Instant::now();
        for _ in 0..MANY {
            kernel.outlet.turn_epoch().unwrap();
        }
        let wait = begin.elapsed() / MANY;
        println!("a change takes {change:?}, and the kernel's wait {wait:?}");
        assert!(change < wait / 2, "a change takes {change:?}, and the kernel's wait {wait:?}");
    });
}

#[test]
fn what_is_prepared_is_what_is_in_force() {
    isolated(|| {
        let mut kernel = kernel();
        let tables = of_generation(1);
        let generation = kernel.control.activate(&tables).unwrap();
        kernel.control.prepare(&tables).unwrap();
        assert_eq!(kernel.control.generation(), generation, "it is not in force by that");
        let pair = families()[0].to(families()[0].peer, 444);
        kernel.send(OUT, &pair.tcp(OUT, SYN, 1));
        assert_eq!(kernel.denial().0.generation, generation);
        let prepared = inner_maps(generation + 1);
        activate_next(&mut kernel);
        assert_eq!(inner_maps(generation + 1), prepared, "the first change is made by what differs");
        kernel.send(OUT, &pair.tcp(OUT, SYN, 1));
        assert_eq!(kernel.denial().0.rule_set, EGRESS_ISOLATING + offset(generation + 1));
    });
}

/// The numbers of the maps in the slot of a generation.
fn inner_maps(generation: u64) -> Vec<u32> {
    let slot = u32::from(generation % 2 == 1);
    let inner = |name| {
        let outer = MapData::from_pin(maps(Path::new(&folder())).join(name)).unwrap();
        // What user space reads of a map of maps is their numbers.
        Array::<_, u32>::try_from(Map::Array(outer)).unwrap().get(&slot, 0).unwrap()
    };
    let tables =
        [names::ADDRESSES, names::ENDPOINTS, names::OWN_ADDRESSES, names::POLICY, names::SERVICES, names::FRONTENDS];
    tables.map(inner).to_vec()
}

fn kernel() -> Kernel {
    Kernel::with(&podwitness_datapath::Options { denials: 1 << 17, ..options() })
}

/// Changes slots as fast as it goes, while another CPU runs packets and is held up in the midst of them.
fn storm(kernel: &mut Kernel, tell: bool) {
    let cpus = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut cpus = (0..CpuSet::count()).filter(|cpu| cpus.is_set(*cpu).unwrap());
    let (own, other) = (cpus.next().unwrap(), cpus.next().expect("this test is about two CPUs"));
    let (has_begun, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut changes = 0;
    let held_up = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            stay_on(other);
            send(tell, &has_begun, &is_over)
        });
        stay_on(own);
        while !has_begun.load(Ordering::Relaxed) && !sender.is_finished() {
            thread::yield_now();
        }
        let begin = Instant::now();
        while begin.elapsed() < STORM && !sender.is_finished() {
            activate_next(kernel);
            changes += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    let (denials, losses) = kernel.drain();
    println!("{changes} changes, {} generations in denials, held up {held_up} times", denials.len());
    assert_eq!(losses, []);
    for (key, _) in &denials {
        let offset = offset(key.generation);
        let (whole, found) = (
            (POD_IDENTITY + offset, PEER_IDENTITY + offset, EGRESS_ISOLATING + offset),
            (key.endpoint, key.peer, key.rule_set),
        );
        assert_eq!(found, whole, "by generation {}: endpoint, peer, rule set", key.generation);
    }
    assert!(denials.len() > 5, "{} generations in denials", denials.len());
}

fn stay_on(cpu: usize) {
    let mut one = CpuSet::new();
    one.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

/// Runs a packet that is denied, again and again, and has timers hold this CPU up meanwhile; returns how often. A packet
/// that is denied is decided each time.
fn send(tell: bool, has_begun: &AtomicBool, is_over: &AtomicBool) -> u32 {
    let mut loader = EbpfLoader::new();
    // A program that has another map of readers tells the agent nothing.
    for name in names::MAPS.iter().filter(|name| tell || **name != names::READERS) {
        loader.map_pin_path(name, maps(Path::new(&folder())).join(name));
    }
    let mut programs = loader.load(podwitness_ebpf_object::bytes()).unwrap();
    let program: &mut SchedClassifier = programs.program_mut(names::PROGRAM_FROM_POD).unwrap().try_into().unwrap();
    program.load().unwrap();
    let frame = families()[0].to(families()[0].peer, 444).tcp(OUT, SYN, 1);
    let timers = timers();
    let (mut times, mut to_set) = (0, Duration::ZERO);
    while !is_over.load(Ordering::Relaxed) {
        let begin = now();
        let at = begin + to_set + UNTIL_TIMERS;
        for timer in &timers {
            set(timer, at);
        }
        to_set = now().saturating_sub(begin);
        has_begun.store(true, Ordering::Relaxed);
        program.test_run(TestRunOptions { data_in: Some(&frame), repeat: RUNS, ..TestRunOptions::default() }).unwrap();
        times += 1;
    }
    times
}

fn timers() -> Vec<OwnedFd> {
    let most = libc::rlimit { rlim_cur: 1 << 14, rlim_max: 1 << 14 };
    // SAFETY: the limit lives as long as the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const most) }, 0, "{}", io::Error::last_os_error());
    let new = |_| {
        // SAFETY: the call has no preconditions.
        let timer = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) };
        assert!(timer >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the descriptor was just opened, and nothing else owns it.
        unsafe { OwnedFd::from_raw_fd(timer) }
    };
    (0..TIMERS).map(new).collect()
}

/// The monotonic clock.
fn now() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time lives as long as the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

/// Has a timer run on this CPU at this time.
fn set(timer: &OwnedFd, at: Duration) {
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let at = libc::timespec { tv_sec: at.as_secs().try_into().unwrap(), tv_nsec: at.subsec_nanos().into() };
    let once = libc::itimerspec { it_interval: never, it_value: at };
    // SAFETY: the times live as long as the call, which writes nothing.
    let set =
        unsafe { libc::timerfd_settime(timer.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &raw const once, ptr::null_mut()) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}
