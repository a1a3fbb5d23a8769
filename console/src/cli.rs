//! The command line: what `corten` can be told to do.

use std::net::IpAddr;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

use netd_api::state::VlanRange;

use crate::target::Target;
use crate::timespan;

/// Commands that change the switch: they are not to be shortened.
pub const CHANGING: [&str; 4] = ["apply", "confirm", "rollback", "take-back"];

/// Shown at the end of `--help`.
const AFTER_HELP: &str = "\
Without arguments corten shows its screens; ? there lists the keys.
Words may be shortened as long as it is clear what is meant (sh po swp1), but
for those that change the switch.
Over SSH a text with blanks needs two kinds of quotes, one of them for your own
shell: ssh ana@switch 'apply - --comment \"new uplink\"' < switch.toml

Exit status: 0 done; 1 refused or invalid; 2 wrong usage; 3 netd cannot be reached.
";

/// Operate this switch: look at its ports, VLANs, routes and neighbours, check, apply and take back its
/// configuration
#[derive(Debug, Parser)]
#[command(
    name = "corten",
    bin_name = "corten",
    version,
    after_help = AFTER_HELP,
    max_term_width = 100,
    infer_subcommands = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the state of the switch
    #[command(subcommand, infer_subcommands = true)]
    Show(Show),
    /// Check a configuration document: every mistake at its line and column, nothing applied
    ///
    /// The document is checked by itself and, where netd can be reached, against this switch as well.
    Check {
        /// Document to check; `-` reads standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// Print the mistakes as a JSON array
        #[arg(long)]
        json: bool,
        /// On the screens, with `-`: discard the text that is kept there
        #[arg(long)]
        anew: bool,
    },
    /// Show what applying a configuration document would change, nothing applied
    ///
    /// What to be warned of, the steps on the network in the order they would be taken, and how the document differs
    /// from the running one. For the number of a generation, or -1 for the one before: what going back to it would
    /// change; with a second one, how the documents of the two differ.
    Diff {
        /// Document to compare, a file, or a generation; `-` reads standard input
        #[arg(value_name = "FILE|GENERATION", value_hint = ValueHint::FilePath, allow_negative_numbers = true)]
        file: String,
        /// Generation to compare with, instead of the running one
        #[arg(value_name = "GENERATION", value_parser = Target::parse, allow_negative_numbers = true)]
        with: Option<Target>,
        /// Print an object with the generation, the warnings, the steps and the difference of the documents
        #[arg(long)]
        json: bool,
        /// On the screens, with `-`: discard the text that is kept there
        #[arg(long)]
        anew: bool,
    },
    /// Apply a configuration document, whole or not at all
    ///
    /// Needs the role admin. Refused when the running configuration moved on since the generation it is
    /// based on, and while another user's change waits for its confirmation.
    Apply {
        /// Document to apply; `-` reads standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// Generation the document was edited from; without it, the one running now
        #[arg(long, value_name = "GENERATION", conflicts_with = "force")]
        base: Option<u64>,
        /// Apply whatever is running, and even if it locks you out
        #[arg(long)]
        force: bool,
        /// Take back unless `corten confirm` follows within this time: seconds, or 90s, 2m, 1h
        #[arg(long, value_name = "TIME", value_parser = timespan::parse)]
        confirm: Option<u32>,
        /// With --confirm: at the end of that time the change confirms itself, unless something that was there before
        /// it is gone
        #[arg(long, requires = "confirm")]
        if_same: bool,
        /// Apply for good, even what may end this SSH session; without it, such a change has --confirm 2m by itself
        #[arg(long, conflicts_with = "confirm")]
        no_confirm: bool,
        /// What the history is to say about the change
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// How long to wait for netd; without it, 2m. Then it is asked what became of the change
        #[arg(long, value_name = "TIME", value_parser = timespan::parse)]
        timeout: Option<u32>,
        /// On the screens, with `-`: discard the text that is kept there
        #[arg(long)]
        anew: bool,
    },
    /// Edit the running configuration document on the screens, then check, compare and apply it
    ///
    /// What was typed and not applied is kept until the screens are left: edit again goes on with it.
    Edit {
        /// Begin with the running document, whatever was typed before
        #[arg(long)]
        anew: bool,
        /// What the history is to say about the change
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Confirm the change that waits for it: the switch starts with it from now on
    ///
    /// Needs the role admin, and to be the user who applied it. One that locks out its user, or leaves no
    /// administrator who could log in, is refused.
    Confirm {
        /// Confirm it even if it locks you out
        #[arg(long)]
        force: bool,
    },
    /// Take back the change that waits for its confirmation: what ran before it runs again
    ///
    /// Needs the role admin. When nothing waits, nothing is changed.
    TakeBack {
        /// What the history is to say about it
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Go back to an earlier generation: compare it with what runs, and apply it again as a new one
    ///
    /// Needs the role admin. As any change it is taken back by itself unless it is confirmed, within two minutes. While
    /// a change waits for its confirmation, going back to the one before is taking it back. Without a generation it is
    /// -1; right after a change was taken back it asks, as one may not know that yet.
    Rollback {
        /// Generation to go back to, by its number, or -1 for the one before, -2 for the one before that
        #[arg(value_parser = Target::parse, allow_negative_numbers = true)]
        generation: Option<Target>,
        /// Go back to that generation even if it locks you out
        #[arg(long)]
        force: bool,
        /// Take back unless `corten confirm` follows within this time; without it, 2m
        #[arg(long, value_name = "TIME", value_parser = timespan::parse)]
        confirm: Option<u32>,
        /// At the end of that time the change confirms itself, unless something that was there before it is gone
        #[arg(long)]
        if_same: bool,
        /// Go back for good
        #[arg(long, conflicts_with_all = ["confirm", "if_same"])]
        no_confirm: bool,
        /// What the history is to say about it
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Show what was applied, when and by whom, the newest first
    History {
        #[command(flatten)]
        format: Format,
    },
    /// Print a configuration document
    Config {
        /// Generation to print; without it, the running one
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        generation: Option<u64>,
        /// Print an object with the generation and the document
        #[arg(long)]
        json: bool,
    },
    /// Print messages of netd and of the kernel, the newest last
    Log(Log),
    /// Print what happens on the switch, as it happens, until interrupted
    ///
    /// First how things stand, then links that come and go, changes of the configuration, what others changed
    /// and what became of it.
    Events {
        /// Look at the link of this port every few milliseconds; may be given again
        #[arg(long = "watch", value_name = "PORT")]
        ports: Vec<String>,
        /// End after this many events
        #[arg(long, value_name = "NUMBER")]
        count: Option<u64>,
        /// Print each event as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask an address for an answer, by ICMP echo, once a second
    ///
    /// Exit status 1 when none comes.
    Ping {
        /// Address
        address: IpAddr,
        /// In this VRF; without it, the default VRF
        #[arg(long)]
        vrf: Option<String>,
        /// How many times
        #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
        count: u16,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show the routers on the way to an address
    ///
    /// Exit status 1 when it is not reached.
    Traceroute {
        /// Address
        address: IpAddr,
        /// In this VRF; without it, the default VRF
        #[arg(long)]
        vrf: Option<String>,
        /// How many routers at most
        #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u8).range(1..=64))]
        hops: u8,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell
    Completion {
        /// Shell to complete for
        shell: Shell,
    },
    /// Show a manual page
    Man {
        /// Page: corten; switch.toml, the reference of the configuration; netd, the network daemon; or
        /// containerd-shim-corten-v1, which runs workloads
        #[arg(value_parser = ["corten", "switch.toml", "netd", "containerd-shim-corten-v1"])]
        page: Option<String>,
    },
}

/// Which messages are printed.
#[derive(Args, Clone, Debug)]
pub struct Log {
    /// How many of the newest messages
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 100)]
    pub lines: u32,
    /// Go on with what comes, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Only messages at least this bad
    #[arg(short, long, value_name = "LEVEL")]
    pub priority: Option<Priority>,
    /// Print JSON: an array, or with --follow an object on each line
    #[arg(long)]
    pub json: bool,
}

/// Severity of messages, as in syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Priority {
    /// Errors and worse.
    Err = 3,
    /// Warnings and worse.
    Warning = 4,
    /// What is normal and of note, and worse.
    Notice = 5,
    /// All but what helps to find faults in programs.
    Info = 6,
    /// Everything.
    Debug = 7,
}

/// The tables of `corten show`.
#[derive(Debug, Subcommand)]
pub enum Show {
    /// What is wrong, and since when: the alarms
    ///
    /// The worst first, of those the newest. TRY is what to try: a command, or the line of the configuration. An alarm
    /// is there for as long as its condition holds; the log has a line when it begins and one when it ends.
    Alarms {
        /// Show them again after each so long, until interrupted; without a time, 2s
        #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", value_parser = timespan::parse)]
        watch: Option<u32>,
        #[command(flatten)]
        format: Format,
    },
    /// Ports: state, speed, VLANs, counters; one port in full when it is named
    ///
    /// STATE is administrative/operational. VLAN is untagged/tagged. RX and TX are bytes since the port was
    /// made. From 100 columns on there are errors and drops of both directions too. Of ports that are named it is told
    /// what they discarded, where anybody counts that: in JSON `discards`, whose `frames` are null elsewhere. HW tells who forwards: the switch ASIC (offloaded) or the kernel (software).
    Ports {
        /// Only these ports; `*` stands for any text, as in `swp1*`, and `swp[1-4]` for a range
        #[arg(value_name = "PORT")]
        ports: Vec<String>,
        #[command(flatten)]
        format: Format,
    },
    /// All interfaces: ports, LAGs, loopbacks, VLAN interfaces, subinterfaces, VXLANs, VRFs
    ///
    /// In JSON ports and LAGs are the objects that `show ports` has.
    Interfaces {
        /// Only these interfaces; `*` and ranges as with ports
        #[arg(value_name = "INTERFACE")]
        interfaces: Vec<String>,
        #[command(flatten)]
        format: Format,
    },
    /// LAGs: mode, partner, and the state of each member
    ///
    /// A member is active when frames go through it, on standby when its link is up and LACP holds it back. LACP
    /// tells what this side came to with its partner. Below the table stands why a member carries nothing.
    #[command(aliases = ["lacp", "bonds"])]
    Lags {
        /// Only these LAGs
        #[arg(value_name = "LAG")]
        lags: Vec<String>,
        #[command(flatten)]
        format: Format,
    },
    /// VXLAN tunnel end points: network, VLAN, own address, remote ones
    #[command(alias = "vteps")]
    Vxlans {
        /// Only these tunnels
        #[arg(value_name = "VXLAN")]
        vxlans: Vec<String>,
        #[command(flatten)]
        format: Format,
    },
    /// VRFs with their routing tables and interfaces
    Vrfs {
        /// Only these VRFs
        #[arg(value_name = "VRF")]
        vrfs: Vec<String>,
        #[command(flatten)]
        format: Format,
    },
    /// VLANs of the bridge, with their ports and addresses
    ///
    /// Neighbouring VLANs that differ in nothing but their number share a line.
    Vlans {
        /// Only these VLANs, such as 10 or 10-20
        #[arg(value_name = "VLAN", value_delimiter = ',', value_parser = vlan_range)]
        vlans: Vec<VlanRange>,
        #[command(flatten)]
        format: Format,
    },
    /// Routes of all VRFs
    ///
    /// For an address: the route its packets take, in each VRF that has one. A next hop that does not answer ARP or ND
    /// is marked, and HW tells `no answer` where none of a route does.
    Routes {
        /// Only routes to these prefixes, or those that packets to these addresses take
        #[arg(value_name = "PREFIX")]
        prefixes: Vec<String>,
        /// Only routes of this VRF; `default` for the default VRF
        #[arg(long)]
        vrf: Option<String>,
        /// Only routes installed by this protocol, such as static, bgp, ospf
        #[arg(long)]
        protocol: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// ARP and ND entries
    ///
    /// INTERFACE is what the switch speaks through, PORT where the neighbour is: of a VLAN's interface the port its
    /// hardware address was learned from.
    #[command(aliases = ["neighbors", "arp", "nd"])]
    Neighbours {
        /// Only these addresses, or those of this interface
        #[arg(value_name = "ADDRESS|INTERFACE")]
        addresses: Vec<String>,
        /// Only entries of this interface
        #[arg(long)]
        port: Option<String>,
        /// Only entries of this VRF; `default` for the default VRF
        #[arg(long)]
        vrf: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// The bridge's forwarding database: addresses learned, static, or learned elsewhere
    ///
    /// AGE is how long ago a frame from the address was seen. An address that the ASIC tells beside the kernel is one
    /// row; JSON has both.
    #[command(aliases = ["mac", "mac-address-table"])]
    Fdb {
        /// Only these hardware addresses, written in any of the usual ways, or those of this port
        #[arg(value_name = "MAC|PORT")]
        macs: Vec<String>,
        /// Only entries of this port
        #[arg(long)]
        port: Option<String>,
        /// Only entries of this VLAN
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4094))]
        vlan: Option<u16>,
        /// The switch's own addresses (local) as well; JSON always has them
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Multicast groups of the bridge and their members
    Mdb {
        /// Only these groups, or those of this port
        #[arg(value_name = "GROUP|PORT")]
        groups: Vec<String>,
        /// Only entries of this port
        #[arg(long)]
        port: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Host name, version, uptime, configuration generation, and what is wrong
    #[command(alias = "version")]
    System {
        #[command(flatten)]
        format: Format,
    },
    /// The change that waits for its confirmation, and what is not in operation yet
    ///
    /// Whose the change is, for how long it waits, what is gone since, and what it changed.
    /// What is gone is compared with before the change: ports with a carrier, active members of LAGs, neighbours,
    /// addresses learned in each VLAN, default routes, workloads' ports.
    /// Not in operation yet is what others than the switch decide, also once the change is confirmed: ports without a
    /// carrier, members of LAGs that hear no LACP partner, ports that the spanning tree holds back, tunnels without a
    /// route to their other end. Those that the last change was about are named, others are counted; in JSON `pending`
    /// has all of them. JSON is `null` where nothing is pending at all.
    Pending {
        #[command(flatten)]
        format: Format,
    },
    /// Messages of netd and of the kernel, as `corten log`
    #[command(hide = true)]
    Log(Log),
}

/// Reads `10` or `10-20`.
fn vlan_range(text: &str) -> Result<VlanRange, String> {
    let id = |text: &str| text.parse::<u16>().ok().filter(|id| (1..=4094).contains(id));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (id(first), id(last)) {
        (Some(first), Some(last)) if first <= last => Ok(VlanRange { first, last }),
        _ => Err("give a VLAN id from 1 to 4094, or a range such as 10-20".to_owned()),
    }
}

/// How a table is printed.
#[derive(Args, Clone, Copy, Debug)]
pub struct Format {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Shells with a completion script.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> clap_complete::Shell {
        match shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        }
    }
}

/// Reads the words after the program name.
///
/// # Errors
/// What clap has to say, requests for help included.
pub fn parse(words: &[String]) -> Result<Cli, clap::Error> {
    // A slip of the finger must not change the switch.
    let short = words.first().and_then(|word| {
        CHANGING.into_iter().find(|name| name.starts_with(word.as_str()) && *name != word.as_str())
    });
    if let (Some(name), Some(word)) = (short, words.first())
        && !word.is_empty()
        && Cli::command().get_subcommands().filter(|sub| sub.get_name().starts_with(word.as_str())).count()
            == 1
    {
        let words = format!("`{word}` would change the switch: write `{name}` out");
        return Err(Cli::command().error(ErrorKind::InvalidSubcommand, words));
    }
    Cli::try_parse_from(std::iter::once("corten").chain(words.iter().map(String::as_str)))
}

/// The command tree, for completion and the manual page.
pub fn tree() -> clap::Command {
    let mut tree = Cli::command();
    tree.build();
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn words_may_be_shortened_but_not_those_that_change_the_switch() {
        let of = |line: &str| parse(&line.split(' ').map(String::from).collect::<Vec<_>>());
        for line in [
            "sh ports",
            "show vlan",
            "show route",
            "show neighbour",
            "sh po",
            "show version",
            "sh int",
            "hist",
        ] {
            assert!(of(line).is_ok(), "{line}");
        }
        for line in ["r", "rollb", "ap x", "confir", "take"] {
            let error = of(line).unwrap_err().to_string();
            assert!(error.contains("out"), "{line}: {error}");
        }
        assert!(of("con").is_err(), "config, confirm or container: nobody knows");
    }

    #[test]
    fn vlans_are_numbers_and_ranges() {
        for (text, range) in
            [("10", Some((10, 10))), ("10-20", Some((10, 20))), ("20-10", None), ("1-4095", None)]
        {
            let found = vlan_range(text).ok().map(|range| (range.first, range.last));
            assert_eq!(found, range, "{text}");
        }
    }

    #[test]
    fn vlan_ids_outside_802_1q_are_refused() {
        for id in ["0", "4095", "x", "-1"] {
            let words = ["show", "vlans", "--", id].map(String::from);
            assert!(parse(&words).is_err(), "{id}");
        }
    }
}
