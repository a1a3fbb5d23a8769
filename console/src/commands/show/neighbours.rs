//! `corten show neighbours`.

use std::collections::BTreeMap;

use netd_api::state::{FdbEntry, Neighbour};
use netd_api::table::{Filter, MAX_FILTER_VALUES, TableName};

use super::entries::{self, Named};
use super::print::Printer;
use crate::cli::Format;
use crate::client::{Error, Netd};
use crate::commands::Context;
use crate::outcome::Outcome;
use crate::tables::neighbours::{Ports, table, vlan_interfaces};

/// Prints the entries of some addresses, or at an interface, or all of them while they are read.
///
/// # Errors
/// [`Error::NotFound`] for interfaces and addresses there are not.
pub async fn run(
    netd: &Netd,
    (words, port): (Vec<String>, Option<String>),
    vrf: Option<&str>,
    format: Format,
    context: &Context,
) -> Result<Outcome, Error> {
    let (addresses, filter) = entries::with_interface(netd, words, port, entries::address).await?;
    let named = Named { noun: "neighbour", names: &addresses, read: entries::address };
    let filter = Filter { addresses: named.values()?, vrf: vrf.map(super::vrf_name), ..filter };
    // A program reads what netd tells, and asks for the FDB where it wants it.
    let vlans = match format.json {
        true => BTreeMap::new(),
        false => vlan_interfaces(&netd.interfaces().await?),
    };
    if !addresses.is_empty() {
        let rows: Vec<Neighbour> = netd.table(TableName::Neighbours, &filter).await?;
        named.check(&rows, |row| &row.address)?;
        let in_vlans = rows.iter().filter(|row| vlans.contains_key(&row.device) && !row.mac.is_empty());
        let macs: Vec<String> = in_vlans.map(|row| row.mac.clone()).collect();
        let ports = match macs.is_empty() {
            true => Ports::default(),
            false => ports(netd, Some(macs).filter(|macs| macs.len() <= MAX_FILTER_VALUES)).await?,
        };
        return super::print(&rows, |rows| table(rows, &ports, &vlans), format, context);
    }
    let asked = |name: &String| filter.interfaces.as_ref().is_none_or(|names| names.contains(name));
    let ports = match vlans.keys().any(asked) {
        true => ports(netd, None).await?,
        false => Ports::default(),
    };
    let layout = |rows: &[Neighbour]| table(rows, &ports, &vlans);
    let mut printer = Printer::new(layout, format, context);
    netd.rows(TableName::Neighbours, &filter, |row: Neighbour| printer.push(row)).await?;
    printer.finish()
}

/// The ports that some hardware addresses were learned from, or all of them.
async fn ports(netd: &Netd, macs: Option<Vec<String>>) -> Result<Ports, Error> {
    let mut ports = Ports::default();
    let filter = Filter { macs, without_local: Some(true), ..Filter::default() };
    netd.rows(TableName::Fdb, &filter, |row: FdbEntry| {
        ports.push(row);
        Ok(())
    })
    .await?;
    Ok(ports)
}
