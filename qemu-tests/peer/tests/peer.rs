//! Peers are apart from this host and from each other, and end with whoever started them.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use corten_test_peer::{Network, Peer, PeerRoot};

/// Set in a process that is to be killed while it has a peer.
const VICTIM: &str = "CORTEN_TEST_PEER_VICTIM";

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn peer() -> Peer {
    Peer::start(&PeerRoot::find().unwrap(), &Network::New).unwrap()
}

/// Starts BIRD and waits until it answers.
fn with_bird(peer: &Peer) -> Child {
    fs::write(peer.path("/etc/bird.conf"), "router id 192.0.2.1;\nprotocol device {}\n").unwrap();
    let words = ["-f", "-c", "/etc/bird.conf", "-s", "/run/bird.ctl"];
    let bird = peer.command("bird").args(words).stderr(Stdio::null()).spawn().unwrap();
    eventually("BIRD answers", || {
        let output = peer.command("birdc").args(["-s", "/run/bird.ctl", "show", "status"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("Daemon is up and running")
    });
    bird
}

/// Names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn processes(peer: &Peer) -> usize {
    names(&peer.path("/proc")).iter().filter(|name| name.parse::<u32>().is_ok()).count()
}

#[test]
fn programs_of_a_peer_share_its_namespaces_and_end_with_it() {
    let peer = peer();
    assert_eq!(processes(&peer), 1);
    let mut bird = with_bird(&peer);
    assert_eq!(processes(&peer), 2);
    let first = peer.first_process();
    drop(peer);
    assert!(!bird.wait().unwrap().success());
    assert!(!Path::new(&format!("/proc/{first}")).exists());
}

#[test]
fn network_of_a_peer_is_empty_or_the_one_it_is_given() {
    let one = peer();
    assert!(names(&one.path("/sys/class/net")).contains(&"lo".to_owned()));
    let same = |peer: &Peer| fs::read_link(peer.network()).unwrap() == fs::read_link(one.network()).unwrap();
    assert!(!same(&peer()));
    let given = Network::Of(one.network());
    assert!(same(&Peer::start(&PeerRoot::find().unwrap(), &given).unwrap()));
    assert_ne!(fs::read_link(one.network()).unwrap(), fs::read_link("/proc/self/ns/net").unwrap());
}

#[test]
fn files_of_a_peer_are_its_own() {
    let (one, other) = (peer(), peer());
    for folder in ["/etc", "/run", "/tmp", "/var"] {
        let file = format!("{folder}/own");
        fs::write(one.path(&file), "").unwrap();
        assert!(!other.path(&file).exists(), "{file}");
        assert!(!PeerRoot::find().unwrap().folder().join(&file[1..]).exists(), "{file}");
    }
    let error = fs::write(one.path("/usr/own"), "").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn environment_of_a_program_has_nothing_of_this_process() {
    let peer = peer();
    let shown = |command: &Command| command.get_envs().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(shown(&peer.command("bird")), ["HOME", "LC_ALL", "PATH"]);
    let mut bird = with_bird(&peer);
    let inside = names(&peer.path("/proc")).into_iter().filter_map(|name| name.parse::<u32>().ok()).max();
    let environment = fs::read(peer.path(&format!("/proc/{}/environ", inside.unwrap()))).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("CARGO"));
    drop(peer);
    bird.wait().unwrap();
}

#[test]
fn peer_ends_when_its_owner_is_killed() {
    if std::env::var_os(VICTIM).is_some() {
        let peer = peer();
        let mut bird = with_bird(&peer);
        println!("first {}", peer.first_process());
        bird.wait().unwrap();
        return;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["peer_ends_when_its_owner_is_killed", "--exact", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.find_map(|line| Some(line.split_once("first ")?.1.to_owned())).unwrap();
    let folder = format!("/proc/{first}");
    assert!(Path::new(&folder).exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the peer is gone", || !Path::new(&folder).exists());
}

#[test]
fn root_that_is_not_there_is_an_error_that_says_who_makes_it() {
    let error = PeerRoot::at(Path::new("/nonexistent")).unwrap_err();
    assert!(format!("{error:#}").contains("/nonexistent: `cargo os test` makes it"), "{error:#}");
}
