//! Reads Rust files with `syn`, and keeps what the rules ask for as plain data.
//!
//! What is compiled for tests only (`#[cfg(test)]`) is left out, except for the lengths.
//! The arguments of a macro are no syntax tree: their tokens are searched for paths,
//! strings and calls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, UseTree, Visibility};

/// The steps of a path: `a::b` is `["a", "b"]`.
pub type Steps = Vec<String>;

/// A file of `src` that is shipped.
pub struct Source {
    /// From the folder of the project, as in `src/http/mod.rs`.
    pub path: String,
    /// The top-level module: the first folder or the file below `src`.
    pub part: String,
    /// The file's own module first, then those written inside it.
    pub modules: Vec<Module>,
    /// Every string literal that is no documentation.
    pub strings: Vec<String>,
    /// How often `.unwrap()` is called.
    pub unwraps: usize,
}

/// A module and the names in it.
#[derive(Default)]
pub struct Module {
    pub path: Steps,
    /// What is defined here.
    pub items: BTreeSet<String>,
    /// What `use` brings here: the name, and the path behind it.
    pub bindings: BTreeMap<String, Steps>,
    /// The paths before `::*`.
    pub globs: Vec<Steps>,
    /// Every path, with groups written out: `a::{b, c::d}` is `a::b` and `a::c::d`.
    pub named: BTreeSet<Named>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub steps: Steps,
    pub by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    Path,
    Use,
    /// `pub use`, `pub(crate) use` and the like.
    Reexport,
}

impl Named {
    pub fn text(&self) -> String {
        self.steps.join("::")
    }
}

impl Source {
    /// Reads one file; `path` is from the folder of the project.
    pub fn of(path: &str, text: &str) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
        let path_of_module = module_of(path);
        let part = path.trim_start_matches("src/").split('/').next().unwrap_or_default();
        let mut reader = Reader::new(path_of_module);
        reader.visit_file(&file);
        Self {
            path: path.to_owned(),
            part: part.trim_end_matches(".rs").to_owned(),
            modules: reader.modules,
            strings: reader.strings,
            unwraps: reader.unwraps,
        }
    }

    /// Every path, with the module in which it stands.
    pub fn named(&self) -> impl Iterator<Item = (&Module, &Named)> {
        self.modules.iter().flat_map(|module| module.named.iter().map(move |named| (module, named)))
    }
}

/// A path from the root of the crate, where `steps` says by itself that it is one.
pub fn absolute(module: &[String], steps: &[String]) -> Option<Steps> {
    let (base, rest) = match steps.first()?.as_str() {
        "crate" | "scanfence" => (&module[..0], &steps[1..]),
        "self" => (module, &steps[1..]),
        "super" => {
            let supers = steps.iter().take_while(|step| *step == "super").count();
            (&module[..module.len().saturating_sub(supers)], &steps[supers..])
        }
        _ => return None,
    };
    Some([base, rest].concat())
}

/// The shipped files of `src`.
pub fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let is_shipped = |path: &String| !path.ends_with("/tests.rs") && !path.contains("/tests/");
        let files = files_in(&["src"]).into_iter().filter(|(path, _)| is_shipped(path));
        let sources: Vec<Source> = files.map(|(path, text)| Source::of(&path, &text)).collect();
        assert!(sources.len() > 10, "src was not found");
        sources
    });
    &SOURCES
}

