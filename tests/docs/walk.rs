//! A page, walked from its first block to its last.

use std::process::Output;

use crate::elsewhere::{self, Elsewhere, Tested};
use crate::fixture::{Fixture, SCENES};
use crate::pages::{Block, Page, commands};
use crate::shape::{Ids, compare, unpadded, unwrapped};
use crate::stage::client::Reply;
use crate::{curl, pages};

/// How a command is put to the test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// It is sent.
    Curl,
    /// It is run by bash, with the program and a folder of the test's own.
    Run,
    /// A part of a script that starts a service.
    Serve,
    /// See [`elsewhere`].
    Elsewhere,
    /// Nobody has said how.
    Unknown,
}

/// What was found on a page.
#[derive(Debug, Default)]
pub struct Walked {
    /// Requests that were sent.
    pub sent: usize,
    /// Whether one was a retry, with the bytes of the first answer.
    pub replayed: bool,
}

/// The commands of a block, and how each is put to the test.
pub fn plan(block: &Block) -> Vec<(String, How)> {
    let commands = commands(block);
    let serves = commands.last().is_some_and(|command| command.ends_with("target/release/scanfence serve"));
    let how = |command: String| {
        let how = match elsewhere::find(&command) {
            _ if serves => How::Serve,
            Some(_) => How::Elsewhere,
            None if command.starts_with("curl ") => How::Curl,
            None if is_run(&command) => How::Run,
            None => How::Unknown,
        };
        (command, how)
    };
    commands.into_iter().map(how).collect()
}

/// A command of the program, or one that copies its data.
fn is_run(command: &str) -> bool {
    const COPYING: [&str; 3] = ["mkdir -p ", "cp -a ", "find "];
    // Folders that are the test's own where the command is run.
    let is_ours =
        |word: &str| ["/var/lib/scanfence/", "/var/backups/scanfence"].iter().any(|ours| word.starts_with(ours));
    let mut rest = command;
    if let Some(inner) = rest.strip_prefix("docker compose exec ") {
        rest = inner.split_once(' ').map_or("", |(_, rest)| rest);
    }
    if let Some(inner) = rest.strip_prefix("sudo ") {
        rest = inner;
        if COPYING.iter().any(|begin| rest.starts_with(begin)) {
            return rest.split(' ').filter(|word| word.contains('/')).all(is_ours);
        }
    }
    let is_variable = |word: &str| word.split('=').next().is_some_and(|name| name.starts_with("SCANFENCE_"));
    while let Some((_, after)) = rest.split_once(' ').filter(|(word, _)| is_variable(word)) {
        rest = after;
    }
    rest.starts_with("scanfence ") || rest.starts_with("bash -c 'set -a; . /etc/scanfence.env; scanfence ")
}

/// Does what a page says, and compares.
///
/// # Errors
/// What is not as it says, and where.
pub async fn walk(page: &Page) -> Result<Walked, String> {
    let blocks = page.blocks();
    let fixture = Fixture::new().await;
    let mut walker = Walker { fixture, ids: Ids::default(), set: Vec::new(), sent: Vec::new(), replayed: false };
    for (at, block) in blocks.iter().enumerate() {
        let done = walker.block(page, &blocks, at).await;
        done.map_err(|why| format!("{}:{}: {why}", page.file, block.line))?;
    }
    for message in blocks.iter().filter(|block| block.is_message()) {
        let sent = walker.fixture.last_message().ok_or("people were told nothing")?;
        let same = compare(message.text.trim(), &sent, &mut walker.ids);
        same.map_err(|why| format!("{}:{}: {why}", page.file, message.line))?;
    }
    Ok(Walked { sent: walker.sent.len(), replayed: walker.replayed })
}

struct Walker {
    fixture: Fixture,
    ids: Ids,
    /// The scenes that were set, by their places in the table.
    set: Vec<usize>,
    sent: Vec<(String, Reply)>,
    replayed: bool,
}

impl Walker {
    /// One block of the page.
    async fn block(&mut self, page: &Page, blocks: &[Block], at: usize) -> Result<(), String> {
        let block = &blocks[at];
        match block.language.as_str() {
            "sh" => {
                let told = blocks.get(at + 1).filter(|next| next.is_output());
                self.commands(page, &blocks[..at], block, told).await
            }
            "toml" => self.fixture.takes_settings(block).await,
            "ini" => is_in_the_unit(block),
            _ if block.is_message() => Ok(()),
            _ if block.is_output() => {
                let told = at.checked_sub(1).is_some_and(|before| blocks[before].language == "sh");
                if told { Ok(()) } else { Err("what prints this?".to_owned()) }
            }
            other => Err(format!("what is to be done with a block of {other:?}?")),
        }
    }

