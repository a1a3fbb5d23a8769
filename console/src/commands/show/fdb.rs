//! `corten show fdb`.

use netd_api::state::FdbEntry;
use netd_api::table::{Filter, TableName};

use super::entries::{self, Named};
use super::print::Printer;
use crate::cli::Format;
use crate::client::{Error, Netd};
use crate::commands::Context;
use crate::outcome::Outcome;
use crate::tables::fdb::{Merger, table};

/// What is asked for.
pub struct Request {
    /// Hardware addresses, or an interface among them.
    pub macs: Vec<String>,
    /// Entries at this interface.
    pub port: Option<String>,
    /// Entries of this VLAN.
    pub vlan: Option<u16>,
    /// The switch's own entries as well.
    pub all: bool,
}

/// Prints the entries that are asked for while they are read.
///
/// # Errors
/// [`Error::NotFound`] for interfaces, VLANs and addresses there are not.
pub async fn run(netd: &Netd, request: Request, format: Format, context: &Context) -> Result<Outcome, Error> {
    let Request { macs, port, vlan, all } = request;
    let (macs, filter) = entries::with_interface(netd, macs, port, entries::mac).await?;
    if let Some(id) = vlan
        && !netd.vlans().await?.iter().any(|vlan| vlan.id == id)
    {
        return Err(super::no_vlan(&id.to_string()));
    }
    let named = Named { noun: "FDB entry", names: &macs, read: entries::mac };
    let without_local = (!all && macs.is_empty() && !format.json).then_some(true);
    let filter = Filter { macs: named.values()?, vlan_id: vlan, without_local, ..filter };
    let mut merger = Merger::default();
    if vlan.is_some() && !format.json {
        // What the ASIC tells has no VLAN.
        let by_asic = Filter { vlan_id: Some(0), ..filter.clone() };
        netd.rows(TableName::Fdb, &by_asic, |row: FdbEntry| {
            merger.push(row);
            Ok(())
        })
        .await?;
    }
    let mut printer = Printer::new(table, format, context);
    // A program reads what netd tells.
    let mut take = |row: FdbEntry| match if format.json { Some(row) } else { merger.push(row) } {
        Some(row) => printer.push(row),
        None => Ok(()),
    };
    let hidden = match macs.is_empty() {
        true => netd.rows(TableName::Fdb, &filter, take).await?,
        false => {
            let rows: Vec<FdbEntry> = netd.table(TableName::Fdb, &filter).await?;
            named.check(&rows, |row| &row.mac)?;
            rows.into_iter().try_for_each(&mut take)?;
            0
        }
    };
    if vlan.is_none() {
        merger.finish().try_for_each(|row| printer.push(row))?;
    }
    let mut outcome = printer.finish()?;
    if hidden > 0 {
        // A program reads nothing but rows.
        let to = if context.width.is_some() { &mut outcome.out } else { &mut outcome.err };
        to.push_str(&format!("{hidden} of the switch itself (local) not shown: --all\n"));
    }
    Ok(outcome)
}
