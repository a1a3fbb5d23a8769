//! The serial console at 80 by 24, and SSH.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::serial::{Serial, colour_sequences, framed};

use crate::lab::{Lab, PASSWORD, Topology, USER, eventually, ssh_command};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 7] = [
    Scenario::new(
        "a link that is pulled shows on the serial console at 80 by 24",
        Topology::Switch,
        a_pulled_link_shows,
    ).takes(28),
    Scenario::new(
        "the console is legible on a vt220 and without colour",
        Topology::Switch,
        legible_without_colour,
    ),
    Scenario::new(
        "a mistake in the editor is shown at its place, and the mended text is applied, reviewed and confirmed",
        Topology::Switch,
        edited_on_the_console,
    ).takes(12),
    Scenario::new(
        "rights that a change takes away end in a session that is open",
        Topology::Switch,
        revoked_rights_end,
    ),
    Scenario::new("a wrong password is refused on the serial console", Topology::Switch, wrong_password),
    Scenario::new(
        "SSH by key runs one command, as the user's role allows",
        Topology::Switch,
        ssh_runs_one_command,
    ).takes(25),
    Scenario::new("SSH takes no password", Topology::Switch, ssh_takes_no_password),
];

const SOON: Duration = Duration::from_secs(60);
/// The unit that runs the console on the serial line in an environment of the test's choice.
const UNIT: &str = "corten-test-console";

/// Gets a fresh login prompt.
fn login_prompt(lab: &Lab) -> Result<&Serial> {
    let serial = lab.vm.serial()?;
    // Stopped first: what the old one printed is no prompt of the new one.
    lab.vm.run("systemctl stop serial-getty@ttyS0.service")?;
    serial.skip();
    lab.vm.run("systemctl start serial-getty@ttyS0.service")?;
    serial.wait_for("leaf1 login: ", SOON)?;
    Ok(serial)
}

/// The row of the screen that shows a port.
fn row<'s>(screen: &'s str, port: &str) -> Option<&'s str> {
    screen.lines().find(|line| line.split_whitespace().any(|word| word == port))
}

pub(super) fn log_in<'l>(lab: &'l Lab, password: &str) -> Result<&'l Serial> {
    let serial = login_prompt(lab)?;
    serial.send_line(USER)?;
    serial.wait_for("assword: ", SOON)?;
    serial.send_line(password)?;
    Ok(serial)
}

/// Logs in and goes to the screen of ports.
fn log_in_to_ports(lab: &Lab) -> Result<&Serial> {
    let serial = log_in(lab, PASSWORD)?;
    serial.wait_for_screen("the first screen", SOON, |screen| screen.contains("[0 Now]"))?;
    serial.send("1")?;
    Ok(serial)
}

fn a_pulled_link_shows(lab: &Lab, _: &Run) -> Result<String> {
    let serial = log_in_to_ports(lab)?;
    let state = |wanted: &'static str| {
        move |screen: &str| row(screen, "swp11").is_some_and(|row| row.contains(wanted))
    };
    serial.wait_for_screen("the ports", SOON, |screen| {
        row(screen, "swp1").is_some() && row(screen, "swp11").is_some_and(|row| !row.contains("down"))
    })?;
    lab.vm.set_link(11, false)?;
    let pulled = serial.wait_for_screen("swp11 down", SOON, state("down"));
    lab.vm.set_link(11, true)?;
    let pulled = pulled?;
    for port in ["swp1", "swp12"] {
        ensure!(row(&pulled, port).is_some(), "{port} is not on the screen:\n{}", framed(&pulled));
    }
    serial.wait_for_screen("swp11 up again", SOON, |screen| {
        row(screen, "swp11").is_some_and(|row| !row.contains("down"))
    })?;
    serial.send("0")?;
    serial.wait_for_screen("what changed last", SOON, |screen| {
        ["swp11      link down", "swp11      link up"].iter().all(|change| screen.contains(change))
    })?;
    serial.send("9")?;
    serial.wait_for_screen("netd's words in the log", SOON, |screen| screen.contains("swp11"))?;
    serial.send("q")?;
    serial.wait_for("login: ", SOON).context("q leaves the console")?;
    Ok(String::new())
}

