//! The harness itself: clones, runs that are killed, machines that are spoiled.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::random::Random;
use qemu_tests::results::Results;
use qemu_tests::waiting::pause;

use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 4] = [
    Scenario::new(
        "clones of one machine draw other random numbers, have the right time, and do not see each other",
        Topology::Switch,
        clones_differ,
    ),
    Scenario::new("the agent waits for files, units and signals of the guest", Topology::Switch, agent_waits),
    Scenario::of_harness("a scenario that leaves netd degraded fails alone", spoiled_machine).takes(15),
    Scenario::of_harness("a run that is killed at a random moment leaves nothing behind", killed_run)
        .takes(15)
        .soaks("harness-kill"),
];

const SOON: Duration = Duration::from_secs(20);

fn clones_differ(lab: &Lab, run: &Run) -> Result<String> {
    let other = lab.sibling("harness-sibling")?;
    let mut drawn = BTreeSet::new();
    for clone in [lab, &other] {
        // The kernel hears of its new generation a moment after it goes on.
        eventually("the kernel reseeds its random generator", SOON, || {
            let log = clone.vm.run("dmesg")?;
            ensure!(log.contains("crng reseeded due to virtual machine fork"), "it does not say so");
            Ok(())
        })?;
        drawn.insert(clone.vm.run("busybox od -An -tx1 -N32 /dev/urandom")?);
        let guest: u64 = clone.vm.run("date +%s")?.trim().parse()?;
        let host = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        ensure!(guest.abs_diff(host) <= 3, "the clone's clock is {} s off", guest.abs_diff(host));
    }
    ensure!(drawn.len() == 2, "both clones drew {drawn:?}");
    lab.vm.run("ip link set swp7 alias changed; touch /run/changed")?;
    let there = other.vm.run("cat /sys/class/net/swp7/ifalias; ls /run")?;
    ensure!(!there.contains("changed"), "a change of one clone is in another:\n{there}");
    lab.vm.run("rm /run/changed")?;
    run.cloned(&other);
    Ok(String::new())
}

fn agent_waits(lab: &Lab, _: &Run) -> Result<String> {
    let agent = lab.vm.agent()?;
    // Each is waited for before it happens.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| agent.wait_for_file("/run/corten-test.awaited", true, SOON));
        lab.vm.run("sleep 0.5; touch /run/corten-test.awaited")?;
        waiting.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))?
    })?;
    let signal = agent.arm_signal(
        "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='UnitNew'",
        SOON,
    )?;
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| agent.wait_for_unit("corten-test-wait.service", &["active"], SOON));
        lab.vm.run("systemd-run --quiet --collect --unit=corten-test-wait sleep 100")?;
        waiting.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))?
    })?;
    signal.wait().context("systemd's signal")?;
    lab.vm.run("systemctl stop corten-test-wait.service")?;
    agent.wait_for_unit("corten-test-wait.service", &["inactive"], SOON)?;
    let never = agent.wait_for_file("/run/corten-test.never", true, Duration::from_millis(200));
    ensure!(never.is_err(), "a file that does not exist was found");
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    agent.put("/run/corten-test.file", 0o600, &content)?;
    ensure!(agent.get("/run/corten-test.file")? == content, "a file came back changed");
    lab.vm.run("rm /run/corten-test.file /run/corten-test.awaited")?;
    let slow = lab.vm.sh_within("sleep 100", Duration::from_secs(1));
    ensure!(slow.is_err(), "a script went on beyond its time");
    Ok(String::new())
}

fn passes(lab: &Lab, _: &Run) -> Result<String> {
    lab.vm.run("corten show ports").map(|_| String::new())
}

/// netd cannot set an address that the kernel does not take any more.
fn degrades(lab: &Lab, _: &Run) -> Result<String> {
    lab.vm.run("echo 1 >/proc/sys/net/ipv6/conf/swp7/disable_ipv6")?;
    eventually("netd is degraded", SOON, || match lab.is_well() {
        Ok(()) => bail!("it is well"),
        Err(_) => Ok(String::new()),
    })
}

