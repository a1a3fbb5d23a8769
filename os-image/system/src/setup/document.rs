//! The document that the answers make.

/// VRF of the management port in a new document.
const MANAGEMENT_VRF: &str = "mgmt";

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Name of the first user, whose role is admin.
    pub user: String,
    /// SSH public key.
    pub key: Option<String>,
    /// Hash of the console password.
    pub password_hash: Option<String>,
    /// Addresses of the management port.
    pub network: Network,
    /// Host name.
    pub host_name: Option<String>,
    /// Whether the management port is kept apart from the front panel, in a VRF of its own.
    pub own_vrf: bool,
}

/// Where the address of the management port comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// DHCP.
    #[default]
    Dhcp,
    /// Fixed.
    Static {
        /// Address with prefix length.
        address: String,
        /// Default gateway.
        gateway: Option<String>,
    },
}

/// Text as a TOML string.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Answers {
    /// The whole document.
    pub fn document(&self) -> String {
        let mut sections = vec!["version = 1".to_owned()];
        sections.extend(self.host_name.iter().map(|name| format!("[system]\nhostname = {}", quoted(name))));
        sections.push(self.management());
        sections.push(self.users());
        format!("{}\n", sections.join("\n\n"))
    }

    /// The document as it may be shown: on a console that others log, a hash is not for display.
    pub fn shown(&self) -> String {
        let masked = self.password_hash.as_ref().map(|_| "(hash of the password)".to_owned());
        Answers { password_hash: masked, ..self.clone() }.document()
    }

    /// The section of the management port.
    pub fn management(&self) -> String {
        let mut lines = vec!["[management]".to_owned()];
        match &self.network {
            Network::Dhcp => lines.push("address = \"dhcp\"".to_owned()),
            Network::Static { address, gateway } => {
                lines.push(format!("address = {}", quoted(address)));
                lines.extend(gateway.iter().map(|gateway| format!("gateway = {}", quoted(gateway))));
            }
        }
        if self.own_vrf {
            lines.push(format!("vrf = {}", quoted(MANAGEMENT_VRF)));
        }
        lines.join("\n")
    }

    fn users(&self) -> String {
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let name = if self.user.bytes().all(bare) { self.user.clone() } else { quoted(&self.user) };
        let mut lines = vec![format!("[users.{name}]"), "role = \"admin\"".to_owned()];
        lines.extend(self.key.iter().map(|key| format!("keys = [{}]", quoted(key))));
        lines.extend(self.password_hash.iter().map(|hash| format!("console_password = {}", quoted(hash))));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_answered_stays_inside_its_string() {
        for text in ["plain", "quo\"te", "back\\slash", "new\nline", "'''", "\u{7f}", "é"] {
            let document = format!("a = {}", quoted(text));
            let table: toml::Table = document.parse().unwrap();
            assert_eq!(table["a"].as_str(), Some(text), "{document}");
        }
    }
}
