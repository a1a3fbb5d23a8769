//! Run, start, exec, kill, wait, delete.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::{Containerd, RUNTIME, children, kill, runs, unified, wait_for};

#[test]
fn exit_codes_reach_the_client() {
    let containerd = Containerd::start();
    assert_eq!(containerd.run(&["--rm"], "zero", &["true"]).code, 0);
    assert_eq!(containerd.run(&["--rm"], "one", &["false"]).code, 1);
    assert_eq!(containerd.run(&["--rm"], "seven", &["sh", "-c", "exit 7"]).code, 7);
    assert_eq!(
        containerd.run(&["--rm"], "killed", &["sh", "-c", "kill -9 $$; sleep 9"]).code,
        0,
        "init ignores its own KILL"
    );
    containerd.assert_clean();
}

#[test]
fn a_killed_container_ends_with_137_and_one_that_handles_term_with_its_own_code() {
    let containerd = Containerd::start();
    for (signal, script, expected) in [
        ("SIGKILL", "sleep 1000", 137),
        ("SIGTERM", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", 5),
    ] {
        let mut client = containerd
            .run_command(&["--rm"], "victim", &["sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        if script.contains("ready") {
            let mut line = String::new();
            BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        } else {
            containerd.wait_status("victim", "RUNNING");
        }
        containerd.ctr(&["task", "kill", "-s", signal, "victim"]).ok();
        assert_eq!(client.wait().unwrap().code(), Some(expected), "{signal}");
    }
    containerd.assert_clean();
}

#[test]
fn a_command_that_does_not_exist_is_refused_and_leaves_nothing() {
    let containerd = Containerd::start();
    let ran = containerd.run(&["--rm"], "missing", &["/bin/no-such-command"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("no-such-command"), "{}", ran.stderr);
    containerd.run_detached(&[], "host", &["sleep", "1000"]);
    let exec = containerd.exec("host", "e1", &["/bin/no-such-command"]);
    assert_ne!(exec.code, 0);
    assert!(exec.stderr.contains("no-such-command"), "{}", exec.stderr);
    assert_eq!(containerd.exec("host", "e2", &["true"]).code, 0, "the container goes on");
    containerd.ctr(&["task", "rm", "-f", "host"]);
    containerd.ctr(&["container", "rm", "host"]).ok();
    containerd.assert_clean();
}

#[test]
fn listings_show_the_real_process() {
    let containerd = Containerd::start();
    containerd.run_detached(&[], "listed", &["sleep", "1234"]);
    let (pid, status) = containerd.task("listed").unwrap();
    assert_eq!(status, "RUNNING");
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(line, b"sleep\x001234\x00");
    let processes = containerd.ctr(&["task", "ps", "listed"]).ok();
    assert!(processes.contains(&pid.to_string()), "{processes}");
    containerd.ctr(&["task", "rm", "-f", "listed"]);
    assert!(!runs(pid));
}

#[test]
fn processes_run_inside_and_their_exit_codes_come_back() {
    let containerd = Containerd::start();
    containerd.run_detached(&[], "inside", &["sleep", "1000"]);
    assert_eq!(containerd.exec("inside", "a", &["true"]).code, 0);
    assert_eq!(containerd.exec("inside", "b", &["sh", "-c", "exit 42"]).code, 42);
    let shown = containerd.exec("inside", "c", &["sh", "-c", "echo $$; cat /proc/1/cmdline"]);
    assert!(shown.stdout.contains("sleep"), "{}", shown.stdout);
    containerd.ctr(&["task", "rm", "-f", "inside"]);
    containerd.ctr(&["container", "rm", "inside"]).ok();
    containerd.assert_clean();
}

#[test]
fn events_come_in_the_order_things_happened() {
    let containerd = Containerd::start();
    let mut events =
        containerd.ctr_command(&["events"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    // The listener is ready once it shows an event of ours.
    let mut number = 0;
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    wait_for("the event listener", || {
        number += 1;
        containerd.ctr(&["namespace", "create", &format!("probe{number}")]).ok();
        receiver.try_recv().ok()
    });
    containerd.run_detached(&[], "told", &["sleep", "1000"]);
    containerd.exec("told", "inner", &["true"]).ok();
    containerd.ctr(&["task", "pause", "told"]).ok();
    containerd.ctr(&["task", "resume", "told"]).ok();
    containerd.ctr(&["task", "kill", "-s", "SIGKILL", "told"]).ok();
    containerd.wait_status("told", "STOPPED");
    containerd.ctr(&["task", "rm", "told"]);
    let mut topics = Vec::new();
    while topics.last().is_none_or(|topic| topic != "/tasks/delete") {
        let line = receiver.recv_timeout(std::time::Duration::from_secs(20)).expect("an event within 20 s");
        topics.extend(line.split_whitespace().find(|word| word.starts_with("/tasks/")).map(str::to_owned));
    }
    events.kill().unwrap();
    events.wait().unwrap();
    reader.join().unwrap();
    let expected =
        ["create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete"];
    assert_eq!(topics, expected.map(|name| format!("/tasks/{name}")));
}

#[test]
fn a_paused_container_stands_still_until_resumed() {
    let containerd = Containerd::start();
    let file = containerd.folder.path().join("rootfs/tmp/ticks");
    containerd.run_detached(&[], "still", &["sh", "-c", "while :; do echo >> /tmp/ticks; sleep 0.02; done"]);
    let ticks = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
    wait_for("the container to tick", || (ticks() > 3).then_some(()));
    containerd.ctr(&["task", "pause", "still"]).ok();
    assert_eq!(containerd.task("still").unwrap().1, "PAUSED");
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(ticks(), before);
    containerd.ctr(&["task", "resume", "still"]).ok();
    wait_for("the container to tick on", || (ticks() > before).then_some(()));
    containerd.ctr(&["task", "rm", "-f", "still"]);
}

#[test]
fn metrics_are_the_cgroups_or_a_clear_refusal() {
    let containerd = Containerd::start();
    containerd.run_detached(&[], "measured", &["sleep", "1000"]);
    let metrics = containerd.ctr(&["task", "metrics", "measured"]);
    if unified() {
        let text = metrics.ok();
        assert!(text.contains("memory.usage_limit") && text.contains("pids.current"), "{text}");
    } else {
        assert_ne!(metrics.code, 0);
        // containerd keeps the reason to its log.
        assert!(containerd.log().contains("statistics need cgroup version 2"), "{}", metrics.stderr);
    }
    containerd.ctr(&["task", "rm", "-f", "measured"]);
}

#[test]
fn two_hundred_execs_leave_threads_and_descriptors_as_they_were() {
    let containerd = Containerd::start();
    containerd.run_detached(&[], "busy", &["sleep", "1000"]);
    let shim = containerd.shims()[0];
    let threads = || fs::read_dir(format!("/proc/{shim}/task")).unwrap().count();
    let descriptors = || fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    for round in 0..5 {
        assert_eq!(containerd.exec("busy", &format!("warm{round}"), &["echo", "x"]).ok(), "x\n");
    }
    let before = (threads(), descriptors(), children(shim));
    for round in 0..200 {
        assert_eq!(
            containerd.exec("busy", &format!("e{round}"), &["echo", "x"]).ok(),
            "x\n",
            "round {round}"
        );
    }
    assert_eq!((threads(), descriptors(), children(shim)), before);
    assert!(before.0 <= 2, "{} threads", before.0);
    let files = fs::read_dir(containerd.bundle("busy")).unwrap().count();
    assert!(files < 20, "{files} files in the bundle");
    containerd.ctr(&["task", "rm", "-f", "busy"]);
    containerd.ctr(&["container", "rm", "busy"]).ok();
    containerd.assert_clean();
}

#[test]
fn orphans_are_reaped() {
    let containerd = Containerd::start();
    // In the host's PID namespace orphans of the container become children of the shim.
    let config = containerd.config_without_pid_namespace(&["sleep", "1000"]);
    containerd.ctr(&["run", "-d", "--runtime", RUNTIME, "--config", &config, "orphans"]).ok();
    let shim = containerd.shims()[0];
    let before = children(shim);
    for round in 0..3 {
        let script = "(sleep 1000 & sleep 1000 &) </dev/null >/dev/null 2>&1; exit 0";
        assert_eq!(containerd.exec("orphans", &format!("o{round}"), &["sh", "-c", script]).code, 0);
    }
    let orphans = wait_for("six orphans to be the shim's", || {
        let mut orphans = children(shim);
        orphans.retain(|pid| !before.contains(pid));
        (orphans.len() == 6).then_some(orphans)
    });
    orphans.into_iter().for_each(|pid| kill(pid, 9));
    wait_for("the orphans to be reaped", || (children(shim) == before).then_some(()));
    containerd.ctr(&["task", "rm", "-f", "orphans"]);
    containerd.ctr(&["container", "rm", "orphans"]).ok();
    containerd.assert_clean();
}

#[test]
fn ten_containers_at_once() {
    let containerd = Containerd::start();
    let names: Vec<String> = (0..10).map(|number| format!("c{number}")).collect();
    let clients: Vec<_> = names
        .iter()
        .map(|name| {
            containerd
                .run_command(&["--rm"], name, &["echo", name])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (client, name) in clients.into_iter().zip(&names) {
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.trim(), name, "{}", String::from_utf8_lossy(&output.stderr));
    }
    containerd.assert_clean();
}

#[test]
fn kinds_that_are_not_supported_are_refused_clearly() {
    let containerd = Containerd::start();
    let ran = containerd.run(&["--rm", "--annotation", "org.corten.kind=vm"], "machine", &["true"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("kind vm are not supported yet"), "{}", ran.stderr);
    containerd.assert_clean();
}

/// ctr has no verb for it, so this asks the shim itself, as containerd does.
#[tokio::test]
async fn limits_change_while_a_container_runs() {
    use containerd_shim_protos::api::{Empty, UpdateTaskRequest};
    use containerd_shim_protos::protobuf::MessageField;
    use containerd_shim_protos::protobuf::well_known_types::any::Any;

    let containerd = Containerd::start();
    containerd.run_detached(&["--memory-limit", "67108864"], "limited", &["sleep", "1000"]);
    let (pid, _) = containerd.task("limited").unwrap();
    let limit = || {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let path = |key: &str| {
            let line = cgroups.lines().find(|line| line.split(':').nth(1) == Some(key)).unwrap();
            line.splitn(3, ':').nth(2).unwrap().to_owned()
        };
        let file = if unified() {
            format!("/sys/fs/cgroup{}/memory.max", path(""))
        } else {
            format!("/sys/fs/cgroup/memory{}/memory.limit_in_bytes", path("memory"))
        };
        fs::read_to_string(file).unwrap().trim().parse::<u64>().unwrap()
    };
    assert_eq!(limit(), 64 << 20);
    let address = fs::read_to_string(containerd.bundle("limited").join("address")).unwrap();
    let client = containerd_shim_protos::shim_async::Client::connect(&address).await.unwrap();
    let resources = |text: &str| UpdateTaskRequest {
        id: "limited".into(),
        resources: MessageField::some(Any { value: text.as_bytes().to_vec(), ..Default::default() }),
        ..Default::default()
    };
    let more = resources("{\"memory\":{\"limit\":100663296}}");
    crate::greeting::call::<_, Empty>(&client, 2, "Update", &more).await.unwrap();
    assert_eq!(limit(), 96 << 20);
    for wrong in ["", "[]", "{"] {
        assert!(crate::greeting::call::<_, Empty>(&client, 2, "Update", &resources(wrong)).await.is_err());
    }
    containerd.ctr(&["task", "rm", "-f", "limited"]);
    containerd.ctr(&["container", "rm", "limited"]).ok();
    containerd.assert_clean();
}
