//! What is not as the running configuration says: told by the status in words, and by alarms.

use netd_api::alarm::AlarmKind;
use netd_api::config::Config;
use netd_api::diagnostic::Diagnostic;

use crate::alarms::Condition;
use crate::engine::step_words::Words;
use crate::engine::{Engine, places};
use crate::plan::Action;

/// The kinds of alarms that problems are.
const KINDS: [AlarmKind; 8] = [
    AlarmKind::StartupRefused,
    AlarmKind::NoStartup,
    AlarmKind::KernelUnreadable,
    AlarmKind::RulesNotLoaded,
    AlarmKind::NotApplied,
    AlarmKind::NotUndone,
    AlarmKind::PortMissing,
    AlarmKind::DuplicateAddress,
];

/// Something that is not as the running configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// A sentence by itself.
    pub words: String,
    /// The same for the table of alarms.
    pub condition: Condition,
}

impl Problem {
    /// The kernel does not answer.
    pub fn unreadable(reason: &str) -> Problem {
        let text = format!("its state cannot be read: {reason}: trying again");
        Problem {
            words: format!("the kernel's state cannot be read: {reason}: trying again"),
            condition: Condition::critical(AlarmKind::KernelUnreadable, "kernel", text).try_this("log"),
        }
    }

    /// The control-plane rules are not in force.
    pub fn no_rules(reason: &str) -> Problem {
        let words = format!("{reason}: ports stay as they are until the rules can be loaded");
        let condition = Condition::critical(AlarmKind::RulesNotLoaded, "control-plane", words.clone());
        Problem { words, condition: condition.try_this("log") }
    }

    /// The configuration says something of what this switch does not have.
    pub fn missing(mistake: &Diagnostic) -> Problem {
        // `ports.swp1`, `ports.swp1.mtu`
        let object = mistake.path.split('.').nth(1).unwrap_or(&mistake.path);
        let condition = Condition::critical(AlarmKind::PortMissing, object, mistake.message.clone());
        Problem { words: mistake.to_string(), condition: condition.try_this(line(mistake.line)) }
    }

    /// A port of the ASIC cannot be split or made whole.
    pub fn breakout(words: String) -> Problem {
        let condition = Condition::critical(AlarmKind::NotApplied, "breakout", words.clone());
        Problem { words, condition }
    }

    /// A step that does not come about.
    pub fn failed(action: &Action, reason: &str, config: &Config) -> Problem {
        let words = format!("{action}: {reason}");
        let object = action.object();
        let text = without(&words, &object);
        let remedy = places::line_of(config, action).map_or_else(|| "log".to_owned(), line);
        Problem {
            condition: Condition::critical(AlarmKind::NotApplied, object, text).try_this(remedy),
            words,
        }
    }

    /// What undoing a change did not reach.
    pub fn left(step: &str) -> Problem {
        let (object, text) = step.split_once(": ").unwrap_or(("network", step));
        let text = format!("not undone: {text}");
        Problem {
            words: format!("not undone: {step}"),
            condition: Condition::critical(AlarmKind::NotUndone, object, text).try_this("log"),
        }
    }

    /// Another host uses an address of the switch.
    pub fn duplicate(interface: &str, address: &str, who: &str, outcome: &str) -> Problem {
        let text = format!("another host on {interface}{who} uses the address{outcome}");
        let remedy = format!("show neighbours {interface}");
        Problem {
            words: format!("{interface}: another host on the link{who} uses the address {address}{outcome}"),
            condition: Condition::critical(AlarmKind::DuplicateAddress, address, text).try_this(remedy),
        }
    }
}

fn line(number: u32) -> String {
    format!("line {number}")
}

/// The words without the object they begin with.
fn without(words: &str, object: &str) -> String {
    words.strip_prefix(object).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(words).to_owned()
}

/// A difference that somebody else made and that is only reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drift {
    /// The step that would put it right.
    pub words: String,
    object: String,
    line: Option<u32>,
}

impl Drift {
    /// In the words of a comparison: it is the same step.
    pub fn of(action: &Action, words: &Words<'_>) -> Drift {
        let line = places::line_of(words.config, action);
        Drift { words: words.of(action), object: words.object(action), line }
    }

