//! `corten ping` and `corten traceroute`: whether an address answers, and by which routers packets go there.
//!
//! Without rights: ICMP echo over datagram sockets (icmp(7), `ping_group_range`), and UDP whose ICMP errors the kernel
//! hands back (`IP_RECVERR`, ip(7)).

use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recvmsg,
    setsockopt, socket, sockopt,
};
use serde::Serialize;

use super::Context;
use crate::client::Error;
use crate::outcome::{Exit, Outcome};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes behind the ICMP header: as ping(8) has them.
const PAYLOAD_BYTES: usize = 56;
/// ICMP echo request and reply (RFC 792), and those of ICMPv6 (RFC 4443).
const ECHO: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);
/// First UDP port of a trace, where hosts listen to nothing (traceroute(8)).
const FIRST_PORT: u16 = 33_434;
/// Probes of a hop that does not answer.
const TRIES: u8 = 2;
/// Time exceeded (RFC 792, RFC 4443).
const TIME_EXCEEDED: (u8, u8) = (11, 3);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Probe {
    /// To where.
    pub address: IpAddr,
    /// In which VRF; `None` for the default one.
    pub vrf: Option<String>,
    /// Print JSON.
    pub json: bool,
}

/// One echo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Echo {
    sequence: u16,
    /// `None` for no answer.
    round_trip_ms: Option<f64>,
}

/// Asks so many times, a second apart.
pub async fn ping(probe: Probe, count: u16, _: &Context) -> Result<Outcome, Error> {
    let Probe { address, vrf, json } = probe.clone();
    let asked = in_thread(move || echoes(address, vrf.as_deref(), count)).await;
    let echoes = match asked {
        Ok(echoes) => echoes,
        Err(error) => return Ok(refused(&probe, &error)),
    };
    let answered = echoes.iter().filter(|echo| echo.round_trip_ms.is_some()).count();
    let exit = if answered == 0 { Exit::Refused } else { Exit::Done };
    let out = match json {
        true => super::json(&echoes)?.out,
        false => show_echoes(address, &echoes),
    };
    Ok(Outcome { out, exit, ..Outcome::default() })
}

fn echoes(address: IpAddr, vrf: Option<&str>, count: u16) -> io::Result<Vec<Echo>> {
    let protocol = if address.is_ipv4() { SockProtocol::Icmp } else { SockProtocol::IcmpV6 };
    let socket = open(address, protocol, vrf)?;
    let mut echoes = Vec::new();
    for sequence in 1..=count {
        let start = Instant::now();
        let round_trip = echo(&socket, address, sequence)?;
        echoes.push(Echo { sequence, round_trip_ms: round_trip.map(|time| time.as_secs_f64() * 1000.0) });
        if sequence < count {
            std::thread::sleep(Duration::from_secs(1).saturating_sub(start.elapsed()));
        }
    }
    Ok(echoes)
}

