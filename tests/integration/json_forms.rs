//! `json: js` against a real Node.js and `json: sorted` against a real Go, over generated bodies.

use std::io::Write as _;
use std::process::{Command, Stdio};

use hookferry::json::{JsonForm, has_big_integer, is_document, write};

const BODIES: usize = 4000;

/// Bodies with white space, escapes, odd numbers, lone surrogates, keys that repeat or look like
/// integers. The same in every run.
struct Bodies {
    random: fastrand::Rng,
    /// Go has no lone surrogates: it makes U+FFFD of them.
    surrogates: Surrogates,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Surrogates {
    Lone,
    Paired,
}

impl Bodies {
    fn new(surrogates: Surrogates) -> Bodies {
        Bodies { random: fastrand::Rng::with_seed(1649367553), surrogates }
    }

    fn value(&mut self, depth: usize) -> String {
        match self.random.u8(0..if depth == 0 { 7 } else { 11 }) {
            0 => "null".to_owned(),
            1 => self.random.bool().to_string(),
            2..=4 => self.number(),
            5 | 6 => self.string(),
            7 | 8 => {
                let elements: Vec<String> =
                    (0..self.random.usize(0..5)).map(|_| self.value(depth - 1)).collect();
                format!("[{}{}]", elements.join(&format!("{},", self.space())), self.space())
            }
            _ => {
                let members: Vec<String> = (0..self.random.usize(0..7))
                    .map(|_| {
                        format!("{}{}:{}{}", self.key(), self.space(), self.space(), self.value(depth - 1))
                    })
                    .collect();
                format!("{{{}{}}}", self.space(), members.join(","))
            }
        }
    }

    fn space(&mut self) -> &'static str {
        self.random.choice(["", "", " ", "\n", "\t", "\r\n "]).unwrap_or_default()
    }

    /// Of every size: bits of a double, integers about the powers of two and ten, and digits.
    fn number(&mut self) -> String {
        let sign = if self.random.bool() { "-" } else { "" };
        match self.random.u8(0..7) {
            0 => loop {
                let number = f64::from_bits(self.random.u64(..));
                if number.is_finite() {
                    return format!("{number:e}");
                }
            },
            1 => format!("{sign}{}", self.random.u64(..) >> self.random.u32(0..64)),
            2 => {
                let power = 1u128 << self.random.u32(40..100);
                format!("{sign}{}", power + u128::from(self.random.u8(..)) - 128)
            }
            3 => format!("{sign}1{}", "0".repeat(self.random.usize(0..30))),
            4 => format!("{sign}{}.{}", self.random.u16(..), self.digits(1, 25)),
            5 => format!("{sign}{}e{}", self.random.u8(..), self.random.i16(-400..400)),
            _ => {
                let first = self.random.u8(1..10);
                let exponent = self.random.choice(["", "e0", "E+2", "e-7", "e21", "E20"]).unwrap_or_default();
                format!("{sign}{first}{}.{}0{exponent}", self.digits(0, 24), self.digits(0, 3))
            }
        }
    }

    fn digits(&mut self, least: usize, most: usize) -> String {
        (0..self.random.usize(least..=most)).map(|_| self.random.digit(10)).collect()
    }

    fn string(&mut self) -> String {
        let parts: String = (0..self.random.usize(0..8)).map(|_| self.part()).collect();
        format!("\"{parts}\"")
    }

    fn part(&mut self) -> String {
        match self.random.u8(0..8) {
            0 => self
                .random
                .choice(["\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"])
                .unwrap_or_default()
                .to_owned(),
            1 => format!("\\u00{:02X}", self.random.u8(0..0xa0)),
            2 => self
                .random
                .choice(["\\u2028", "\\u2029", "\u{2028}", "\u{2029}", "\\u003c", "\\u00e9"])
                .unwrap_or_default()
                .to_owned(),
            3 => "\\ud83D\\uDe00".to_owned(),
            4 if self.surrogates == Surrogates::Lone => format!("\\uD{:x}", self.random.u16(0x800..0x1000)),
            5 => self.random.choice(["é", "😀", "ﬀ", "<&>", "\u{7f}", "'"]).unwrap_or_default().to_owned(),
            _ => self.random.alphanumeric().to_string(),
        }
    }

