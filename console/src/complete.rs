//! Completion on the screens' command line, over the same command tree as the program's own arguments.

use clap::builder::ValueHint;
use clap::{Arg, Command};

use crate::cli::CHANGING;
use crate::commands::PROTOCOLS;
use crate::text;

/// The most candidates offered at once.
const MAX_CANDIDATES: usize = 200;

/// Names that only the running switch knows.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Port names.
    pub ports: Vec<String>,
    /// VLAN ids.
    pub vlans: Vec<String>,
    /// Generations of the configuration.
    pub generations: Vec<String>,
    /// Interfaces other than ports, LAGs among them: kind, as `show interfaces` tells it, and name.
    pub interfaces: Vec<(String, String)>,
}

impl Names {
    /// Interfaces of one kind.
    fn of_kind(&self, kind: &str) -> Vec<String> {
        let of_kind = self.interfaces.iter().filter(|(of, _)| of == kind);
        of_kind.map(|(_, name)| name.clone()).collect()
    }
}

/// What could stand in place of the last word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where the last word begins, in bytes.
    pub start: usize,
    /// Candidates for the whole word, sorted.
    pub candidates: Vec<String>,
}

impl Completion {
    /// The line with the last word lengthened as far as all candidates agree; a single one is finished
    /// with a space. `None` when that adds nothing.
    pub fn complete(&self, line: &str) -> Option<String> {
        let first = self.candidates.first()?;
        let mut common = first.as_str();
        for candidate in &self.candidates {
            let agreed: usize = common
                .chars()
                .zip(candidate.chars())
                .take_while(|(a, b)| a == b)
                .map(|(a, _)| a.len_utf8())
                .sum();
            common = &common[..agreed];
        }
        let ended = self.candidates.len() == 1 && !first.ends_with('/');
        let completed = format!("{}{common}{}", line.get(..self.start)?, if ended { " " } else { "" });
        (completed.len() > line.len()).then_some(completed)
    }
}

/// Candidates for the last word of a line.
pub fn complete(tree: &Command, line: &str, names: &Names) -> Completion {
    let start = line
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let (before, word) = line.split_at(start);
    let mut command = tree;
    let mut option: Option<&Arg> = None;
    let mut positional = 0;
    let words = before.split_whitespace().skip_while(|word| *word == "corten");
    for word in words {
        if option.take().is_some() {
            continue;
        }
        if let Some(long) = word.strip_prefix("--") {
            option = command.get_arguments().find(|arg| arg.get_long() == Some(long) && takes_value(arg));
        } else if let Some(sub) = subcommand(command, word) {
            command = sub;
        } else {
            positional += 1;
        }
    }
    let mut candidates = match option {
        Some(arg) => values(arg, word, names),
        None if word.starts_with('-') => options(command),
        None => {
            let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
            let mut candidates: Vec<String> = subcommands.map(|sub| sub.get_name().to_owned()).collect();
            if let Some(arg) = positional_at(command, positional) {
                candidates.extend(values(arg, word, names));
            }
            candidates
        }
    };
    candidates.retain(|candidate| candidate.starts_with(word));
    candidates.sort_unstable_by(|a, b| natural(a).cmp(&natural(b)));
    candidates.dedup();
    candidates.truncate(MAX_CANDIDATES);
    Completion { start, candidates }
}

/// The command a word stands for: its name, or the beginning of one only, as the parser takes it.
fn subcommand<'a>(command: &'a Command, word: &str) -> Option<&'a Command> {
    let begins = |sub: &&Command| {
        sub.get_name().starts_with(word) || sub.get_all_aliases().any(|alias| alias.starts_with(word))
    };
    let mut short = command.get_subcommands().filter(begins);
    command.find_subcommand(word).or_else(|| match (short.next(), short.next()) {
        (Some(sub), None) if !CHANGING.contains(&sub.get_name()) => Some(sub),
        _ => None,
    })
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// The positional argument at a place; the last one goes on when it takes many.
fn positional_at(command: &Command, place: usize) -> Option<&Arg> {
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let many = |arg: &&Arg| arg.get_num_args().is_some_and(|count| count.max_values() > 1);
    positionals.get(place).copied().or_else(|| positionals.last().copied().filter(many))
}

fn options(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(Arg::get_long).map(|long| format!("--{long}")).collect()
}

/// Values an argument can have: its own, or names of the switch, or files.
fn values(arg: &Arg, word: &str, names: &Names) -> Vec<String> {
    if arg.get_value_hint() == ValueHint::FilePath {
        return files(word);
    }
    match arg.get_id().as_str() {
        "port" | "ports" | "macs" | "groups" => names.ports.clone(),
        "interfaces" | "addresses" => {
            let others = names.interfaces.iter().map(|(_, name)| name);
            names.ports.iter().chain(others).cloned().collect()
        }
        "lags" => names.of_kind("lag"),
        "vxlans" => names.of_kind("vxlan"),
        "vrfs" => names.of_kind("vrf"),
        "vrf" => [names.of_kind("vrf"), vec!["default".to_owned()]].concat(),
        "vlan" | "vlans" => names.vlans.clone(),
        "protocol" => PROTOCOLS.map(String::from).into(),
        "generation" | "base" | "with" => names.generations.clone(),
        _ => arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
    }
}

