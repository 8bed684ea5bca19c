//! For what a hook of each group ran last: in a file in memory that outlives every runner, so that none runs twice.

use std::collections::BTreeMap;
use std::fs::File;

use vipdrift_platform::file;

use super::message::Told;

/// What was run, as every runner finds it.
#[derive(Debug)]
pub(super) struct Roles {
    file: File,
}

impl Roles {
    pub(super) fn new(file: File) -> Self {
        Self { file }
    }

    /// What earlier runners have run, by the names of the groups. What cannot be read counts as nothing: a hook runs once
    /// more then.
    pub(super) fn read(&self) -> BTreeMap<String, Told> {
        let length = self.file.metadata().map_or(0, |data| data.len());
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = file::read_exact_at(&self.file, &mut bytes, 0);
        read.ok().and_then(|()| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The hook for this begins.
    pub(super) fn set(&self, group: &str, told: Told) {
        let mut roles = self.read();
        roles.insert(group.to_owned(), told);
        let bytes = serde_json::to_vec(&roles).unwrap_or_default();
        // In memory there is nothing that could fail but memory itself.
        let _ =
            self.file.set_len(bytes.len() as u64).and_then(|()| file::write_all_at(&self.file, &bytes, 0));
    }
}

#[cfg(test)]
mod tests {
    use vipdrift_core::RoleName;

    use super::*;

    #[test]
    fn the_next_one_knows_what_the_last_one_ran() {
        let file = tempfile::tempfile().expect("a file");
        let roles = Roles::new(file.try_clone().expect("a copy"));
        assert_eq!(roles.read(), BTreeMap::new());
        roles.set("web", Told::Role(RoleName::Active));
        roles.set("calm", Told::Role(RoleName::Standby));
        roles.set("web", Told::Before);
        let expected = [("calm".to_owned(), Told::Role(RoleName::Standby)), ("web".to_owned(), Told::Before)];
        assert_eq!(Roles::new(file).read(), BTreeMap::from(expected));
    }
}
