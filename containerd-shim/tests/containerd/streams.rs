//! Standard streams and terminals.

use std::io::Write;
use std::process::Stdio;

use crate::harness::stack::HAPPENS;
use crate::harness::terminal::in_terminal;
use crate::harness::{Containerd, Ran};

/// What a process does after its output: ctr(8) of containerd 1.6 closes the streams of a task when it hears of the
/// task's end, whether it has read them or not (`task.Delete` of its client; mended within 1.7).
const UNTIL_IT_IS_READ: &str = "sleep 2";

#[test]
fn output_and_errors_are_kept_apart() {
    let containerd = Containerd::start();
    let ran = containerd.run(&["--rm"], "both", &["sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn input_goes_in_and_its_end_ends_the_reader() {
    let containerd = Containerd::start();
    let script = format!("cat; {UNTIL_IT_IS_READ}");
    let mut client = containerd
        .run_command(&["--rm"], "cat", &["sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    let mut stdin = client.stdin.take().unwrap();
    let sent = text.clone();
    let writer = std::thread::spawn(move || stdin.write_all(sent.as_bytes()));
    let ran: Ran = client.wait_with_output().unwrap().into();
    writer.join().unwrap().unwrap();
    assert_eq!(ran.code, 0);
    assert!(ran.stdout == text, "{} bytes of {} came back", ran.stdout.len(), text.len());
}

#[test]
fn input_of_a_process_run_inside_ends_too() {
    let containerd = Containerd::start();
    containerd.run_detached(&[], "host", &["sleep", "1000"]);
    let mut client = containerd
        .ctr_command(&["task", "exec", "--exec-id", "e", "host", "wc", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(&[b'x'; 100_000]).unwrap();
    let ran: Ran = client.wait_with_output().unwrap().into();
    assert_eq!(ran.stdout.trim(), "100000");
    containerd.ctr(&["task", "rm", "-f", "host"]);
}

#[test]
fn much_output_arrives_whole() {
    let containerd = Containerd::start();
    let script = format!("seq 1 300000; {UNTIL_IT_IS_READ}");
    let ran = containerd.run(&["--rm"], "much", &["sh", "-c", &script]);
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    assert!(ran.stdout == expected, "{} bytes of {}", ran.stdout.len(), expected.len());
}

#[test]
fn a_log_file_is_appended_to() {
    let containerd = Containerd::start();
    let log = containerd.folder.path().join("task.log");
    std::fs::write(&log, "before\n").unwrap();
    let uri = format!("file://{}", log.display());
    containerd.run_detached(&["--log-uri", &uri], "logged", &["echo", "after"]);
    containerd.wait_status("logged", "STOPPED");
    containerd.ctr(&["task", "rm", "logged"]);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "before\nafter\n");
}

#[test]
fn a_terminal_has_the_clients_size() {
    let containerd = Containerd::start();
    // The client sets the size once the container runs.
    let looks = HAPPENS.get().as_millis() / 20;
    let script = format!(
        "for i in $(seq {looks}); do [ \"$(stty size 2>/dev/null)\" = '33 99' ] && break; sleep 0.02; done; stty size; tty"
    );
    let ran = in_terminal(containerd.run_command(&["--rm", "-t"], "tty", &["sh", "-c", &script]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "33 99\n/dev/pts/0\n");
    containerd.assert_clean();
}

#[test]
fn much_output_of_a_terminal_arrives_whole() {
    let containerd = Containerd::start();
    containerd.run_detached(&[], "host", &["sleep", "1000"]);
    let exec = containerd.ctr_command(&["task", "exec", "-t", "--exec-id", "e", "host", "seq", "1", "50000"]);
    let ran = in_terminal(exec);
    let expected: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
    assert!(ran.stdout == expected, "{} bytes of {}", ran.stdout.len(), expected.len());
    containerd.remove("host");
    containerd.assert_clean();
}
