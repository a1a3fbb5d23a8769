//! netd killed at random moments of changes, confirmations and rollbacks: what it finds when it is back is the
//! old configuration or the new one, whole, in netd's words and in the kernel's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::random::Random;
use serde_json::Value;

use super::kernel_dump;
use super::numbered::Stream;
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 1] = [Scenario::new(
    "netd killed at random moments of changes leaves the old state or the new one, never a mixture",
    Topology::Switch,
    never_a_mixture,
)
.soaks("netd")
.alone()
.also_on_two_cpus()
.takes(80)];

/// Kills of a sample, and of a full run.
const SAMPLE: u32 = 4;
const FULL: u32 = 500;
/// So many of the first kills of a run fall surely amid a change.
const DIRECTED: u32 = 2;
/// Where netd keeps the change that is on its way.
const JOURNAL: &str = "/var/lib/corten/netd/journal.json";
/// Numbered frames a second between two ports no change is about.
const RATE: u32 = 200;
/// Frames that must cross before and after each kill.
const MARGIN: u64 = 40;
const SOON: Duration = Duration::from_secs(60);
/// How long a call to netd may take: as long as the console waits for the answer to a change.
const CALL: Duration = Duration::from_secs(120);
/// A time for confirmation that is never up.
const LONG_S: u32 = 3600;
/// One that is.
const SHORT_S: u32 = 4;

/// Where a kill falls that cuts a change in two.
const AMID: &str = "amid a change";

/// What netd is about when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// A change that needs no confirmation, the moment it begins.
    Amid,
    /// A change that needs no confirmation.
    Apply,
    /// A change that is to be confirmed.
    ApplyUnconfirmed,
    /// Nothing, while a change waits for its confirmation; and then the confirmation.
    Confirm,
    /// A change is taken back by hand.
    RollBack,
    /// A change is taken back since its time is up.
    Expiry,
}

impl Moment {
    fn pick(random: &mut Random) -> Moment {
        match random.next_u64() % 10 {
            0..4 => Moment::Apply,
            4..6 => Moment::ApplyUnconfirmed,
            6..8 => Moment::Confirm,
            8 => Moment::RollBack,
            _ => Moment::Expiry,
        }
    }
}

/// A configuration, and what a switch that has it looks like.
struct Side {
    name: &'static str,
    path: &'static str,
    document: String,
    kernel: Vec<String>,
}

/// What is known before the first kill.
struct Ground {
    old: Side,
    new: Side,
    /// How long a question takes, from the shell's command to the answer.
    ask: Duration,
    /// The same of a change.
    apply: Duration,
    /// Of a confirmation.
    confirm: Duration,
    /// Of a rollback.
    roll_back: Duration,
}

fn never_a_mixture(lab: &Lab, run: &Run) -> Result<String> {
    // A change of IPv6 addresses would mostly wait for what hosts say to them: kills are to fall into its steps.
    ask_hosts(lab, false)?;
    let outcome = lab.restoring(|| killed_again_and_again(lab, run));
    ask_hosts(lab, true)?;
    outcome
}

/// Whether the kernel asks hosts if they use a new address, on all links but those it never asks on.
fn ask_hosts(lab: &Lab, ask: bool) -> Result<()> {
    let script = format!(
        "cd /proc/sys/net/ipv6/conf; for link in *; do case $link in all|lo) ;; *) echo {} >$link/accept_dad;; esac; done",
        u8::from(ask)
    );
    lab.vm.run(&script).map(|_| ())
}

fn killed_again_and_again(lab: &Lab, run: &Run) -> Result<String> {
    let ground = Ground::prepare(lab)?;
    let (mut tally, mut frames) = (BTreeMap::<&str, u32>::new(), 0);
    let kills = run.rounds("netd", SAMPLE, FULL, |seed, number| {
        let mut random = Random::new(seed.wrapping_add(u64::from(number)));
        let moment = if number <= DIRECTED { Moment::Amid } else { Moment::pick(&mut random) };
        let (where_it_was, sent) = round(lab, &ground, moment, &mut random)
            .with_context(|| format!("{moment:?} (seed {seed}, round {number})"))?;
        run.say(format!("kill {number}: {where_it_was}, {sent} frames, none missing"));
        *tally.entry(where_it_was).or_default() += 1;
        frames += sent;
        Ok(())
    })?;
    let amid = tally.get(AMID).copied().unwrap_or_default();
    // A long run that goes on where it stopped has done these before.
    let resumed = tally.values().sum::<u32>() < kills;
    ensure!(resumed || amid >= DIRECTED, "{amid} of {kills} kills fell amid a change: {tally:?}");
    let history = lab.vm.run("corten history")?;
    ensure!(!history.contains("crashed netd"), "a kill was taken for a crash:\n{history}");
    let tally: Vec<String> = tally.iter().map(|(place, count)| format!("{count} {place}")).collect();
    Ok(format!(
        "{kills} kill(s), of those in this run {}; an apply takes {} ms; {frames} numbered frames, none missing",
        tally.join(", "),
        ground.apply.saturating_sub(ground.ask).as_millis()
    ))
}

