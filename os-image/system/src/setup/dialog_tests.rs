//! Scripts of the dialog: what is typed, what is shown, what is applied.

use std::cell::RefCell;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ana";

struct Run {
    outcome: Outcome,
    shown: String,
    applied: Vec<String>,
    echo: Vec<bool>,
}

/// Runs the dialog over a script until it ends.
fn script(typed: &str, apply: impl Fn(&str) -> Result<(), String>) -> Run {
    let (applied, echo) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let mut shown = Vec::new();
    let outcome = {
        let record = |document: &str| {
            applied.borrow_mut().push(document.to_owned());
            apply(document)
        };
        let echo = |on| {
            echo.borrow_mut().push(on);
            Ok(())
        };
        let mut dialog = Dialog::new(typed.as_bytes(), &mut shown, echo, record);
        loop {
            match dialog.run().unwrap() {
                Outcome::Restart => {}
                outcome => break outcome,
            }
        }
    };
    let shown = String::from_utf8(shown).unwrap();
    Run { outcome, shown, applied: applied.into_inner(), echo: echo.into_inner() }
}

fn accepted(typed: &str) -> Run {
    script(typed, |_| Ok(()))
}

#[test]
fn a_key_and_dhcp_make_a_configuration() {
    let run = accepted(&format!("ana\n{KEY}\n\ndhcp\nleaf1\nyes\n"));
    assert_eq!(run.outcome, Outcome::Applied);
    let document = format!(
        "version = 1\n\n[system]\nhostname = \"leaf1\"\n\n[management]\naddress = \"dhcp\"\nvrf = \"mgmt\"\n\n[users.ana]\nrole = \"admin\"\nkeys = [\"{KEY}\"]\n"
    );
    assert_eq!(run.applied, [document]);
    assert!(run.shown.contains("You can log in as ana now."));
    assert!(run.shown.contains("`:show ports mgmt0` on this console"), "{}", run.shown);
}

#[test]
fn driver_that_refuses_a_vrf_gets_a_document_without_one() {
    let run =
        script(&format!("ana\n{KEY}\n\ndhcp\nleaf1\nyes\n"), |document| match document.contains("vrf") {
            true => Err("8:7: management.vrf: not supported by the driver".to_owned()),
            false => Ok(()),
        });
    assert_eq!(run.outcome, Outcome::Applied);
    assert!(!run.applied.last().unwrap().contains("vrf"), "{:?}", run.applied);
    assert!(run.shown.contains("allows no VRF for mgmt0"), "{}", run.shown);
}

#[test]
fn enter_takes_the_defaults() {
    let run = accepted(&format!("\n{KEY}\n\n\n\ny\n"));
    assert_eq!(run.outcome, Outcome::Applied);
    for part in ["[users.admin]", "address = \"dhcp\"", "hostname = \"corten\""] {
        assert!(run.applied[0].contains(part), "{}", run.applied[0]);
    }
}

#[test]
fn a_password_is_hashed_and_never_shown() {
    let run = accepted("ana\n\nsecret-word\nsecret-word\n192.0.2.10/24\n192.0.2.1\nleaf1\nyes\n");
    assert_eq!(run.outcome, Outcome::Applied);
    assert!(run.applied[0].contains("console_password = \"$6$"), "{}", run.applied[0]);
    assert!(run.applied[0].contains("gateway = \"192.0.2.1\""));
    assert!(!run.shown.contains("$6$"), "{}", run.shown);
    assert!(!run.shown.contains("secret-word") && !run.applied[0].contains("secret-word"));
    assert_eq!(run.echo, [false, true, false, true, true], "echo is off for the two passwords alone");
}

