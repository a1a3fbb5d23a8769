//! Packets that go back and forth as fast as they can while something is changed, and which of them are lost.

use std::io::{ErrorKind, Result};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than a packet takes, also where the machine has other work.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often who answers looks whether there will be more.
const GLANCE: Duration = Duration::from_millis(100);
/// Each flow exchanges so many packets before the next change.
const AT_LEAST: u64 = 5;

/// One who asks, and one who sends back what he is asked.
pub struct Flow {
    name: String,
    asks: UdpSocket,
    answers: UdpSocket,
}

impl Flow {
    /// To the address of a socket that answers; `asks` is bound where the packets come from.
    pub fn new(name: &str, asks: UdpSocket, answers: UdpSocket) -> Flow {
        let to = answers.local_addr().expect("its address");
        asks.connect(to).unwrap_or_else(|error| panic!("{name}: {error}"));
        asks.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        answers.set_read_timeout(Some(GLANCE)).expect("a time limit");
        Flow { name: name.to_owned(), asks, answers }
    }

    fn ask(&self, stop: &AtomicBool, count: &AtomicU64) -> Vec<String> {
        let mut lost = Vec::new();
        for number in 1_u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if let Err(error) = self.exchange(number) {
                lost.push(format!("{}: packet {number}: {error}", self.name));
            }
            count.store(number, Ordering::Relaxed);
        }
        lost
    }

    fn exchange(&self, number: u64) -> Result<()> {
        self.asks.send(&number.to_be_bytes())?;
        let mut answer = [0; 8];
        while answer != number.to_be_bytes() {
            self.asks.recv(&mut answer)?;
        }
        Ok(())
    }

    fn answer(&self, stop: &AtomicBool) {
        let mut packet = [0; 8];
        while !stop.load(Ordering::Relaxed) {
            match self.answers.recv_from(&mut packet) {
                // Who asked misses it.
                Ok((length, from)) => drop(self.answers.send_to(&packet[..length], from)),
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
                Err(error) => panic!("{}: {error}", self.name),
            }
        }
    }
}

/// Ends the flows, also when the work fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A socket bound to an address, of the network namespace this is called in.
pub fn socket(address: &str) -> UdpSocket {
    let address: SocketAddr = address.parse().expect("an address with a port");
    UdpSocket::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// Does something while each flow exchanges packets, and answers which were lost. The work is handed what waits until
/// each flow has exchanged some more.
pub fn lost_during(flows: &[Flow], work: impl FnOnce(&dyn Fn())) -> Vec<String> {
    let (no_more_questions, no_more_answers) = (AtomicBool::new(false), AtomicBool::new(false));
    let counts: Vec<AtomicU64> = flows.iter().map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        let answering = Stop(&no_more_answers);
        let asking = Stop(&no_more_questions);
        for flow in flows {
            scope.spawn(|| flow.answer(&no_more_answers));
        }
        let who_ask: Vec<_> = flows
            .iter()
            .zip(&counts)
            .map(|(flow, count)| scope.spawn(|| flow.ask(&no_more_questions, count)))
            .collect();
        work(&|| wait_for_more(flows, &counts));
        drop(asking);
        let lost = who_ask.into_iter().flat_map(|asking| asking.join().expect("who asks")).collect();
        drop(answering);
        lost
    })
}

fn wait_for_more(flows: &[Flow], counts: &[AtomicU64]) {
    let deadline = Instant::now() + 2 * PATIENCE;
    for (flow, count) in flows.iter().zip(counts) {
        let enough = count.load(Ordering::Relaxed) + AT_LEAST;
        while count.load(Ordering::Relaxed) < enough {
            assert!(Instant::now() < deadline, "{}: no packets for {:?}", flow.name, 2 * PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
    }
}
