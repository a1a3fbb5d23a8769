//! The command line: what `corten` can be told to do.

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

use crate::timespan;

/// Shown at the end of `--help`.
const AFTER_HELP: &str = "\
Without arguments corten shows its screens; ? there lists the keys.

Exit status: 0 done; 1 refused or invalid; 2 wrong usage; 3 netd cannot be reached.
";

/// Operate this switch: look at its ports, VLANs, routes and neighbours, check, apply and take back its
/// configuration
#[derive(Debug, Parser)]
#[command(name = "corten", bin_name = "corten", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the state of the switch
    #[command(subcommand)]
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
    },
    /// Show what applying a configuration document would change, nothing applied
    ///
    /// The steps on the network in the order they would be taken, and how the document differs from the
    /// running one.
    Diff {
        /// Document to compare; `-` reads standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// Print an object with the generation, the steps and the difference of the documents
        #[arg(long)]
        json: bool,
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
        /// Apply whatever is running
        #[arg(long)]
        force: bool,
        /// Roll back unless `corten confirm` follows within this time: seconds, or 90s, 2m, 1h
        #[arg(long, value_name = "TIME", value_parser = timespan::parse)]
        confirm: Option<u32>,
        /// What the history is to say about the change
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Confirm the change that waits for it: the switch starts with it from now on
    ///
    /// Needs the role admin, and to be the user who applied it.
    Confirm,
    /// Take back the change that waits for its confirmation; else go back to an earlier generation
    ///
    /// Needs the role admin. An earlier generation is applied again as a new one.
    Rollback {
        /// Generation to go back to; without it, the one before
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        generation: Option<u64>,
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
    /// Print a completion script for a shell
    Completion {
        /// Shell to complete for
        shell: Shell,
    },
    /// Print the manual page corten(1)
    #[command(hide = true)]
    Man,
}

/// The tables of `corten show`.
#[derive(Debug, Subcommand)]
pub enum Show {
    /// Ports: state, speed, VLANs, counters; one port in full when it is named
    ///
    /// STATE is administrative/operational. VLAN is untagged/tagged. RX and TX are bytes since the port was
    /// made. HW tells who forwards: the switch ASIC (asic) or the kernel (soft).
    Ports {
        /// Only these ports; `*` stands for any text, as in `swp1*`
        #[arg(value_name = "PORT")]
        ports: Vec<String>,
        #[command(flatten)]
        format: Format,
    },
    /// VLANs of the bridge, with their ports and addresses
    Vlans {
        /// Only these VLANs
        #[arg(value_name = "VLAN", value_parser = clap::value_parser!(u16).range(1..=4094))]
        vlans: Vec<u16>,
        #[command(flatten)]
        format: Format,
    },
    /// Routes of all VRFs
    Routes {
        /// Only routes to these prefixes
        #[arg(value_name = "PREFIX")]
        prefixes: Vec<String>,
        /// Only routes of this VRF; `default` for the default VRF
        #[arg(long)]
        vrf: Option<String>,
        /// Only routes installed by this protocol
        #[arg(long)]
        protocol: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// ARP and ND entries
    #[command(alias = "neighbors")]
    Neighbours {
        /// Only these addresses
        #[arg(value_name = "ADDRESS")]
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
    /// The bridge's forwarding database
    Fdb {
        /// Only these hardware addresses
        #[arg(value_name = "MAC")]
        macs: Vec<String>,
        /// Only entries of this port
        #[arg(long)]
        port: Option<String>,
        /// Only entries of this VLAN
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4094))]
        vlan: Option<u16>,
        #[command(flatten)]
        format: Format,
    },
    /// Multicast groups of the bridge and their members
    Mdb {
        /// Only these groups
        #[arg(value_name = "GROUP")]
        groups: Vec<String>,
        /// Only entries of this port
        #[arg(long)]
        port: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Host name, version, uptime, configuration generation, and what is wrong
    System {
        #[command(flatten)]
        format: Format,
    },
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
    fn vlan_ids_outside_802_1q_are_refused() {
        for id in ["0", "4095", "x", "-1"] {
            let words = ["show", "vlans", "--", id].map(String::from);
            assert!(parse(&words).is_err(), "{id}");
        }
    }
}
