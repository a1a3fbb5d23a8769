//! Instructions of planning and encoding, as callgrind counts them: unlike times they repeat exactly.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use netd::kernel::{Connection, batch};
use netd::plan::{self, Action, Network, Step};

use crate::applying::desired;
use crate::routes::{PORT, write_document};
use crate::subject::{Outcome, ip};

/// Prepares so many routes and calls the function that callgrind counts in.
pub fn run(subject: &str, routes: u32) -> Outcome {
    let mut document = Vec::new();
    write_document(&mut document, routes);
    let document = String::from_utf8(document).expect("text");
    let config = netd_api::config::parse(&document).expect("a valid document");
    let wanted = desired(&config, &[PORT.to_owned()].into());
    // Of the switch that is already as it is wanted, all but the routes.
    let actual = Network { links: wanted.links.clone(), ..Network::default() };
    let steps = measured_plan(&wanted, &actual);
    let sent = steps.iter().filter(|step| matches!(step.action, Action::Route { .. })).count();
    assert_eq!(sent, routes as usize, "steps of the plan");
    match subject {
        "plan" => {}
        "send" => {
            for words in [
                "link add swp1 type veth peer name host1",
                "link set host1 up",
                "link set swp1 up",
                "address add 192.0.2.1/24 dev swp1",
            ] {
                ip(words);
            }
            let of = |wanted: fn(&Action) -> bool| -> Vec<&Action> {
                steps.iter().map(|step| &step.action).filter(|action| wanted(action)).collect()
            };
            let mut connection = Connection::open().expect("netlink");
            batch::execute(&mut connection, &of(|action| matches!(action, Action::NextHop { .. })));
            measured_send(&mut connection, &of(|action| matches!(action, Action::Route { .. })));
        }
        other => panic!("no subject {other}"),
    }
    Outcome::default()
}

#[inline(never)]
fn measured_plan(wanted: &Network, actual: &Network) -> Vec<Step> {
    black_box(plan::plan(black_box(wanted), black_box(actual)))
}

/// The kernel's own instructions are not counted.
#[inline(never)]
fn measured_send(connection: &mut Connection, actions: &[&Action]) {
    let outcomes = black_box(batch::execute(connection, black_box(actions)));
    assert!(outcomes.iter().all(Result::is_ok), "the kernel takes them");
}

/// Instructions of `subject` for so many routes; none where valgrind is missing.
pub fn count(subject: &str, routes: u32, folder: &Path, isolate: &mut Command) -> Option<f64> {
    let valgrind = Path::new("/usr/bin/valgrind");
    if !valgrind.exists() {
        return None;
    }
    let file = folder.join("callgrind");
    let output = isolate
        .arg(valgrind)
        .args(["--tool=callgrind", "--collect-atstart=no", &format!("--toggle-collect=*measured_{subject}*")])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(crate::this_program())
        .args(["inside", &format!("count-{subject}"), &routes.to_string()])
        .arg(folder)
        .output()
        .expect("valgrind");
    assert!(output.status.success(), "valgrind: {}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file).expect("callgrind's file");
    let line = text.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")));
    Some(line.and_then(|count| count.trim().parse().ok()).expect("callgrind's count"))
}
