//! Who imports whom, level by level, and where that goes round in a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::source::{Module, Name};

/// Aliases of aliases that are followed.
const MAX_ALIASES: usize = 16;

/// The arrows between the modules of one folder, by that folder.
pub(crate) struct Graph(BTreeMap<Name, Level>);

/// From a module to those that it uses, each with the files of one such import.
type Level = BTreeMap<String, BTreeMap<String, String>>;

/// Modules that import each other.
pub(crate) struct Cycle {
    /// Their names, in alphabetical order.
    pub(crate) modules: String,
    /// A shortest way round, import by import.
    pub(crate) example: Vec<String>,
}

impl Graph {
    pub(crate) fn new(modules: &BTreeMap<Name, Module>) -> Self {
        let mut levels: BTreeMap<Name, Level> = BTreeMap::new();
        for (scope, module) in modules {
            let from = file_of(modules, scope);
            for path in &module.paths {
                let Some(to) = resolve(modules, scope, path, 0) else {
                    continue;
                };
                let to = file_of(modules, &to);
                let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                // One of them contains the other.
                if shared == from.len() || shared == to.len() {
                    continue;
                }
                let level = levels.entry(from[..shared].to_vec()).or_default();
                level.entry(to[shared].clone()).or_default();
                level
                    .entry(from[shared].clone())
                    .or_default()
                    .entry(to[shared].clone())
                    .or_insert_with(|| format!("{} uses {}", from.join("::"), path.join("::")));
            }
        }
        Self(levels)
    }

    /// Every group of modules in which each can be reached from each other one.
    pub(crate) fn cycles(&self) -> Vec<Cycle> {
        let mut cycles = Vec::new();
        for (folder, level) in &self.0 {
            let reach: BTreeMap<&str, BTreeSet<&str>> = level
                .keys()
                .map(|name| (name.as_str(), reachable(level, name)))
                .collect();
            let mut seen = BTreeSet::new();
            for name in level.keys().map(String::as_str) {
                if seen.contains(name) || !reach[name].contains(name) {
                    continue;
                }
                let group: Vec<&str> = reach[name]
                    .iter()
                    .copied()
                    .filter(|other| reach[other].contains(name))
                    .collect();
                seen.extend(group.iter().copied());
                let prefix = if folder.is_empty() {
                    String::new()
                } else {
                    format!("{}: ", folder.join("::"))
                };
                cycles.push(Cycle {
                    modules: format!("{prefix}{}", group.join(", ")),
                    example: shortest_way_round(level, &group),
                });
            }
        }
        cycles
    }
}

/// The file that a module stands in.
fn file_of(modules: &BTreeMap<Name, Module>, name: &[String]) -> Name {
    let mut name = name.to_vec();
    while !modules[&name].is_file {
        name.pop();
    }
    name
}

/// The module that a path leads into, past names that are only passed on.
fn resolve(
    modules: &BTreeMap<Name, Module>,
    scope: &[String],
    path: &[String],
    depth: usize,
) -> Option<Name> {
    let mut at = scope.to_vec();
    let mut is_anchored = false;
    for (index, segment) in path.iter().enumerate() {
        match segment.as_str() {
            "crate" if index == 0 => at.clear(),
            "self" if index == 0 => {}
            "super" => {
                at.pop()?;
            }
            name => {
                let child = [at.as_slice(), &[name.to_owned()]].concat();
                if modules.contains_key(&child) {
                    at = child;
                } else {
                    let alias = modules[&at].imports.get(name);
                    // An import of what another crate has is not an alias of itself.
                    return match alias {
                        Some(alias) if alias != path && depth < MAX_ALIASES => {
                            let rest = &path[index + 1..];
                            let whole = [alias.as_slice(), rest].concat();
                            resolve(modules, &at, &whole, depth + 1)
                                .or_else(|| is_anchored.then_some(at))
                        }
                        _ => is_anchored.then_some(at),
                    };
                }
            }
        }
        is_anchored = true;
    }
    is_anchored.then_some(at)
}

fn reachable<'a>(level: &'a Level, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&str> = vec![from];
    while let Some(name) = waiting.pop() {
        for to in level[name].keys() {
            if reached.insert(to.as_str()) {
                waiting.push(to);
            }
        }
    }
    reached
}

fn shortest_way_round(level: &Level, group: &[&str]) -> Vec<String> {
    group
        .iter()
        .filter_map(|start| way_round(level, start))
        .min_by_key(Vec::len)
        .unwrap_or_default()
}

fn way_round(level: &Level, start: &str) -> Option<Vec<String>> {
    let mut queue = VecDeque::from([(start.to_owned(), Vec::new())]);
    let mut seen = BTreeSet::new();
    while let Some((name, way)) = queue.pop_front() {
        for (to, import) in &level[&name] {
            let mut way = way.clone();
            way.push(import.clone());
            if to == start {
                return Some(way);
            }
            if seen.insert(to) {
                queue.push_back((to.clone(), way));
            }
        }
    }
    None
}
