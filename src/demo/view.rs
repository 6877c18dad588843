//! The live picture. On a terminal it is redrawn; elsewhere a plain line is written every few seconds.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use unicode_width::UnicodeWidthStr as _;

use super::audit::Verdict;
use super::options::{Options, TERMINALS};
use super::tally::Numbers;
use super::words::{Words, grouped};

/// The time between two lines if stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The widths of the bar, the labels and the numbers, in columns. A line fits into 80 columns.
const BAR: usize = 40;
const LABEL: usize = 24;
const SHORT_LABEL: usize = 12;
const NUMBER: usize = 9;

/// The picture on stderr.
pub struct View {
    picture: Picture,
    time: Duration,
    screen: Screen,
}

enum Screen {
    Terminal {
        lines: MultiProgress,
        bars: Vec<ProgressBar>,
    },
    Lines {
        /// How many lines were written.
        written: Cell<u32>,
    },
}

impl View {
    /// Starts to show.
    pub fn start(options: &Options) -> Self {
        let picture = Picture { words: options.language.words(), colour: options.colour };
        let screen = match std::io::stderr().is_terminal() {
            true => {
                let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
                let height = picture.frame(Duration::ZERO, options.time, &Numbers::default(), 0).len();
                let style = ProgressStyle::with_template("{wide_msg}").expect("the template is one word");
                let bar = || lines.add(ProgressBar::no_length().with_style(style.clone()));
                Screen::Terminal { bars: (0..height).map(|_| bar()).collect(), lines }
            }
            false => Screen::Lines { written: Cell::new(0) },
        };
        Self { picture, time: options.time, screen }
    }

    /// Shows the current numbers.
    pub fn show(&self, elapsed: Duration, numbers: &Numbers, quantity: i64) {
        match &self.screen {
            Screen::Terminal { bars, lines: _ } => {
                let frame = self.picture.frame(elapsed, self.time, numbers, quantity);
                for (bar, line) in bars.iter().zip(frame) {
                    bar.set_message(line);
                }
            }
            Screen::Lines { written } => {
                if elapsed >= LINE_EVERY * (written.get() + 1) {
                    written.set(written.get() + 1);
                    eprintln!("{}", self.picture.line(elapsed, numbers, quantity));
                }
            }
        }
    }

    /// Removes the picture, because the report follows.
    pub fn end(&self) {
        match &self.screen {
            // If the terminal is gone, it can't be cleared.
            Screen::Terminal { lines, bars: _ } => drop(lines.clear()),
            Screen::Lines { .. } => {}
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.end();
    }
}

/// The words and colours of the picture.
#[derive(Clone, Copy)]
pub struct Picture {
    /// The words of its language.
    pub words: &'static Words,
    /// Whether it has colours.
    pub colour: bool,
}

impl Picture {
    /// A whole frame. It always has the same height.
    fn frame(&self, elapsed: Duration, time: Duration, numbers: &Numbers, quantity: i64) -> Vec<String> {
        let words = self.words;
        let share = (elapsed.as_secs_f64() / time.as_secs_f64()).min(1.0);
        let done = (1..=BAR).filter(|&part| part as f64 <= share * BAR as f64).count();
        let mut lines = vec![
            String::new(),
            format!("  {}", self.paint(BOLD, &(words.title)(TERMINALS))),
            format!(
                "  {}{} {} / {}  {}",
                self.paint(GREEN, &"━".repeat(done)),
                self.paint(DIM, &"─".repeat(BAR - done)),
                clock(elapsed.min(time)),
                clock(time),
                self.paint(DIM, words.ends_early),
            ),
            String::new(),
        ];
        lines.extend(self.numbers(numbers, quantity));
        lines.push(String::new());
        lines
    }

    /// The numbers, and whether they are right.
    pub fn numbers(&self, numbers: &Numbers, quantity: i64) -> Vec<String> {
        let words = self.words;
        let counted = u64::try_from(quantity).unwrap_or_default();
        // A part without an answer may be counted already: its answer may be lost.
        let right = (numbers.settled..=numbers.made).contains(&counted);
        let mut remark = match right {
            true => self.paint(GREEN, &format!("✔ {}", words.right)),
            false => self.paint(RED, &format!("✘ {}", words.wrong)),
        };
        if numbers.on_their_way() > 0 {
            remark += &self.paint(DIM, &format!("  {}", (words.on_their_way)(numbers.on_their_way())));
        }
        let extra = numbers.reached.saturating_sub(counted);
        let naive = match extra {
            0 => String::new(),
            _ => self.paint(RED, &format!("✘ {}", (words.too_many)(extra))),
        };
        let row = |label: &str, number: u64, remark: &str| {
            let number = grouped(number);
            format!("  {}{}   {remark}", padded(label, LABEL), self.paint(BOLD, &format!("{number:>NUMBER$}")))
                .trim_end()
                .to_owned()
        };
        vec![
            row(words.made, numbers.made, ""),
            row(words.counted, counted, &remark),
            row(words.naive, numbers.reached, &naive),
            String::new(),
            format!("  {}{}", padded(words.network, SHORT_LABEL), (words.network_faults)(numbers)),
            format!("  {}{}", padded(words.stopped, SHORT_LABEL), (words.repeats)(numbers)),
        ]
    }

