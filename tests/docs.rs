//! The pages for users against the program: README and `docs/`, in both languages.
//!
//! Each block of commands is found. A curl command is sent, and its answer compared. A command of the
//! program is run, and its output compared. What can't be run here is in a table with the reason
//! ([`elsewhere`]). A block that is none of these fails, and so does a row of the table that no page
//! has any more. What a page takes for granted from a command on is in [`fixture::SCENES`].

#[path = "docs/curl.rs"]
mod curl;
#[path = "docs/elsewhere.rs"]
mod elsewhere;
#[path = "docs/fixture.rs"]
mod fixture;
#[path = "docs/pages.rs"]
mod pages;
#[path = "docs/serving.rs"]
mod serving;
#[path = "docs/shape.rs"]
mod shape;
mod stage;
#[path = "docs/walk.rs"]
mod walk;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use elsewhere::ELSEWHERE;
use fixture::{Fixture, SCENES, Scene};
use pages::{Page, root};
use scanfence::config::SETTINGS;
use scanfence::domain::alarm::Kind;
use scanfence::telemetry::{CodeLabel, HttpLabels, Metrics, UpdateLabels};
use stage::service::{Setup, program};
use walk::{How, Walked, walk};

/// The tables of all settings, and how they say that a setting has no default.
const SETTINGS_TABLES: &[(&str, &str)] = &[("docs/settings.md", "none")];

/// One test for each page, and its translations.
macro_rules! pages {
    ($($test:ident: $name:literal)*) => {
        const WALKED: &[&str] = &[$($name),*];
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            for page in pages::all().iter().filter(|page| page.name() == $name) {
                walked(page).await;
            }
        })*
    };
}