/// Sends an echo request and waits for its reply; `None` when none comes.
fn echo(socket: &UdpSocket, address: IpAddr, sequence: u16) -> io::Result<Option<Duration>> {
    let (request, reply) = if address.is_ipv4() { ECHO } else { ECHO_V6 };
    // The kernel fills in the checksum, and for an identifier the socket's port.
    let mut packet = vec![request, 0, 0, 0, 0, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0; PAYLOAD_BYTES]);
    let start = Instant::now();
    match socket.send_to(&packet, SocketAddr::new(address, 0)) {
        // An error of an earlier packet is told at the next: it is no answer to this one.
        Err(error) if is_silence(&error) => return Ok(None),
        sent => sent?,
    };
    loop {
        let left = PATIENCE.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let mut answer = [0; 256];
        match socket.recv_from(&mut answer) {
            Ok((length, _)) if length >= 8 => {
                if answer[0] == reply && answer[6..8] == sequence.to_be_bytes() {
                    return Ok(Some(start.elapsed()));
                }
            }
            Ok(_) => {}
            Err(error) if is_silence(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Whether an error means that no answer came, or that somebody said there is none.
fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::WouldBlock | Kind::TimedOut | Kind::HostUnreachable | Kind::ConnectionRefused
    )
}

fn show_echoes(address: IpAddr, echoes: &[Echo]) -> String {
    let mut out = String::new();
    for Echo { sequence, round_trip_ms } in echoes {
        match round_trip_ms {
            Some(time) => out.push_str(&format!("{address}: answer {sequence} after {time:.2} ms\n")),
            None => out.push_str(&format!("{address}: no answer to {sequence}\n")),
        }
    }
    let times: Vec<f64> = echoes.iter().filter_map(|echo| echo.round_trip_ms).collect();
    let lost = echoes.len() - times.len();
    out.push_str(&format!("{} sent, {} answered, {lost} lost", echoes.len(), times.len()));
    if !times.is_empty() {
        let (least, most) =
            times.iter().fold((f64::MAX, 0.0_f64), |(least, most), time| (least.min(*time), most.max(*time)));
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        out.push_str(&format!("; {least:.2}/{mean:.2}/{most:.2} ms least/mean/most"));
    }
    out.push('\n');
    out
}

/// A router on the way, or the end of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Hop {
    hop: u8,
    /// `None` for one that does not answer.
    address: Option<IpAddr>,
    round_trip_ms: Option<f64>,
}

/// Asks router after router, at most so many.
pub async fn traceroute(probe: Probe, most_hops: u8, _: &Context) -> Result<Outcome, Error> {
    let Probe { address, vrf, json } = probe.clone();
    let (hops, reached) = match in_thread(move || trace(address, vrf.as_deref(), most_hops)).await {
        Ok(found) => found,
        Err(error) => return Ok(refused(&probe, &error)),
    };
    let out = match json {
        true => super::json(&hops)?.out,
        false => show_hops(&hops, address, reached),
    };
    Ok(Outcome { out, exit: if reached { Exit::Done } else { Exit::Refused }, ..Outcome::default() })
}

fn trace(address: IpAddr, vrf: Option<&str>, most_hops: u8) -> io::Result<(Vec<Hop>, bool)> {
    let mut hops = Vec::new();
    for hop in 1..=most_hops {
        let mut found = None;
        for _ in 0..TRIES {
            found = probe_hop(address, vrf, hop)?;
            if found.is_some() {
                break;
            }
        }
        let ended = found.as_ref().is_some_and(|found| found.ended);
        let reached = found.as_ref().is_some_and(|found| found.address == Some(address) && found.ended);
        hops.push(Hop {
            hop,
            address: found.as_ref().and_then(|found| found.address),
            round_trip_ms: found.map(|found| found.time.as_secs_f64() * 1000.0),
        });
        if ended {
            return Ok((hops, reached));
        }
    }
    Ok((hops, false))
}

/// Who answered a probe.
struct Answer {
    address: Option<IpAddr>,
    time: Duration,
    /// Whether it goes no further.
    ended: bool,
}

fn probe_hop(address: IpAddr, vrf: Option<&str>, hop: u8) -> io::Result<Option<Answer>> {
    let socket = open(address, SockProtocol::Udp, vrf)?;
    match address {
        IpAddr::V4(_) => {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
            setsockopt(&socket, sockopt::Ipv4Ttl, &i32::from(hop))?;
        }
        IpAddr::V6(_) => {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
            setsockopt(&socket, sockopt::Ipv6Ttl, &i32::from(hop))?;
        }
    }
    let start = Instant::now();
    socket.send_to(&[0; 32], SocketAddr::new(address, FIRST_PORT + u16::from(hop)))?;
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    // No events are asked for: what waits in the error queue is told anyway (poll(2)).
    let mut watched = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    match poll(&mut watched, patience) {
        Ok(0) | Err(Errno::EINTR) => return Ok(None),
        waited => waited?,
    };
    Ok(error_of(&socket)?.map(|(address, is_on_the_way)| Answer {
        address,
        time: start.elapsed(),
        ended: !is_on_the_way,
    }))
}

