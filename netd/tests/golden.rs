//! Golden cases: each folder under `golden/` holds `current.toml`, `desired.toml` and the expected
//! `steps.txt` (and `undo.txt`, in the order it would be done).

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod model;

use std::fs;
use std::path::Path;

use model::{oracle, read_network};
use netd::plan::{Step, plan};

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_golden_case_plans_the_expected_steps() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut cases: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 26, "only {} golden cases: some are missing", cases.len());
    for case in cases {
        let network = |file: &str| read_network(&case.join(file));
        let (current, desired) = (network("current.toml"), network("desired.toml"));
        let steps = plan(&desired, &current);
        let lines = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect::<String>();
        let forward = lines(steps.iter().map(|step| step.action.to_string()).collect());
        let back =
            lines(steps.iter().rev().flat_map(Step::inverse).map(|action| action.to_string()).collect());
        for (file, found) in [("steps.txt", forward), ("undo.txt", back)] {
            if update {
                fs::write(case.join(file), &found).unwrap();
            }
            assert_eq!(found, read(&case.join(file)), "{}/{file}", case.display());
        }
        assert_eq!(plan(&current, &current), Vec::new(), "{}: what is there needs no steps", case.display());
        let mut reached = desired.clone();
        reached.prune(&current);
        assert_eq!(plan(&desired, &reached), Vec::new(), "{}: what is wanted needs no steps", case.display());
        assert_eq!(oracle::wrong(&desired, &reached), [""; 0], "{}", case.display());
    }
}