#[test]
fn wrong_answers_are_explained_and_asked_again() {
    let run = accepted(&format!(
        "root\nana\nssh-dss AAAA\n{KEY}\nshort\nlong-enough\nnot-the-same\n\n10.0.0.1\n10.0.0.1/24\n10.9.9.9\n\nbad_host\nleaf1\nmaybe\nyes\n"
    ));
    assert_eq!(run.outcome, Outcome::Applied);
    for part in [
        "belongs to the system",
        "begins no SSH public key",
        "too short",
        "not the same",
        "has no prefix length",
        "is in no subnet",
        "is no host name",
        "yes or no",
    ] {
        assert!(run.shown.replace('\n', " ").contains(part), "{part} is missing in:\n{}", run.shown);
    }
    assert_eq!(run.applied.len(), 1);
}

#[test]
fn neither_key_nor_password_is_refused() {
    let run = accepted("ana\n\n\nlong-enough\nlong-enough\n\n\nyes\n");
    assert_eq!(run.outcome, Outcome::Applied);
    assert!(run.shown.contains("nobody could log in"));
}

#[test]
fn no_starts_over_and_nothing_is_applied() {
    let run = accepted(&format!("ana\n{KEY}\n\n\n\nno\nbo\n{KEY}\n\n\n\nyes\n"));
    assert_eq!(run.applied.len(), 1);
    assert!(run.applied[0].contains("[users.bo]"));
}

#[test]
fn ctrl_c_starts_over_at_once() {
    let run = accepted(&format!("an\x03bo\n{KEY}\n\n\x03cy\n{KEY}\n\n\n\nyes\n"));
    assert_eq!(run.outcome, Outcome::Applied);
    assert!(run.applied[0].contains("[users.cy]"));
    assert_eq!(run.shown.matches("Starting over.").count(), 2);
}

#[test]
fn a_terminal_that_is_gone_does_not_spin() {
    let run = accepted("ana\n");
    assert_eq!(run.outcome, Outcome::HungUp);
    assert!(run.applied.is_empty());
}

#[test]
fn a_refusal_by_the_daemon_is_shown_and_the_dialog_begins_anew() {
    let tries = RefCell::new(0);
    let run = script(&format!("ana\n{KEY}\n\n\n\nyes\nana\n{KEY}\n\n\n\nyes\n"), |_| {
        *tries.borrow_mut() += 1;
        if *tries.borrow() == 1 { Err("the network daemon does not answer".to_owned()) } else { Ok(()) }
    });
    assert_eq!(run.outcome, Outcome::Applied);
    assert!(run.shown.contains("not applied:\nthe network daemon does not answer"));
    assert_eq!(run.applied.len(), 2);
}

#[test]
fn carriage_returns_long_lines_and_bytes_that_are_no_text_are_survived() {
    let mut typed = vec![0xff, 0xfe, b'\n'];
    typed.extend(vec![b'x'; 3 * MAX_LINE]);
    typed.extend(format!("\nana\r{KEY}\r\r\r\ryes\r").as_bytes());
    let mut shown = Vec::new();
    let mut dialog = Dialog::new(typed.as_slice(), &mut shown, |_| Ok(()), |_: &str| Ok(()));
    assert_eq!(dialog.run().unwrap(), Outcome::Applied);
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("not UTF-8") && shown.contains("Too long"));
}

#[test]
fn every_row_fits_80_columns_and_is_plain_text() {
    let run = accepted(&format!("root\nana\nssh-dss x\n{KEY}\nshort\n\n1.2.3.4\n\nbad_host\n\nyes\n"));
    // The terminal echoes the line end of an answer, which a script does not.
    let prompts =
        ["[admin]: ", "[none]: ", "[dhcp]: ", "[corten]: ", "(not shown): ", "Once more: ", "(yes/no): "];
    let shown =
        prompts.iter().fold(run.shown.clone(), |shown, prompt| shown.replace(prompt, &format!("{prompt}\n")));
    for row in shown.lines().filter(|row| !row.starts_with("    ")) {
        assert!(row.chars().count() < 80, "{row}");
    }
    assert!(!run.shown.contains('\x1b'));
}
