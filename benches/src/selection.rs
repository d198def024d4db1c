//! `--only` and `--skip`: which loads and rows are run.

use std::collections::HashSet;

use anyhow::{Result, bail};

use crate::loads::{self, Load};

/// A word names a load or a row; words for loads and words for rows narrow independently of each other.
pub struct Selection {
    only_loads: HashSet<String>,
    only_rows: HashSet<String>,
    skip: HashSet<String>,
}

impl Selection {
    /// Fails on a word that names nothing.
    pub fn new(only: &[String], skip: &[String]) -> Result<Self> {
        let known = loads::all();
        let load_names: HashSet<&str> = known.iter().map(|load| load.name).collect();
        let row_names: HashSet<&str> = known
            .iter()
            .flat_map(|load| &load.rows)
            .map(|row| row.name)
            .collect();
        for word in only.iter().chain(skip) {
            if !load_names.contains(word.as_str()) && !row_names.contains(word.as_str()) {
                bail!("no load and no row is called `{word}`: `--list` prints the names");
            }
        }
        let of = |names: &HashSet<&str>| {
            only.iter()
                .filter(|word| names.contains(word.as_str()))
                .cloned()
                .collect()
        };
        Ok(Self {
            only_loads: of(&load_names),
            only_rows: of(&row_names),
            skip: skip.iter().cloned().collect(),
        })
    }

    /// What is left of `loads`; a load without rows is dropped.
    pub fn apply(&self, mut loads: Vec<Load>) -> Vec<Load> {
        loads.retain(|load| wanted(load.name, &self.only_loads, &self.skip));
        for load in &mut loads {
            load.rows
                .retain(|row| wanted(row.name, &self.only_rows, &self.skip));
        }
        loads.retain(|load| !load.rows.is_empty());
        loads
    }
}

fn wanted(name: &str, only: &HashSet<String>, skip: &HashSet<String>) -> bool {
    (only.is_empty() || only.contains(name)) && !skip.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str], skip: &[&str]) -> Vec<(&'static str, Vec<&'static str>)> {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| word.to_string())
                .collect::<Vec<_>>()
        };
        let selection = Selection::new(&words(only), &words(skip)).unwrap();
        let load = |load: Load| (load.name, load.rows.iter().map(|row| row.name).collect());
        selection
            .apply(loads::all())
            .into_iter()
            .map(load)
            .collect()
    }

    #[test]
    fn a_load_and_a_row_narrow_independently() {
        assert_eq!(
            names(&["get", "floor", "node"], &["node"]),
            [("get", vec!["floor"])]
        );
    }

    #[test]
    fn a_load_without_rows_is_dropped() {
        assert!(
            names(&["lute-net"], &[])
                .iter()
                .all(|(_, rows)| rows == &["lute-net"])
        );
        assert!(names(&["ws-64b", "node"], &[]).is_empty());
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        assert!(Selection::new(&["got".to_string()], &[]).is_err());
    }

    #[test]
    fn every_ratio_is_to_a_row_of_the_same_table() {
        for load in loads::all() {
            for row in &load.rows {
                assert!(
                    load.rows.iter().any(|other| other.name == row.against),
                    "{} {}",
                    load.name,
                    row.name
                );
            }
        }
    }
}