    fn key(&mut self) -> String {
        match self.random.u8(0..6) {
            0 => format!("\"{}\"", self.random.u8(0..20)),
            1 => format!("\"{}\"", 4_294_967_290u64 + u64::from(self.random.u8(0..10))),
            2 => self
                .random
                .choice(["\"__proto__\"", "\"01\"", "\"-1\"", "\"1.5\"", "\"\"", "\"toJSON\"", "\"\\u0031\""])
                .unwrap_or_default()
                .to_owned(),
            3 => self.string(),
            _ => format!("\"{}\"", self.random.choice(["a", "b", "B", "é", "\\u0061"]).unwrap_or_default()),
        }
    }

    fn all(mut self) -> Vec<String> {
        let bodies: Vec<String> =
            (0..BODIES).map(|_| format!("{}{}", self.space(), self.value(4)).trim().to_owned()).collect();
        bodies.iter().for_each(|body| assert!(is_document(body.as_bytes()), "{body}"));
        bodies
    }
}

fn written(body: &str, form: JsonForm) -> String {
    let mut out = Vec::new();
    write(body, form, &mut out).expect("not too deep");
    String::from_utf8(out).expect("UTF-8")
}

/// What a program answers to these texts, one line each.
fn answers(program: &str, arguments: &[&str], texts: &[String]) -> Vec<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("`{program}` is needed by this test and can't be started: {error}"));
    let lines: String =
        texts.iter().map(|text| format!("{}\n", serde_json::Value::from(text.as_str()))).collect();
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads all");
    assert!(output.status.success(), "{program}: {}", output.status);
    let answers: Vec<String> =
        String::from_utf8(output.stdout).expect("UTF-8").split_terminator('\n').map(str::to_owned).collect();
    assert_eq!(answers.len(), texts.len());
    answers
}

fn assert_same(ours: &[String], theirs: &[String], bodies: &[String]) {
    for ((ours, theirs), body) in ours.iter().zip(theirs).zip(bodies) {
        assert_eq!(ours, theirs, "for {body}");
    }
}

#[test]
fn js_is_what_node_makes_of_a_body() {
    let bodies = Bodies::new(Surrogates::Lone).all();
    let node = |texts: &[String]| answers("node", &["fixpoint.mjs"], texts);
    let of_node = node(&bodies);

    let rounded: Vec<String> = bodies.iter().map(|body| written(body, JsonForm::JsRounded)).collect();
    assert_same(&rounded, &of_node, &bodies);
    // Integers that are kept are the only difference.
    let kept: Vec<String> = bodies.iter().map(|body| written(body, JsonForm::Js)).collect();
    let differ = kept.iter().zip(&rounded).filter(|(kept, rounded)| kept != rounded).count();
    assert!(differ > 0 && differ < BODIES / 2, "{differ} bodies have integers beyond a double");
    let survived = node(&kept);
    for ((kept, rounded), survived) in kept.iter().zip(&rounded).zip(&survived) {
        assert_eq!(has_big_integer(kept.as_bytes()), kept != rounded, "whether it warns of {kept}");
        assert_eq!(survived, rounded, "the value stays the same for {kept}");
    }
}

#[test]
fn sorted_is_what_go_makes_of_a_body() {
    let bodies = Bodies::new(Surrogates::Paired).all();
    let of_go = answers("go", &["run", "sorted.go"], &bodies);
    let sorted: Vec<String> = bodies.iter().map(|body| written(body, JsonForm::Sorted)).collect();

    assert_same(&sorted, &of_go, &bodies);
    assert_same(&answers("go", &["run", "sorted.go"], &sorted), &sorted, &bodies);
}
