//! From the network that is to the network that is wanted, or back to where it was.
//!
//! [`commit`] plans, sends the steps class by class, reads the kernel back and plans again until nothing
//! differs: some changes make the kernel drop others (a VRF change flushes addresses). On the first
//! failure it undoes exactly the steps that succeeded, in reverse, and reports the object and the
//! kernel's words. New addresses that another host on the link turns out to use are such a failure. [`commit_part`] does the same for some of the steps, whatever else differs.
//! [`reconcile`] is the other use of the same plan: it brings back what was lost and never undoes.
//!
//! The kernel is behind [`Backend`], so that a backend that fails at random can prove the undo path.

use std::collections::BTreeSet;

use crate::kernel::detection::{self, LinkAddress};
use crate::kernel::route_watch::{RouteWatch, TakenRoutes};
use crate::kernel::snapshot::Hosts;
use crate::kernel::unreported::Unreported;
use crate::kernel::{Connection, KernelError, batch, snapshot};
use crate::plan::{Action, Network, Step, plan};
use crate::progress;
use crate::watchdog::alive;

/// After this many rounds something keeps changing what was set.
const ROUNDS: usize = 8;
/// Actions handed to the backend at once: bounds what waits for its answer.
const PORTION: usize = 8192;
/// The same of those that make, change or remove links, of which each may take the kernel some tens of milliseconds: who
/// waits is told after each portion how far it is.
const PORTION_OF_LINKS: usize = 128;
/// Lines of a list an operator is shown; the rest is a number.
const SHOWN: usize = 100;

/// What a transaction changes.
pub trait Backend {
    /// The objects of netd as they are.
    fn snapshot(&mut self) -> Result<Network, KernelError>;
    /// Carries out actions that do not depend on each other; how each fared, in order.
    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>>;
    /// Which of the addresses that were just set are in use by other hosts; waits until that is known.
    fn duplicates(&mut self, _added: &BTreeSet<LinkAddress>) -> Result<BTreeSet<LinkAddress>, KernelError> {
        Ok(BTreeSet::new())
    }
}

impl<B: Backend + ?Sized> Backend for &mut B {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        (**self).snapshot()
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        (**self).execute(actions)
    }

    fn duplicates(&mut self, added: &BTreeSet<LinkAddress>) -> Result<BTreeSet<LinkAddress>, KernelError> {
        (**self).duplicates(added)
    }
}

impl<B: Backend + ?Sized> Backend for Box<B> {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        (**self).snapshot()
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        (**self).execute(actions)
    }

    fn duplicates(&mut self, added: &BTreeSet<LinkAddress>) -> Result<BTreeSet<LinkAddress>, KernelError> {
        (**self).duplicates(added)
    }
}

/// The kernel.
pub struct Kernel<'a> {
    /// For requests and dumps.
    pub connection: &'a mut Connection,
    scope: &'a snapshot::Scope,
    bridge: &'a str,
    dark: BTreeSet<String>,
    unreported: &'a mut Unreported,
    /// The last look found no static entry in the bridge, and none was set since.
    no_static_entries: bool,
    /// Hears since before the last look whose routes others replace.
    watch: Option<RouteWatch>,
    /// What the first look is to see of hosts.
    hosts: Option<&'a mut Hosts>,
}

impl<'a> Kernel<'a> {
    /// What one transaction sees of the kernel. `scope` tells which links belong to netd, `bridge` the name of its
    /// bridge, `dark` which links are known to have no carrier, whatever the kernel says of them yet, `unreported` what
    /// was set and drivers do not tell.
    pub fn new(
        connection: &'a mut Connection,
        scope: &'a snapshot::Scope,
        bridge: &'a str,
        dark: BTreeSet<String>,
        unreported: &'a mut Unreported,
    ) -> Kernel<'a> {
        Kernel {
            connection,
            scope,
            bridge,
            dark,
            unreported,
            no_static_entries: false,
            watch: None,
            hosts: None,
        }
    }

    /// The same, which tells what its first look sees of hosts.
    pub fn seeing(self, hosts: Option<&'a mut Hosts>) -> Kernel<'a> {
        Kernel { hosts, ..self }
    }
}