    fn condition(&self) -> Condition {
        let text =
            format!("changed by others, only reported; right is: {}", without(&self.words, &self.object));
        let remedy = self.line.map_or_else(|| "apply it again".to_owned(), line);
        Condition::warning(AlarmKind::Drift, self.object.clone(), text).try_this(remedy)
    }
}

impl Engine {
    /// What is not as it should be, the gravest first. Empty on a switch that is well.
    pub fn problems(&self) -> Vec<&str> {
        let problems = self.problems.iter().map(|problem| problem.words.as_str());
        self.refused_startup.iter().map(String::as_str).chain(problems).collect()
    }

    /// Brings alarms in line with what is wrong.
    pub(super) fn tell_health(&mut self) {
        let refused = self.refused_startup.as_ref().map(|words| {
            let condition = Condition::critical(AlarmKind::StartupRefused, "startup", words.clone());
            condition.try_this("history")
        });
        // Also while the first one waits for its confirmation: a restart would end it.
        let none = (self.managing && self.confirmed == 0 && refused.is_none()).then(|| {
            let text = "no configuration is confirmed: after a restart all ports are down";
            let remedy = if self.pending.is_some() { "confirm" } else { "edit" };
            Condition::warning(AlarmKind::NoStartup, "startup", text).try_this(remedy)
        });
        let problems = self.problems.iter().map(|problem| problem.condition.clone());
        let conditions: Vec<Condition> = refused.into_iter().chain(none).chain(problems).collect();
        self.alarms.report(&KINDS, conditions);
        let drift: Vec<Condition> = self.drift.iter().map(Drift::condition).collect();
        self.alarms.report(&[AlarmKind::Drift], drift);
    }

    /// Keeps what is wrong for the status and for alarms.
    pub(super) fn take_note(&mut self, problems: Vec<Problem>) {
        self.problems = problems;
        self.tell_health();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{LinkKind, Network, RouteKey, RouteTarget, Setting, Value};

    fn set_mtu() -> Action {
        Action::Set {
            link: "swp1".to_owned(),
            kind: LinkKind::Hardware,
            setting: Setting::Mtu,
            value: Value::Number(9216),
            raise: false,
        }
    }

    #[test]
    fn problem_is_told_with_its_object_and_its_line() {
        let config = netd_api::config::parse("version = 1\n[ports.swp1]\nmtu = 9216\n").expect("valid");
        let Problem { words, condition } = Problem::failed(&set_mtu(), "EINVAL", &config);
        assert_eq!(words, "swp1: set mtu 9216: EINVAL");
        assert_eq!((condition.object.as_str(), condition.text.as_str()), ("swp1", "set mtu 9216: EINVAL"));
        assert_eq!(condition.remedy, "line 3");
        let left = Problem::left("swp1: set mtu 9000");
        assert_eq!(left.words, "not undone: swp1: set mtu 9000");
        assert_eq!(
            (left.condition.object.as_str(), left.condition.text.as_str()),
            ("swp1", "not undone: set mtu 9000")
        );
        let none = Network::default();
        let words = Words { config: &config, running: &config, desired: &none, actual: &none };
        let drift = Drift::of(&set_mtu(), &words);
        assert_eq!(drift.words, "swp1: set mtu 9216");
        let condition = drift.condition();
        assert_eq!(condition.text, "changed by others, only reported; right is: set mtu 9216");
        assert_eq!((condition.object.as_str(), condition.remedy.as_str()), ("swp1", "line 3"));
    }

    #[test]
    fn drift_names_a_route_as_a_comparison_does() {
        let document = "version = 1\n[vrfs.blue]\ntable = 1001\n";
        let config = netd_api::config::parse(document).expect("valid");
        let none = Network::default();
        let words = Words { config: &config, running: &config, desired: &none, actual: &none };
        let key = RouteKey { table: 1001, prefix: "10.0.0.0/8".parse().expect("a prefix"), metric: 0 };
        let route = Action::Route { key, from: None, to: Some(RouteTarget::Blackhole) };
        let drift = Drift::of(&route, &words);
        assert_eq!(drift.words, "route 10.0.0.0/8 of VRF blue: add blackhole");
        let condition = drift.condition();
        assert_eq!(condition.object, "route 10.0.0.0/8 of VRF blue");
        assert_eq!(condition.text, "changed by others, only reported; right is: add blackhole");
    }
}