/// Every Rust file in these folders of the project: its path from there, and its text.
pub fn files_in(folders: &[&str]) -> Vec<(String, String)> {
    let files = folders.iter().flat_map(|folder| files_below(&root().join(folder)));
    let read = |file: PathBuf| {
        let path = file.strip_prefix(root()).expect("it is below the folder of the project");
        (path.to_string_lossy().into_owned(), std::fs::read_to_string(&file).expect("sources are UTF-8"))
    };
    files.map(read).collect()
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A function with a body, and the lines (from 1) on which it begins and ends.
pub struct Function {
    pub name: String,
    /// The line of its first attribute or documentation.
    pub top: usize,
    /// The line of `fn`.
    pub first: usize,
    pub last: usize,
}

/// All functions of a file, in tests too.
pub fn functions(text: &str) -> Vec<Function> {
    let mut found = Functions(Vec::new());
    found.visit_file(&syn::parse_file(text).expect("it is Rust"));
    found.0
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The module that a file is: `src/store/mod.rs` is `store`, `src/lib.rs` the root.
fn module_of(path: &str) -> Steps {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').filter(|step| !["mod", "lib"].contains(step)).map(str::to_owned).collect()
}

struct Reader {
    modules: Vec<Module>,
    /// The index of the module that is read now.
    now: usize,
    strings: Vec<String>,
    unwraps: usize,
}

impl Reader {
    fn new(path: Steps) -> Self {
        let module = Module { path, ..Module::default() };
        Self { modules: vec![module], now: 0, strings: Vec::new(), unwraps: 0 }
    }

    fn module(&mut self) -> &mut Module {
        &mut self.modules[self.now]
    }

    fn name(&mut self, steps: Steps, by: By) {
        self.module().named.insert(Named { steps, by });
    }

    /// Writes out the groups of a `use`.
    fn tree(&mut self, before: &[String], tree: &UseTree, by: By) {
        let with = |step: &syn::Ident| [before, &[plain(step)]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree, by),
            UseTree::Name(name) if name.ident == "self" => self.bind(before.to_vec(), before.last().cloned(), by),
            UseTree::Name(name) => self.bind(with(&name.ident), Some(plain(&name.ident)), by),
            UseTree::Rename(rename) if rename.ident == "self" => {
                self.bind(before.to_vec(), Some(plain(&rename.rename)), by);
            }
            UseTree::Rename(rename) => self.bind(with(&rename.ident), Some(plain(&rename.rename)), by),
            UseTree::Glob(_) => {
                self.module().globs.push(before.to_vec());
                self.name([before, &["*".to_owned()]].concat(), by);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree, by)),
        }
    }

    fn bind(&mut self, steps: Steps, name: Option<String>, by: By) {
        if let Some(name) = name {
            self.module().bindings.insert(name, steps.clone());
        }
        self.name(steps, by);
    }

    /// Finds paths, strings and calls of `unwrap` in the tokens of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) {
                        self.strings.push(text.value());
                    }
                }
                TokenTree::Ident(first) if at > 0 && is(&tokens[at - 1], '.') => {
                    let calls =
                        matches!(tokens.get(at + 1), Some(TokenTree::Group(group)) if group.stream().is_empty());
                    self.unwraps += usize::from(first == "unwrap" && calls);
                }
                TokenTree::Ident(first) => {
                    at = self.token_path(vec![plain(first)], &tokens, at);
                    continue;
                }
                TokenTree::Punct(_) => {}
            }
            at += 1;
        }
    }

    /// Reads on a path whose first step stands at `at`; says where to read on.
    fn token_path(&mut self, mut steps: Steps, tokens: &[TokenTree], mut at: usize) -> usize {
        at += 1;
        while at + 2 < tokens.len() && is(&tokens[at], ':') && is(&tokens[at + 1], ':') {
            match &tokens[at + 2] {
                TokenTree::Ident(step) => steps.push(plain(step)),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    let mut inside = 0;
                    while inside < inner.len() {
                        inside = match &inner[inside] {
                            TokenTree::Ident(step) => {
                                self.token_path([&steps[..], &[plain(step)]].concat(), &inner, inside)
                            }
                            _ => inside + 1,
                        };
                    }
                    return at + 3;
                }
                _ => break,
            }
            at += 3;
        }
        self.name(steps, By::Path);
        at
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_test_only(attributes(item)) {
            return;
        }
        if let Some(name) = defined(item) {
            self.module().items.insert(plain(name));
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let Some((_, items)) = &item.content else { return };
        let before = self.now;
        let path = [&self.module().path[..], &[plain(&item.ident)]].concat();
        self.modules.push(Module { path, ..Module::default() });
        self.now = self.modules.len() - 1;
        items.iter().for_each(|item| self.visit_item(item));
        self.now = before;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let by = if matches!(item.vis, Visibility::Inherited) { By::Use } else { By::Reexport };
        self.tree(&[], &item.tree, by);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        if !matches!(item, syn::ImplItem::Fn(function) if is_test_only(&function.attrs)) {
            visit::visit_impl_item(self, item);
        }
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(path.segments.iter().map(|segment| plain(&segment.ident)).collect(), By::Path);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    /// Only the paths: documentation and the like are no strings of the program.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.visit_path(attribute.path());
        if let syn::Meta::List(list) = &attribute.meta {
            let strings = self.strings.len();
            self.tokens(list.tokens.clone());
            self.strings.truncate(strings);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.unwraps += usize::from(call.method == "unwrap" && call.args.is_empty());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.strings.push(text.value());
    }
}

struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, item: proc_macro2::Span, signature: &syn::Signature, body: &syn::Block) {
        self.0.push(Function {
            name: plain(&signature.ident),
            top: item.start().line,
            first: signature.fn_token.span.start().line,
            last: body.brace_token.span.close().end().line,
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(item.span(), &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(item.span(), &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(item.span(), &item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// `r#type` is `type`.
fn plain(ident: &syn::Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && list.tokens.to_string() == "test"
    })
}

fn attributes(item: &syn::Item) -> &[Attribute] {
    use syn::Item;
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item gives to its module. A module is known by its file or its braces.
fn defined(item: &syn::Item) -> Option<&syn::Ident> {
    use syn::Item;
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}