impl Backend for Kernel<'_> {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        alive();
        self.watch = Some(RouteWatch::open()?);
        let fdb = !self.no_static_entries;
        let hosts = self.hosts.as_deref_mut().filter(|hosts| !hosts.complete);
        let mut network = snapshot::network_with(self.connection, self.scope, self.bridge, fdb, hosts)?;
        self.no_static_entries = network.fdb.keys().all(|key| key.tunnel.is_some());
        self.unreported.complete(&mut network);
        for name in &self.dark {
            if let Some(link) = network.links.get_mut(name) {
                link.carrier = false;
            }
        }
        Ok(network)
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        alive();
        let sets_entry = |action: &&Action| matches!(action, Action::Fdb { key, .. } if key.tunnel.is_none());
        self.no_static_entries &= !actions.iter().any(sets_entry);
        let nothing = TakenRoutes::default();
        let taken = self.watch.as_mut().map_or(&nothing, RouteWatch::taken);
        let outcomes = batch::execute_beside(self.connection, actions, taken);
        let done = actions.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
        self.unreported.note(done.map(|(action, _)| *action));
        outcomes
    }

    fn duplicates(&mut self, added: &BTreeSet<LinkAddress>) -> Result<BTreeSet<LinkAddress>, KernelError> {
        alive();
        detection::outcome(self.connection, added)
    }
}

/// Why a change did not come about. Everything was undone unless `left` says what could not be.
#[derive(Debug, thiserror::Error)]
#[error("{reason}{}", show_left(left))]
pub struct CommitError {
    /// What failed.
    pub reason: Reason,
    /// Differences from the state before that could not be undone.
    pub left: Vec<String>,
    /// The network before, for who tries again to remove what is left.
    pub before: Box<Network>,
}

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The kernel or a driver refused a step.
    #[error("{action}: {error}")]
    Refused {
        /// What was to be done, to which object.
        action: Box<Action>,
        /// The kernel's words.
        error: KernelError,
    },
    /// Every step was acknowledged, and yet the kernel shows something else.
    #[error("the kernel acknowledged the change but does not show it: {}", .0.join("; "))]
    Unstable(Vec<String>),
    /// Another host on the link uses the address that was to be set.
    #[error("{0}: another host on the link uses this address")]
    Duplicate(Box<Action>),
    /// The kernel cannot be read.
    #[error("reading the kernel's state: {0}")]
    Snapshot(#[from] KernelError),
}

impl From<KernelError> for CommitError {
    /// Nothing was changed yet.
    fn from(error: KernelError) -> CommitError {
        CommitError { reason: Reason::Snapshot(error), left: Vec::new(), before: Box::default() }
    }
}

fn show_left(left: &[String]) -> String {
    if left.is_empty() {
        return String::new();
    }
    format!("; and undoing left these differences: {}", left.join("; "))
}

/// What a transaction did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps sent.
    pub steps: usize,
    /// The first of them in words, and how many more there are.
    pub words: Vec<String>,
    /// The network before: committing it undoes the transaction.
    pub before: Network,
}

/// Makes the network as desired, or leaves it as it was.
pub fn commit(backend: &mut impl Backend, desired: &Network) -> Result<Report, CommitError> {
    commit_part(backend, desired, |_| true)
}

/// Makes the part of the network as desired that `concerns` picks, or leaves that part as it was. What
/// else differs is neither touched nor a reason to fail.
pub fn commit_part(
    backend: &mut impl Backend,
    desired: &Network,
    concerns: impl Fn(&Action) -> bool,
) -> Result<Report, CommitError> {
    let differences = |want: &Network, found: &Network| {
        let mut steps = plan(want, found);
        steps.retain(|step| concerns(&step.action));
        steps
    };
    let before = backend.snapshot()?;
    let mut done = Vec::new();
    let steps = differences(desired, &before);
    let settled = settle(backend, |actual| differences(desired, actual), steps, &mut done);
    match settled.and_then(|()| detect_duplicates(backend, &done)) {
        Ok(()) => Ok(Report { steps: done.len(), words: show(&done), before }),
        Err(reason) => {
            let left = undo(backend, |actual| differences(&before, actual), done);
            Err(CommitError { reason, left, before: Box::new(before) })
        }
    }
}

