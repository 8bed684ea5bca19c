//! Reads one TOML table key by key: wrong types, missing and unknown keys become problems at their place.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems, nearest};

/// A table being read.
pub(crate) struct Section<'a> {
    /// How people call it, for example `[cluster]`.
    pub(crate) title: &'static str,
    table: &'a DeTable<'a>,
    /// Where it begins.
    pub(crate) at: Range<usize>,
    /// Keys asked for so far: the known ones.
    known: RefCell<BTreeSet<&'static str>>,
    pub(crate) problems: &'a Problems,
}

impl<'a> Section<'a> {
    pub(crate) fn new(
        title: &'static str,
        table: &'a DeTable<'a>,
        at: Range<usize>,
        problems: &'a Problems,
    ) -> Self {
        Self { title, table, at, known: RefCell::default(), problems }
    }

    /// The value of `key`, which is thereby known.
    pub(crate) fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().insert(key);
        self.table.get(key)
    }

    /// Where the key itself stands.
    pub(crate) fn key_at(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or_else(|| self.at.clone(), |(k, _)| k.span())
    }

    /// Says that `key` must be there.
    pub(crate) fn missing(&self, key: &str, example: &str) {
        self.problems.add(
            Problem::at(
                self.at.clone(),
                format!("{} lacks `{key}`", self.title),
                format!("`{key}` is missing here"),
            )
            .help(format!("for example: {example}")),
        );
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        self.problems.add(Problem::at(
            value.span(),
            format!("`{key}` has the wrong type"),
            format!("expected {wanted}, found {}", kind(value.get_ref())),
        ));
    }

    /// A string; anything else is a problem.
    pub(crate) fn string(&self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(s) => Some(Spanned::new(value.span(), s.to_string())),
            _ => {
                self.wrong_type(key, value, "a string");
                None
            }
        }
    }

    /// A string that `read` understands; its sentence becomes the label.
    pub(crate) fn parsed<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        let text = self.string(key)?;
        match read(text.get_ref()) {
            Ok(value) => Some(Spanned::new(text.span(), value)),
            Err(why) => {
                self.problems.add(Problem::at(
                    text.span(),
                    format!("`{key}` of {} is not valid", self.title),
                    why,
                ));
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.string(key)?;
        let found = words.iter().find(|(word, _)| word == text.get_ref()).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let mut problem = Problem::at(
                text.span(),
                format!("`{key}` of {} is not valid", self.title),
                format!("expected {}", list.join(" or ")),
            );
            if let Some(near) = nearest(text.get_ref(), words.iter().map(|(word, _)| *word)) {
                problem = problem.help(format!("did you mean `{near}`?"));
            }
            self.problems.add(problem);
        }
        found
    }

    /// A whole number in a range.
    pub(crate) fn number(&self, key: &'static str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let value = self.get(key)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(key, value, "a whole number");
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
        if number.is_none() {
            self.problems.add(Problem::at(
                value.span(),
                format!("`{key}` of {} is out of range", self.title),
                format!("expected {} to {}", range.start(), range.end()),
            ));
        }
        number
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        if value.get_ref().as_bool().is_none() {
            self.wrong_type(key, value, "true or false");
        }
        value.get_ref().as_bool()
    }

    /// A list of strings, each read by `read`; what cannot be read is a problem and left out.
    pub(crate) fn list<T>(
        &self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Spanned<Vec<Spanned<T>>>> {
        let value = self.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(key, value, "a list of strings in square brackets");
            return None;
        };
        let mut out = Vec::new();
        for item in array {
            let DeValue::String(text) = item.get_ref() else {
                self.wrong_type(key, item, "a string");
                continue;
            };
            match read(text) {
                Ok(parsed) => out.push(Spanned::new(item.span(), parsed)),
                Err(why) => self.problems.add(Problem::at(
                    item.span(),
                    format!("`{key}` of {} is not valid", self.title),
                    why,
                )),
            }
        }
        Some(Spanned::new(value.span(), out))
    }

    /// A table of names to strings.
    pub(crate) fn names(&self, key: &'static str) -> Vec<(Spanned<String>, Spanned<String>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(key, value, "a table, for example { lan = \"eth0\" }");
            return Vec::new();
        };
        let mut out = Vec::new();
        for (name, item) in table {
            match item.get_ref() {
                DeValue::String(text) => out.push((
                    Spanned::new(name.span(), name.get_ref().to_string()),
                    Spanned::new(item.span(), text.to_string()),
                )),
                _ => self.wrong_type(name.get_ref(), item, "a string"),
            }
        }
        out
    }

    /// The only table called `key`.
    pub(crate) fn table(&self, key: &'static str, title: &'static str) -> Option<Section<'a>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(title, table, value.span(), self.problems)),
            _ => {
                self.wrong_type(key, value, &format!("a table: {title}"));
                None
            }
        }
    }

    /// The tables called `key`, in order.
    pub(crate) fn tables(&self, key: &'static str, title: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(key, value, &format!("tables, each headed {title}"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in array {
            match item.get_ref() {
                DeValue::Table(table) => out.push(Section::new(title, table, item.span(), self.problems)),
                _ => self.wrong_type(key, item, &format!("a table headed {title}")),
            }
        }
        out
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(&self) {
        let known = self.known.borrow();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(name) {
                continue;
            }
            let unset = known.iter().copied().filter(|k| !self.table.contains_key(*k));
            let problem = Problem::at(
                key.span(),
                format!("unknown key `{name}`"),
                format!("not a key of {}", self.title),
            );
            let near = nearest(name, unset).or_else(|| nearest(name, known.iter().copied()));
            self.problems.add(match near {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => {
                    let list: Vec<_> = known.iter().map(|k| format!("`{k}`")).collect();
                    problem.help(format!("known here: {}", list.join(", ")))
                }
            });
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