impl Ground {
    fn prepare(lab: &Lab) -> Result<Ground> {
        let side = |name, path, document| Side { name, path, document, kernel: Vec::new() };
        let mut old = side("old", "/run/corten-test.old.toml", lab.document.clone());
        let mut new = side("new", "/run/corten-test.new.toml", new_document(lab)?);
        for side in [&old, &new] {
            lab.write_file(side.path, &side.document)?;
        }
        lab.vm.run_within(&format!("corten apply {}", old.path), CALL)?;
        let ask = timed(lab, &call("Status", ""))?;
        old.kernel = kernel_dump::settled(|| kernel_dump::take(lab))?;
        let forth = timed(lab, &apply(&new, 0))?;
        new.kernel = kernel_dump::settled(|| kernel_dump::take(lab))?;
        let back = timed(lab, &apply(&old, 0))?;
        same(lab, &old).context("a change and the way back, without any kill")?;
        let changed = kernel_dump::differences(&old.kernel, &new.kernel).len();
        ensure!(changed > 300, "the change is too small to be cut in two: {changed} differences");
        lab.vm.run_within(&apply(&new, LONG_S), CALL)?;
        let roll_back = timed(lab, &roll_back())?;
        lab.vm.run_within(&apply(&new, LONG_S), CALL)?;
        let confirm = timed(lab, &confirm())?;
        same(lab, &new).context("a confirmed change, without any kill")?;
        Ok(Ground { old, new, ask, apply: forth.max(back), confirm, roll_back })
    }

    /// From the running configuration to the other one.
    fn sides(&self, lab: &Lab) -> Result<(&Side, &Side)> {
        let running = running(lab)?;
        if running == self.old.document {
            Ok((&self.old, &self.new))
        } else if running == self.new.document {
            Ok((&self.new, &self.old))
        } else {
            bail!("neither configuration runs, but:\n{running}")
        }
    }

    /// A random moment between the time a call reaches netd and a little after it ends, counted from the
    /// shell's command.
    fn moment(&self, whole: Duration, random: &mut Random) -> Duration {
        let work = whole.saturating_sub(self.ask).max(Duration::from_millis(20));
        let span = self.ask / 2 + work + work / 4;
        self.ask / 2 + span.mul_f64((random.next_u64() % 10_000) as f64 / 10_000.0)
    }
}

