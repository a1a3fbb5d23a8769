//! Who is asking.

use nix::unistd::Group;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::message::Header;
use zbus::names::BusName;

use crate::failure::Failure;

/// Group whose members may change the switch.
const ADMIN_GROUP: &str = "corten-admin";

/// A caller's identity, as the bus vouches for it.
#[derive(Clone, Debug)]
pub struct Caller {
    user_id: u32,
    group_ids: Vec<u32>,
}

impl Caller {
    /// Asks the bus who sent a message; without a bus, the socket's other end.
    pub async fn of(connection: &Connection, header: &Header<'_>) -> Result<Caller, Failure> {
        let unknown = || Failure::Denied("the bus does not tell who is asking".to_owned());
        let credentials = if connection.is_bus() {
            let sender = header.sender().ok_or_else(unknown)?.to_owned();
            let bus = DBusProxy::new(connection).await?;
            bus.get_connection_credentials(BusName::Unique(sender)).await.map_err(|_| unknown())?
        } else {
            let peer = connection.peer_creds().await.map_err(|_| unknown())?;
            let group_ids = peer.unix_group_ids().cloned().unwrap_or_default();
            return Ok(Caller { user_id: peer.unix_user_id().ok_or_else(unknown)?, group_ids });
        };
        let user_id = credentials.unix_user_id().ok_or_else(unknown)?;
        Ok(Caller { user_id, group_ids: credentials.unix_group_ids().cloned().unwrap_or_default() })
    }

    /// Whether this is root.
    pub fn is_root(&self) -> bool {
        self.user_id == 0
    }

    /// Whether the caller may see secrets: root and administrators.
    pub fn is_admin(&self) -> bool {
        let admin = || Group::from_name(ADMIN_GROUP).ok().flatten().map(|group| group.gid.as_raw());
        self.is_root() || admin().is_some_and(|group_id| self.group_ids.contains(&group_id))
    }
}
