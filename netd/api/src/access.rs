//! Who may do what on the switch, and whom a change would shut out: by the users ([`lockout`]) and by the way a
//! session takes to the switch ([`session`]). Pure.

pub mod lockout;
pub mod session;

use std::ops::RangeInclusive;

/// User ids of users of the configuration. What such a user may do is what the running configuration says, also in
/// sessions that are older than it.
pub const USER_IDS: RangeInclusive<u32> = 2000..=2999;
