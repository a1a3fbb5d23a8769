//! Lanes: chains that run beside each other.
//!
//! A lane takes a token of GNU make's job server for each chain, which it shares with whatever else the run does:
//! unit tests, compilers. One more lane takes only chains that mostly wait, without a token. Chains that measure time
//! run at the end, alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use jobserver::{Acquired, Client};
use qemu_tests::machine::test_kernel_is_decided;

use super::chain::Chain;
use super::{Ground, Kind, Lane};
use crate::lab::Origin;

/// How often it is looked for the test kernel, which another process makes.
const KERNEL_INTERVAL: Duration = Duration::from_secs(1);

/// Something that a lane does.
pub enum Work {
    /// Makes a template.
    Template(Kind),
    /// Runs a chain.
    Chain(Box<Chain>),
}

/// What is left to do.
struct Left {
    templates: Vec<Kind>,
    chains: Vec<Chain>,
    /// Templates that are being made.
    making: usize,
}

/// The lanes' common list.
pub struct Board<'a> {
    left: Mutex<Left>,
    changed: Condvar,
    /// Whether chains on a kind of machine need not wait any more.
    is_ready: &'a (dyn Fn(Kind) -> bool + Sync),
}

/// What a lane is to do next.
enum Next {
    Work(Work),
    /// Nothing yet.
    Wait,
    /// Nothing any more.
    End,
}

impl<'a> Board<'a> {
    /// A list of chains in the order in which they are to begin.
    pub fn new(chains: Vec<Chain>, is_ready: &'a (dyn Fn(Kind) -> bool + Sync)) -> Board<'a> {
        let mut templates = Vec::new();
        for chain in &chains {
            need(chain.kind(), &mut templates);
        }
        templates.retain(|kind| !is_ready(*kind));
        Board { left: Mutex::new(Left { templates, chains, making: 0 }), changed: Condvar::new(), is_ready }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, waits_only: bool) -> Next {
        let mut left = self.left();
        if !waits_only {
            let base_ready = |kind: &Kind| match kind.ground.origin() {
                Origin::Derived(base) => (self.is_ready)(Kind { ground: Ground::Lab(base), ..*kind }),
                Origin::Template | Origin::Boot => {
                    !kind.ground.needs_test_kernel() || test_kernel_is_decided()
                }
            };
            if let Some(at) = left.templates.iter().position(base_ready) {
                left.making += 1;
                return Next::Work(Work::Template(left.templates.remove(at)));
            }
        }
        let Left { chains, .. } = &mut *left;
        let ready = |chain: &Chain| {
            // Whoever is to be alone would not be beside a compiler.
            let needs_kernel = chain.ground.needs_test_kernel() || chain.lane == Lane::Alone;
            (self.is_ready)(chain.kind()) && (!needs_kernel || test_kernel_is_decided())
        };
        // Chains that wait have their own lane; the others help once they have nothing else to do.
        let here = |chain: &&Chain| (chain.lane == Lane::Waits) == waits_only;
        let at = chains.iter().position(|chain| here(&chain) && ready(chain));
        let others = chains.iter().any(|chain| here(&chain));
        let at = at.or_else(|| chains.iter().position(ready).filter(|_| !waits_only && !others));
        if let Some(at) = at {
            return Next::Work(Work::Chain(Box::new(chains.remove(at))));
        }
        let some = chains.iter().any(|chain| !waits_only || here(&chain));
        let unmade = !waits_only && (left.making > 0 || !left.templates.is_empty());
        if some || unmade { Next::Wait } else { Next::End }
    }

    /// Does everything there is, with so many lanes; one more for chains that wait, if that is wanted.
    pub fn run(
        &self,
        tokens: &Tokens,
        lanes: usize,
        waiting_lane: bool,
        work: &(dyn Fn(Work) + Sync),
    ) -> Result<()> {
        thread::scope(|scope| {
            for lane in 1..=lanes {
                let lane = thread::Builder::new().name(format!("lane-{lane}"));
                lane.spawn_scoped(scope, || self.lane(Some(tokens), work)).context("cannot start a lane")?;
            }
            if waiting_lane {
                let lane = thread::Builder::new().name("lane-waits".to_owned());
                lane.spawn_scoped(scope, || self.lane(None, work)).context("cannot start a lane")?;
            }
            Ok(())
        })
    }

    fn lane(&self, tokens: Option<&Tokens>, work: &(dyn Fn(Work) + Sync)) {
        loop {
            let token = tokens.map(Tokens::take);
            match self.next(tokens.is_none()) {
                Next::Work(next) => {
                    let template = matches!(next, Work::Template(_));
                    work(next);
                    if template {
                        self.left().making -= 1;
                    }
                    self.changed.notify_all();
                }
                Next::Wait => {
                    drop(token);
                    let left = self.left();
                    // Nothing signals that the test kernel is built: it is another process that builds it.
                    drop(self.changed.wait_timeout(left, KERNEL_INTERVAL));
                }
                Next::End => return,
            }
        }
    }
}

/// Adds a kind of machine to the templates to be made, after what it begins as.
fn need(kind: Kind, templates: &mut Vec<Kind>) {
    match kind.ground.origin() {
        _ if templates.contains(&kind) => {}
        Origin::Boot => {}
        Origin::Template => templates.push(kind),
        Origin::Derived(base) => {
            need(Kind { ground: Ground::Lab(base), ..kind }, templates);
            templates.push(kind);
        }
    }
}

/// Tokens of the job server: who holds one may keep a processor busy.
pub struct Tokens(Client);

impl Tokens {
    /// Those of the process that started this one, if it shares any; else as many of our own.
    pub fn new(inherited: Option<Client>, count: usize) -> Result<Tokens> {
        let client = match inherited {
            Some(client) => client,
            None => Client::new(count).context("cannot make a job server")?,
        };
        Ok(Tokens(client))
    }

