//! Differences of links: existence, settings, master, administrative state.

use std::collections::BTreeSet;

use super::network::{Link, LinkKind, Network};
use super::step::{Action, Step};

/// Names of links that exist as something else and must be made anew. What hangs on them goes with
/// them, so the other diffs treat it as absent.
pub(super) fn recreated(desired: &Network, actual: &Network) -> BTreeSet<String> {
    let changed = |(name, want): (&String, &Link)| {
        let found = actual.links.get(name)?;
        (want.kind.is_made() && found.owned && !found.kind.becomes(&want.kind)).then(|| name.clone())
    };
    desired.links.iter().filter_map(changed).collect()
}

pub(super) fn diff(desired: &Network, actual: &Network, recreated: &BTreeSet<String>, steps: &mut Vec<Step>) {
    for (name, found) in &actual.links {
        let unwanted = !desired.links.contains_key(name) && found.kind.is_made() && found.owned;
        if unwanted || recreated.contains(name) {
            remove(name, found, steps);
        }
    }
    for (name, want) in &desired.links {
        let found = actual.links.get(name).filter(|_| !recreated.contains(name));
        match found {
            Some(found) if found.kind.becomes(&want.kind) => change(name, want, found, recreated, steps),
            // A foreign link in the way is left alone: making ours fails, and the kernel says why.
            _ => create(name, want, steps),
        }
    }
}

fn remove(name: &str, found: &Link, steps: &mut Vec<Step>) {
    if found.up {
        let inverse = vec![Action::admin(name, found, true)];
        steps.push(Step { action: Action::SetDown { name: name.to_owned() }, inverse });
    }
    if let Some(master) = &found.master {
        let inverse = vec![Action::master(name, Some(master))];
        steps.push(Step { action: Action::master(name, None), inverse });
    }
    let mut inverse =
        vec![Action::CreateLink { name: name.to_owned(), kind: found.kind.clone(), mac: found.mac.clone() }];
    inverse.extend(settings(name, found, &Link::new(found.kind.clone())).into_iter().map(|step| step.action));
    steps.push(Step {
        action: Action::DeleteLink { name: name.to_owned(), kind: found.kind.clone() },
        inverse,
    });
}

fn create(name: &str, want: &Link, steps: &mut Vec<Step>) {
    steps.push(Step {
        action: Action::CreateLink { name: name.to_owned(), kind: want.kind.clone(), mac: want.mac.clone() },
        inverse: vec![Action::DeleteLink { name: name.to_owned(), kind: want.kind.clone() }],
    });
    // The new link's own state: its settings go with it, so undoing them apart is not needed.
    let mut bare = Link::new(want.kind.clone());
    bare.mac = want.mac.clone();
    let mut fresh = settings(name, want, &bare);
    if want.master.is_some() {
        fresh.push(Step { action: Action::master(name, want.master.as_ref()), inverse: Vec::new() });
    }
    if want.up {
        fresh.push(Step { action: Action::admin(name, want, true), inverse: Vec::new() });
    }
    steps.extend(fresh.into_iter().map(|step| Step { inverse: Vec::new(), ..step }));
}

fn change(name: &str, want: &Link, found: &Link, recreated: &BTreeSet<String>, steps: &mut Vec<Step>) {
    steps.extend(settings(name, want, found));
    let lost = found.master.as_ref().is_some_and(|master| recreated.contains(master));
    if want.master != found.master || lost {
        if found.master.is_some() {
            let inverse = vec![Action::master(name, found.master.as_ref())];
            steps.push(Step { action: Action::master(name, None), inverse });
        }
        if want.master.is_some() {
            let inverse = vec![Action::master(name, None)];
            steps.push(Step { action: Action::master(name, want.master.as_ref()), inverse });
        }
    }
    // The kernel makes and drops a link's own IPv6 address only as it goes up and down, and a link that
    // joins a VRF while up loses its neighbours unseen.
    let link_local = want.link_local.is_some() && want.link_local != found.link_local;
    let bounce = found.up && want.up && (want.master != found.master || lost || link_local);
    if bounce || (found.up && !want.up) {
        steps.push(admin_step(name, want, false));
    }
    if bounce || (want.up && !found.up) {
        steps.push(admin_step(name, want, true));
    }
}

fn admin_step(name: &str, link: &Link, up: bool) -> Step {
    Step { action: Action::admin(name, link, up), inverse: vec![Action::admin(name, link, !up)] }
}

/// Settings that differ, where the wish is not "as it is".
fn settings(name: &str, want: &Link, found: &Link) -> Vec<Step> {
    let mut steps = Vec::new();
    let name = name.to_owned();
    if let LinkKind::Bridge { vlan_filtering, default_pvid } = want.kind
        && want.kind != found.kind
    {
        let set = |vlan_filtering, default_pvid| Action::SetBridge {
            name: name.clone(),
            vlan_filtering,
            default_pvid,
        };
        let inverse = match found.kind {
            LinkKind::Bridge { vlan_filtering, default_pvid } => vec![set(vlan_filtering, default_pvid)],
            _ => Vec::new(),
        };
        steps.push(Step { action: set(vlan_filtering, default_pvid), inverse });
    }
    if let Some(mtu_bytes) = want.mtu_bytes.filter(|_| want.mtu_bytes != found.mtu_bytes) {
        let old = found.mtu_bytes.unwrap_or(0);
        let set = |mtu_bytes, raise| Action::SetMtu {
            name: name.clone(),
            kind: want.kind.clone(),
            mtu_bytes,
            raise,
        };
        let inverse = found.mtu_bytes.map(|old| set(old, old > mtu_bytes)).into_iter().collect();
        steps.push(Step { action: set(mtu_bytes, mtu_bytes > old), inverse });
    }
    if let Some(mac) = want.mac.clone().filter(|_| want.mac != found.mac) {
        let inverse =
            found.mac.clone().map(|mac| Action::SetMac { name: name.clone(), mac }).into_iter().collect();
        steps.push(Step { action: Action::SetMac { name: name.clone(), mac }, inverse });
    }
    if want.alias != found.alias {
        let set = |alias: &String| Action::SetAlias { name: name.clone(), alias: alias.clone() };
        steps.push(Step { action: set(&want.alias), inverse: vec![set(&found.alias)] });
    }
    if let Some(on) = want.link_local.filter(|_| want.link_local != found.link_local) {
        let set = |on| Action::SetLinkLocal { name: name.clone(), on };
        steps.push(Step { action: set(on), inverse: found.link_local.map(set).into_iter().collect() });
    }
    steps
}
