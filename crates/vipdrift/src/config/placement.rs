//! Which groups must be on one node, and which must not.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::file::{Config, GroupEntry, Prefer};
use super::problem::{Problem, Problems, nearest};

/// What the keys `together` and `apart` mean: both count for both sides, and groups that are together are apart from the
/// same others. By position; names that are not known are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    /// For each group, the set that it is in, itself included.
    pub(super) together: Vec<BTreeSet<usize>>,
    /// For each group, those that must be elsewhere.
    pub(super) apart: Vec<BTreeSet<usize>>,
}

impl Placement {
    pub(super) fn of(config: &Config) -> Self {
        let position: BTreeMap<&str, usize> = config
            .groups
            .iter()
            .enumerate()
            .map(|(index, group)| (group.name.get_ref().as_str(), index))
            .collect();
        let named = |names: &[Spanned<String>]| -> Vec<usize> {
            names.iter().filter_map(|name| position.get(name.get_ref().as_str()).copied()).collect()
        };
        let mut together: Vec<BTreeSet<usize>> =
            (0..config.groups.len()).map(|group| [group].into()).collect();
        for (index, group) in config.groups.iter().enumerate() {
            for mate in named(&group.together) {
                let set: BTreeSet<usize> = together[index].union(&together[mate]).copied().collect();
                for &one in &set {
                    together[one].clone_from(&set);
                }
            }
        }
        let mut apart = vec![BTreeSet::new(); config.groups.len()];
        for (index, group) in config.groups.iter().enumerate() {
            for partner in named(&group.apart) {
                for &one in &together[index] {
                    apart[one].extend(&together[partner]);
                }
                for &one in &together[partner] {
                    apart[one].extend(&together[index]);
                }
            }
        }
        Self { together, apart }
    }

    /// The group whose name decides the order of a set that is spread: the first by name.
    pub(super) fn leader<'c>(&self, config: &'c Config, group: usize) -> &'c GroupEntry {
        let set = self.together[group].iter().map(|&one| &config.groups[one]);
        set.min_by_key(|one| one.name.get_ref()).unwrap_or(&config.groups[group])
    }
}

/// Adds what is wrong with these keys to `problems`.
pub(super) fn find(config: &Config, problems: &Problems) {
    for group in &config.groups {
        for (key, names) in [("together", &group.together), ("apart", &group.apart)] {
            known(config, group, key, names, problems);
        }
    }
    let placement = Placement::of(config);
    for (index, group) in config.groups.iter().enumerate() {
        for name in &group.together {
            let other = config.groups.iter().find(|other| other.name.get_ref() == name.get_ref());
            if let Some(other) = other {
                alike(config, [group, other], name, problems);
            }
        }
        for name in &group.apart {
            let other = config.groups.iter().position(|other| other.name.get_ref() == name.get_ref());
            if let Some(other) =
                other.filter(|other| *other != index && placement.together[index].contains(other))
            {
                let other = &config.groups[other];
                let named = group.together.iter().chain(&other.together).next();
                let problem = Problem::at(
                    name.span(),
                    format!(
                        "`{}` and `{}` cannot be both together and apart",
                        group.name.get_ref(),
                        other.name.get_ref()
                    ),
                    "apart here",
                );
                problems.add(match named {
                    Some(named) => problem.beside(named.span(), "together by this"),
                    None => problem.help("they are together by way of other groups"),
                });
            }
        }
    }
}

fn known(config: &Config, group: &GroupEntry, key: &str, names: &[Spanned<String>], problems: &Problems) {
    let mut seen = BTreeMap::new();
    let others = || {
        let names = config.groups.iter().map(|other| other.name.get_ref().as_str());
        names.filter(|name| *name != group.name.get_ref())
    };
    for name in names {
        if name.get_ref() == group.name.get_ref() {
            let problem = Problem::at(
                name.span(),
                format!("`{key}` of `{name}` names the group itself", name = name.get_ref()),
                "itself",
            );
            problems.add(problem.help("name other groups"));
        } else if !others().any(|other| other == name.get_ref()) {
            let mut problem = Problem::at(
                name.span(),
                format!("there is no group `{}`", name.get_ref()),
                "not the name of a [[group]]",
            );
            if let Some(near) = nearest(name.get_ref(), others()) {
                problem = problem.help(format!("did you mean `{near}`?"));
            }
            problems.add(problem);
        }
        if let Some(first) = seen.insert(name.get_ref(), name.span()) {
            problems.add(
                Problem::at(name.span(), format!("`{}` is named twice", name.get_ref()), "again here")
                    .beside(first, "first here"),
            );
        }
    }
}

/// What is on one node moves by one rule.
fn alike(config: &Config, pair: [&GroupEntry; 2], at: &Spanned<String>, problems: &Problems) {
    let [one, other] = pair;
    let prefer = |group: &GroupEntry| match &group.prefer {
        Prefer::Spread => None,
        Prefer::AsWritten | Prefer::These(_) => Some(
            super::resolve::order(config, group, group).into_iter().map(str::to_owned).collect::<Vec<_>>(),
        ),
    };
    let differing = [
        ("prefer", prefer(one) != prefer(other)),
        ("failback", one.failback != other.failback),
        ("switchover", one.switchover != other.switchover),
    ];
    for (key, differs) in differing {
        if differs {
            problems.add(
                Problem::at(
                    at.span(),
                    format!(
                        "`{}` and `{}` are together and differ in `{key}`",
                        one.name.get_ref(),
                        other.name.get_ref()
                    ),
                    "together by this",
                )
                .beside(other.name.span(), "the other")
                .help(format!("give both the same `{key}`; they move as one")),
            );
        }
    }
}