/// Runs the console on the serial line, sees every port on its screen and answers all that was painted.
fn painted(lab: &Lab, environment: &str) -> Result<Vec<u8>> {
    let serial = lab.vm.serial()?;
    let mark = serial.mark();
    lab.vm.run(&format!(
        "systemd-run --quiet --collect --unit={UNIT} -p StandardInput=tty-force -p StandardOutput=tty -p StandardError=journal \
         -p TTYPath=/dev/ttyS0 -p TTYReset=yes {environment} /usr/bin/corten"
    ))?;
    serial.wait_for_screen("the first screen", SOON, |screen| screen.contains("[0 Now]"))?;
    serial.send("1")?;
    let all_ports = |screen: &str| (1..=12).all(|number| row(screen, &format!("swp{number}")).is_some());
    let ports = serial.wait_for_screen("every port", SOON, all_ports);
    // Through every view, so that all of them are seen.
    let outcome = ports.and_then(|_| {
        for key in ["2", "9", "0", "1"] {
            let before = serial.screen();
            serial.send(key)?;
            serial.wait_for_screen("another view", SOON, |screen| screen != before)?;
        }
        serial.wait_for_screen("every port again", SOON, all_ports)
    });
    lab.vm.sh(&format!("systemctl stop {UNIT} 2>/dev/null"))?;
    outcome.map(|_| serial.raw_since(mark))
}

fn legible_without_colour(lab: &Lab, _: &Run) -> Result<String> {
    lab.vm.run("systemctl stop serial-getty@ttyS0.service")?;
    let outcome = compare_paintings(lab);
    lab.vm.run("systemctl start serial-getty@ttyS0.service")?;
    outcome
}

fn compare_paintings(lab: &Lab) -> Result<String> {
    let bytes = painted(lab, "-E TERM=vt220 -E NO_COLOR=1")?;
    ensure!(
        colour_sequences(&bytes) == 0,
        "{} sequences set a colour in spite of NO_COLOR",
        colour_sequences(&bytes)
    );
    let foreign = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    ensure!(foreign == 0, "{foreign} bytes are not ASCII, which a vt220 cannot show");
    let coloured = painted(lab, "-E TERM=xterm-256color")?;
    ensure!(
        colour_sequences(&coloured) > 0,
        "no colour where it is wanted, so its absence above shows nothing"
    );
    Ok(String::new())
}

/// Keys as a terminal sends them.
const DELETE: &str = "\x1b[3~";
const END: &str = "\x1b[F";
const PAGE_DOWN: &str = "\x1b[6~";
const ESCAPE: &str = "\x1b";
const CTRL_D: &str = "\x04";

fn edited_on_the_console(lab: &Lab, _: &Run) -> Result<String> {
    let serial = log_in_to_ports(lab)?;
    let shows =
        |text: &'static str| serial.wait_for_screen(text, SOON, |screen| screen.contains(text)).map(|_| ());
    serial.wait_for_screen("the ports", SOON, |screen| row(screen, "swp1").is_some())?;
    lab.restoring(|| {
        serial.send(":edit\r")?;
        shows("(line 1, column 1)")?;
        serial.send("x")?;
        serial.send(CTRL_D)?;
        shows("Mistake")?;
        shows("(line 1, column 1)")?;
        let before: serde_json::Value = serde_json::from_str(&lab.vm.run("corten config --json")?)?;
        ensure!(before["document"] == lab.document, "a text with a mistake was applied: {before}");
        // The cursor is where the mistake is.
        serial.send(DELETE)?;
        let pages = lab.document.lines().count().div_ceil(10);
        serial.send(PAGE_DOWN.repeat(pages) + END)?;
        serial.send("\r[vlans.77]\rname = \"typed\"")?;
        serial.send(CTRL_D)?;
        shows("What applying it changes")?;
        // Capitals are the same keys.
        serial.send("A")?;
        eventually("the text runs, unconfirmed", SOON, || {
            let vlans = lab.show("vlans")?;
            ensure!(vlans.iter().any(|vlan| vlan["id"] == 77 && vlan["name"] == "typed"), "{vlans:?}");
            ensure!(
                lab.vm.run("corten show system --json")?.contains("\"unconfirmed\""),
                "it needs no confirmation"
            );
            Ok(())
        })?;
        // The console waits for its own look at what is left; a key before it would be that wait's.
        shows("Applied as generation")?;
        serial.send(ESCAPE)?;
        serial.wait_for_screen("the ports again", SOON, |screen| row(screen, "swp1").is_some())?;
        serial.send(":confirm\r")?;
        shows("is confirmed")?;
        let history = lab.vm.run("corten history")?;
        ensure!(history.contains(USER), "nobody is named as its author:\n{history}");
        // Right behind an escape, a letter would be a key of its own.
        serial.send(ESCAPE)?;
        serial.wait_for_screen("the words gone", SOON, |screen| !screen.contains("is confirmed"))?;
        serial.send("q")?;
        serial.wait_for("login: ", SOON).context("q leaves the console")
    })?;
    Ok(String::new())
}