/// Carries out steps, and those the kernel's state then still calls for, until none are left. A step that is
/// refused once may have lost what it stands on to another (a link that goes down takes its next hops
/// along); one that is refused again is refused.
fn settle(
    backend: &mut impl Backend,
    differences: impl Fn(&Network) -> Vec<Step>,
    mut steps: Vec<Step>,
    done: &mut Vec<Step>,
) -> Result<(), Reason> {
    let mut refused: Option<Box<Action>> = None;
    let mut rounds = 0..ROUNDS;
    while !steps.is_empty() {
        if rounds.next().is_none() {
            return Err(Reason::Unstable(show(&steps)));
        }
        match run(backend, steps, done) {
            Err(Reason::Refused { action, error }) if refused.as_ref() == Some(&action) => {
                return Err(Reason::Refused { action, error });
            }
            Err(Reason::Refused { action, .. }) => refused = Some(action),
            Err(reason) => return Err(reason),
            Ok(()) => refused = None,
        }
        steps = differences(&backend.snapshot()?);
    }
    Ok(())
}

/// Waits for what other hosts say to new addresses.
fn detect_duplicates(backend: &mut impl Backend, done: &[Step]) -> Result<(), Reason> {
    let asked = |step: &Step| match &step.action {
        Action::AddAddress { link, address, detect_duplicates: true } => Some((link.clone(), *address)),
        _ => None,
    };
    let added: BTreeSet<LinkAddress> = done.iter().filter_map(asked).collect();
    if added.is_empty() {
        return Ok(());
    }
    let used = backend.duplicates(&added)?;
    match done.iter().find(|step| asked(step).is_some_and(|address| used.contains(&address))) {
        Some(step) => Err(Reason::Duplicate(Box::new(step.action.clone()))),
        None => Ok(()),
    }
}

/// Sends steps class by class and notes those that succeeded. Stops after the portion in which one failed.
fn run(backend: &mut impl Backend, steps: Vec<Step>, done: &mut Vec<Step>) -> Result<(), Reason> {
    let mut failed = None;
    let (sending, mut sent) = (progress::begin(steps.len()), 0);
    let mut steps = steps.into_iter().peekable();
    while failed.is_none() && steps.peek().is_some() {
        let portion = next_portion(&mut steps);
        sending.at(sent, || portion.first().map(|step| step.action.to_string()).unwrap_or_default());
        sent += portion.len();
        let actions: Vec<&Action> = portion.iter().map(|step| &step.action).collect();
        let outcomes = backend.execute(&actions);
        for (step, outcome) in portion.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => done.push(step),
                Err(error) if failed.is_none() => failed = Some((step.action, error)),
                Err(_) => {}
            }
        }
    }
    match failed {
        None => Ok(()),
        Some((action, error)) => Err(Reason::Refused { action: Box::new(action), error }),
    }
}

/// Steps of one class, which do not depend on each other.
fn next_portion(steps: &mut std::iter::Peekable<impl Iterator<Item = Step>>) -> Vec<Step> {
    let rank = steps.peek().map(|step| step.action.rank());
    let of_links = steps.peek().is_some_and(|step| step.action.is_about_link());
    let most = if of_links { PORTION_OF_LINKS } else { PORTION };
    let mut portion = Vec::new();
    while portion.len() < most
        && let Some(step) = steps.next_if(|step| Some(step.action.rank()) == rank)
    {
        portion.push(step);
    }
    portion
}

/// Undoes steps in reverse, then puts right what the kernel dropped on the way. `differences` are the
/// steps that lead back from a network. Answers what is left.
fn undo(
    backend: &mut impl Backend,
    differences: impl Fn(&Network) -> Vec<Step>,
    done: Vec<Step>,
) -> Vec<String> {
    undo_steps(backend, done);
    let outcome = backend
        .snapshot()
        .map_err(Reason::from)
        .and_then(|actual| settle(backend, &differences, differences(&actual), &mut Vec::new()));
    match (outcome, backend.snapshot()) {
        (Ok(()), _) => Vec::new(),
        (Err(_), Ok(actual)) => show(&differences(&actual)),
        (Err(_), Err(error)) => vec![format!("the kernel's state cannot be read: {error}")],
    }
}

