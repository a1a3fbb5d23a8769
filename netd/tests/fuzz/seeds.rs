//! Good inputs to begin with: the documents of this repository, and what the kernel really says.

use std::path::{Path, PathBuf};
use std::process::Command;

use netd::kernel::wire::Message;
use netlink_sys::{Socket, SocketAddr, protocols};
use nix::libc;

use crate::examples;

/// Every document of the tests, and the examples in the manual.
pub fn documents() -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = Vec::new();
    let mut folders = vec![here.join("api/tests/config")];
    while let Some(folder) = folders.pop() {
        let entries: Vec<PathBuf> = std::fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("switch.toml") {
                documents.push(std::fs::read(path).expect("a document"));
            }
        }
    }
    documents.extend(examples::of_the_manual().into_iter().map(String::into_bytes));
    assert!(documents.len() > 30, "only {} documents", documents.len());
    // So that the order, and with it a seed's run, is the same everywhere.
    documents.sort();
    documents
}

/// What documents are made of, and numbers at the edges.
pub fn words_of_documents(documents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = [
        "[[routes]]\n",
        "\n[ports.\"swp[1-999999999]\"]\n",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\"",
        "'''",
        "\"\"\"",
        "\n",
        "#",
        "\\",
        "-1",
        "0",
        "1",
        "4094",
        "4095",
        "65535",
        "65536",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "1e400",
        "nan",
        "1979-05-27T07:32:00Z",
        "true",
        "[\"1-4094\"]",
        "\"swp[1-4094]\"",
        "\"0.0.0.0/0\"",
        "\"::/0\"",
        "\"255.255.255.255/32\"",
        "\"fe80::1\"",
        "\"ff02::1\"",
        "\"::ffff:192.0.2.1/96\"",
        "\u{feff}",
        "\u{202e}",
        "\u{0}",
        "ß",
        "𝔘",
    ]
    .iter()
    .map(|word| word.as_bytes().to_vec())
    .collect();
    for document in documents {
        words.extend(
            document.split(|byte| b" \n=".contains(byte)).filter(|word| !word.is_empty()).map(<[u8]>::to_vec),
        );
        words.extend(document.split(|&byte| byte == b'\n').map(|line| [line, b"\n"].concat()));
    }
    words.sort();
    words.dedup();
    words
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().expect("ip of iproute2");
    assert!(status.success(), "ip {words}: {status}");
}

/// What the kernel of this namespace says of links, addresses, routes, neighbours and the rest, a message each.
pub fn messages() -> Vec<Vec<u8>> {
    for words in [
        "link set lo up",
        "link add name bridge address 02:00:00:00:00:01 type bridge",
        "link add swp1 address 02:00:00:00:00:02 type veth peer name host1 address 02:00:00:00:00:03",
        "link set swp1 master bridge up",
        "link set host1 up",
        "link set bridge up",
        "address add 192.0.2.1/24 dev bridge",
        "address add 2001:db8::1/64 dev bridge",
        "link add vxlan10 address 02:00:00:00:00:04 type vxlan id 10 local 192.0.2.1 dstport 4789",
        "link set vxlan10 master bridge up",
        "nexthop add id 1 via 192.0.2.2 dev bridge",
        "nexthop add id 2 via 192.0.2.3 dev bridge",
        "nexthop add id 3 group 1,3/2,1",
        "route add 10.0.0.0/8 nhid 3",
        "route add 10.1.0.0/16 nexthop via 192.0.2.2 weight 2 nexthop via 192.0.2.3",
        "route add blackhole 10.2.0.0/16",
        "-6 route add 2001:db8:1::/48 nexthop via 2001:db8::2 nexthop via 2001:db8::3",
        "neighbour add 192.0.2.7 lladdr 02:00:00:00:00:07 dev bridge nud permanent",
    ] {
        ip(words);
    }
    let mut messages = Vec::new();
    // Links, addresses, routes, neighbours, forwarding entries, groups, VLANs, next hops.
    let kinds = [
        (libc::RTM_GETLINK, 0, 16),
        (libc::RTM_GETLINK, libc::AF_BRIDGE, 16),
        (libc::RTM_GETADDR, 0, 8),
        (libc::RTM_GETROUTE, libc::AF_INET, 12),
        (libc::RTM_GETROUTE, libc::AF_INET6, 12),
        (libc::RTM_GETNEIGH, 0, 12),
        (libc::RTM_GETNEIGH, libc::AF_BRIDGE, 12),
        (86, libc::AF_BRIDGE, 8),
        (106, 0, 8),
        (114, libc::AF_BRIDGE, 8),
    ];
    for (kind, family, header) in kinds {
        let mut head = vec![0; header];
        head[0] = family as u8;
        messages
            .extend(answers(protocols::NETLINK_ROUTE, &Message::new(kind, libc::NLM_F_DUMP as u16, &head)));
    }
    // A refusal, with the kernel's words: a link of no kind.
    let refused = Message::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE as u16, &[0; 16]);
    let refused =
        refused.text(libc::IFLA_IFNAME, "x").nest(libc::IFLA_LINKINFO, |info| info.text(1, "nothing"));
    messages.extend(answers(protocols::NETLINK_ROUTE, &refused));
    // Every family of generic netlink.
    let families = Message::new(16, libc::NLM_F_DUMP as u16, &[3, 1, 0, 0]);
    messages.extend(answers(protocols::NETLINK_GENERIC, &families));
    messages
}

/// The messages of an answer, each for itself.
fn answers(protocol: isize, request: &Message) -> Vec<Vec<u8>> {
    let mut socket = Socket::new(protocol).expect("a socket");
    socket.bind_auto().expect("bound");
    socket.connect(&SocketAddr::new(0, 0)).expect("connected");
    socket.set_ext_ack(true).expect("extended answers");
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    socket.send(&request.finish(1, flags), 0).expect("sent");
    let mut messages = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full().expect("an answer");
        let mut rest = datagram.as_slice();
        while let Some(head) = rest.get(..16) {
            let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let kind = i32::from(u16::from_ne_bytes([head[4], head[5]]));
            assert!(length >= 16 && length <= rest.len(), "the kernel's own message is broken");
            messages.push(rest[..length].to_vec());
            if kind == libc::NLMSG_DONE || kind == libc::NLMSG_ERROR {
                return messages;
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// Lengths, kinds and numbers at the edges, as they stand in messages.
pub fn words_of_messages() -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = vec![vec![0; 64], vec![0xff; 16], vec![4, 0], vec![3, 0], vec![0, 0]];
    for number in [0_u32, 1, 3, 4, 5, 8, 12, 16, 17, 20, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        words.push(number.to_ne_bytes().to_vec());
        words.push((number as u16).to_ne_bytes().to_vec());
        words.push(u64::from(number).to_be_bytes().to_vec());
    }
    // Heads of attributes of every small kind, nested and not.
    for kind in 0..64_u16 {
        words.push([8_u16.to_ne_bytes(), kind.to_ne_bytes(), [1, 0], [0, 0]].concat());
        words.push([8_u16.to_ne_bytes(), (kind | 0x8000).to_ne_bytes(), [4, 0], [1, 0]].concat());
    }
    for kind in 16..120_u16 {
        words.push(kind.to_ne_bytes().to_vec());
    }
    words
}