    /// Waits for a token; dropped, it is free again.
    pub fn take(&self) -> Option<Acquired> {
        // Whoever gave us tokens is gone, and with it whatever else would need them.
        self.0.acquire().ok()
    }

    /// Waits for all of them: nobody else works meanwhile.
    pub fn take_all(&self, count: usize) -> Vec<Acquired> {
        (0..count).filter_map(|_| self.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use anyhow::bail;

    use super::*;
    use crate::lab::{Lab, Topology};
    use crate::runner::chain::chains;
    use crate::runner::{Run, Scenario};

    fn unused(_: &Lab, _: &Run) -> Result<String> {
        bail!("nothing is shown here")
    }

    fn chain(file: &'static str, topology: Topology, lane: Lane) -> Chain {
        let mut scenario = Scenario::new("x", topology, unused);
        scenario.lane = lane;
        chains(vec![(file, scenario)], true).remove(0)
    }

    fn names(done: &Mutex<Vec<String>>) -> Vec<String> {
        done.lock().unwrap().clone()
    }

    #[test]
    fn chains_wait_for_their_template() {
        let chains = vec![
            chain("derived", Topology::Containers, Lane::Cpu),
            chain("cloned", Topology::Switch, Lane::Cpu),
            chain("booted", Topology::Rocker, Lane::Cpu),
        ];
        let made = Mutex::new(Vec::new());
        let ready = |kind: Kind| kind.ground.origin() == Origin::Boot || made.lock().unwrap().contains(&kind);
        let board = Board::new(chains, &ready);
        let done = Mutex::new(Vec::new());
        let work = |work: Work| match work {
            Work::Template(kind) => {
                done.lock().unwrap().push(format!("template {}", kind.name()));
                made.lock().unwrap().push(kind);
            }
            Work::Chain(chain) => {
                assert!(ready(chain.kind()), "{} began without its template", chain.name);
                done.lock().unwrap().push(chain.name);
            }
        };
        board.run(&Tokens::new(None, 2).unwrap(), 2, true, &work).unwrap();
        let mut all = names(&done);
        all.sort();
        assert_eq!(all, ["booted", "cloned", "derived", "template containers", "template switch"]);
    }

    #[test]
    fn waiting_chains_run_beside_the_lanes_that_compute() {
        let chains =
            vec![chain("busy", Topology::Rocker, Lane::Cpu), chain("waits", Topology::Rocker, Lane::Waits)];
        let ready = |_: Kind| true;
        let board = Board::new(chains, &ready);
        let waited = AtomicBool::new(false);
        let work = |work: Work| {
            let Work::Chain(chain) = work else { panic!("no template is needed") };
            if chain.name == "waits" {
                waited.store(true, Ordering::SeqCst);
            } else {
                while !waited.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            }
        };
        board.run(&Tokens::new(None, 1).unwrap(), 1, true, &work).unwrap();
    }

    #[test]
    fn one_lane_does_everything_when_there_is_no_other() {
        let chains =
            vec![chain("busy", Topology::Rocker, Lane::Cpu), chain("waits", Topology::Rocker, Lane::Waits)];
        let ready = |_: Kind| true;
        let board = Board::new(chains, &ready);
        let done = AtomicUsize::new(0);
        let work = |_: Work| {
            done.fetch_add(1, Ordering::SeqCst);
        };
        board.run(&Tokens::new(None, 1).unwrap(), 1, false, &work).unwrap();
        assert_eq!(done.load(Ordering::SeqCst), 2);
    }
}