    /// The checks of the audit.
    pub fn checks(&self, verdict: &Verdict) -> Vec<String> {
        let words = self.words;
        let check = |good: bool, text: String| {
            let sign = if good { self.paint(GREEN, "✔") } else { self.paint(RED, "✘") };
            format!("  {sign} {text}")
        };
        vec![
            check(verdict.sums_up, (words.sums_up)(verdict)),
            check(verdict.no_gap, (words.no_gap)(verdict)),
            check(verdict.requests_once, (words.requests_once)(verdict)),
            check(verdict.parts_once, (words.parts_once)(verdict)),
        ]
    }

    /// The last line of the report.
    pub fn conclusion(&self, holds: bool) -> String {
        match holds {
            true => self.paint(GREEN_BOLD, self.words.holds),
            false => self.paint(RED_BOLD, self.words.fails),
        }
    }

    /// The current numbers in one line.
    fn line(&self, elapsed: Duration, numbers: &Numbers, quantity: i64) -> String {
        let words = self.words;
        format!(
            "{}  {} {} · {} {quantity} · {} {} · {}",
            clock(elapsed),
            words.made,
            numbers.made,
            words.counted,
            words.naive,
            numbers.reached,
            (words.repeats)(numbers),
        )
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        match self.colour && !text.is_empty() {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const GREEN_BOLD: &str = "1;32";
const RED_BOLD: &str = "1;31";

fn clock(time: Duration) -> String {
    format!("{:02}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// The text, filled with spaces up to this width. A Chinese character is two columns wide.
fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::super::words::Language;
    use super::*;

    const NUMBERS: Numbers = Numbers {
        made: 1204,
        settled: 1202,
        sent: 2310,
        requests_lost: 214,
        answers_lost: 240,
        doubled: 117,
        late: 80,
        reached: 1873,
        repeats: 640,
        scanned_twice: 31,
        put_off: 0,
    };

    fn picture(language: Language) -> Picture {
        Picture { words: language.words(), colour: false }
    }

    #[test]
    fn a_frame_shows_the_count_beside_the_naive_one() {
        let frame = picture(Language::English).frame(Duration::from_secs(30), Duration::from_secs(60), &NUMBERS, 1203);
        let text = frame.join("\n");
        for part in ["00:30 / 01:00", "1 204", "1 203   ✔ right  2 on the way", "1 873   ✘ 670 too many", "640 repeats"]
        {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert_eq!(text.matches('━').count(), BAR / 2);
    }

    #[test]
    fn a_count_outside_of_what_is_known_is_wrong() {
        for (quantity, right) in [(1201, false), (1202, true), (1204, true), (1205, false), (-1, false)] {
            let text = picture(Language::English).numbers(&NUMBERS, quantity).join("\n");
            assert_eq!(text.contains("✔ right"), right, "{quantity}: {text}");
            assert_eq!(text.contains("✘ WRONG"), !right, "{quantity}: {text}");
        }
    }

    #[test]
    fn columns_stand_in_line_in_both_languages_and_every_frame_has_one_height() {
        for language in [Language::English, Language::Chinese] {
            let numbers = picture(language).numbers(&NUMBERS, 1203);
            let columns = |line: &str| line.split("✔").next().unwrap().split("✘").next().unwrap().width();
            assert_eq!(columns(&numbers[1]), columns(&numbers[2]), "{numbers:#?}");
            let height = |elapsed, numbers| {
                picture(language).frame(Duration::from_secs(elapsed), Duration::from_secs(60), numbers, 0).len()
            };
            assert_eq!(height(0, &Numbers::default()), height(99, &NUMBERS));
        }
    }

    #[test]
    fn without_colours_there_is_no_escape() {
        let coloured = Picture { colour: true, ..picture(Language::English) };
        let text = |picture: Picture| picture.frame(Duration::ZERO, Duration::from_secs(1), &NUMBERS, 0).join("");
        assert!(text(coloured).contains('\x1b'));
        assert!(!text(picture(Language::English)).contains('\x1b'));
    }
}
