//! Indexes of links by name, looked up once a batch: they change when a link is made anew.

use std::collections::HashMap;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::connection::Connection;
use super::extack::KernelError;
use super::link;
use super::multipath::ResolvedNextHop;
use crate::plan::RouteTarget;

/// What names stood for when they were first asked for.
#[derive(Default)]
pub(super) struct Names {
    indexes: HashMap<String, u32>,
    bridges: HashMap<String, u32>,
    /// The next hops last asked for, so that a route takes no memory of its own.
    hops: Vec<ResolvedNextHop>,
}

impl Names {
    /// Index of the link of this name.
    pub fn index(&mut self, name: &str) -> Result<u32, KernelError> {
        if let Some(index) = self.indexes.get(name) {
            return Ok(*index);
        }
        let index = if_nametoindex(name)
            .map_err(|_| KernelError::with_words(Errno::ENODEV, format!("there is no interface {name}")))?;
        self.indexes.insert(name.to_owned(), index);
        Ok(index)
    }

    /// Index of the bridge the port of this name is in.
    pub fn bridge_of(&mut self, connection: &mut Connection, port: &str) -> Result<u32, KernelError> {
        if let Some(index) = self.bridges.get(port) {
            return Ok(*index);
        }
        let found = link::find_by_name(connection, port)?;
        let bridge = found.filter(|link| link.part_of == "bridge").map(|link| link.master);
        let bridge = bridge
            .ok_or_else(|| KernelError::with_words(Errno::ENODEV, format!("{port} is in no bridge")))?;
        self.bridges.insert(port.to_owned(), bridge);
        Ok(bridge)
    }

    /// The next hops a target spells out, with their devices' indexes.
    pub fn next_hops(&mut self, target: &RouteTarget) -> Result<&[ResolvedNextHop], KernelError> {
        self.hops.clear();
        if let RouteTarget::NextHops(hops) = target {
            for hop in hops.iter() {
                let index = self.index(&hop.device)?;
                let (via, weight, on_link) = (hop.via, hop.weight, hop.on_link);
                self.hops.push(ResolvedNextHop { via, index, weight, on_link });
            }
        }
        Ok(&self.hops)
    }
}