pages! {
    the_commands_of_operate_do_as_it_says: "operate"
    the_commands_of_terminals_do_as_it_says: "terminals"
    the_commands_of_integrate_do_as_it_says: "integrate"
    the_commands_of_supervise_do_as_it_says: "supervise"
    the_commands_of_several_replicas_do_as_it_says: "several-replicas"
    the_commands_of_settings_do_as_it_says: "settings"
    the_commands_of_alarms_do_as_it_says: "alarms"
    the_commands_of_backup_do_as_it_says: "backup"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_goes_as_the_readme_tells_it() {
    for page in pages::all().iter().filter(|page| page.name() == "README") {
        let Walked { sent, replayed } = walked(page).await;
        assert!(sent >= 7, "{}: the story is found: {sent} steps", page.file);
        assert!(replayed, "{}: the story has a retry that gets the same bytes", page.file);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_every_other_page_do_as_it_says() {
    for page in pages::all().iter().filter(|page| page.name() != "README" && !WALKED.contains(&page.name())) {
        walked(page).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_beside_the_service_gets_its_settings_as_operate_says() {
    let mut fixture = Fixture::new().await;
    fixture.set(Scene::Floor, &[], false).await;
    for page in pages::all().iter().filter(|page| page.name() == "operate") {
        let prose = page.prose().join("\n");
        let ways: Vec<&str> = prose.split('`').filter(|quoted| quoted.ends_with(" scanfence check")).collect();
        let ways: Vec<&str> = prose.split('`').filter(|q| q.ends_with("scanfence check'")).chain(ways).collect();
        assert_eq!(ways.len(), 3, "{}: {ways:?}", page.file);
        for way in ways {
            let output = fixture.run(way).await;
            let good = output.status.success() && output.stdout.starts_with(b"good: range recent");
            assert!(good, "{}: {way}: {output:?}", page.file);
        }
    }
}

#[test]
fn every_command_of_the_pages_is_run_or_has_a_reason_not_to_be() {
    let pages = pages::all();
    let blocks = pages.iter().flat_map(|page| page.blocks().into_iter().map(move |block| (page, block)));
    let mut all = BTreeSet::new();
    for (page, block) in blocks.filter(|(_, block)| block.language == "sh") {
        for (command, how) in walk::plan(&block) {
            assert!(how != How::Unknown, "{}:{}: nobody runs {command}", page.file, block.line);
            all.insert((page.name().to_owned(), command));
        }
    }
    assert!(all.len() > 60, "the commands are found: {all:#?}");
    let unused: Vec<&str> =
        ELSEWHERE.iter().map(|row| row.command).filter(|row| !all.iter().any(|(_, command)| command == row)).collect();
    assert!(unused.is_empty(), "no page has {unused:#?}");
    let is_set = |page: &str, begin: &str| all.iter().any(|(name, command)| name == page && command.starts_with(begin));
    let unset: Vec<_> = SCENES.iter().filter(|(page, begin, _)| !is_set(page, begin)).collect();
    assert!(unset.is_empty(), "no page needs {unset:#?}");
}

#[test]
fn every_command_that_is_not_run_is_as_good_as_can_be_seen() {
    let wrong = ELSEWHERE.iter().filter_map(|row| Some((row.command, row.why, elsewhere::test(row).err()?)));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_setting_is_in_the_table_with_its_default() {
    for &(file, none) in SETTINGS_TABLES {
        let page = Page::read(file);
        let is_setting = |line: &&str| settings_row(line).is_some();
        let rows: Vec<&str> = page.prose().into_iter().filter(is_setting).collect();
        for setting in SETTINGS {
            let default = setting.default.map_or(none.to_owned(), |default| format!("`{default}`"));
            let begin = format!("| `{}` | `{}` | {default} | ", setting.name, setting.env);
            assert!(rows.iter().any(|row| row.starts_with(&begin)), "{file} lacks {begin}");
        }
        assert_eq!(rows.len(), SETTINGS.len(), "{file} has settings that the program hasn't: {rows:#?}");
    }
}

#[test]
fn a_page_and_its_translation_have_the_same_commands_and_answers() {
    // What people are told is in their language.
    let blocks = |file: &str| {
        let blocks = Page::read(file).blocks().into_iter();
        let blocks = blocks.filter(|block| !block.is_message());
        blocks.map(|block| (block.language, block.text)).collect::<Vec<_>>()
    };
    for page in pages::all().iter().filter(|page| page.is_chinese()) {
        let english = page.file.replace(".zh-CN.md", ".md");
        assert_eq!(blocks(&english), blocks(&page.file), "{} has not the blocks of {english}", page.file);
    }
}

#[test]
fn every_file_that_a_page_points_to_exists() {
    for page in pages::all() {
        let folder = root().join(&page.file).parent().unwrap().to_owned();
        for link in page.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { root().join(&page.file) } else { folder.join(file) };
            assert!(target.exists(), "{} points to {link}", page.file);
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(target).unwrap();
                let anchors = Page { file: file.to_owned(), text }.anchors();
                assert!(anchors.iter().any(|a| a == anchor), "{} points to {link}; there are {anchors:?}", page.file);
            }
        }
    }
}

#[test]
fn the_readme_points_to_every_page_and_every_page_back() {
    let readme = Page::read("README.md").links();
    for page in pages::all().iter().filter(|page| page.file.starts_with("docs/") && !page.is_chinese()) {
        assert!(readme.contains(&page.file), "README.md does not point to {}", page.file);
        let back = page.links().iter().any(|link| link.starts_with("../README.md"));
        assert!(back, "{} does not point to the README", page.file);
    }
}

#[test]
fn the_page_of_alarms_has_every_alarm_and_every_kind_of_channel() {
    let example: toml::Table =
        std::fs::read_to_string(root().join("deploy/alarm-channels.toml")).unwrap().parse().unwrap();
    let channels = example["alarm_channels"].as_array().unwrap();
    let channels: BTreeSet<&str> = channels.iter().map(|channel| channel["kind"].as_str().unwrap()).collect();
    let alarms: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
    for page in pages::all().iter().filter(|page| page.name() == "alarms") {
        assert_eq!(first_cells(page, "`drift`"), alarms, "{}", page.file);
        assert_eq!(first_cells(page, "`dingtalk`"), channels, "{}", page.file);
    }
}

#[tokio::test]
async fn the_table_of_health_has_every_check_of_readyz() {
    let data = tempfile::tempdir().unwrap();
    let service = Setup::embedded(data.path()).start().await;
    let ready = service.client().get("/readyz").await.json();
    let checks: BTreeSet<&str> = ready["checks"].as_object().unwrap().keys().map(String::as_str).collect();
    for page in pages::all().iter().filter(|page| page.name() == "operate") {
        assert_eq!(first_cells(page, "`storage`"), checks, "{}", page.file);
    }
}

#[test]
fn every_code_that_the_table_of_answers_names_exists() {
    let contract = std::fs::read_to_string(root().join("openapi.yaml")).unwrap();
    for page in pages::all().iter().filter(|page| page.name() == "terminals") {
        let is_answer = |row: &Vec<&str>| row.len() == 3 && row[0].starts_with(|c: char| c.is_ascii_digit());
        let answers: Vec<_> = page.rows().into_iter().filter(is_answer).collect();
        let codes: Vec<&str> = answers.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2)).collect();
        assert!(codes.len() >= 8, "{}: {codes:?}", page.file);
        let unknown: Vec<_> =
            codes.iter().filter(|code| !contract.contains(&format!("\n        - {code}\n"))).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", page.file);
    }
}

#[test]
fn every_metric_that_a_page_names_exists_and_operate_names_them_all() {
    let exist = metrics();
    // A network of Docker.
    let named = |page: &Page| -> BTreeSet<String> {
        let words = page.text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        words.filter(|word| word.starts_with("scanfence_") && *word != "scanfence_default").map(str::to_owned).collect()
    };
    for page in pages::all() {
        let unknown: Vec<_> = named(&page).into_iter().filter(|name| !exist.contains(name)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?} of {exist:?}", page.file);
    }
    let missing: Vec<_> = exist.difference(&named(&Page::read("docs/operate.md"))).cloned().collect();
    assert!(missing.is_empty(), "docs/operate.md does not say {missing:?}");
}

#[test]
fn every_option_that_a_page_names_exists() {
    let mut known: String = ["test", "tests/faults/run", "bench/run", "bench/check"]
        .map(|script| std::fs::read_to_string(root().join(script)).unwrap())
        .concat();
    for command in ["", "check", "repair", "alarms", "demo", "serve"] {
        let arguments = command.split_whitespace().chain(["--help"]);
        let help = Command::new(program()).args(arguments).output().unwrap();
        known += &String::from_utf8(help.stdout).unwrap();
    }
    for page in pages::all() {
        let prose = page.prose().join("\n");
        let quoted = prose.split('`').skip(1).step_by(2).filter(|word| word.starts_with("--"));
        let unknown: Vec<&str> = quoted.filter(|word| !known.contains(word.split(' ').next().unwrap())).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", page.file);
    }
}

#[test]
fn every_line_of_the_log_that_operate_names_is_written_somewhere() {
    let mut folders = vec![root().join("src")];
    let mut source = String::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                source += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let page = Page::read("docs/operate.md");
    let lines = first_cells(&page, "`Redis is away`");
    assert!(lines.len() >= 3, "{lines:?}");
    // A field is written as `alarm = …` in the source.
    let written = |line: &&str| source.contains(&line.replace("\"alarm\":", "alarm = "));
    let missing: Vec<&str> = lines.into_iter().filter(|line| !written(line)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_figures_of_the_benchmark_page_are_those_of_the_run() {
    let run = std::fs::read_to_string(root().join("bench/README.md")).unwrap();
    let page = Page::read("docs/benchmark.md");
    let cells = page.rows().into_iter().flatten().filter_map(|cell| cell.strip_suffix(" /s"));
    let figures: Vec<String> = cells.map(|cell| cell.replace(' ', "")).collect();
    assert!(figures.len() >= 10, "the figures are found: {figures:?}");
    let missing: Vec<&String> = figures.iter().filter(|figure| !run.contains(&format!("| {figure} |"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Walks a page that is right.
async fn walked(page: &Page) -> Walked {
    walk(page).await.unwrap_or_else(|why| panic!("{why}"))
}

/// The first cells, in backticks, of the table that has this one, without its head.
fn first_cells<'a>(page: &'a Page, one: &str) -> BTreeSet<&'a str> {
    let prose = page.prose();
    let tables = prose.split(|line| !line.starts_with('|')).filter(|table| !table.is_empty());
    let firsts = |table: &[&'a str]| -> Vec<&'a str> {
        table.iter().skip(1).filter_map(|row| row.strip_prefix("| ")?.split(" | ").next()).collect()
    };
    let table = tables.map(firsts).find(|firsts| firsts.contains(&one));
    let table = table.unwrap_or_else(|| panic!("{} has no table with {one}", page.file));
    table.into_iter().filter_map(|cell| cell.strip_prefix('`')?.split('`').next()).collect()
}

/// A row of the settings' table, by its variable.
fn settings_row(line: &str) -> Option<&str> {
    let variable = line.strip_prefix("| `")?.split("` | `").nth(1)?;
    let variable = variable.split('`').next()?;
    let is_variable = variable.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    is_variable.then_some(variable)
}

/// The names of all metrics, as pages write them: counters end in `_total`.
fn metrics() -> BTreeSet<String> {
    let metrics = Metrics::new();
    // A metric with labels is shown once it has a value.
    metrics.check("recent", "good", Duration::ZERO, 0);
    metrics.store_call("load", Duration::ZERO);
    metrics.alarms_open("drift", 0);
    metrics.alarm_message("line-leads", "delivered");
    metrics.alarm_channel("line-leads", 0, false);
    let http = HttpLabels { method: "GET", route: "/livez", status: 200 };
    drop(metrics.http_requests.get_or_create(&http));
    drop(metrics.unsettled.get_or_create(&CodeLabel { code: "overloaded" }));
    drop(metrics.updates.get_or_create(&UpdateLabels { action: "scan", outcome: "counted", code: "" }));
    let text = metrics.render();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect()
}
