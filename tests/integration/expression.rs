//! An expression in Prometheus' language, taken apart as far as needed to ask what it names.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

/// What stands between names and is none.
const WORDS: [&str; 11] =
    ["and", "or", "unless", "offset", "bool", "inf", "nan", "atan2", "by", "on", "start"];

static COMMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new("#[^\n]*").unwrap());
static GROUPING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)").unwrap()
});
static RANGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[[^\]]*\]|\boffset\s+\w+").unwrap());
/// A name with its matchers or a call, or a text.
static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""[^"]*"|\b[a-zA-Z_:][a-zA-Z0-9_:]*\s*(\{[^}]*\}|\()?"#).unwrap());

/// One expression, and where it stands.
pub struct Expression {
    pub place: String,
    pub text: String,
}

impl Expression {
    /// The series that it reads, each with its matchers.
    pub fn selectors(&self) -> BTreeSet<String> {
        let bare = COMMENT.replace_all(&self.text, "");
        let bare = RANGE.replace_all(&bare, "");
        let bare = GROUPING.replace_all(&bare, "");
        let names = NAME.find_iter(&bare).map(|found| found.as_str().trim());
        // What is called is a function or an aggregation.
        let selectors =
            names.filter(|name| !name.ends_with('(') && !name.starts_with('"') && !WORDS.contains(name));
        selectors.map(str::to_owned).collect()
    }

    /// The labels that it groups or matches by.
    pub fn labels(&self) -> BTreeSet<String> {
        let groupings = GROUPING.captures_iter(&self.text);
        let labels = groupings
            .flat_map(|found| found[1].split(',').map(str::trim).map(str::to_owned).collect::<Vec<_>>());
        labels.filter(|label| !label.is_empty()).collect()
    }

    /// Whether it keeps only some series by their value, so that it may have no answer.
    pub fn filters(&self) -> bool {
        static FILTER: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"[<>]|[^!=]=[=]|!=\s|\b(?:unless|absent|and)\b").unwrap());
        FILTER.is_match(&GROUPING.replace_all(&self.text, ""))
    }
}

#[test]
fn an_expression_tells_what_it_names() {
    let expression = |text: &str| Expression { place: String::new(), text: text.to_owned() };
    let ratio = expression(
        "# by comment\n1 - sum by (job, target) (rate(a_total{x=\"y\", z!=\"w\"}[5m] offset 1h)) / on (job) group_left (v) a:b:sum > 14.4 * 0.01",
    );
    let named: Vec<_> = ratio.selectors().into_iter().collect();
    assert_eq!(named, ["a:b:sum", "a_total{x=\"y\", z!=\"w\"}"]);
    let labels: Vec<_> = ratio.labels().into_iter().collect();
    assert_eq!(labels, ["job", "target", "v"]);
    assert!(ratio.filters());
    let renamed = expression("label_replace(a, \"job\", \"none\", \"job\", \"\")");
    assert_eq!(renamed.selectors().into_iter().collect::<Vec<_>>(), ["a"]);
    for (text, filters) in
        [("a == 1", true), ("a{b=\"c\"}", false), ("a{b!=\"c\"}", false), ("absent(a)", true)]
    {
        assert_eq!(expression(text).filters(), filters, "{text}");
    }
}
