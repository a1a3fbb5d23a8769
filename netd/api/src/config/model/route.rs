//! `[[routes]]`. There may be millions, so what many have in common is shared and the rest is small.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Place;

/// `[[routes]]`: a static route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where the route begins.
    pub place: Place,
    /// Destination, host bits zero.
    pub prefix: IpNet,
    /// Whether the route is to be installed: one of distance 255 never is (RFC 1812, section 7.4).
    pub installed: bool,
    /// Metric (kernel priority); lower wins. Distance 1, the default, is what the kernel itself takes: 0 for
    /// IPv4, 1024 for IPv6, where 0 cannot be expressed. Each step of distance adds 1.
    pub metric: u32,
    /// VRF; `None` for the default VRF.
    pub vrf: Option<Arc<str>>,
    /// Where matching packets go.
    pub target: RouteTarget,
}

/// Where packets that match a route go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// Dropped silently.
    Blackhole,
    /// Dropped, and the sender is told (ICMP host unreachable).
    Unreachable,
    /// To one of these, at least one; more than one is ECMP. Routes of one VRF that are written alike share
    /// one list.
    NextHops(Arc<[NextHop]>),
}

/// One way out of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// Gateway; `None` when the destination is reached directly on `device`.
    pub via: Option<IpAddr>,
    /// Outgoing interface: the route's `dev`, or the interface whose subnet holds the gateway.
    pub device: Arc<str>,
    /// The gateway is to be taken as reachable on `device` whatever its subnets are (`RTNH_F_ONLINK`).
    pub on_link: bool,
    /// Share among the next hops of the route, 1 to 256.
    pub weight: u16,
}
