//! The pages: which there are, their blocks, links and tables.

use std::path::{Path, PathBuf};

/// A page for users of the program.
#[derive(Debug)]
pub struct Page {
    /// Its path below the root of the project.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// A fenced block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The line on which its text begins.
    pub line: usize,
    /// What stands behind the fence.
    pub language: String,
    /// Its text; each line ends with a line feed.
    pub text: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `README*.md` and `docs/*.md`.
pub fn all() -> Vec<Page> {
    let below = |folder: &str, is_page: fn(&str) -> bool| {
        let entries = std::fs::read_dir(root().join(folder)).expect("the folder can be read");
        let names = entries.map(|entry| entry.expect("the folder can be read").file_name());
        let names = names.map(|name| name.into_string().expect("names are ASCII"));
        let pages = names.filter(move |name| is_page(name) && name.ends_with(".md"));
        pages.map(|name| PathBuf::from(folder).join(name)).collect::<Vec<_>>()
    };
    let mut files = below("", |name| name.starts_with("README"));
    files.extend(below("docs", |_| true));
    files.sort();
    files.iter().map(|file| Page::read(file.to_str().expect("names are ASCII"))).collect()
}

impl Page {
    /// The page in this file.
    pub fn read(file: &str) -> Self {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        Self { file: file.to_owned(), text }
    }

    /// Whether it is a page for readers of Chinese.
    pub fn is_chinese(&self) -> bool {
        self.file.ends_with(".zh-CN.md")
    }

    /// The name that a page and its translations share, such as `README` or `operate`.
    pub fn name(&self) -> &str {
        let name = self.file.rsplit('/').next().expect("rsplit gives one part at least");
        name.split('.').next().expect("split gives one part at least")
    }

    /// The fenced blocks, in order. A block may be indented, as below a numbered step.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open: Option<&str> = None;
        for (at, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), open) {
                (Some(language), None) => {
                    open = Some(&line[..line.len() - line.trim_start().len()]);
                    blocks.push(Block { line: at + 2, language: language.to_owned(), text: String::new() });
                }
                (Some(_), Some(_)) => open = None,
                (None, Some(indent)) => {
                    let block = blocks.last_mut().expect("it was opened");
                    block.text.push_str(line.strip_prefix(indent).unwrap_or(line));
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.file);
        blocks
    }

    /// The lines outside of fenced blocks.
    pub fn prose(&self) -> Vec<&str> {
        let mut inside = false;
        let outside = |line: &&str| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            !inside && !fence
        };
        self.text.lines().filter(outside).collect()
    }

    /// What it links to, without what leaves the project.
    pub fn links(&self) -> Vec<String> {
        let prose = self.prose().join("\n");
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        targets.filter(|link| !link.starts_with("https://")).map(str::to_owned).collect()
    }

    /// What its headings are called in a link: lower case, without signs, `-` for spaces.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose().into_iter().filter(|line| line.starts_with('#'));
        let anchor = |heading: &str| {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(anchor).collect()
    }

    /// The cells of its tables' rows, without the lines below their heads.
    pub fn rows(&self) -> Vec<Vec<&str>> {
        let rows = self.prose().into_iter().filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
        rows.map(|row| row.trim_matches(['|', ' ']).split(" | ").map(str::trim).collect()).collect()
    }
}

impl Block {
    /// Whether it is what a command prints, or a message that people get.
    pub fn is_output(&self) -> bool {
        ["http", "text", "json"].contains(&self.language.as_str())
    }

    /// Whether it is a message that people get.
    pub fn is_message(&self) -> bool {
        self.language == "text" && self.text.starts_with("[Scanfence]")
    }
}

/// The commands of a block: lines without comments, joined where a quote is open or a backslash ends them.
pub fn commands(block: &Block) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        if goes_on {
            let command = commands.last_mut().expect("one goes on");
            command.push('\n');
            command.push_str(line);
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            let command = line.split_once(" # ").map_or(line, |(command, _)| command);
            commands.push(command.trim_end().to_owned());
        } else {
            continue;
        }
        let command = commands.last().expect("one was pushed");
        goes_on = command.ends_with('\\') || command.matches('\'').count() % 2 == 1;
    }
    assert!(!goes_on, "line {}: a command has no end", block.line);
    commands
}

#[test]
fn blocks_are_found_also_below_a_step() {
    let text =
        "1. Do:\n\n   ```sh\n   a 'b\n   c' \\\n     d\n\n   # why\n   e  # so\n   ```\n\n```text\nf\n```\n".to_owned();
    let page = Page { file: "x.md".to_owned(), text };
    let blocks = page.blocks();
    let block = |line, language: &str, text: &str| Block { line, language: language.into(), text: text.into() };
    assert_eq!(blocks, [block(4, "sh", "a 'b\nc' \\\n  d\n\n# why\ne  # so\n"), block(13, "text", "f\n")]);
    assert_eq!(commands(&blocks[0]), ["a 'b\nc' \\\n  d", "e"]);
    assert_eq!(page.prose(), ["1. Do:", "", ""]);
}

#[test]
fn links_and_anchors_are_found() {
    let text = "# A `b` (c)\n[x](docs/a.md#b) [y](https://example.org)\n```sh\n[z](no)\n```\n| a | `b` |\n".to_owned();
    let page = Page { file: "docs/x.zh-CN.md".to_owned(), text };
    assert_eq!(page.links(), ["docs/a.md#b"]);
    assert_eq!(page.anchors(), ["a-b-c"]);
    assert_eq!(page.rows(), [["a", "`b`"]]);
    assert!(page.is_chinese() && page.name() == "x");
}
