//! What `corten-system render` makes of a running configuration.
//!
//! Each folder in `render/` is a case: `running.toml`, and `files.txt` with every file that comes out:
//! a line `== PATH MODE` or `== PATH -> TARGET`, then the content. To write what comes out into
//! `files.txt`, run with `UPDATE_EXPECTED=1` and read the difference.
#![allow(clippy::unwrap_used)] // the helpers of tests may fail loudly, too

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Switch {
    root: tempfile::TempDir,
}

impl Switch {
    fn new() -> Self {
        let switch = Switch { root: tempfile::tempdir().unwrap() };
        switch.put("proc/sys/kernel/hostname", "corten\n");
        switch.put("etc/hostname", "corten\n");
        switch.put("run/systemd/netif/state", "DNS=198.51.100.53\n");
        switch
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn render(&self, running: &str) -> Output {
        self.put("run/corten/running.toml", running);
        let program = env!("CARGO_BIN_EXE_corten-system");
        Command::new(program).arg("--root").arg(self.root.path()).arg("render").output().unwrap()
    }

    /// Every file but those the test put there, by path.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        collect(self.root.path(), self.root.path(), &mut files);
        for given in ["run/corten/running.toml", "etc/hostname", "run/systemd/netif/state"] {
            files.remove(Path::new(given));
        }
        files
    }

    fn listing(&self) -> String {
        let mut listing = String::new();
        for (path, what) in self.files() {
            writeln!(listing, "== {} {what}", path.display()).unwrap();
        }
        listing
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let relative = path.strip_prefix(root).unwrap().to_owned();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            collect(root, &path, files);
        } else if metadata.is_symlink() {
            files.insert(relative, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else {
            let mode = metadata.permissions().mode() & 0o7777;
            let content = fs::read_to_string(&path).unwrap();
            files.insert(relative, format!("{mode:04o}\n{}", content.trim_end()));
        }
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_configuration_makes_its_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in cases {
        let switch = Switch::new();
        succeeded(&switch.render(&fs::read_to_string(case.join("running.toml")).unwrap()));
        let expected = case.join("files.txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, switch.listing()).unwrap();
        }
        assert_eq!(fs::read_to_string(&expected).unwrap(), switch.listing(), "{}", case.display());
    }
}

const TWO_USERS: &str = include_str!("render/users/running.toml");

#[test]
fn what_is_no_longer_configured_goes_away() {
    let switch = Switch::new();
    succeeded(&switch.render("version = 1\n"));
    let plain = switch.listing();
    succeeded(&switch.render(&format!("{TWO_USERS}\n[management]\nvrf = \"mgmt\"\n")));
    assert_ne!(switch.listing(), plain);
    succeeded(&switch.render("version = 1\n"));
    assert_eq!(switch.listing(), plain);
}

#[test]
fn what_did_not_change_is_not_written_again() {
    let switch = Switch::new();
    succeeded(&switch.render(TWO_USERS));
    let inodes = |switch: &Switch| -> Vec<u64> {
        let inode = |path: &PathBuf| switch.root.path().join(path).symlink_metadata().unwrap().ino();
        switch.files().keys().map(inode).collect()
    };
    let before = inodes(&switch);
    succeeded(&switch.render(TWO_USERS));
    assert_eq!(inodes(&switch), before);
}

#[test]
fn files_of_others_are_left_alone() {
    let switch = Switch::new();
    switch.put("run/systemd/network/50-other.network", "mine");
    succeeded(&switch.render("version = 1\n"));
    assert!(switch.files().contains_key(Path::new("run/systemd/network/50-other.network")));
}

#[test]
fn a_configuration_with_mistakes_changes_nothing() {
    let switch = Switch::new();
    succeeded(&switch.render(TWO_USERS));
    let before = switch.listing();
    let output = switch.render("version = 1\n[vlans.0]\n");
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/run/corten/running.toml:2:8: vlans.0"), "{said}");
    assert_eq!(switch.listing(), before);
}

#[test]
fn without_a_running_configuration_nothing_happens() {
    let root = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_corten-system");
    succeeded(&Command::new(program).arg("--root").arg(root.path()).arg("render").output().unwrap());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn two_at_a_time_do_not_disturb_each_other() {
    let switch = Switch::new();
    for round in 0..10 {
        let names: String =
            (0..20).map(|user| format!("[users.u{round}x{user}]\nrole = \"view\"\nkeys = []\n")).collect();
        switch.put("run/corten/running.toml", &format!("version = 1\n{names}"));
        let start = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_corten-system"));
            command.arg("--root").arg(switch.root.path()).arg("render").spawn().unwrap()
        };
        let mut both = [start(), start()];
        for process in &mut both {
            assert!(process.wait().unwrap().success());
        }
        assert_eq!(switch.files().keys().filter(|path| path.starts_with("run/userdb")).count(), 20 * 8);
    }
}

#[test]
fn name_servers_of_a_new_lease_are_reached_without_setting_up_the_port_anew() {
    let switch = Switch::new();
    let running = "version = 1\n[management]\nvrf = \"mgmt\"\n";
    succeeded(&switch.render(running));
    let file = |name: &str| {
        let path = Path::new("run/systemd/network").join(name);
        switch.files().remove(&path).unwrap()
    };
    let port = file("10-mgmt0.network");
    assert!(file("10-mgmt.network").contains("\nTo=198.51.100.53\nIncomingInterface=lo\nTable=1000\n"));
    switch.put("run/systemd/netif/state", "DNS=203.0.113.53 2001:db8::53\n");
    succeeded(&switch.render(running));
    let rules = file("10-mgmt.network");
    assert!(rules.contains("\nTo=203.0.113.53\n") && rules.contains("\nTo=2001:db8::53\n"), "{rules}");
    assert!(!rules.contains("198.51.100.53"), "{rules}");
    assert_eq!(file("10-mgmt0.network"), port);
}
