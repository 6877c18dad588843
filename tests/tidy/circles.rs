//! No file of `src` needs a file that needs it in turn.
//!
//! A file needs another one if it names an item that is defined there. A `mod` line is no
//! need, and neither is the name of a module alone: what is named inside it counts. A
//! re-export (`pub use`) is looked through: whoever names the item needs the file that
//! defines it, and the file with the `pub use` needs nothing by that line. If the file that
//! defines it can't be found (a macro wrote the item), the last module on the way counts. A private
//! `use …::*` counts as a need of that module's file.

use std::collections::{BTreeMap, BTreeSet};

use crate::reading::{By, Module, Source, Steps, absolute, sources};

#[test]
fn no_file_needs_a_file_that_needs_it() {
    let needs = needs(sources());
    let found: Vec<String> = circles(&needs).iter().map(|circle| shown(circle, &needs)).collect();
    assert!(found.is_empty(), "take what both need into a file of its own:\n{}", found.join("\n"));
}

/// What each file needs: the other file, and a path that shows it.
type Needs<'a> = BTreeMap<&'a str, BTreeMap<&'a str, String>>;

fn needs(sources: &[Source]) -> Needs<'_> {
    let tree = Tree::of(sources);
    let mut needs = Needs::new();
    for source in sources {
        let of_file = needs.entry(&source.path).or_default();
        for (module, named) in source.named().filter(|(_, named)| named.by != By::Reexport) {
            let target = match named.steps.split_last() {
                Some((last, before)) if last == "*" => tree.find(&module.path, before, &mut Vec::new()),
                _ => tree.find(&module.path, &named.steps, &mut Vec::new()).filter(|t| matches!(t, Target::Item(_))),
            };
            let file = match target {
                Some(Target::Item(file)) => file,
                Some(Target::Module(path)) => tree.modules[&path].0,
                None => continue,
            };
            if file != source.path {
                of_file.entry(file).or_insert_with(|| named.text());
            }
        }
    }
    needs
}

/// The modules by their paths, each with its file.
struct Tree<'a> {
    modules: BTreeMap<Steps, (&'a str, &'a Module)>,
}

/// What a path leads to.
enum Target<'a> {
    Module(Steps),
    /// The file that defines an item.
    Item(&'a str),
}

impl<'a> Tree<'a> {
    fn of(sources: &'a [Source]) -> Self {
        let modules = sources.iter().flat_map(|source| source.modules.iter().map(|module| (&*source.path, module)));
        Self { modules: modules.map(|(file, module)| (module.path.clone(), (file, module))).collect() }
    }

    /// `seen` holds the names that were looked through: two may lead to each other.
    fn find(&self, from: &[String], steps: &[String], seen: &mut Vec<(Steps, String)>) -> Option<Target<'a>> {
        match absolute(from, steps) {
            Some(path) => self.within(&[], &path, true, seen),
            None => self.within(from, steps, false, seen),
        }
    }

    /// If the name must be in the module (`sure`), an unknown one is the module's own.
    fn within(
        &self,
        module: &[String],
        steps: &[String],
        sure: bool,
        seen: &mut Vec<(Steps, String)>,
    ) -> Option<Target<'a>> {
        let Some((step, rest)) = steps.split_first() else { return Some(Target::Module(module.to_vec())) };
        let child = [module, std::slice::from_ref(step)].concat();
        if self.modules.contains_key(&child) {
            return self.within(&child, rest, true, seen);
        }
        let (file, names) = self.modules.get(module)?;
        if names.items.contains(step) {
            return Some(Target::Item(file));
        }
        let here = (module.to_vec(), step.clone());
        if seen.contains(&here) {
            return None;
        }
        seen.push(here);
        if let Some(path) = names.bindings.get(step) {
            return match self.find(module, path, seen)? {
                Target::Module(path) => self.within(&path, rest, true, seen),
                item @ Target::Item(_) => Some(item),
            };
        }
        for glob in &names.globs {
            if let Some(Target::Module(path)) = self.find(module, glob, seen)
                && let Some(target) = self.within(&path, steps, false, seen)
            {
                return Some(target);
            }
        }
        sure.then_some(Target::Item(file))
    }
}

