//! Long tables as netd streams them, beside what iproute2 needs for the same rows: the first row, all of them, and one
//! among them. All subjects take turns in one namespace, whose tables are filled once.

use std::io::{BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use netd::plan::Network;
use netd::state::query::Query;
use netd::state::stream::{self, Source};
use netd_api::state::{FdbEntry, Route};
use netd_api::table::{Filter, Rows};
use nix::net::if_::if_nametoindex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::floor;
use crate::routes::PORT;
use crate::subject::ip;

/// Seconds that each of the runs took, in their order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// `ip route show`, to its last line.
    pub ip: Vec<f64>,
    /// netd's routes: the first, and all.
    pub first_route: Vec<f64>,
    pub routes: Vec<f64>,
    /// netd's answer for one address.
    pub route: Vec<f64>,
    /// `bridge fdb show`, to its last line.
    pub bridge: Vec<f64>,
    /// netd's forwarding database, and one address in it.
    pub fdb: Vec<f64>,
    pub entry: Vec<f64>,
}

/// Fills both tables and reads them so many times.
pub fn run(entries: u32, runs: usize, folder: &Path) -> Times {
    fill(entries, folder);
    let source = Source {
        config: Arc::default(),
        desired: Arc::new(Network::default()),
        ports: Default::default(),
        attachments: Default::default(),
        alarms: Vec::new(),
    };
    let texts = |text: String| Some(vec![text]);
    let address = Filter { addresses: texts(address(entries / 2)), ..Filter::default() };
    let entry = Filter { macs: texts(mac(entries / 2)), ..Filter::default() };
    let mut times = Times::default();
    for _ in 0..runs {
        times.ip.push(command(&["ip", "route", "show"], entries));
        let (first, whole) = read::<Route>(&source, "routes", Filter::default(), entries);
        times.first_route.push(first);
        times.routes.push(whole);
        times.route.push(read::<Route>(&source, "routes", address.clone(), 1).1);
        times.bridge.push(command(&["bridge", "fdb", "show"], entries));
        times.fdb.push(read::<FdbEntry>(&source, "fdb", Filter::default(), entries).1);
        times.entry.push(read::<FdbEntry>(&source, "fdb", entry.clone(), 1).1);
    }
    times
}

fn address(number: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string()
}

fn mac(number: u32) -> String {
    format!("06:00:00:{:02x}:{:02x}:{:02x}", number >> 16, number >> 8 & 255, number & 255)
}

fn fill(entries: u32, folder: &Path) {
    for words in [
        "link set lo up",
        &format!("link add {PORT} type veth peer name host1"),
        "link set host1 up",
        &format!("link set {PORT} up"),
        &format!("address add 192.0.2.1/24 dev {PORT}"),
        "link add name bridge type bridge",
        "link set bridge up",
        "link add swp2 master bridge type veth peer name host2",
        "link set swp2 up",
        "link set host2 up",
    ] {
        ip(words);
    }
    floor::run(entries, if_nametoindex(PORT).expect("the port"), true);
    let file = folder.join("fdb.batch");
    let lines: String =
        (0..entries).map(|number| format!("fdb add {} dev swp2 master dynamic\n", mac(number))).collect();
    std::fs::write(&file, lines).expect("written");
    let status = Command::new("bridge").arg("-batch").arg(&file).status().expect("bridge of iproute2");
    assert!(status.success());
}

/// How long a command takes that prints a line for each entry.
fn command(words: &[&str], entries: u32) -> f64 {
    let began = Instant::now();
    let mut child =
        Command::new(words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().expect("iproute2");
    let mut text = Vec::new();
    child.stdout.take().expect("its output").read_to_end(&mut text).expect("its output");
    let seconds = began.elapsed().as_secs_f64();
    assert!(child.wait().expect("its end").success());
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines >= entries as usize, "{words:?} shows {lines} of {entries}");
    seconds
}

/// How long a client waits for the first row and for the last.
fn read<T: DeserializeOwned>(source: &Source, table: &str, filter: Filter, rows: u32) -> (f64, f64) {
    let query = Query::parse(table, filter).expect("a filter");
    let began = Instant::now();
    let stream = UnixStream::from(stream::open(source.clone(), query, ()).expect("a stream"));
    let mut read = Rows::<_, T>::new(BufReader::with_capacity(64 * 1024, stream));
    read.next().expect("a row").expect("a row");
    let first = began.elapsed().as_secs_f64();
    let mut found = 1;
    for row in read.by_ref() {
        row.expect("a row");
        found += 1;
    }
    let whole = began.elapsed().as_secs_f64();
    assert!(found >= rows, "{table} has {found} of {rows} rows");
    (first, whole)
}
