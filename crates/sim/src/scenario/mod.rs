//! Scenarios: everything that is drawn from a seed before a run begins, as text that can be printed and edited.

mod bytes;
mod draw;
mod fault;
mod setup;
pub(crate) mod span;

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use fault::{Bystanders, Fault, NodeNumber, Planned};
pub(crate) use setup::{CLIENT, GATEWAY, HOLD, NAMES, STRANGER, group_name, ip, ip6, mac};
pub use setup::{GroupCheck, GroupSetup, References, Setup};

/// No scenario is longer.
const LONGEST: Duration = Duration::from_secs(1000 * 3600);

/// A whole run before it has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What the wire, the kernels and the nodes draw from.
    pub seed: u64,
    /// How long the world lasts.
    #[serde(with = "span")]
    pub lasts: Duration,
    /// The cluster.
    pub setup: Setup,
    /// What happens, in order of time.
    pub faults: Vec<Planned>,
}

impl Scenario {
    /// The scenario of a seed, `lasts` long.
    #[must_use]
    pub fn draw(seed: u64, lasts: Duration) -> Self {
        draw::scenario(seed, lasts)
    }

    /// Faults as they are drawn, for this cluster.
    #[must_use]
    pub fn draw_for(setup: Setup, seed: u64, lasts: Duration) -> Self {
        draw::faults_for(setup, seed, lasts)
    }

    /// The scenario that these bytes are: every string of bytes is one, and short ones are simple. It lasts until the last
    /// fault has been recovered from, and costs little.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        bytes::scenario(bytes)
    }

    /// As text: TOML, one line for each fault.
    ///
    /// # Panics
    /// Never: everything in a scenario has a form in TOML.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut head = self.clone();
        head.faults.clear();
        let mut table = toml::Table::try_from(&head).expect("a scenario is a table");
        table.remove("faults");
        // What is no table comes first in TOML.
        let mut text = String::new();
        let setup = table.remove("setup");
        text.push_str(&table.to_string());
        text.push_str("faults = [\n");
        for planned in &self.faults {
            let mut line = String::new();
            planned.serialize(toml::ser::ValueSerializer::new(&mut line)).expect("a fault is a value");
            let _ = writeln!(text, "    {line},");
        }
        text.push_str("]\n\n");
        let mut rest = toml::Table::new();
        rest.extend(setup.map(|setup| ("setup".to_owned(), setup)));
        text.push_str(&rest.to_string());
        text
    }

    /// Reads what [`Scenario::to_text`] wrote, or somebody has edited.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if let Some(problem) = scenario.setup.problem() {
            return Err(problem);
        }
        for planned in &scenario.faults {
            let bad_node = planned.fault.nodes().iter().any(|node| node.0 >= scenario.setup.nodes);
            let bad_group = planned.fault.group().is_some_and(|group| group >= scenario.setup.groups.len());
            if planned.at > LONGEST || planned.lasts > LONGEST || scenario.lasts > LONGEST {
                return Err(format!(
                    "{} at {:?}: up to 1000 h are possible",
                    planned.fault.name(),
                    planned.at
                ));
            }
            if bad_node || bad_group {
                let name = planned.fault.name();
                return Err(format!("{name} at {:?}: no such node or group in this scenario", planned.at));
            }
        }
        scenario.faults.sort_by_key(|planned| planned.at);
        Ok(scenario)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for seed in 0..200 {
            let scenario = Scenario::draw(seed, Duration::from_secs(600));
            let text = scenario.to_text();
            assert_eq!(Scenario::from_text(&text).as_ref(), Ok(&scenario), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let scenario = Scenario::draw(1, Duration::from_secs(60));
        let text = scenario.to_text().replace("seed", "sed");
        assert!(Scenario::from_text(&text).is_err_and(|error| error.contains("sed")));
        let mut bad = scenario.clone();
        bad.setup.nodes = 8;
        assert_eq!(Scenario::from_text(&bad.to_text()), Err("8 nodes: 2 to 7 are possible".to_owned()));
        let mut bad = scenario;
        bad.faults = vec![Planned {
            at: Duration::from_secs(1),
            lasts: Duration::ZERO,
            fault: Fault::ForeignHolder { group: 39 },
        }];
        assert!(Scenario::from_text(&bad.to_text()).is_err_and(|error| error.contains("no such node")));
    }
}