fn revoked_rights_end(lab: &Lab, _: &Run) -> Result<String> {
    let serial = log_in(lab, PASSWORD)?;
    serial.wait_for_screen("an administrator's session", SOON, |screen| {
        screen.contains(&format!("{USER}@leaf1 admin"))
    })?;
    lab.restoring(|| {
        // Root applies it, whom no document locks out.
        let demoted = lab.document.replacen("role = \"admin\"", "role = \"view\"", 1);
        lab.apply_ok(&demoted)?;
        serial.wait_for_screen("the role that is left", SOON, |screen| {
            screen.contains(&format!("{USER}@leaf1 view"))
        })?;
        for command in [":rollback -1\r", ":take-back\r"] {
            serial.send(command)?;
            serial.wait_for_screen("the refusal", SOON, |screen| screen.contains("not allowed"))?;
            serial.send(ESCAPE)?;
            serial.wait_for_screen("the ports", SOON, |screen| !screen.contains("not allowed"))?;
        }
        ensure!(lab.vm.run("corten config")? == demoted, "who may only look has changed the switch");
        let mut events = lab.ssh_started(USER, "events --json", false)?;
        let mut lines = BufReader::new(events.stdout.take().context("events have no output")?).lines();
        lines.next().context("no events come")?.context("reading events")?;
        let gone = demoted.replacen(&format!("[users.{USER}]"), "[users.other]", 1);
        lab.apply_ok(&gone)?;
        serial.wait_for("login: ", SOON).context("the session of a user who is none ends")?;
        let ended = eventually("the events of a user who is none end", SOON, || {
            events.try_wait()?.context("they go on")
        });
        if ended.is_err() {
            // It would hold the connection for ever.
            let _ = events.kill();
        }
        ended.map(drop)
    })?;
    Ok(String::new())
}

fn wrong_password(lab: &Lab, _: &Run) -> Result<String> {
    let serial = log_in(lab, "not-the-password")?;
    serial.wait_for_any(&["incorrect", "denied", "failed"], SOON)?;
    serial.wait_for("login: ", SOON)?;
    Ok(String::new())
}

fn ssh_runs_one_command(lab: &Lab, _: &Run) -> Result<String> {
    let shown = eventually("SSH answers", Duration::from_secs(120), || {
        let output = lab.ssh(USER, "show ports --json")?;
        ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    })?;
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&shown).context("`show ports --json` over SSH")?;
    ensure!(rows.iter().any(|row| row["name"] == "swp1"), "no swp1 over SSH");

    let viewer = lab.ssh("vic", "show vlans")?;
    ensure!(viewer.status.success(), "a viewer may not look: {}", String::from_utf8_lossy(&viewer.stderr));
    lab.write_file("/run/corten-test.toml", &lab.document)?;
    lab.vm.run("chmod 644 /run/corten-test.toml")?;
    let refused = lab.ssh("vic", "apply /run/corten-test.toml")?;
    let text = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(1), "a viewer applied a document: {}: {text}", refused.status);
    ensure!(text.contains("not allowed") || text.contains("admin"), "the refusal is not explained: {text}");
    let shell = lab.ssh(USER, "cat /etc/os-release")?;
    ensure!(!shell.status.success(), "SSH ran a program other than the console");
    Ok(String::new())
}

fn ssh_takes_no_password(lab: &Lab, _: &Run) -> Result<String> {
    // Without a key the server lists what else it would take; that must not be a password.
    let output = ssh_command(lab.vm.ssh_port())
        .args(["-o", "IdentityFile=none", "-o", "PreferredAuthentications=none"])
        .args([&format!("{USER}@127.0.0.1"), "show ports"])
        .output()
        .context("cannot run ssh")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(255), "SSH let somebody in without a key");
    ensure!(text.contains("publickey"), "the server does not offer keys: {text}");
    ensure!(!text.contains("password") && !text.contains("keyboard"), "the server takes passwords: {text}");
    Ok(String::new())
}