/// The lab's document with a change of everything but swp9 and swp10.
fn new_document(lab: &Lab) -> Result<String> {
    let mut document = lab.document.clone();
    let changes = [
        (
            "[ports.\"swp[1-2]\"]\nvlan.access = 10\n",
            "[ports.swp1]\nvlan.trunk = [\"10-40\"]\nvlan.native = 30\n\n\
             [ports.swp2]\naddresses = [\"10.0.2.1/24\", \"2001:db8:2::1/64\"]\nvrf = \"blue\"\nmtu = 1400\n",
        ),
        (
            "description = \"clients\"\nvlan.access = 20\n",
            "description = \"other clients\"\nvlan.access = 30\nisolated = true\n",
        ),
        ("vlan.trunk = [\"10\", \"20\"]\n", "vlan.trunk = [\"100-1000\"]\n"),
        (
            "addresses = [\"10.0.7.1/24\", \"2001:db8:7::1/64\"]\n",
            "addresses = [\"10.0.7.9/24\", \"2001:db8:7::9/64\"]\nmtu = 1400\nmac = \"02:00:00:00:77:01\"\n",
        ),
        (
            "[ports.swp11]\ndescription = \"pulled\"\nvlan.access = 60\n",
            "[lags.bundle]\nmembers = [\"swp11\", \"swp12\"]\nmode = \"static\"\nvlan.access = 20\n",
        ),
        (
            "name = \"servers\"\naddresses = [\"10.0.10.1/24\", \"2001:db8:10::1/64\"]\n",
            "name = \"blue servers\"\naddresses = [\"10.0.10.2/24\", \"2001:db8:10::2/64\"]\nvrf = \"blue\"\n",
        ),
        ("[vlans.20]\nname = \"clients\"\naddresses = [\"10.0.20.1/24\", \"2001:db8:20::1/64\"]\n", ""),
    ];
    for (from, to) in changes {
        ensure!(document.contains(from), "the lab's document lacks {from:?}");
        document = document.replace(from, to);
    }
    document.push_str(
        "\n[vrfs.blue]\ntable = 1001\n\n[loopbacks.lo1]\naddresses = [\"198.51.100.7/32\"]\n\n\
         [bridge]\nageing-time = 600\npriority = 4096\n\n\
         [vxlans.tunnel]\nvni = 5010\nvlan = 10\nlocal = \"198.51.100.1\"\nremotes = [\"10.0.8.2\", \"10.0.8.3\"]\n\n\
         [[fdb]]\nmac = \"02:00:00:00:99:01\"\nvlan = 30\nport = \"swp1\"\n\n\
         [[mdb]]\ngroup = \"239.1.1.1\"\nvlan = 30\nports = [\"swp1\", \"swp3\"]\n\n\
         [[neighbours]]\naddress = \"10.0.8.77\"\nmac = \"02:00:00:00:08:77\"\ndev = \"swp8\"\n\n\
         [control-plane]\nallow = [\"icmp\", \"arp\", \"nd\", \"ssh\"]\n",
    );
    for vlan in 31..=40 {
        document.push_str(&format!("\n[vlans.{vlan}]\naddresses = [\"10.0.{vlan}.1/24\"]\n"));
    }
    for route in 0..300 {
        let way =
            ["via = [\"10.0.8.2\"]", "via = [\"10.0.7.2\", \"10.0.8.3\"]", "blackhole = true"][route % 3];
        document.push_str(&format!(
            "\n[[routes]]\nprefix = \"10.{}.{}.0/24\"\n{way}\n",
            128 + route / 200,
            route % 200
        ));
    }
    Ok(document)
}

/// A command that calls a method of Config1; `arguments` begins with its signature.
fn call(method: &str, arguments: &str) -> String {
    format!(
        "busctl --timeout=60 call org.corten.Netd1 /org/corten/Netd1 org.corten.Netd1.Config1 {method} {arguments}"
    )
}

/// Documents travel as descriptors, which busctl cannot send.
fn apply(side: &Side, confirm_timeout_s: u32) -> String {
    let confirm = match confirm_timeout_s {
        0 => String::new(),
        seconds => format!(" --confirm {seconds}s"),
    };
    format!("corten apply --force{confirm} {}", side.path)
}

fn confirm() -> String {
    call("Confirm", "'a{sv}' 0")
}

fn roll_back() -> String {
    call("RollBack", "'ta{sv}' 0 0")
}

fn timed(lab: &Lab, command: &str) -> Result<Duration> {
    let started = Instant::now();
    lab.vm.run_within(command, CALL)?;
    Ok(started.elapsed())
}

fn running(lab: &Lab) -> Result<String> {
    lab.vm.run("corten config")
}

/// What netd says of itself and its files.
struct Told {
    running: String,
    startup: String,
    state: String,
    problems: String,
    files: String,
}

impl Told {
    fn ask(lab: &Lab) -> Result<Told> {
        let text = lab.vm.run(
            "corten config && echo '@@@' && cat /var/lib/corten/netd/startup.toml && echo '@@@' && \
             corten show system --json && echo '@@@' && ls -A /var/lib/corten/netd /var/lib/corten/netd/generations",
        )?;
        let [running, startup, system, files] = text.splitn(4, "@@@\n").collect::<Vec<_>>()[..] else {
            bail!("four parts were asked for: {text}");
        };
        let system: Value = serde_json::from_str(system).with_context(|| format!("no JSON: {system}"))?;
        Ok(Told {
            running: running.to_owned(),
            startup: startup.to_owned(),
            state: system["state"].as_str().unwrap_or_default().to_owned(),
            problems: system["problems"].to_string(),
            files: files.to_owned(),
        })
    }

    fn is_pending(&self) -> bool {
        self.state == "unconfirmed"
    }
}