    async fn commands(
        &mut self,
        page: &Page,
        shown: &[Block],
        block: &Block,
        told: Option<&Block>,
    ) -> Result<(), String> {
        let plan = plan(block);
        for (at, (command, how)) in plan.iter().enumerate() {
            let scene = SCENES.iter().position(|(name, begin, _)| *name == page.name() && command.starts_with(begin));
            if let Some(place) = scene.filter(|place| !self.set.contains(place)) {
                self.set.push(place);
                let (_, _, scene) = SCENES[place];
                self.fixture.set(scene, shown, page.is_chinese()).await;
            }
            // What is told below a block is the output of its last command.
            let told = told.filter(|_| at + 1 == plan.len());
            let put = self.ids.put_in(command);
            match how {
                How::Curl => self.send(&put, told).await?,
                How::Run => self.run(&put, told).await?,
                How::Elsewhere => self.elsewhere(elsewhere::find(command).expect("it was found"), told).await?,
                How::Serve if at == 0 => self.fixture.serve(&block.text).await,
                How::Serve => {}
                How::Unknown => return Err(format!("nobody runs {command}")),
            }
        }
        Ok(())
    }

    async fn send(&mut self, command: &str, told: Option<&Block>) -> Result<(), String> {
        let request = curl::read(command);
        let (client, behind_proxy) = self.fixture.at(&request.base).ok_or(format!("what is {}?", request.base))?;
        let mut headers: Vec<(&str, &str)> = request.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        headers.extend(behind_proxy.then_some(("x-forwarded-for", "127.0.0.1")));
        let reply = client.request(&request.method, &request.path, &headers, request.body.clone()).await;
        let reply = reply.map_err(|error| format!("no answer: {error}"))?;
        match told {
            Some(told) if request.shows_head => compare_answers(&told.text, &reply, &mut self.ids)?,
            Some(told) => compare(&unpadded(&told.text), &unpadded(&reply.text()), &mut self.ids)?,
            None if reply.status.is_success() => {}
            None => return Err(format!("{reply:?}")),
        }
        if reply.replayed()
            && let Some((_, first)) = self.sent.iter().find(|(sent, _)| sent == command)
        {
            assert!(!first.replayed() && first.body == reply.body, "the same bytes: {first:?} {reply:?}");
            self.replayed = true;
        }
        self.sent.push((command.to_owned(), reply));
        Ok(())
    }

    async fn run(&mut self, command: &str, told: Option<&Block>) -> Result<(), String> {
        if let Some(inner) = command.strip_prefix("docker compose exec ") {
            has_replica(inner.split(' ').next().unwrap_or_default())?;
        }
        let output = self.fixture.run(command).await;
        let seen = self.fixture.as_on_a_page(&shown(&output));
        let told = told.map_or("…", |told| told.text.as_str());
        let code = code_told(told);
        if output.status.code() != Some(code) {
            return Err(format!("it ended with {:?}, not {code}: {seen}", output.status.code()));
        }
        compare(&unpadded(told), &unpadded(&seen), &mut self.ids)
    }

    async fn elsewhere(&mut self, row: &Elsewhere, told: Option<&Block>) -> Result<(), String> {
        elsewhere::test(row)?;
        match (row.tested, told) {
            (Tested::Program(arguments), None) => {
                let output = self.fixture.run(&format!("scanfence {}", arguments.join(" "))).await;
                if output.status.success() { Ok(()) } else { Err(said(&output)) }
            }
            (Tested::Demo, Some(told)) => {
                let output = self.fixture.run("scanfence demo --seconds 3 --seed 7").await;
                compare(&without_numbers(&told.text), &without_numbers(&said(&output)), &mut self.ids)
            }
            (Tested::Log, Some(told)) => {
                let lines = self.fixture.log();
                let last = lines.last().ok_or("nothing was logged")?;
                compare(told.text.trim(), last, &mut self.ids)
            }
            (Tested::Service { stop, start }, None) => {
                self.fixture.restart(stop, start).await;
                Ok(())
            }
            (_, None) => Ok(()),
            (_, Some(_)) => Err("what is told below it is not compared with anything".to_owned()),
        }
    }
}

