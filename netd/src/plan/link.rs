//! Differences of links: existence, settings, master, administrative state.

use std::collections::BTreeSet;

use super::network::{Link, LinkKind, Network};
use super::setting::{Setting, Value};
use super::step::{Action, Step};
use super::usable::Usable;

/// Names of links that exist as something else and must be made anew. What hangs on them goes with
/// them, so the other diffs treat it as absent.
pub(super) fn recreated(desired: &Network, actual: &Network) -> BTreeSet<String> {
    let changed = |(name, want): (&String, &Link)| {
        let found = actual.links.get(name)?;
        let other = |(setting, value): (&Setting, &Value)| {
            let found = found.settings.get(setting).filter(|_| setting.needs_new_link());
            found.is_some_and(|found| found != value)
        };
        let is_other = found.kind != want.kind || want.settings.iter().any(other);
        (want.kind.is_made() && found.owned && is_other).then(|| name.clone())
    };
    desired.links.iter().filter_map(changed).collect()
}

pub(super) fn diff(
    desired: &Network,
    actual: &Network,
    usable: &Usable<'_>,
    recreated: &BTreeSet<String>,
    steps: &mut Vec<Step>,
) {
    for (name, found) in &actual.links {
        let wanted = desired.links.contains_key(name) && usable.has_link(name);
        let unwanted = !wanted && found.kind.is_made() && found.owned;
        if unwanted || recreated.contains(name) {
            remove(name, found, steps);
        }
    }
    for (name, want) in desired.links.iter().filter(|(name, _)| usable.has_link(name)) {
        let found = actual.links.get(name).filter(|_| !recreated.contains(name));
        match found {
            Some(found) if found.kind == want.kind => {
                change(name, want, found, recreated, steps);
                if loses_all_members(name, desired, actual) {
                    keep_mac(name, want, found, steps);
                }
            }
            // A foreign link in the way is left alone: making ours fails, and the kernel says why.
            _ => create(name, want, steps),
        }
    }
}

fn remove(name: &str, found: &Link, steps: &mut Vec<Step>) {
    if found.up {
        let inverse = vec![Action::admin(name, found, true)];
        steps.push(Step::new(Action::SetDown { name: name.to_owned() }, inverse));
    }
    if let Some(master) = &found.master {
        let inverse = vec![Action::master(name, Some(master))];
        steps.push(Step::new(Action::master(name, None), inverse));
    }
    let mut inverse = vec![creation(name, found)];
    inverse.extend(settings(name, found, &bare(found), true).into_iter().map(|step| step.action));
    steps.push(Step::new(Action::DeleteLink { name: name.to_owned(), kind: found.kind.clone() }, inverse));
}

fn creation(name: &str, link: &Link) -> Action {
    let settings = link.settings.iter().filter(|(setting, _)| setting.is_set_at_creation());
    let settings = settings.map(|(setting, value)| (*setting, value.clone())).collect();
    Action::CreateLink { name: name.to_owned(), kind: link.kind.clone(), settings }
}

/// A link as it is right after its creation.
fn bare(link: &Link) -> Link {
    let mut bare = Link::new(link.kind.clone());
    bare.settings = link.settings.clone();
    bare.settings.retain(|setting, _| setting.is_set_at_creation());
    bare
}

fn create(name: &str, want: &Link, steps: &mut Vec<Step>) {
    let delete = Action::DeleteLink { name: name.to_owned(), kind: want.kind.clone() };
    steps.push(Step::new(creation(name, want), vec![delete]));
    // The new link's own state goes with it, so undoing that apart is not needed.
    let mut fresh: Vec<Action> =
        settings(name, want, &bare(want), true).into_iter().map(|step| step.action).collect();
    if want.master.is_some() {
        fresh.push(Action::master(name, want.master.as_ref()));
    }
    if want.up {
        fresh.push(Action::admin(name, want, true));
    }
    steps.extend(fresh.into_iter().map(|action| Step::new(action, Vec::new())));
}

fn change(name: &str, want: &Link, found: &Link, recreated: &BTreeSet<String>, steps: &mut Vec<Step>) {
    let lost = found.master.as_ref().is_some_and(|master| recreated.contains(master));
    let moved = want.master != found.master || lost;
    steps.extend(settings(name, want, found, moved));
    if moved {
        if found.master.is_some() {
            let inverse = vec![Action::master(name, found.master.as_ref())];
            steps.push(Step::new(Action::master(name, None), inverse));
        }
        if want.master.is_some() {
            let inverse = vec![Action::master(name, None)];
            steps.push(Step::new(Action::master(name, want.master.as_ref()), inverse));
        }
    }
    // The kernel makes and drops a link's own IPv6 address only as it goes up and down, a link that joins a
    // VRF while up loses its neighbours unseen, a LAG takes members only while they are down, and changes
    // the rate and the selection of its LACP only while it is down itself.
    // A link that gets IPv6 with its MTU gets the address at once.
    let link_local = |link: &Link| link.settings.get(&Setting::LinkLocal).map(Value::is_on);
    let has_address = found.settings.contains_key(&Setting::LinkLocal) || link_local(want) == Some(false);
    let of_lacp = [Setting::LacpFast, Setting::LacpSelect];
    let needs_down = (differs(want, found, Setting::LinkLocal) && has_address)
        || of_lacp.iter().any(|setting| differs(want, found, *setting));
    let bounce = found.up && want.up && (moved || needs_down);
    if bounce || (found.up && !want.up) {
        steps.push(admin_step(name, want, false));
    }
    if bounce || (want.up && !found.up) {
        steps.push(admin_step(name, want, true));
    }
}

