//! The READMEs against the program: the story is sent as it is written there, and the
//! settings are those of the program, in both languages.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod stage;

use std::path::Path;

use scanfence::config::SETTINGS;
use stage::client::Reply;
use stage::service::Setup;

const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";
/// Where the story finds the service.
const BASE: &str = "http://127.0.0.1:8080";

#[tokio::test]
async fn the_story_goes_as_the_readme_tells_it() {
    let text = read(ENGLISH);
    let story = story(&blocks(&text));
    assert!(story.len() >= 10, "the story is found: {story:#?}");
    let data = tempfile::tempdir().unwrap();
    let service = Setup::embedded(data.path()).start().await;
    let client = service.client();
    let mut bodies = Vec::new();
    for Step { request, told } in &story {
        let headers: Vec<(&str, &str)> = request.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let reply = client.request(&request.method, &request.path, &headers, request.body.clone()).await.unwrap();
        if let Err(difference) = compare(told, &reply) {
            panic!("{request:?}\n{difference}\n{reply:?}");
        }
        bodies.push((request, reply));
    }
    let (repeat, replayed) = bodies.iter().find(|(_, reply)| reply.replayed()).expect("the story has a repeat");
    let (_, first) = bodies.iter().find(|(request, _)| request == repeat).expect("it was sent before");
    assert_eq!(first.body, replayed.body, "the same bytes");
    assert!(!first.replayed());
}

#[test]
fn both_readmes_have_every_setting_with_its_default() {
    for (file, none) in [(ENGLISH, "none"), (CHINESE, "无")] {
        let text = read(file);
        let rows: Vec<&str> = text.lines().filter(|line| settings_row(line).is_some()).collect();
        for setting in SETTINGS {
            let default = setting.default.map_or(none.to_owned(), |default| format!("`{default}`"));
            let begin = format!("| `{}` | `{}` | {default} | ", setting.name, setting.env);
            assert!(rows.iter().any(|row| row.starts_with(&begin)), "{file} lacks {begin}");
        }
        assert_eq!(rows.len(), SETTINGS.len(), "{file} has settings that the program hasn't: {rows:#?}");
    }
}

#[test]
fn both_readmes_have_the_same_commands_and_answers() {
    assert_eq!(blocks(&read(ENGLISH)), blocks(&read(CHINESE)));
}

#[test]
fn every_file_that_a_readme_points_to_exists() {
    for file in [ENGLISH, CHINESE] {
        let text = read(file);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        let missing: Vec<&str> =
            links.filter(|link| !link.starts_with("https://") && !root().join(link).exists()).collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
}

// --- Reading the README ---

/// A command of the story, and the answer told below it.
#[derive(Debug)]
struct Step<'a> {
    request: Request,
    told: &'a str,
}

/// What a curl command sends.
#[derive(Debug, Default, PartialEq)]
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// The fenced blocks: language and text.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a fence ends its line")).collect()
}

fn story<'a>(blocks: &[(&str, &'a str)]) -> Vec<Step<'a>> {
    let is_step = |&&[(language, text), _]: &&[(&str, &str); 2]| language == "sh" && text.starts_with("curl ");
    let pairs = blocks.windows(2).map(|pair| <&[_; 2]>::try_from(pair).expect("windows of two"));
    let steps = pairs.filter(is_step);
    steps
        .map(|&[(_, command), (language, told)]| {
            assert_eq!(language, "http", "an answer follows {command}");
            Step { request: curl(command), told }
        })
        .collect()
}

/// The request of a curl command, as far as the README uses curl.
fn curl(command: &str) -> Request {
    let mut request = Request::default();
    let mut words = words(command).into_iter().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value: {command}"));
        match word.as_str() {
            "-i" => {}
            "-X" => request.method = value(),
            "-d" => request.body = value(),
            "-H" => {
                let header = value();
                let (name, value) = header.split_once(": ").expect("a header has a name");
                request.headers.push((name.to_owned(), value.to_owned()));
            }
            url => {
                let path = url.strip_prefix(BASE).unwrap_or_else(|| panic!("unknown to this test: {url}"));
                assert!(request.path.is_empty(), "one command, one request: {command}");
                request.path = path.to_owned();
            }
        }
    }
    if request.method.is_empty() {
        request.method = if request.body.is_empty() { "GET" } else { "POST" }.to_owned();
    }
    request
}