/// The exit code that goes with an output (docs/operate.md has the table).
fn code_told(told: &str) -> i32 {
    let needs_a_person = told.starts_with("drift:") || told.starts_with("scanfence: ");
    if needs_a_person { 3 } else { 0 }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

/// What a page shows of an output: stdout, and what the program says to the user; where that is
/// nothing, its log.
fn shown(output: &Output) -> String {
    let (log, printed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let to_user = log.lines().filter(|line| line.starts_with("scanfence: "));
    let shown: String = to_user.map(|line| format!("{line}\n")).chain([printed.into_owned()]).collect();
    if shown.is_empty() { log.into_owned() } else { shown }
}

fn without_numbers(text: &str) -> String {
    let mut kept = String::new();
    for c in unpadded(text).chars() {
        let digit = c.is_ascii_digit();
        if !(digit && kept.ends_with('#')) {
            kept.push(if digit { '#' } else { c });
        }
    }
    // A number of thousands has a space in it.
    kept.replace("# #", "#")
}

/// Whether the compose file has this replica.
fn has_replica(name: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(pages::root().join("docker-compose.yml")).map_err(|error| error.to_string())?;
    let compose: serde_json::Value = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
    let services = compose["services"].as_object().ok_or("no services")?;
    if services.contains_key(name) { Ok(()) } else { Err(format!("no {name} among {:?}", services.keys())) }
}

/// Whether the lines of a block are in the unit, as comments at least.
fn is_in_the_unit(block: &Block) -> Result<(), String> {
    let unit = std::fs::read_to_string(pages::root().join("deploy/scanfence.service")).expect("there is a unit");
    let missing = block.text.lines().find(|line| !unit.lines().any(|has| has.trim_start_matches('#') == *line));
    missing.map_or(Ok(()), |line| Err(format!("not in deploy/scanfence.service: {line}")))
}

/// Compares status, the headers that are shown, and the body, whose lines may be wrapped.
fn compare_answers(told: &str, reply: &Reply, ids: &mut Ids) -> Result<(), String> {
    let (head, body) = told.split_once("\n\n").unwrap_or((told, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let really = format!("HTTP/1.1 {}", reply.status);
    if status != really {
        return Err(format!("told {status:?}, answered {really:?}: {}", reply.text()));
    }
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or(format!("no header: {line:?}"))?;
        let answered = reply.header(name).ok_or(format!("told {line:?}, answered none: {:?}", reply.headers))?;
        compare(value, answered, ids)?;
    }
    compare(&unwrapped(body), &unwrapped(&reply.text()), ids)
}

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
        assert_eq!(compare_answers(told, &reply(), &mut Ids::default()).is_ok(), good, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_tells_something_wrong_is_seen() {
    let curl = "```sh\ncurl -i http://127.0.0.1:8080/livez\n```\n";
    let check = "```sh\nscanfence check --full\n```\n";
    for (text, good) in [
        (format!("{curl}\n```http\nHTTP/1.1 200 OK\n\nok\n```\n"), true),
        (format!("{curl}\n```http\nHTTP/1.1 200 OK\n\nno\n```\n"), false),
        (format!("{check}\n```text\ngood: range full, 0 work orders, 0 rows, 0 findings, 1 ms …\n```\n"), true),
        (format!("{check}\n```text\ngood: range full, 1 work orders, …\n```\n"), false),
        (format!("{check}\n```text\ndrift: …\n```\n"), false),
        ("```sh\nscanfence repair --finding none\n```\n".to_owned(), false),
        ("```sh\nrm -rf target\n```\n".to_owned(), false),
        ("```toml\nlistne = \"127.0.0.1:8080\"\n```\n".to_owned(), false),
        ("```ini\nLoadCredential=none\n```\n".to_owned(), false),
        ("```text\nnobody prints this\n```\n".to_owned(), false),
    ] {
        let page = Page { file: "docs/none.md".to_owned(), text };
        let walked = walk(&page).await;
        assert_eq!(walked.is_ok(), good, "{walked:?}");
    }
}

#[test]
fn a_command_that_nobody_runs_is_seen() {
    let plan_of = |text: &str| {
        let block = Block { line: 1, language: "sh".to_owned(), text: text.to_owned() };
        plan(&block).into_iter().map(|(_, how)| how).collect::<Vec<_>>()
    };
    for (text, how) in [
        ("curl -i http://127.0.0.1:8080/livez\n", vec![How::Curl]),
        ("scanfence check --full\n", vec![How::Run]),
        ("sudo SCANFENCE_DATA=/var/lib/scanfence scanfence check\n", vec![How::Run]),
        ("sudo bash -c 'set -a; . /etc/scanfence.env; scanfence check'\n", vec![How::Run]),
        ("docker compose exec replica-1 scanfence check\n", vec![How::Run]),
        ("sudo cp -a /var/lib/scanfence/. /var/backups/scanfence/\n", vec![How::Run]),
        ("sudo cp -a /etc/. /var/backups/scanfence/\n", vec![How::Unknown]),
        ("sudo find / -delete\n", vec![How::Unknown]),
        ("export A=b\nSCANFENCE_ACCESS=open target/release/scanfence serve\n", vec![How::Serve; 2]),
        ("./test\nrm -rf target\n", vec![How::Elsewhere, How::Unknown]),
        ("sudo scanfenced check\n", vec![How::Unknown]),
        ("./test --full\n", vec![How::Unknown]),
    ] {
        assert_eq!(plan_of(text), how, "{text}");
    }
    assert_eq!(without_numbers("1 304 sent · 20 lost"), without_numbers("17 sent · 3 lost"));
    assert!(has_replica("replica-1").is_ok() && has_replica("replica-9").is_err());
}
