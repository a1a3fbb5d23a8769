//! Packets that go back and forth as fast as they can while something is changed, and which of them are lost.

use std::io::{ErrorKind, Result};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockProtocol, SockType};

/// Far more than a packet takes, also where the machine has other work.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often who answers looks whether there will be more.
const GLANCE: Duration = Duration::from_millis(100);
/// Each flow exchanges so many packets before the next change.
const AT_LEAST: u64 = 5;

/// One who asks, and one who sends back what he is asked: a socket, or a kernel.
pub struct Flow {
    name: String,
    asks: UdpSocket,
    answers: Option<UdpSocket>,
    /// What stands before the number in each packet.
    header: Vec<u8>,
}

impl Flow {
    /// To the address of a socket that answers; `asks` is bound where the packets come from.
    pub fn new(name: &str, asks: UdpSocket, answers: UdpSocket) -> Flow {
        let to = answers.local_addr().expect("its address");
        answers.set_read_timeout(Some(GLANCE)).expect("a time limit");
        Flow { answers: Some(answers), ..Flow::to(name, asks, to, Vec::new()) }
    }

    /// Echo requests to an address of another kernel, from the network namespace this is called in. A process that
    /// answers may be stopped between finding its route and sending: if the route is set anew meanwhile, its own kernel
    /// drops what it sends (`dst_dev_put`), whoever set it.
    pub fn echo(address: &str) -> Flow {
        let name = format!("echo of {address}");
        let address: IpAddr = address.parse().expect("an address");
        std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").expect("echo sockets");
        let (family, protocol, request) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128),
        };
        let socket = socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol);
        let socket = UdpSocket::from(socket.unwrap_or_else(|error| panic!("{name}: {error}")));
        // Identifier and checksum are the kernel's.
        Flow::to(&name, socket, (address, 0).into(), vec![request, 0, 0, 0, 0, 0, 0, 0])
    }

    fn to(name: &str, asks: UdpSocket, to: SocketAddr, header: Vec<u8>) -> Flow {
        asks.connect(to).unwrap_or_else(|error| panic!("{name}: {error}"));
        asks.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        Flow { name: name.to_owned(), asks, answers: None, header }
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
        let number = number.to_be_bytes();
        self.asks.send(&[self.header.as_slice(), &number].concat())?;
        let mut answer = [0; 64];
        loop {
            let length = self.asks.recv(&mut answer)?;
            if answer[..length].ends_with(&number) {
                return Ok(());
            }
        }
    }

    fn answer(&self, stop: &AtomicBool) -> Vec<String> {
        let (mut packet, mut lost) = ([0; 8], Vec::new());
        let Some(answers) = &self.answers else { return lost };
        while !stop.load(Ordering::Relaxed) {
            match answers.recv_from(&mut packet) {
                Ok((length, from)) => {
                    let sent = answers.send_to(&packet[..length], from);
                    lost.extend(sent.err().map(|error| format!("{}: an answer: {error}", self.name)));
                }
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
                Err(error) => panic!("{}: {error}", self.name),
            }
        }
        lost
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
        let who_answer: Vec<_> =
            flows.iter().map(|flow| scope.spawn(|| flow.answer(&no_more_answers))).collect();
        let who_ask: Vec<_> = flows
            .iter()
            .zip(&counts)
            .map(|(flow, count)| scope.spawn(|| flow.ask(&no_more_questions, count)))
            .collect();
        work(&|| wait_for_more(flows, &counts));
        drop(asking);
        let mut lost: Vec<String> =
            who_ask.into_iter().flat_map(|asking| asking.join().expect("who asks")).collect();
        drop(answering);
        lost.extend(who_answer.into_iter().flat_map(|answering| answering.join().expect("who answers")));
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