fn spoiled_machine(run: &Run) -> Result<String> {
    let scenario = |show| Scenario::new("part of a rehearsal", Topology::Switch, show);
    let chain = vec![scenario(passes), scenario(degrades), scenario(passes)];
    let rehearsed = run.rehearse("rehearsal", chain)?;
    let [first, second, third] = &rehearsed[..] else { bail!("{} of three scenarios ran", rehearsed.len()) };
    ensure!(!first.failed, "the first failed: {}", first.text);
    ensure!(second.failed && second.text.contains("unfit"), "the second is not blamed: {}", second.text);
    ensure!(!third.failed, "the third failed, too: {}", third.text);
    ensure!(third.text.contains("on a fresh machine"), "the report does not say so: {}", third.text);
    Ok(second.text.clone())
}

/// Processes that have a word in their environment, which they take from whoever started them.
fn marked(mark: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("reading /proc")?.flatten() {
        // It may end at any time.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if qemu_tests::frame::contains(&environment, mark.as_bytes()) {
            let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            found.push(format!("{} {}", entry.path().display(), command.replace('\0', " ")));
        }
    }
    Ok(found)
}

/// Waits for the moment to kill a run that prints this: any in the first 20 s, or one in which clones start and run;
/// answers which.
fn killing_moment(output: &mut impl BufRead, random: &mut Random) -> String {
    let amid_clones = random.next_u64().is_multiple_of(2);
    let (most, after) = if amid_clones { (4_000, "its template was made") } else { (20_000, "its start") };
    if amid_clones {
        let is_made = |line: std::io::Result<String>| line.is_ok_and(|line| line.starts_with("-- template"));
        output.lines().any(is_made);
    }
    let moment = Duration::from_millis(random.next_u64() % most);
    pause(moment);
    format!("killed {} ms after {after}", moment.as_millis())
}

fn killed_run(run: &Run) -> Result<String> {
    const MARK: &str = "CORTEN_TEST_KILLED_RUN";
    let mut detail = String::new();
    run.rounds("harness-kill", 1, 50, |seed, number| {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let mark = format!("{}", seed.wrapping_add(u64::from(number)));
        let results = folder.path().join("logs/results.json");
        // The whole run: template, lanes, clones; long enough to be killed.
        let mut child = Command::new(std::env::current_exe()?)
            .args(["VLAN", "a learned address", "--log-dir"])
            .arg(folder.path().join("logs"))
            .arg("--json")
            .arg(&results)
            .env("TMPDIR", folder.path())
            .env(MARK, &mark)
            .env_remove("CARGO_MAKEFLAGS")
            .env_remove("MAKEFLAGS")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start another run")?;
        // Open until the end: who cannot print ends by itself.
        let mut output = BufReader::new(child.stdout.take().context("no output of the other run")?);
        let moment = killing_moment(&mut output, &mut Random::new(seed ^ u64::from(number)));
        ensure!(child.try_wait()?.is_none(), "the other run ended by itself");
        child.kill().context("cannot kill the other run")?;
        child.wait().context("cannot wait for the other run")?;
        // What it told of until then: its templates and chains.
        if let Ok(text) = std::fs::read(&results) {
            serde_json::from_slice::<Results>(&text)?.groups.iter().for_each(|group| run.spent(group));
        }
        let mark = format!("{MARK}={mark}");
        eventually("nothing is left", SOON, || {
            let processes = marked(&mark)?;
            ensure!(processes.is_empty(), "processes are left: {processes:?}");
            let files = std::fs::read_dir(folder.path())?.flatten().map(|entry| entry.file_name());
            let files: Vec<_> = files.filter(|name| name != "logs").collect();
            ensure!(files.is_empty(), "files are left: {files:?}");
            Ok(())
        })
        .with_context(|| moment.clone())?;
        detail = moment;
        Ok(())
    })?;
    Ok(detail)
}
