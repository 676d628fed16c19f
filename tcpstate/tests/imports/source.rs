//! The modules of a crate and the paths that each of them names, from its source.
//! Tests do not count: neither `#[cfg(test)]` items nor files that are for tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, ItemUse, Lit, UseTree, VisRestricted};

/// A module, by its path from the root of the crate; the root's is empty.
pub(crate) type Name = Vec<String>;

/// What stands in a module.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Whether it is a file of its own.
    pub(crate) is_file: bool,
    /// Paths that it names and that begin with `crate`, `self` or `super`, or are
    /// imported.
    pub(crate) paths: Vec<Vec<String>>,
    /// Names that it imports, for whoever takes them from here.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
}

/// All modules of the crate with this root file.
pub(crate) fn read(root: &Path) -> BTreeMap<Name, Module> {
    let mut modules = BTreeMap::new();
    let folder = root.parent().expect("a root file is in a folder");
    read_file(root, folder, &[], &mut modules);
    modules
}

fn read_file(file: &Path, folder: &Path, name: &[String], to: &mut BTreeMap<Name, Module>) {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    read_items(&parsed.items, folder, name, true, to);
}

fn read_items(
    items: &[Item],
    folder: &Path,
    name: &[String],
    is_file: bool,
    to: &mut BTreeMap<Name, Module>,
) {
    let mut collector = Collector::default();
    for item in items {
        let Item::Mod(module) = item else {
            collector.visit_item(item);
            continue;
        };
        if is_test(&module.attrs) {
            continue;
        }
        let child = [name, &[module.ident.to_string()]].concat();
        let child_folder = folder.join(module.ident.to_string());
        if let Some((_, items)) = &module.content {
            read_items(items, &child_folder, &child, false, to);
            continue;
        }
        // A file that is named by an attribute has its children beside it.
        let folder_of_children = match path_attribute(&module.attrs) {
            Some(_) => folder,
            None => &child_folder,
        };
        read_file(&file_of(module, folder), folder_of_children, &child, to);
    }
    let module = Module {
        is_file,
        ..collector.module
    };
    to.insert(name.to_vec(), module);
}

fn file_of(module: &ItemMod, folder: &Path) -> PathBuf {
    let name = module.ident.to_string();
    if let Some(path) = path_attribute(&module.attrs) {
        return folder.join(path);
    }
    let beside = folder.join(format!("{name}.rs"));
    if beside.exists() {
        beside
    } else {
        folder.join(name).join("mod.rs")
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let Expr::Lit(ExprLit {
            lit: Lit::Str(path),
            ..
        }) = &attribute.meta.require_name_value().ok()?.value
        else {
            return None;
        };
        attribute.path().is_ident("path").then(|| path.value())
    })
}

/// Whether an item is there for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| {
                    let condition = list.tokens.to_string();
                    condition == "test" || condition.starts_with("all (test")
                }))
    })
}

#[derive(Default)]
struct Collector {
    module: Module,
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Const(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::ExternCrate(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            Item::Type(item) => &item.attrs,
            Item::Union(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if matches!(segments[0].as_str(), "crate" | "self" | "super") && segments.len() > 1 {
            self.module.paths.push(segments);
        }
        visit::visit_path(self, path);
    }

    /// Who may see an item is not what it uses.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}

    /// Derives take paths as strings, such as `with = "super::rfc3339"`.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Ok(list) = attribute.meta.require_list() {
            self.add_tokens(&list.tokens.to_string());
        }
    }

    /// What a macro is called with, or is made of, is not parsed: its words are searched.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }
}

impl Collector {
    fn add_use(&mut self, tree: &UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_use(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, before);
                }
            }
            UseTree::Name(name) if name.ident == "self" => {
                let own = before.last().cloned().unwrap_or_default();
                self.add_import(own, before.to_vec());
            }
            UseTree::Name(name) => self.add_import(name.ident.to_string(), with(&name.ident)),
            UseTree::Rename(rename) => {
                self.add_import(rename.rename.to_string(), with(&rename.ident));
            }
            UseTree::Glob(_) => self.module.paths.push(before.to_vec()),
        }
    }

    fn add_import(&mut self, name: String, path: Vec<String>) {
        self.module.paths.push(path.clone());
        if name != "_" {
            self.module.imports.insert(name, path);
        }
    }

    fn add_tokens(&mut self, tokens: &str) {
        let spaced = tokens
            .replace("::", " :: ")
            .replace(['"', '(', '{', ','], " ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        for (start, word) in words.iter().enumerate() {
            if !matches!(word.trim_start_matches('$'), "crate" | "self" | "super") {
                continue;
            }
            let mut path = vec![word.trim_start_matches('$').to_owned()];
            let mut rest = &words[start + 1..];
            while let ["::", segment, after @ ..] = rest {
                path.push((*segment).to_owned());
                rest = after;
            }
            if path.len() > 1 {
                self.module.paths.push(path);
            }
        }
    }
}