/// Who sent the ICMP error that waits at a socket, and whether it came from a router on the way.
fn error_of(socket: &UdpSocket) -> io::Result<Option<(Option<IpAddr>, bool)>> {
    let mut payload = [0; 64];
    let mut buffers = [IoSliceMut::new(&mut payload)];
    let mut control = nix::cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in6);
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
    );
    let message = match message {
        Err(Errno::EAGAIN) => return Ok(None),
        message => message?,
    };
    for control in message.cmsgs()? {
        let (error, from, exceeded) = match control {
            ControlMessageOwned::Ipv4RecvErr(error, from) => {
                let from = from.map(|from| IpAddr::V4(Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr))));
                (error, from, TIME_EXCEEDED.0)
            }
            ControlMessageOwned::Ipv6RecvErr(error, from) => {
                let from = from.map(|from| IpAddr::V6(Ipv6Addr::from(from.sin6_addr.s6_addr)));
                (error, from, TIME_EXCEEDED.1)
            }
            _ => continue,
        };
        return Ok(Some((from, error.ee_type == exceeded)));
    }
    Ok(None)
}

fn show_hops(hops: &[Hop], address: IpAddr, reached: bool) -> String {
    let mut out = String::new();
    for Hop { hop, address, round_trip_ms } in hops {
        match (address, round_trip_ms) {
            (Some(address), Some(time)) => out.push_str(&format!("{hop:>3}  {address}  {time:.2} ms\n")),
            _ => out.push_str(&format!("{hop:>3}  no answer\n")),
        }
    }
    if !reached {
        out.push_str(&format!("{address} was not reached.\n"));
    }
    out
}

/// A datagram socket in a VRF.
fn open(address: IpAddr, protocol: SockProtocol, vrf: Option<&str>) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?;
    if let Some(vrf) = vrf.filter(|vrf| *vrf != "default") {
        setsockopt(&socket, sockopt::BindToDevice, &OsString::from(vrf))?;
    }
    Ok(UdpSocket::from(socket))
}

/// Waiting for packets is done beside the screens.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn refused(probe: &Probe, error: &io::Error) -> Outcome {
    let why = match (error.raw_os_error().map(Errno::from_raw), &probe.vrf) {
        (Some(Errno::ENODEV), Some(vrf)) => format!("no VRF {}", crate::text::clean(vrf)),
        (Some(Errno::ENETUNREACH), _) => "no route leads there".to_owned(),
        _ => error.to_string(),
    };
    Outcome::failed(Exit::Refused, format!("corten: {}: {why}\n", probe.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes_are_counted_and_their_times_summed_up() {
        let echo = |sequence, round_trip_ms| Echo { sequence, round_trip_ms };
        let address = "192.0.2.1".parse().unwrap();
        let shown = show_echoes(address, &[echo(1, Some(0.5)), echo(2, None), echo(3, Some(1.5))]);
        assert!(shown.contains("192.0.2.1: answer 1 after 0.50 ms\n192.0.2.1: no answer to 2\n"), "{shown}");
        assert!(
            shown.ends_with("3 sent, 2 answered, 1 lost; 0.50/1.00/1.50 ms least/mean/most\n"),
            "{shown}"
        );
        assert!(show_echoes(address, &[echo(1, None)]).ends_with("1 sent, 0 answered, 1 lost\n"));
    }

    #[test]
    fn hops_that_do_not_answer_are_told() {
        let hop = |hop, address: Option<&str>| Hop {
            hop,
            address: address.map(|address| address.parse().unwrap()),
            round_trip_ms: address.map(|_| 2.0),
        };
        let shown = show_hops(&[hop(1, Some("10.0.0.1")), hop(2, None)], "192.0.2.1".parse().unwrap(), false);
        assert_eq!(shown, "  1  10.0.0.1  2.00 ms\n  2  no answer\n192.0.2.1 was not reached.\n");
    }

    #[test]
    fn loopback_is_reached_in_one_hop() {
        let (hops, reached) = trace(Ipv4Addr::LOCALHOST.into(), None, 3).unwrap();
        assert!(reached && hops.len() == 1, "{hops:?}");
        assert!(trace(Ipv4Addr::LOCALHOST.into(), Some("novrf"), 1).is_err());
    }
}
