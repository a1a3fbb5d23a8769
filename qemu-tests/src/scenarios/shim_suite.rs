//! The shim's own tests (`containerd-shim/tests/containerd`) on what is shipped: the image's containerd, crun, control
//! groups of version 2, systemd and netd. On the host they also run, faster, on other ground.
//!
//! Each portion runs the tests of some modules of that program, one after the other, and makes sure that all of them
//! ran that the program has, but those that are for the host alone: [`HOST_ONLY`].

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::tools;

use super::containers::{IMAGE, differences, traces};
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 4] = [
    Scenario::new(
        "the shim's own tests of a task's life pass on the image's containerd, crun, cgroup v2 and systemd",
        Topology::Containers,
        lifecycle,
    )
    .soaks(LIFECYCLE.name)
    .takes(110),
    Scenario::new(
        "the shim's own tests of streams and terminals pass on the image's containerd, crun, cgroup v2 and systemd",
        Topology::Containers,
        streams,
    )
    .soaks(STREAMS.name)
    .takes(50),
    Scenario::new(
        "the shim's own tests of killed daemons pass on the image's containerd, crun, cgroup v2 and systemd",
        Topology::Containers,
        recovery,
    )
    .soaks(RECOVERY.name)
    .takes(50),
    Scenario::new(
        "the shim's own tests of scopes, memory shortage, ports and its greeting pass on the image's containerd, \
         crun, cgroup v2, systemd and netd",
        Topology::Containers,
        rest,
    )
    .soaks(REST.name)
    .takes(60),
];

/// The program, as it is named in the guest.
const PROGRAM: &str = "shim-tests";

/// Tests of the host alone, for a reason.
const HOST_ONLY: [(&str, &str); 5] = [
    ("ports::an_interface_is_attached_before_the_start_and_detached_at_the_end", FAKE),
    ("ports::what_netd_refuses_fails_the_task_in_its_words", FAKE),
    ("ports::a_killed_shims_ports_are_given_back", FAKE),
    ("ports::without_netd_a_port_cannot_be_had_but_a_task_can_be_deleted", FAKE),
    ("ports::task_whose_deletion_was_cut_off_is_listed_removable_and_creatable", FAKE),
];
/// The reason. With netd itself `image::` and the file `containers` show the same, but that without netd a task has no
/// port and can be deleted all the same: a test that stops netd would disturb the others.
const FAKE: &str = "a fake netd on a private bus, on which there is no systemd to make the task's scope";

/// Tests that share a behaviour.
struct Portion {
    /// Name of its long run.
    name: &'static str,
    /// Modules of the program.
    modules: &'static [&'static str],
}

const LIFECYCLE: Portion = Portion { name: "shim-suite-lifecycle", modules: &["lifecycle"] };
const STREAMS: Portion = Portion { name: "shim-suite-streams", modules: &["streams"] };
const RECOVERY: Portion = Portion { name: "shim-suite-recovery", modules: &["recovery"] };
const REST: Portion =
    Portion { name: "shim-suite-image", modules: &["image", "ports", "greeting", "harness"] };
const PORTIONS: [&Portion; 4] = [&LIFECYCLE, &STREAMS, &RECOVERY, &REST];

/// Rounds of a long run, each with the tests' own rounds in full.
const ROUNDS: u32 = 5;
/// How long a portion may take, with samples and in full.
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(1200), Duration::from_secs(3600)];
/// How long the list of tests may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long what the tests made may take to go.
const SOON: Duration = Duration::from_secs(60);

fn lifecycle(lab: &Lab, run: &Run) -> Result<String> {
    portion(lab, run, &LIFECYCLE)
}

fn streams(lab: &Lab, run: &Run) -> Result<String> {
    portion(lab, run, &STREAMS)
}

fn recovery(lab: &Lab, run: &Run) -> Result<String> {
    portion(lab, run, &RECOVERY)
}

