//! Who is asking.

use netd_api::config::model::Role;
use nix::unistd::{Group, Uid, User};
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::message::Header;
use zbus::names::BusName;

use crate::failure::Failure;
use crate::rights;

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

    /// Who may look, at anything: viewers and administrators. The bus policy admits nobody else; this is the second
    /// lock.
    ///
    /// # Errors
    /// For everybody else.
    pub async fn viewer(connection: &Connection, header: &Header<'_>) -> Result<Caller, Failure> {
        Caller::of(connection, header).await?.who_may_look()
    }

    fn who_may_look(self) -> Result<Caller, Failure> {
        match self.is_viewer() {
            true => Ok(self),
            false => Err(Failure::Denied("only users of the switch may look at it".to_owned())),
        }
    }

    /// Who may change the switch.
    ///
    /// # Errors
    /// For everybody else.
    pub async fn administrator(connection: &Connection, header: &Header<'_>) -> Result<Caller, Failure> {
        Caller::of(connection, header).await?.who_may_change()
    }

    fn who_may_change(self) -> Result<Caller, Failure> {
        match self.is_admin() {
            true => Ok(self),
            false => Err(Failure::Denied("only administrators may change the switch".to_owned())),
        }
    }

    /// A user in no group.
    #[cfg(test)]
    pub fn of_user(user_id: u32) -> Caller {
        Caller { user_id, group_ids: Vec::new() }
    }

    /// Whether this is root.
    pub fn is_root(&self) -> bool {
        self.user_id == 0
    }

    /// User id.
    pub fn user_id(&self) -> u32 {
        self.user_id
    }

    /// User name; for a user nobody knows by name, the id.
    pub fn user_name(&self) -> String {
        self.known_name().unwrap_or_else(|| format!("uid {}", self.user_id))
    }

    fn known_name(&self) -> Option<String> {
        User::from_uid(Uid::from_raw(self.user_id)).ok().flatten().map(|user| user.name)
    }

    /// What the caller may do now, whatever it was when the session was opened; `None` for nothing.
    pub fn role(&self) -> Option<Role> {
        if self.is_root() {
            return Some(Role::Admin);
        }
        let by_groups = [Role::Admin, Role::View].into_iter().find(|role| self.is_in(role.group()));
        // What the bus admits is the groups' to say: rights beyond them begin with the next login.
        rights::role(self.user_id, self.known_name().as_deref(), by_groups)
    }

    /// Whether the caller may change the switch and see secrets: root and administrators.
    pub fn is_admin(&self) -> bool {
        self.role() == Some(Role::Admin)
    }

    /// Whether the caller may look.
    pub fn is_viewer(&self) -> bool {
        self.role().is_some()
    }

    fn is_in(&self, group: &str) -> bool {
        let group = Group::from_name(group).ok().flatten();
        group.is_some_and(|group| self.group_ids.contains(&group.gid.as_raw()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_without_groups_may_neither_look_nor_change() {
        let nobody = || Caller::of_user(1000);
        for (refused, said) in [
            (nobody().who_may_look(), "only users of the switch may look at it"),
            (nobody().who_may_change(), "only administrators may change the switch"),
        ] {
            let Err(Failure::Denied(words)) = refused else { panic!("{refused:?}") };
            assert_eq!(words, said);
        }
        let root = || Caller::of_user(0);
        assert!(root().who_may_look().is_ok() && root().who_may_change().is_ok());
    }
}