/// Undoes steps in reverse. Those that need one action to be undone and do not depend on each other go
/// together.
fn undo_steps(backend: &mut impl Backend, mut done: Vec<Step>) {
    while let Some(last) = done.last() {
        let rank = last.action.rank();
        let first = done.iter().rposition(|step| step.action.rank() != rank).map_or(0, |place| place + 1);
        let portion = done.split_off(first.max(done.len().saturating_sub(PORTION)));
        let inverses: Vec<Vec<Action>> = portion.iter().rev().map(Step::inverse).collect();
        let longest = inverses.iter().map(Vec::len).max().unwrap_or(0);
        for depth in 0..longest {
            let actions: Vec<&Action> = inverses.iter().filter_map(|actions| actions.get(depth)).collect();
            for (action, outcome) in actions.iter().zip(backend.execute(&actions)) {
                if let Err(error) = outcome {
                    tracing::warn!("undoing: {action}: {error}");
                }
            }
        }
    }
}

/// What [`reconcile`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Steps that were done, the first of them.
    pub repaired: Vec<Action>,
    /// How many were done.
    pub count: usize,
    /// What is still wrong, the first of it, each with why.
    pub failed: Vec<(Action, String)>,
    /// What of that the kernel or a driver refused, with its words.
    pub refused: Vec<(Action, KernelError)>,
    /// Differences that were let be, the first of them.
    pub let_be: Vec<Action>,
    /// Where some were: the network as it was found, without its routes.
    pub found: Network,
}

/// Brings back what is missing or was changed by others, where `allows` lets it. Steps that fail are
/// reported and left; the rest is done.
pub fn reconcile(
    backend: &mut impl Backend,
    desired: &Network,
    allows: impl Fn(&Action) -> bool,
) -> Result<Reconciled, KernelError> {
    let mut result = Reconciled::default();
    for _ in 0..ROUNDS {
        let found = backend.snapshot()?;
        let mut steps = plan(desired, &found);
        let refused = steps.iter().filter(|step| !allows(&step.action)).take(SHOWN);
        result.let_be = refused.map(|step| step.action.clone()).collect();
        result.found = match result.let_be.is_empty() {
            true => Network::default(),
            // Routes are many, and each difference has its own.
            false => Network { routes: Vec::new(), ..found },
        };
        steps.retain(|step| allows(&step.action));
        result.refused.clear();
        if steps.is_empty() {
            result.failed.clear();
            return Ok(result);
        }
        let (before, tried) = (result.count, std::mem::take(&mut result.failed));
        let mut steps = steps.into_iter().peekable();
        while steps.peek().is_some() {
            let portion = next_portion(&mut steps);
            let actions: Vec<&Action> = portion.iter().map(|step| &step.action).collect();
            for (step, outcome) in portion.iter().zip(backend.execute(&actions)) {
                match outcome {
                    Ok(()) => {
                        result.count += 1;
                        note(&mut result.repaired, || step.action.clone());
                    }
                    Err(error) => {
                        note(&mut result.failed, || (step.action.clone(), error.to_string()));
                        note(&mut result.refused, || (step.action.clone(), error));
                    }
                }
            }
        }
        if result.count == before || result.failed == tried && !result.failed.is_empty() {
            break;
        }
    }
    if result.failed.is_empty() {
        // Acknowledged each time, and yet not there: nobody but a later look can put it right.
        let steps = plan(desired, &backend.snapshot()?).into_iter();
        for step in steps.filter(|step| allows(&step.action)) {
            note(&mut result.failed, || (step.action, "acknowledged but not done".to_owned()));
        }
    }
    Ok(result)
}

/// Adds an entry, unless there are enough.
fn note<T>(lines: &mut Vec<T>, line: impl FnOnce() -> T) {
    if lines.len() < SHOWN {
        lines.push(line());
    }
}

fn show(steps: &[Step]) -> Vec<String> {
    let mut lines: Vec<String> = steps.iter().take(SHOWN).map(|step| step.action.to_string()).collect();
    if steps.len() > SHOWN {
        lines.push(format!("and {} more", steps.len() - SHOWN));
    }
    lines
}