/// Files that begin with a word, folders with a slash.
fn files(word: &str) -> Vec<String> {
    let folder = word.rfind('/').map_or("", |at| &word[..=at]);
    let Ok(entries) = std::fs::read_dir(if folder.is_empty() { "." } else { folder }) else {
        return Vec::new();
    };
    entries
        .take(10_000)
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            // Names a command line could not hold as they are, or a terminal not show, are left out.
            if name.starts_with('.') || name.contains([' ', '\'', '"', '\\']) || text::clean(&name) != name {
                return None;
            }
            let slash = if entry.path().is_dir() { "/" } else { "" };
            Some(format!("{folder}{name}{slash}"))
        })
        .collect()
}

/// A key under which swp2 comes before swp10.
fn natural(text: &str) -> (&str, u64, &str) {
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, text[stem.len()..].parse().unwrap_or(0), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(line: &str) -> Vec<String> {
        let names = Names {
            ports: ["swp10", "swp1", "swp2"].map(String::from).into(),
            vlans: ["10", "20"].map(String::from).into(),
            generations: ["7", "8"].map(String::from).into(),
            interfaces: [("vrf", "blue"), ("vxlan", "vx10"), ("lag", "uplink"), ("loopback", "lo0")]
                .map(|(kind, name)| (kind.to_owned(), name.to_owned()))
                .into(),
        };
        complete(&crate::cli::tree(), line, &names).candidates
    }

    #[test]
    fn commands_and_subcommands_complete() {
        assert_eq!(candidates("sh"), ["show"]);
        assert_eq!(candidates("con"), ["config", "confirm"]);
        assert_eq!(candidates("show n"), ["neighbours"]);
        assert_eq!(candidates("corten show f"), ["fdb"]);
        assert!(candidates("").contains(&"edit".to_owned()));
    }

    #[test]
    fn names_of_the_switch_complete_in_natural_order() {
        assert_eq!(candidates("show ports swp"), ["swp1", "swp2", "swp10"]);
        assert_eq!(candidates("show ports swp1 swp2 swp1"), ["swp1", "swp10"]);
        assert_eq!(candidates("show fdb --port swp2"), ["swp2"]);
        assert_eq!(candidates("show fdb --vlan "), ["10", "20"]);
        assert_eq!(candidates("show vlans 1"), ["10"]);
        assert_eq!(candidates("rollback "), ["7", "8"]);
        assert_eq!(candidates("config 8"), ["8"]);
    }

    #[test]
    fn words_that_were_shortened_go_on_as_if_they_were_not() {
        assert_eq!(candidates("sh po swp2"), ["swp2"]);
        assert_eq!(candidates("sh arp --v"), ["--vrf"]);
        assert_eq!(candidates("conf"), ["config", "confirm"]);
        // Those that change the switch are not to be shortened, and an unclear one stands for none.
        assert!(candidates("rollb ").iter().all(|word| word != "7"));
        assert!(candidates("show v 1").is_empty());
    }

    #[test]
    fn names_of_all_kinds_complete() {
        assert_eq!(
            candidates("show interfaces "),
            ["blue", "lo0", "swp1", "swp2", "swp10", "uplink", "vx10"]
        );
        assert_eq!(candidates("show lags "), ["uplink"]);
        assert_eq!(candidates("show vxlans "), ["vx10"]);
        assert_eq!(candidates("show vrfs "), ["blue"]);
        assert_eq!(candidates("show routes --vrf "), ["blue", "default"]);
        assert_eq!(candidates("show routes --protocol b"), ["bgp", "bird", "boot"]);
    }

    #[test]
    fn options_complete_after_a_dash() {
        assert_eq!(candidates("show fdb --"), ["--all", "--help", "--json", "--port", "--vlan"]);
        assert_eq!(candidates("apply --f"), ["--force"]);
        assert_eq!(candidates("apply --co"), ["--comment", "--confirm"]);
    }

    #[test]
    fn files_complete_where_a_file_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["switch.toml", "switch.old", "two words", ".hidden"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let line = format!("check {}/", folder.path().display());
        let found = candidates(&line);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("/switch.old"));
    }

    #[test]
    fn completing_goes_as_far_as_candidates_agree() {
        let tree = crate::cli::tree();
        let names = Names { ports: vec!["swp1".into(), "swp2".into()], ..Names::default() };
        let step = |line: &str| complete(&tree, line, &names).complete(line);
        assert_eq!(step("sho").as_deref(), Some("show "));
        assert_eq!(step("show ports s").as_deref(), Some("show ports swp"));
        assert_eq!(step("show ports swp"), None);
        assert_eq!(step("nonsense"), None);
    }
}
