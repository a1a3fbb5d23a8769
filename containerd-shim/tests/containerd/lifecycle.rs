//! Run, start, exec, kill, wait, delete.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::events::Events;
use crate::harness::stack::{STANDSTILL, rounds};
use crate::harness::{Containerd, RUNTIME, cgroups, children, kill, runs, unified, wait_for};

#[test]
fn exit_codes_reach_the_client() {
    let containerd = Containerd::start();
    assert_eq!(containerd.run(&["--rm"], "zero", &["true"]).code, 0);
    assert_eq!(containerd.run(&["--rm"], "one", &["false"]).code, 1);
    assert_eq!(containerd.run(&["--rm"], "seven", &["sh", "-c", "exit 7"]).code, 7);
    assert_eq!(
        containerd.run(&["--rm"], "killed", &["sh", "-c", "kill -9 $$; sleep 1"]).code,
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
    containerd.remove("host");
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
    containerd.remove("inside");
    containerd.assert_clean();
}

#[test]
fn events_come_in_the_order_things_happened() {
    let containerd = Containerd::start();
    let events = Events::listen(&containerd);
    containerd.run_detached(&[], "told", &["sleep", "1000"]);
    containerd.exec("told", "inner", &["true"]).ok();
    containerd.ctr(&["task", "pause", "told"]).ok();
    containerd.ctr(&["task", "resume", "told"]).ok();
    containerd.ctr(&["task", "kill", "-s", "SIGKILL", "told"]).ok();
    containerd.wait_status("told", "STOPPED");
    containerd.ctr(&["task", "rm", "told"]);
    let topics: Vec<String> = events.until("delete").into_iter().map(|event| event.topic).collect();
    let expected =
        ["create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete"];
    assert_eq!(topics, expected);
}

#[test]
fn processes_that_end_with_their_container_are_reported_before_it() {
    let containerd = Containerd::start();
    let events = Events::listen(&containerd);
    containerd.run_detached(&[], "outer", &["sleep", "1000"]);
    containerd.ctr(&["task", "exec", "--detach", "--exec-id", "inner", "outer", "sleep", "1000"]).ok();
    containerd.ctr(&["task", "kill", "-s", "SIGKILL", "outer"]).ok();
    containerd.wait_status("outer", "STOPPED");
    containerd.ctr(&["task", "rm", "outer"]);
    let exits = events.until("delete").into_iter().filter(|event| event.topic == "exit");
    let exits: Vec<_> =
        exits.map(|event| (event.fields["id"].clone(), event.fields["exit_status"].clone())).collect();
    assert_eq!(exits, [("inner".into(), 137.into()), ("outer".into(), 137.into())]);
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
    if unified() {
        let (pid, _) = containerd.task("still").unwrap();
        assert_eq!(cgroups::keyed(&cgroups::of_process(pid), "cgroup.events", "frozen"), 1);
    }
    let before = ticks();
    std::thread::sleep(STANDSTILL.get());
    assert_eq!(ticks(), before);
    containerd.ctr(&["task", "resume", "still"]).ok();
    wait_for("the container to tick on", || (ticks() > before).then_some(()));
    containerd.ctr(&["task", "rm", "-f", "still"]);
}

/// On the image they are numbers, for [`crate::harness::stack::stack`] makes sure of its control groups.
#[test]
fn metrics_are_the_cgroups_or_a_clear_refusal() {
    let containerd = Containerd::start();
    containerd.run_detached(&["--memory-limit", "67108864"], "measured", &["sleep", "1000"]);
    let metrics = containerd.ctr(&["task", "metrics", "measured"]);
    if unified() {
        let text = metrics.ok();
        let number = |name: &str| {
            let mut values = text.lines().filter_map(|line| line.trim().strip_prefix(name));
            let value = values.find_map(|rest| rest.strip_prefix(' ')?.trim().parse::<u64>().ok());
            value.unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        assert_eq!(number("pids.current"), 1, "{text}");
        assert_eq!(number("memory.usage_limit"), 64 << 20, "{text}");
        let usage = number("memory.usage");
        assert!(usage > 0 && usage < 64 << 20, "{text}");
        assert!(number("cpu.usage_usec") > 0, "{text}");
    } else {
        assert_ne!(metrics.code, 0);
        // containerd keeps the reason to its log.
        assert!(containerd.log().contains("statistics need cgroup version 2"), "{}", metrics.stderr);
    }
    containerd.remove("measured");
}

#[test]
fn execs_leave_threads_and_descriptors_as_they_were() {
    let containerd = Containerd::start();
    containerd.run_detached(&[], "busy", &["sleep", "1000"]);
    let shim = containerd.shims()[0];
    let threads = || fs::read_dir(format!("/proc/{shim}/task")).unwrap().count();
    let descriptors = || fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    for round in 0..rounds(5, 3) {
        assert_eq!(containerd.exec("busy", &format!("warm{round}"), &["echo", "x"]).ok(), "x\n");
    }
    let before = (threads(), descriptors(), children(shim));
    for round in 0..rounds(200, 10) {
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
    containerd.remove("busy");
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
    containerd.remove("orphans");
    containerd.assert_clean();
}

#[test]
fn containers_at_once_print_their_own() {
    let containerd = Containerd::start();
    let names: Vec<String> = (0..rounds(10, 3)).map(|number| format!("c{number}")).collect();
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
        if unified() {
            return cgroups::number(&cgroups::of_process(pid), "memory.max");
        }
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let line = cgroups.lines().find(|line| line.split(':').nth(1) == Some("memory")).unwrap();
        let path = line.splitn(3, ':').nth(2).unwrap();
        let file = format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes");
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
    containerd.remove("limited");
    containerd.assert_clean();
}