/// Whether the switch is exactly as a side: for netd, on the disk, and in the kernel.
fn same(lab: &Lab, side: &Side) -> Result<()> {
    let text = lab.vm.run(&format!("corten diff {} --json", side.path))?;
    let diff: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    ensure!(
        diff["steps"].as_array().is_some_and(Vec::is_empty) && diff["document"] == "",
        "netd would still change something to be as {}: {text}",
        side.name
    );
    let left = kernel_dump::differences(&side.kernel, &kernel_dump::take(lab)?);
    ensure!(left.is_empty(), "{} runs, and the kernel has a mixture:\n{}", side.name, left.join("\n"));
    Ok(())
}

/// What a cut-off call came to, before netd was back.
struct Cut {
    /// Whether the call was answered well before the kill.
    answered: bool,
    /// Whether the kill left a change on its way.
    amid: bool,
}

/// Kills netd so long after a command was started.
fn kill_amid(lab: &Lab, command: &str, after: Duration) -> Result<Cut> {
    let script = format!(
        "netd=$(systemctl show -p MainPID --value netd.service); \
         ({command} >/run/corten-test.answer 2>&1; echo $? >/run/corten-test.status) & \
         sleep {:.3}; kill -9 $netd; \
         [ -e {JOURNAL} ] && echo amid; wait; echo status $(cat /run/corten-test.status)",
        after.as_secs_f64()
    );
    let text = lab.vm.run_within(&script, after + CALL)?;
    cut_off(lab, text.contains("status 0"), text.contains("amid"))
}

/// Kills netd the moment it has noted the change that a command asks for. A kill that comes when the change is over
/// is no error here: whoever counts sees it.
fn kill_at_journal(lab: &Lab, command: &str) -> Result<Cut> {
    let pid = lab.vm.run("systemctl show -p MainPID --value netd.service")?;
    let pid = pid.trim().parse().with_context(|| format!("netd has no process: {pid}"))?;
    let agent = lab.vm.agent()?;
    let killed = agent.arm_kill(pid, JOURNAL, SOON)?;
    let status = lab.vm.sh_within(&format!("{command} >/run/corten-test.answer 2>&1"), CALL)?.status;
    killed.wait().context("netd noted no change")?;
    // systemd starts the next one a moment later, which takes the change back or finishes it.
    cut_off(lab, status == 0, status != 0)
}

/// What a call came to whose netd was killed.
fn cut_off(lab: &Lab, answered: bool, amid: bool) -> Result<Cut> {
    let answer = lab.vm.run("cat /run/corten-test.answer")?;
    // A call that comes while nobody has the name, or that is cut off, says so.
    let cut_off = [
        "gave no answer",
        "is not known",
        "NoReply",
        "disconnected",
        "not activatable",
        "Connection reset",
        "was not provided",
        "without a reply",
        "it is not running",
        // What the console says of a bus that answers in netd's place: NoReply.
        "it does not answer",
    ];
    ensure!(
        answered || cut_off.iter().any(|words| answer.contains(words)),
        "netd refused the call instead of ending over it: {answer}"
    );
    Ok(Cut { answered, amid })
}

/// Kills netd that is perhaps not even up again.
fn kill_again(lab: &Lab, random: &mut Random) -> Result<()> {
    let after = Duration::from_millis(random.next_u64() % 1500);
    lab.vm.run(&format!(
        "sleep {:.3}; netd=$(systemctl show -p MainPID --value netd.service); [ $netd = 0 ] || kill -9 $netd",
        after.as_secs_f64()
    ))?;
    Ok(())
}

/// One kill; answers where it fell, and how many numbered frames crossed meanwhile.
fn round(lab: &Lab, ground: &Ground, moment: Moment, random: &mut Random) -> Result<(&'static str, u64)> {
    let (from, to) = ground.sides(lab)?;
    let mut stream = Stream::start(lab.vm.wire(9)?, lab.vm.wire(10)?, RATE)?;
    stream.wait_for_more(MARGIN, SOON)?;
    let (place, now) = killed(lab, ground, moment, (from, to), random)?;
    let (side, pending) = eventually("netd is well again", SOON, || {
        let told = Told::ask(lab)?;
        let side = judge(&told, from, to, now)?;
        same(lab, side)?;
        Ok((side, told.is_pending()))
    })?;
    if pending {
        lab.vm.run(&if random.next_u64().is_multiple_of(2) { confirm() } else { roll_back() })?;
    }
    stream.wait_for_more(MARGIN, SOON)?;
    let tally = stream.finish()?;
    ensure!(tally.missing.is_empty(), "{} while {} came to run", tally.gaps(), side.name);
    Ok((place, tally.sent))
}