/// Whether a LAG has members and keeps none of them.
fn loses_all_members(name: &str, desired: &Network, actual: &Network) -> bool {
    if !matches!(desired.links.get(name).map(|link| &link.kind), Some(LinkKind::Lag { .. })) {
        return false;
    }
    let is_member = |link: Option<&Link>| link.and_then(|link| link.master.as_deref()) == Some(name);
    let mut members = actual.links.iter().filter(|(_, link)| is_member(Some(link))).peekable();
    members.peek().is_some() && members.all(|(member, _)| !is_member(desired.links.get(member)))
}

/// Sets a hardware address again that is as it should be: the driver gives a LAG another one with its last member, and
/// then that of the next one (`__bond_release_one`, `bond_enslave` of Linux 6.12).
fn keep_mac(name: &str, want: &Link, found: &Link, steps: &mut Vec<Step>) {
    let Some(mac) = want.settings.get(&Setting::Mac).filter(|_| !differs(want, found, Setting::Mac)) else {
        return;
    };
    let (link, kind, setting) = (name.to_owned(), want.kind.clone(), Setting::Mac);
    let again = Action::Set { link, kind, setting, value: mac.clone(), raise: false };
    steps.push(Step::new(again.clone(), vec![again]));
}

fn admin_step(name: &str, link: &Link, up: bool) -> Step {
    Step::new(Action::admin(name, link, up), vec![Action::admin(name, link, !up)])
}

fn differs(want: &Link, found: &Link, setting: Setting) -> bool {
    let Some(value) = want.settings.get(&setting) else { return false };
    let old = found.settings.get(&setting);
    // What was never told need not be forgotten.
    let forgotten = old.is_none() && setting.is_speed_or_duplex() && value.is_unknown();
    old != Some(value) && !forgotten
}

/// Settings that differ, where the wish is not "as it is". Under a new master, those of a bridge port are
/// set whatever they were.
fn settings(name: &str, want: &Link, found: &Link, moved: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let negotiates = offer_to_change(want, found);
    let differs = |setting: Setting| match negotiates {
        Some(changes) if setting.is_speed_or_duplex() => changes,
        _ => differs(want, found, setting),
    };
    // A driver is told speed and duplex together: one without the other means any.
    let renegotiates = [Setting::Autoneg, Setting::Speed, Setting::FullDuplex].into_iter().any(differs);
    for (setting, value) in &want.settings {
        let (setting, old) = (*setting, found.settings.get(setting));
        let again = (moved && setting.is_of_bridge_port()) || (renegotiates && setting.is_speed_or_duplex());
        if (!differs(setting) && !again) || setting.needs_new_link() {
            continue;
        }
        let set = |setting: Setting, value: &Value, other: Option<&Value>| Action::Set {
            link: name.to_owned(),
            kind: want.kind.clone(),
            setting,
            value: value.clone(),
            raise: value.number() > other.and_then(Value::number),
        };
        let inverse = if setting.is_speed_or_duplex() && !found.offer.is_empty() {
            // The modes of the offer say both, once.
            let first = setting == Setting::Speed || !want.settings.contains_key(&Setting::Speed);
            first.then(|| set(Setting::Speed, &found.offer.as_wish(), None))
        } else {
            let unreported = setting.is_speed_or_duplex().then(Value::unknown);
            old.cloned().or(unreported).map(|before| set(setting, &before, Some(value)))
        };
        steps.push(Step::new(set(setting, value, old), inverse.into_iter().collect()));
    }
    steps
}

/// Whether a port that negotiates, and tells its modes, offers something else than is wanted. `None` for others, and
/// for one that is to negotiate no more.
fn offer_to_change(want: &Link, found: &Link) -> Option<bool> {
    let stays = want.settings.get(&Setting::Autoneg).is_none_or(Value::is_on);
    if found.offer.is_empty() || !stays {
        return None;
    }
    let wish = |setting| want.settings.get(&setting);
    let (speed, full_duplex) = (wish(Setting::Speed), wish(Setting::FullDuplex));
    let says = speed.is_some() || full_duplex.is_some();
    Some(says && found.offer.chosen(speed, full_duplex) != found.offer)
}
