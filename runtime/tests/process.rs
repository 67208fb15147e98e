//! What is seen of the process from outside: signals, exit codes and log lines. Each test starts itself again as a
//! child process, which knows by a variable of its environment that it is the child.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podwitness_runtime::logging::{self, Format, LogOptions};
use podwitness_runtime::shutdown::Shutdown;

const ROLE: &str = "PODWITNESS_TEST_CHILD";
const DEADLINE: Duration = Duration::from_secs(30);

fn is_child() -> bool {
    env::var_os(ROLE).is_some()
}

/// The child process of one test. Killed when a test fails before its end.
struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
}

impl Process {
    /// Runs the test `name` as a child.
    fn start(name: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("this test's program"))
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped"));
        let errors = BufReader::new(child.stderr.take().expect("its errors are piped"));
        Self { child, lines, errors }
    }

    /// Waits until the child has printed `line`.
    fn wait_for_line(&mut self, line: &str) {
        wait_for(&mut self.lines, line);
    }

    /// Waits until the child has written `line` on standard error.
    fn wait_for_error(&mut self, line: &str) {
        wait_for(&mut self.errors, line);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(pid, signal).expect("the child is there");
    }

    /// Waits for the end and gives how it ended and what else it wrote on standard error.
    fn end(mut self) -> (ExitStatus, String) {
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).expect("text");
        (self.child.wait().expect("it ends"), errors)
    }
}

/// Reads until a line that holds `line`. The child watches a deadline of its own, so this ends.
fn wait_for(lines: &mut impl BufRead, line: &str) {
    let mut found = String::new();
    while !found.contains(line) {
        found.clear();
        assert_ne!(lines.read_line(&mut found).expect("text"), 0, "the child ended without `{line}`");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, except where a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_signal_asks_for_an_orderly_stop() {
    if is_child() {
        let shutdown = Shutdown::on_signals().expect("signals are handled");
        println!("\nworking");
        assert!(shutdown.wait_timeout(DEADLINE));
        println!("\ndrained");
        return;
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut process = Process::start("the_first_signal_asks_for_an_orderly_stop");
        process.wait_for_line("working");
        process.signal(signal);
        process.wait_for_line("drained");
        let (status, errors) = process.end();
        assert_eq!(status.code(), Some(0), "{errors}");
    }
}

#[test]
fn the_first_signal_does_no_harm_to_a_stop_that_was_requested_already() {
    if is_child() {
        logging::init(&LogOptions { format: Format::Text, filter: "info".to_owned() }).expect("logging begins");
        let shutdown = Shutdown::on_signals().expect("signals are handled");
        shutdown.request();
        println!("\ndraining");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).expect("the parent closes it");
        println!("\ndrained");
        return;
    }
    let mut process = Process::start("the_first_signal_does_no_harm_to_a_stop_that_was_requested_already");
    process.wait_for_line("draining");
    process.signal(Signal::SIGTERM);
    process.wait_for_error("stopping; a second signal ends the process at once");
    drop(process.child.stdin.take());
    process.wait_for_line("drained");
    let (status, errors) = process.end();
    assert_eq!(status.code(), Some(0), "{errors}");
}

#[test]
fn the_second_signal_ends_the_process_at_once_and_says_so() {
    if is_child() {
        let shutdown = Shutdown::on_signals().expect("signals are handled");
        println!("\nworking");
        assert!(shutdown.wait_timeout(DEADLINE));
        println!("\ndraining");
        std::thread::sleep(DEADLINE); // work that hangs, which the second signal is for
        panic!("the second signal did not come in time");
    }
    for (signal, code, name) in [(Signal::SIGTERM, 143, "SIGTERM"), (Signal::SIGINT, 130, "SIGINT")] {
        let mut process = Process::start("the_second_signal_ends_the_process_at_once_and_says_so");
        process.wait_for_line("working");
        process.signal(Signal::SIGTERM);
        process.wait_for_line("draining");
        process.signal(signal);
        let (status, errors) = process.end();
        assert_eq!((status.code(), status.signal()), (Some(code), None), "{errors}");
        let expected = format!("error: {name} while stopping: ended at once, before everything was drained\n");
        assert!(errors.ends_with(&expected), "{errors}");
    }
}

#[test]
fn a_request_wakes_threads_and_tasks() {
    let shutdown = Shutdown::new();
    assert!(!shutdown.is_requested());
    assert!(!shutdown.wait_timeout(Duration::from_millis(1)));
    assert!(!shutdown.wait_until(Instant::now()));
    let thread = std::thread::spawn({
        let shutdown = shutdown.clone();
        move || shutdown.wait()
    });
    let task = std::thread::spawn({
        let shutdown = shutdown.clone();
        move || tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(shutdown.requested())
    });
    shutdown.request();
    thread.join().expect("the thread was woken");
    task.join().expect("the task was woken");
    assert!(shutdown.is_requested() && shutdown.wait_until(Instant::now()));
}

#[test]
fn json_log_lines_are_objects_on_standard_error() {
    if is_child() {
        logging::init(&LogOptions { format: Format::Json, filter: "info".to_owned() }).expect("logging begins");
        tracing::debug!("too fine");
        tracing::info!(records = 3, "committed");
        return;
    }
    let (status, errors) = Process::start("json_log_lines_are_objects_on_standard_error").end();
    assert!(status.success(), "{errors}");
    let [line] = errors.lines().collect::<Vec<_>>().try_into().expect("one line");
    assert!(
        line.starts_with("{\"timestamp\":\"")
            && line.contains("Z\",\"level\":\"INFO\",\"message\":\"committed\",\"records\":3"),
        "{line}"
    );
}

#[test]
fn text_log_lines_have_no_colour_codes_in_a_pipe() {
    if is_child() {
        logging::init(&LogOptions { format: Format::Text, filter: "warn,process=debug".to_owned() })
            .expect("logging begins");
        tracing::debug!(records = 3, "committed");
        return;
    }
    let (status, errors) = Process::start("text_log_lines_have_no_colour_codes_in_a_pipe").end();
    assert!(status.success(), "{errors}");
    assert!(errors.trim_end().ends_with("DEBUG process: committed records=3"), "{errors}");
}

#[test]
fn a_filter_that_makes_no_sense_is_repeated_in_the_message() {
    let error =
        logging::init(&LogOptions { format: Format::Text, filter: "info,a=loud".to_owned() }).expect_err("refused");
    assert_eq!(error.to_string(), "log filter `info,a=loud` is not a level or a list of target=level");
}
