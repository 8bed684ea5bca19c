//! How many nodes, groups and VIPs, and who is to hold which.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names of nodes.
const NAMES: [&str; 8] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"];
/// The VIP where there is only one.
pub(crate) const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));

/// VIPs that move together.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) vips: Vec<IpAddr>,
    /// Nodes in the order in which they are to hold it.
    pub(crate) order: Vec<usize>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) groups: Vec<Group>,
    /// Whether a service behind the VIPs is looked at.
    pub(crate) checked: bool,
}

impl Shape {
    /// Two nodes, one VIP.
    pub(crate) fn pair() -> Self {
        let group = Group { name: "web".into(), vips: vec![VIP], order: vec![0, 1] };
        Self { nodes: 2, groups: vec![group], checked: true }
    }

    /// Two nodes, so many VIPs in one group.
    pub(crate) fn one_group(vips: u32) -> Self {
        let group = Group { name: "web".into(), vips: (0..vips).map(vip).collect(), order: vec![0, 1] };
        Self { nodes: 2, groups: vec![group], checked: false }
    }

    /// So many groups with a VIP each, spread evenly over the nodes, and what a node leaves over all others.
    pub(crate) fn spread(groups: u32, nodes: usize) -> Self {
        let groups = (0..groups)
            .map(|number| {
                let turn = number as usize;
                let mut order: Vec<usize> = (0..nodes).collect();
                order.rotate_left(turn % nodes);
                if nodes > 2 {
                    order[1..].rotate_left((turn / nodes) % (nodes - 1));
                }
                Group { name: format!("g{number}"), vips: vec![vip(number)], order }
            })
            .collect();
        Self { nodes, groups, checked: false }
    }

    pub(crate) fn name(node: usize) -> &'static str {
        NAMES[node]
    }

    pub(crate) fn vips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.groups.iter().flat_map(|group| group.vips.iter().copied())
    }
}

/// IPv6, since there are not enough IPv4 addresses for documentation.
fn vip(number: u32) -> IpAddr {
    let [.., high, low] = number.to_be_bytes();
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::from_be_bytes([high, low])))
}

/// As it is mounted.
pub(crate) fn with_prefix(vip: IpAddr) -> String {
    format!("{vip}/{}", if vip.is_ipv4() { 24 } else { 64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_leaves_is_spread_as_well() {
        for nodes in [3, 8] {
            let shape = Shape::spread(1000, nodes);
            for node in 0..nodes {
                let first = shape.groups.iter().filter(|group| group.order[0] == node).count();
                assert!((1000 / nodes..=1000 / nodes + 1).contains(&first), "{node} of {nodes}: {first}");
                let second =
                    shape.groups.iter().filter(|group| group.order[0] == 0 && group.order[1] == node).count();
                let even = if node == 0 { 0 } else { first / (nodes - 1) };
                assert!((even..=even + 1).contains(&second), "{node} after 0 of {nodes}: {second}");
            }
        }
    }

    #[test]
    fn every_vip_is_another() {
        let vips: std::collections::BTreeSet<IpAddr> = Shape::one_group(4000).vips().collect();
        assert_eq!(vips.len(), 4000);
    }
}
