//! A function fits on a screen and a file has one subject, or the reason stands there:
//! `//! Long: …` in the file's header, `// Long: …` right above the function or in its
//! documentation. Functions that a macro writes are not seen.

use crate::reading::{files_in, functions};

/// The most lines of a function, from `fn` to the closing brace.
const FUNCTION_LINES: usize = 60;
/// The most lines of a file, with its tests.
const FILE_LINES: usize = 450;
const FOLDERS: [&str; 4] = ["src", "tests", "model", "bench"];

#[test]
fn what_is_long_says_why() {
    let found: Vec<Long> = files_in(&FOLDERS).iter().flat_map(|(path, text)| too_long(path, text)).collect();
    assert!(found.is_empty(), "split it by subject, or say why after `Long: `: {found:#?}");
}

/// A file, as `path`, or a function, as `path name`.
#[derive(Debug, PartialEq)]
struct Long {
    name: String,
}

fn too_long(path: &str, text: &str) -> Vec<Long> {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let mut header = lines.iter().take_while(|line| line.starts_with("//!"));
    let mut found = Vec::new();
    if lines.len() > FILE_LINES && !header.any(|line| has_reason(line, "//! ")) {
        found.push(Long { name: path.to_owned() });
    }
    for function in functions(text) {
        // Comments above the first attribute are not part of the syntax tree.
        let above = lines[..function.top - 1].iter().rev().take_while(|line| line.starts_with("//"));
        let mut comments = above.chain(&lines[function.top - 1..function.first - 1]);
        let has_reason = comments.any(|line| has_reason(line, "// ") || has_reason(line, "/// "));
        if function.last - function.first + 1 > FUNCTION_LINES && !has_reason {
            found.push(Long { name: format!("{path} {}", function.name) });
        }
    }
    found
}

fn has_reason(line: &str, sign: &str) -> bool {
    line.strip_prefix(sign).and_then(|text| text.strip_prefix("Long: ")).is_some_and(|reason| !reason.trim().is_empty())
}

#[test]
fn a_long_function_or_file_is_seen() {
    let function = |lines: usize| format!("fn f() {{{}}}\n", "\n".repeat(lines - 1));
    let file = |header: &str, lines: usize| format!("{header}\n{}", "const _: () = ();\n".repeat(lines - 1));
    for (text, seen) in [
        (function(FUNCTION_LINES), None),
        (function(FUNCTION_LINES + 1), Some("a.rs f")),
        (format!("/// Does it.\n#[test]\npub async {}", function(61)), Some("a.rs f")),
        (format!("impl A {{\n  {} }}", function(61)), Some("a.rs f")),
        (format!("trait A {{ {} }}", function(61)), Some("a.rs f")),
        (format!("mod tests {{ {} }}", function(61)), Some("a.rs f")),
        (format!("// Long: one match.\n{}", function(61)), None),
        (format!("/// Does it.\n///\n/// Long: one match.\n#[test]\n{}", function(61)), None),
        (format!("/// Does it.\n#[test]\n// Long: one match.\n{}", function(61)), None),
        (format!("// Long: \n{}", function(61)), Some("a.rs f")),
        (format!("// Long: of another one.\nconst A: u8 = 1;\n{}", function(61)), Some("a.rs f")),
        (file("//! Does it.", FILE_LINES), None),
        (file("//! Does it.", FILE_LINES + 1), Some("a.rs")),
        (file("//! Does it.\n//!\n//! Long: one table.", 500), None),
        (file("// Long: one table.", 500), Some("a.rs")),
    ] {
        let found: Vec<String> = too_long("a.rs", &text).into_iter().map(|long| long.name).collect();
        assert_eq!(found, Vec::from_iter(seen), "{text}");
    }
}