fn rest(lab: &Lab, run: &Run) -> Result<String> {
    portion(lab, run, &REST)
}

fn portion(lab: &Lab, run: &Run, portion: &Portion) -> Result<String> {
    lab.needs_tool(PROGRAM)?;
    lab.needs_tool("ctr")?;
    let list = lab.vm.run_within(&script(&format!("{PROGRAM} --list")), LIST_TIMEOUT)?;
    let tests = chosen(&listed(&list), portion)?;
    let before = kept(traces(lab)?);
    let mut summary = String::new();
    run.rounds(portion.name, 1, ROUNDS, |_, _| {
        summary = round(lab, run.in_full(), &tests)?;
        eventually("all is as before the tests", SOON, || {
            let left = differences(&before, &kept(traces(lab)?));
            if left.is_empty() { Ok(()) } else { bail!("{}", left.join("\n")) }
        })
    })?;
    Ok(summary)
}

/// Runs tests; the answer is how long they took.
fn round(lab: &Lab, in_full: bool, tests: &[String]) -> Result<String> {
    let full = if in_full { "export CORTEN_TEST_ROUNDS=full; " } else { "" };
    // What processes print on standard error would fall between the words of a line.
    let command = format!(
        "{full}{PROGRAM} --test-threads 1 --include-ignored --exact {} 2>$TMPDIR/errors; status=$?\n\
         cat $TMPDIR/errors; rm -rf $TMPDIR; exit $status",
        tests.join(" ")
    );
    let output = lab.vm.sh_within(&script(&command), TIMEOUTS[usize::from(in_full)])?;
    judge(tests, output.status, &output.text)
}

/// A script with the program's surroundings. Its temporary files are in memory.
fn script(command: &str) -> String {
    let folder = "/run/corten-test.shim";
    format!(
        "{}export TMPDIR={folder} CORTEN_TEST_STACK=image CORTEN_TEST_IMAGE={IMAGE}; mkdir -p {folder}\n{command}",
        tools::USE
    )
}

/// Names of the tests in what `--list` prints.
fn listed(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

fn module(test: &str) -> &str {
    test.split_once("::").map_or("", |(module, _)| module)
}

/// The tests of a portion, but those for the host alone. That every test has a portion, and every exception a test, is
/// made sure of.
fn chosen(listed: &[String], portion: &Portion) -> Result<Vec<String>> {
    for test in listed {
        let portions = PORTIONS.iter().filter(|portion| portion.modules.contains(&module(test))).count();
        ensure!(portions == 1, "{portions} portions run {test}");
    }
    for (name, reason) in HOST_ONLY {
        ensure!(listed.iter().any(|test| test == name), "there is no test {name}, left out for: {reason}");
    }
    let host_only = |test: &str| HOST_ONLY.iter().any(|(name, _)| *name == test);
    let ours = |test: &&String| portion.modules.contains(&module(test)) && !host_only(test);
    let tests: Vec<String> = listed.iter().filter(ours).cloned().collect();
    ensure!(!tests.is_empty(), "the program has no tests {:?}", portion.modules);
    Ok(tests)
}

/// Judges what the program printed: the very tests must have run that were asked for, and passed.
fn judge(tests: &[String], status: i32, text: &str) -> Result<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("test ")?.rsplit_once(" ... "));
    let results: Vec<(&str, &str)> = lines.collect();
    let failed: Vec<&str> =
        results.iter().filter(|(_, result)| *result != "ok").map(|(name, _)| *name).collect();
    // What failing tests printed comes after the results of all.
    let said = text.split_once("\nfailures:\n").map_or(text, |(_, said)| said);
    ensure!(failed.is_empty() && status == 0, "exit status {status}, failed: {}\n{said}", failed.join(", "));
    let ran: BTreeSet<&str> = results.iter().map(|(name, _)| *name).collect();
    let expected: BTreeSet<&str> = tests.iter().map(String::as_str).collect();
    let missing: Vec<&&str> = expected.symmetric_difference(&ran).collect();
    ensure!(missing.is_empty(), "other tests ran than {PROGRAM} --list says: {missing:?}\n{text}");
    let summary = text.lines().rev().find_map(|line| line.strip_prefix("test result: ok. "));
    summary.map(str::to_owned).with_context(|| format!("no result: {text}"))
}

