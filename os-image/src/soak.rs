//! `cargo os soak`: the full counts of the tests that `cargo os test` only samples.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use qemu_tests::random;
use qemu_tests::soak::Soak;

use crate::{build, guard, guest_tools, host, paths, peers, test};

/// What to soak.
#[derive(Args)]
pub struct Options {
    /// Part of the long tests' names: `containers` (rounds of them), `netd` (kills in the booted image),
    /// `shim-suite` (the shim's own tests there), `netd-model` (chaos on a model of the kernel), `netd-storm` (changes
    /// by others), `history` (random documents one after the other, here and in the booted image),
    /// `fuzz` (hostile input),
    /// `behaviours` (all of them ten times, in random order). Without it, all of them one after the other.
    name: Option<String>,
}

/// A long run of a test of a crate, in portions.
struct LongTest {
    name: &'static str,
    package: &'static str,
    program: &'static str,
    /// The one test of the program that is run; all of them where this is empty.
    test: &'static str,
    portions: u32,
    /// How large a portion is: the variable and its value.
    size: (&'static str, u32),
    /// The variable that seeds a portion, and how many seeds a portion takes; none where nothing is drawn.
    seed: Option<(&'static str, u64)>,
}

/// What netd's tests sample: a test program, what of it, and in which portions.
const fn of_netd(
    name: &'static str,
    (program, test): (&'static str, &'static str),
    portions: u32,
    size: (&'static str, u32),
    seed: Option<(&'static str, u64)>,
) -> LongTest {
    LongTest { name, package: "netd", program, test, portions, size, seed }
}

/// Long tests that need no image. A portion of hostile input takes about a minute.
const LONG_TESTS: [LongTest; 8] = [
    of_netd("netd-model", ("chaos", ""), 100, ("NETD_CHAOS_ROUNDS", 100), Some(("NETD_CHAOS_SEED", 100))),
    of_netd(
        "netd-model-changes",
        ("changes", "whatever_is_done_the_end_is_what_the_switch_starts_with"),
        50,
        ("NETD_CHANGES_ROUNDS", 40),
        Some(("NETD_CHANGES_SEED", 40)),
    ),
    of_netd(
        "netd-model-crash",
        ("crash", "in_the_end_what_runs_is_what_the_switch_starts_with"),
        50,
        ("NETD_CRASH_SEQUENCES", 40),
        Some(("NETD_CRASH_SEED", 1)),
    ),
    of_netd("netd-storm", ("kernel", "storm::"), 10, ("NETD_STORM_CHANGES", 100_000), None),
    // 2000 sequences; this kernel may know no VLANs, VRFs and LAGs, which those in the image are about, too.
    of_netd(
        "history",
        ("kernel", "history::"),
        100,
        ("NETD_HISTORY_SEQUENCES", 20),
        Some(("NETD_HISTORY_SEED", 20)),
    ),
    of_netd(
        "fuzz-configurations",
        ("fuzz", "no_configuration_makes_netd_panic_hang_or_swell"),
        60,
        ("NETD_FUZZ_CASES", 24_000),
        Some(("NETD_FUZZ_SEED", 1)),
    ),
    of_netd(
        "fuzz-messages",
        ("fuzz", "no_message_makes_a_decoder_panic_hang_or_swell"),
        60,
        ("NETD_FUZZ_CASES", 600_000),
        Some(("NETD_FUZZ_SEED", 1)),
    ),
    of_netd(
        "fuzz-callers",
        ("fuzz", "no_caller_on_the_bus_makes_netd_panic_hang_or_swell"),
        60,
        ("NETD_FUZZ_CASES", 24_000),
        Some(("NETD_FUZZ_SEED", 1)),
    ),
];

/// Long tests in the booted image, as the behaviours' program names them.
const IMAGE_TESTS: [&str; 9] = [
    "containers",
    "netd",
    "netd-kill",
    "harness-kill",
    "history-guest",
    "shim-suite-lifecycle",
    "shim-suite-streams",
    "shim-suite-recovery",
    "shim-suite-image",
];

/// All behaviours again and again, each time in another order.
const BEHAVIOURS: &str = "behaviours";
const BEHAVIOUR_RUNS: u32 = 10;

/// Runs long tests. Progress is kept in target/os/soak/NAME.json, so that an interrupted run goes on.
pub fn run(consent: &host::Consent, locked: bool, options: &Options) -> Result<ExitCode> {
    let wants = |name: &str| options.name.as_deref().is_none_or(|part| name.contains(part));
    let in_image = IMAGE_TESTS.into_iter().any(wants);
    ensure!(
        in_image || wants(BEHAVIOURS) || LONG_TESTS.iter().any(|long| wants(long.name)),
        "no long test's name contains {:?}: there are {BEHAVIOURS}, {}",
        options.name.as_deref().unwrap_or_default(),
        IMAGE_TESTS.into_iter().chain(LONG_TESTS.iter().map(|long| long.name)).collect::<Vec<_>>().join(", ")
    );
    host::ensure_test_tools(consent)?;
    let mut good = true;
    for long in LONG_TESTS.iter().filter(|long| wants(long.name)) {
        let outcome = long.run();
        match &outcome {
            Ok(detail) => println!("ok      {}: {detail}", long.name),
            Err(error) => println!("FAILED  {}: {error:#}", long.name),
        }
        good &= outcome.is_ok();
    }
    if in_image || wants(BEHAVIOURS) {
        build::build(consent, locked)?;
        peers::assemble(locked)?;
    }
    if in_image {
        good &= rounds_in_image(options)?;
    }
    if wants(BEHAVIOURS) {
        build::test_kernel(locked)?;
        let outcome = all_behaviours();
        match &outcome {
            Ok(detail) => println!("ok      {BEHAVIOURS}: {detail}"),
            Err(error) => println!("FAILED  {BEHAVIOURS}: {error:#}"),
        }
        good &= outcome.is_ok();
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn rounds_in_image(options: &Options) -> Result<bool> {
    let mut command = test::behaviour_command()?;
    guest_tools::pass(&mut command, &test::programs_for_guests()?);
    command.arg("--soak").arg("--soak-dir").arg(folder()).args(&options.name);
    Ok(guard::status(&command)?.success())
}

/// Runs all behaviours again and again. The first failure ends it; its seed is told.
fn all_behaviours() -> Result<String> {
    let tools = test::programs_for_guests()?;
    let soak = Soak::new(&folder(), random::from_system() % 1_000_000_000, &paths::image())?;
    let outcome = soak.rounds(BEHAVIOURS, BEHAVIOUR_RUNS, |seed, number| {
        let mut command = test::behaviour_command()?;
        guest_tools::pass(&mut command, &tools);
        command.args(["--seed", &(seed + u64::from(number)).to_string()]);
        let status = guard::status(&command)?;
        ensure!(status.success(), "seed {}: it ended with {status}", seed + u64::from(number));
        Ok(())
    });
    let outcome = outcome.map(|done| format!("{done} runs"));
    soak.finish(BEHAVIOURS, &outcome)?;
    outcome
}

fn folder() -> PathBuf {
    paths::output().join("soak")
}

impl LongTest {
    fn run(&self) -> Result<String> {
        let program =
            guest_tools::built(&["test", "--package", self.package, "--test", self.program], self.program)?;
        // Seeds of portions follow each other, and stay within what every test reads.
        let soak = Soak::new(&folder(), random::from_system() % 1_000_000_000, &program)?;
        println!("{}: {} portions of {} {}", self.name, self.portions, self.size.0, self.size.1);
        let outcome =
            soak.rounds(self.name, self.portions, |seed, number| self.portion(&program, seed, number));
        let outcome = outcome.map(|done| format!("{done} portions of {} {}", self.size.0, self.size.1));
        soak.finish(self.name, &outcome)?;
        outcome
    }

    fn portion(&self, program: &PathBuf, seed: u64, number: u32) -> Result<()> {
        let mut command = Command::new(program);
        command.env(self.size.0, self.size.1.to_string());
        let mut how = format!("{}={}", self.size.0, self.size.1);
        if let Some((variable, seeds)) = self.seed {
            let seed = seed + u64::from(number - 1) * seeds;
            command.env(variable, seed.to_string());
            how = format!("{variable}={seed} {how}");
        }
        if !self.test.is_empty() {
            command.arg(self.test);
        }
        // Where cargo runs the tests of a crate.
        command.current_dir(paths::workspace().join(self.package));
        let output = guard::output(&command, Stdio::piped())?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let log = folder().join(format!("{}.log", self.name));
            fs::write(&log, text.as_bytes()).with_context(|| format!("writing {}", log.display()))?;
            bail!("{how}: see {}", log.display());
        }
        ensure!(!text.contains(" 0 passed"), "{} has no tests {}", self.program, self.test);
        Ok(())
    }
}