/// What may run after a kill, and what must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Allowed {
    from: bool,
    to: bool,
    /// Whether the new configuration waits for its confirmation; `None` for either.
    pending: Option<bool>,
}

fn killed(
    lab: &Lab,
    ground: &Ground,
    moment: Moment,
    (_, to): (&Side, &Side),
    random: &mut Random,
) -> Result<(&'static str, Allowed)> {
    let unconfirmed = match moment {
        Moment::Amid | Moment::Apply | Moment::ApplyUnconfirmed => None,
        Moment::Confirm | Moment::RollBack => Some(LONG_S),
        Moment::Expiry => Some(SHORT_S),
    };
    if let Some(seconds) = unconfirmed {
        lab.vm.run_within(&apply(to, seconds), CALL)?;
    }
    let (command, whole) = match moment {
        Moment::Amid | Moment::Apply => (apply(to, 0), ground.apply),
        Moment::ApplyUnconfirmed => (apply(to, LONG_S), ground.apply),
        Moment::Confirm => {
            // Once more while nothing but the waiting goes on.
            kill_again(lab, random)?;
            lab.wait_for_netd(SOON)?;
            ensure!(Told::ask(lab)?.is_pending(), "a kill ended the wait for the confirmation");
            (confirm(), ground.confirm)
        }
        Moment::RollBack => (roll_back(), ground.roll_back),
        Moment::Expiry => ("true".to_owned(), Duration::from_secs(SHORT_S.into()) + ground.ask),
    };
    let cut = if moment == Moment::Amid {
        kill_at_journal(lab, &command)?
    } else {
        let after = ground.moment(whole, random);
        kill_amid(lab, &command, after).with_context(|| format!("killed after {} ms", after.as_millis()))?
    };
    if random.next_u64().is_multiple_of(4) {
        kill_again(lab, random)?;
    }
    lab.wait_for_netd(SOON)?;
    let (from_allowed, to_allowed, pending) = match (moment, cut.answered) {
        (Moment::Amid | Moment::Apply, answered) => (!answered, true, Some(false)),
        (Moment::ApplyUnconfirmed, answered) => (!answered, true, Some(true)),
        (Moment::Confirm, answered) => (false, true, answered.then_some(false)),
        (Moment::RollBack, answered) => (true, !answered, Some(true)),
        (Moment::Expiry, _) => (true, false, Some(false)),
    };
    let place = match (moment, cut.answered, cut.amid) {
        (Moment::Expiry, ..) => "around the end of the time to confirm",
        (Moment::Confirm, true, _) => "after a confirmation",
        (Moment::Confirm, false, _) => "before or amid a confirmation",
        (Moment::RollBack, true, _) => "after a rollback",
        (Moment::RollBack, false, _) => "before or amid a rollback",
        (_, true, _) => "after a change",
        (_, false, true) => AMID,
        (_, false, false) => "just before a change or as it ended",
    };
    Ok((place, Allowed { from: from_allowed, to: to_allowed, pending }))
}

/// Which side netd says it has, if it may have that.
fn judge<'a>(told: &Told, from: &'a Side, to: &'a Side, allowed: Allowed) -> Result<&'a Side> {
    ensure!(told.state != "degraded", "netd is degraded: {}", told.problems);
    let side = match &told.running {
        text if *text == from.document => from,
        text if *text == to.document => to,
        text => bail!("neither configuration runs, but:\n{text}"),
    };
    let is_new = std::ptr::eq(side, to);
    ensure!(
        if is_new { allowed.to } else { allowed.from },
        "{} runs, which is not allowed: {allowed:?}",
        side.name
    );
    let pending = told.is_pending();
    ensure!(is_new || !pending, "the configuration before the change waits for a confirmation");
    ensure!(
        !is_new || allowed.pending.is_none_or(|wanted| wanted == pending),
        "pending: {pending}, allowed: {allowed:?}"
    );
    let confirmed = if pending { from } else { side };
    ensure!(told.startup == confirmed.document, "the switch would start with:\n{}", told.startup);
    let left: Vec<&str> =
        told.files.lines().filter(|name| name.ends_with(".new") || *name == "journal.json").collect();
    ensure!(left.is_empty(), "files were left: {left:?}");
    ensure!(told.files.contains("pending.json") == pending, "pending: {pending}, and yet: {}", told.files);
    Ok(side)
}