/// The sets of files that all need one another, by whatever ways.
fn circles<'a>(needs: &Needs<'a>) -> Vec<Vec<&'a str>> {
    let reached = |from: &'a str| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            next.extend(needs[file].keys().filter(|&&needed| reached.insert(needed)));
        }
        reached
    };
    let reach: BTreeMap<&str, BTreeSet<&str>> = needs.keys().map(|&file| (file, reached(file))).collect();
    let mutual = |file: &'a str| -> Vec<&'a str> {
        reach[file].iter().copied().filter(|&other| reach[other].contains(file)).collect()
    };
    let circles: BTreeSet<Vec<&str>> = needs.keys().map(|&file| mutual(file)).filter(|c| !c.is_empty()).collect();
    circles.into_iter().collect()
}

/// A circle for people: who needs whom in it, and by which path.
fn shown(circle: &[&str], needs: &Needs<'_>) -> String {
    let inside = circle.iter().flat_map(|file| needs[file].iter().map(move |need| (file, need)));
    let inside = inside.filter(|(_, (needed, _))| circle.contains(needed));
    let lines = inside.map(|(file, (needed, path))| format!("  {file} needs {needed}: {path}\n"));
    format!("{circle:?}\n{}", lines.collect::<String>())
}

#[test]
fn a_circle_is_seen() {
    let check = |files: &[(&str, &str)], seen: &[&[&str]]| {
        let parents = [("src/lib.rs", ""), ("src/part/mod.rs", "")].into_iter();
        let parents = parents.filter(|(path, _)| files.iter().all(|(given, _)| given != path));
        let sources = parents.chain(files.iter().copied()).map(|(path, text)| Source::of(path, text));
        let sources: Vec<Source> = sources.collect();
        assert_eq!(circles(&needs(&sources)), seen, "{files:#?}");
    };
    let (root, a, b, part) = ("src/lib.rs", "src/a.rs", "src/b.rs", "src/part/mod.rs");
    let (x, y) = ("src/part/x.rs", "src/part/y.rs");
    // Over `crate`, groups, and a path in a body.
    check(&[(a, "use crate::{b::B, c}; struct A;"), (b, "struct B; fn f(_: crate::a::A) {}")], &[&[a, b]]);
    check(&[(a, "use crate::b::B; struct A;"), (b, "struct B;")], &[]);
    // Over three files, and in the arguments of a macro.
    let three = [(a, "struct A; use crate::b::B;"), (b, "struct B; fn f() { crate::part::g() }")];
    check(&[three[0], three[1], (part, "fn g() { assert!(super::a::A == 1) }")], &[&[a, b, part]]);
    // Within one part, by `super` and by the name of a module.
    check(&[(x, "use super::y; fn f() { y::g() }"), (y, "fn g() { super::x::f() }")], &[&[x, y]]);
    // A child that needs its parent's items is in a circle only if the parent needs the child.
    let parent = "mod x; struct P;";
    check(&[(part, parent), (x, "use super::P; fn f() {}")], &[]);
    check(&[(part, "mod x; struct P; fn g() { x::f() }"), (x, "use super::P; fn f() {}")], &[&[part, x]]);
    // A re-export is looked through: `y` needs `x`, the `mod.rs` needs neither.
    let reexport = "mod x; mod y; pub use x::X; pub(crate) use y::*;";
    check(&[(part, reexport), (x, "struct X;"), (y, "use super::X; fn g() {}")], &[]);
    check(&[(part, reexport), (x, "struct X; use crate::part::g;"), (y, "use super::X; fn g() {}")], &[&[x, y]]);
    check(
        &[(part, reexport), (a, "use crate::part as p; type A = p::X;"), (x, "struct X; use crate::a::A;")],
        &[&[a, x]],
    );
    // What a macro wrote counts as the module's own.
    check(&[(a, "words!(A);  use crate::b::B;"), (b, "words!(B); use crate::a::A;")], &[&[a, b]]);
    // The tests of a file, `pub(super)`, comments and strings are no needs.
    let tested = "struct A; #[cfg(test)] mod tests { use crate::b::B; } pub(super) fn f() {}";
    check(&[(a, tested), (b, "struct B; use crate::a::A; // crate::b")], &[]);
    check(&[(root, "mod a; mod b;"), (a, "const A: &str = \"crate::b::B\";"), (b, "use crate::a::A;")], &[]);
    // A variable or a crate named like a module is none.
    check(&[(a, "struct A; fn f(b: u8) { b; tokio::b::B; }"), (b, "struct B; use crate::a::A;")], &[]);
}