/// Traces of tasks. The namespaces of tests stay in containerd's own files.
fn kept(mut traces: Vec<String>) -> Vec<String> {
    let kinds = [
        "link ",
        "mount ",
        "network namespaces ",
        "named namespace ",
        "cgroup /sys/fs/cgroup/services.slice/",
        "process /usr/bin/containerd-shim",
        "file /run/containerd/s/",
    ];
    traces.retain(|line| kinds.iter().any(|kind| line.starts_with(kind)));
    traces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Vec<String> {
        let own = ["lifecycle::a", "streams::b", "recovery::c", "greeting::d", "image::e", "harness::f"];
        let own = own.into_iter().chain(HOST_ONLY.iter().map(|(name, _)| *name));
        listed(
            &(own.map(|name| format!("{name}: test\n")).collect::<String>() + "\n10 tests, 0 benchmarks\n"),
        )
    }

    #[test]
    fn portions_have_every_test_once_but_those_of_the_host() {
        let mut all: Vec<String> =
            PORTIONS.iter().flat_map(|portion| chosen(&list(), portion).unwrap()).collect();
        all.sort();
        let own = ["greeting::d", "harness::f", "image::e", "lifecycle::a", "recovery::c", "streams::b"];
        assert_eq!(all, own);
    }

    #[test]
    fn test_without_a_portion_and_exception_without_a_test_are_errors() {
        let unknown: Vec<String> = list().into_iter().chain(["volumes::a".to_owned()]).collect();
        let error = chosen(&unknown, &STREAMS).unwrap_err().to_string();
        assert_eq!(error, "0 portions run volumes::a");
        let fewer: Vec<String> = list().into_iter().filter(|test| test != HOST_ONLY[0].0).collect();
        assert!(chosen(&fewer, &STREAMS).unwrap_err().to_string().contains(HOST_ONLY[0].0));
        let none: Vec<String> = list().into_iter().filter(|test| module(test) != "streams").collect();
        assert!(chosen(&none, &STREAMS).unwrap_err().to_string().contains("no tests"));
    }

    #[test]
    fn only_the_tests_that_were_asked_for_pass() {
        let tests = ["a::x", "a::y"].map(str::to_owned);
        let result = "test result: ok. 2 passed; 0 failed; finished in 9.00s\n";
        let both = format!("running 2 tests\ntest a::x ... ok\ntest a::y ... ok\n\n{result}");
        assert_eq!(judge(&tests, 0, &both).unwrap(), "2 passed; 0 failed; finished in 9.00s");
        for (status, text) in [
            (101, both.clone()),
            (0, both.replace("test a::y ... ok\n", "")),
            (0, both.replace("y ... ok", "y ... ok\ntest a::z ... ok")),
            (0, both.replace("y ... ok", "y ... ignored, in the guest")),
            (0, "running 0 tests\n\ntest result: ok. 0 passed; 0 failed\n".to_owned()),
            (0, both.replace(result, "")),
        ] {
            assert!(judge(&tests, status, &text).is_err(), "{text}");
        }
    }

    #[test]
    fn failing_test_is_shown_with_what_it_printed() {
        let text =
            "test a::x ... ok\ntest a::y ... FAILED\n\nfailures:\n\n---- a::y stdout ----\nwaited 20 s\n";
        let error = judge(&["a::x", "a::y"].map(str::to_owned), 101, text).unwrap_err().to_string();
        assert!(error.contains("failed: a::y") && error.contains("waited 20 s"), "{error}");
        assert!(!error.contains("a::x"), "{error}");
    }
}