/// The words of one command, as a shell takes them apart: single quotes, and lines that go on.
fn words(command: &str) -> Vec<String> {
    let command = command.replace("\\\n", " ");
    let mut words = Vec::new();
    for (quoted, part) in command.split('\'').enumerate() {
        if quoted % 2 == 1 {
            words.push(part.to_owned());
        } else {
            assert!(!part.contains(['"', '$', '\\', ';', '|']), "the test reads single quotes only: {command}");
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// A row of the settings' table, by its variable.
fn settings_row(line: &str) -> Option<&str> {
    let variable = line.strip_prefix("| `")?.split("` | `").nth(1)?;
    let variable = variable.split('`').next()?;
    let is_variable = variable.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    is_variable.then_some(variable)
}

// --- Comparing ---

/// Whether an answer is as told: status, the headers that are shown, and the body, in
/// which `…` stands for anything, lines may be wrapped, and times differ.
fn compare(told: &str, reply: &Reply) -> Result<(), String> {
    let (head, body) = told.split_once("\n\n").unwrap_or((told, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let really = format!("HTTP/1.1 {}", reply.status);
    if status != really {
        return Err(format!("told {status:?}, answered {really:?}"));
    }
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or(format!("no header: {line:?}"))?;
        if reply.header(name) != Some(value) {
            return Err(format!("told {line:?}, answered {:?}", reply.header(name)));
        }
    }
    let (told, answered) = (unwrapped(body), unwrapped(&reply.text()));
    let parts: Vec<&str> = told.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return if told == answered { Ok(()) } else { Err(format!("told {told:?}, answered {answered:?}")) };
    };
    let mut rest = answered.strip_prefix(first).ok_or(format!("told {first:?}, answered {answered:?}"))?;
    for part in middle {
        rest = rest.split_once(part).ok_or(format!("told {part:?}, answered {rest:?}"))?.1;
    }
    if rest.ends_with(last) { Ok(()) } else { Err(format!("told {last:?}, answered {rest:?}")) }
}

/// Without line ends, and with every time the same.
fn unwrapped(text: &str) -> String {
    const TIME: &str = "2026-11-22T19:14:12.454Z";
    let joined: String = text.lines().map(str::trim).collect();
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let time: String = TIME.chars().map(shape).collect();
    let mut rest = joined.as_str();
    let mut all = String::with_capacity(rest.len());
    while let Some(first) = rest.chars().next() {
        let length = match rest.get(..TIME.len()) {
            Some(begin) if begin.chars().map(shape).eq(time.chars()) => TIME.len(),
            _ => first.len_utf8(),
        };
        all.push_str(if length == TIME.len() { "<time>" } else { &rest[..length] });
        rest = &rest[length..];
    }
    all
}

// --- The comparison, seen red ---

#[test]
fn an_answer_that_is_told_wrongly_is_seen() {
    let reply = || Reply {
        status: hyper::StatusCode::CREATED,
        headers: [(hyper::header::VARY, "Accept".parse().unwrap())].into_iter().collect(),
        body: r#"{"a":1,"at":"2026-01-02T03:04:05.678Z","b":2}"#.into(),
    };
    for (told, good) in [
        ("HTTP/1.1 201 Created\n\n{…}", true),
        ("HTTP/1.1 201 Created\nvary: Accept\n\n{\"a\":1,\n\"at\":\"2026-11-22T19:14:12.454Z\",…}", true),
        ("HTTP/1.1 200 OK\n\n{…}", false),
        ("HTTP/1.1 201 Created\nvary: *\n\n{…}", false),
        ("HTTP/1.1 201 Created\n\n{\"a\":1}", false),
        ("HTTP/1.1 201 Created\n\n{…\"b\":2,…\"a\":1…}", false),
        ("HTTP/1.1 201 Created\n\n\"a\":1,…", false),
        ("HTTP/1.1 201 Created\n\n{\"a\":1,", false),
    ] {
        assert_eq!(compare(told, &reply()).is_ok(), good, "{told}");
    }
}

#[test]
fn a_curl_command_is_read_as_a_shell_would() {
    let command = "curl -i -X PUT http://127.0.0.1:8080/a?b=c \\\n  -H 'A: b c' \\\n  -d '{\"d\":\n 1}'\n";
    let request = Request {
        method: "PUT".to_owned(),
        path: "/a?b=c".to_owned(),
        headers: vec![("A".to_owned(), "b c".to_owned())],
        body: "{\"d\":\n 1}".to_owned(),
    };
    assert_eq!(curl(command), request);
    assert_eq!(curl("curl -d '{}' http://127.0.0.1:8080/a").method, "POST");
    assert_eq!(curl("curl 'http://127.0.0.1:8080/a'").method, "GET");
}
