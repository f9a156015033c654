//! JSON as JavaScript prints it: tables of what changes and what is refused, and JavaScript's own word for it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use domain::json::{JsonText, Part};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::Value;

/// What is given, and what `JSON.stringify(JSON.parse(…))` makes of it. Node is asked about these too.
const PRINTED: &[(&str, &str)] = &[
    // As it is, but compact.
    ("null", "null"),
    (" true\r\n", "true"),
    ("\t[ ]", "[]"),
    ("{ }", "{}"),
    ("{ \"a\" : [ 1 , { \"b\" : false } ] }", r#"{"a":[1,{"b":false}]}"#),
    // Numbers in their shortest form.
    ("0", "0"),
    ("-0", "0"),
    ("-0.0", "0"),
    ("-0e5", "0"),
    ("[-0,-0.0,-0E-7]", "[0,0,0]"),
    ("1.0", "1"),
    ("1.50", "1.5"),
    ("100", "100"),
    ("1e2", "100"),
    ("1E+2", "100"),
    ("12e-1", "1.2"),
    ("0.000001", "0.000001"),
    ("0.0000001", "1e-7"),
    ("123456789012345.678", "123456789012345.67"),
    ("9007199254740991", "9007199254740991"),
    ("-9007199254740991", "-9007199254740991"),
    ("9007199254740991.0", "9007199254740991"),
    ("0.1000000000000000055511151231257827", "0.1"),
    ("0.30000000000000004", "0.30000000000000004"),
    ("1e21", "1e+21"),
    ("1e300", "1e+300"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ("5e-324", "5e-324"),
    ("2.2250738585072011e-308", "2.225073858507201e-308"),
    ("1e-400", "0"),
    ("-1e-400", "0"),
    ("1e-99999999999999999999", "0"),
    // Strings: only what must be escaped is, and in one way.
    (r#""""#, r#""""#),
    (r#""\/""#, r#""/""#),
    (r#""\u002f\u0041""#, r#""/A""#),
    (r#""\u0022\u005C""#, r#""\"\\""#),
    (r#""\"\\\b\f\n\r\t""#, r#""\"\\\b\f\n\r\t""#),
    (r#""\u0008\u000c\u000A\u000d\u0009""#, r#""\b\f\n\r\t""#),
    (r#""\u0000\u001F\u001b""#, r#""\u0000\u001f\u001b""#),
    ("\"\u{7f}\u{80}\u{2028}\u{2029}\u{feff}\"", "\"\u{7f}\u{80}\u{2028}\u{2029}\u{feff}\""),
    (r#""\u007f\u00e9\u2028\uFEFF""#, "\"\u{7f}é\u{2028}\u{feff}\""),
    ("\"grüße 你好 😀\"", "\"grüße 你好 😀\""),
    (r#""\ud83d\ude00 \uD83D\uDE00""#, "\"😀 😀\""),
    (r#""\uD83D""#, r#""\ud83d""#),
    (r#""\uDE00x""#, r#""\ude00x""#),
    (r#""\ude00\ud83d""#, r#""\ude00\ud83d""#),
    (r#""\ud83d\ud83d\ude00""#, "\"\\ud83d😀\""),
    (r#""\ud83d\n""#, r#""\ud83d\n""#),
    (r#""\ud83d\u0041""#, r#""\ud83dA""#),
    ("\"\\ud83d😀\"", "\"\\ud83d😀\""),
    // Keys: array indices first and ascending, then as they came; the last of two values, in the first's place.
    (r#"{"b":1,"a":2}"#, r#"{"b":1,"a":2}"#),
    (r#"{"b":1,"2":2,"10":3,"1":4}"#, r#"{"1":4,"2":2,"10":3,"b":1}"#),
    (
        r#"{"a":0,"01":1,"-1":2,"1.0":3,"1e1":4,"":5," 1":6,"0":7}"#,
        r#"{"0":7,"a":0,"01":1,"-1":2,"1.0":3,"1e1":4,"":5," 1":6}"#,
    ),
    (
        r#"{"a":0,"4294967295":1,"4294967294":2,"9999999999":3}"#,
        r#"{"4294967294":2,"a":0,"4294967295":1,"9999999999":3}"#,
    ),
    (r#"{"a":0,"\u0031":1}"#, r#"{"1":1,"a":0}"#),
    (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
    (r#"{"a":1,"\u0061":{"x":1,"x":2}}"#, r#"{"a":{"x":2}}"#),
    (r#"{"1":1,"a":2,"1":3}"#, r#"{"1":3,"a":2}"#),
    (r#"{"\ud800":1,"\\ud800":2,"\uD800":3}"#, r#"{"\ud800":3,"\\ud800":2}"#),
    (r#"{"a":{"2":[{"1":0,"0":1}],"1":0}}"#, r#"{"a":{"1":0,"2":[{"0":1,"1":0}]}}"#),
    (r#"{"__proto__":{"a":1},"constructor":2,"toString":3}"#, r#"{"__proto__":{"a":1},"constructor":2,"toString":3}"#),
];

#[test]
fn text_is_printed_as_javascript_prints_it() {
    for (text, printed) in PRINTED {
        assert_eq!(JsonText::parse(text).unwrap().as_str(), *printed, "{text}");
    }
}

#[test]
fn what_javascript_would_change_unseen_is_refused_with_its_place() {
    let unsafe_integer = "is an integer beyond ±(2^53 − 1), which JavaScript would change; send it as a string";
    let too_large = "is a number too large for JavaScript; send it as a string";
    for (text, path, rule) in [
        ("9007199254740992", "", unsafe_integer),
        ("-9007199254740992", "", unsafe_integer),
        ("9007199254740993.0", "", unsafe_integer),
        ("1e20", "", unsafe_integer),
        ("1000000000000000000000000", "", unsafe_integer),
        (r#"{"a":{"b":[1,2,3,12345678901234567890]}}"#, "a.b[3]", unsafe_integer),
        (r#"[{"two words":[{"é":1e400}]}]"#, r#"[0]["two words"][0].é"#, too_large),
        (r#"{"1":{"a.b":-1e309}}"#, r#"["1"]["a.b"]"#, too_large),
    ] {
        let error = JsonText::parse(text).unwrap_err();
        assert_eq!((error.path.as_str(), error.rule.as_str()), (path, rule), "{text}");
    }
}

#[test]
fn what_is_not_json_is_refused_with_line_and_column() {
    for (text, path, rule) in [
        ("", "", "a value at line 1, column 1"),
        ("{\n  \"a\": 1,\n}", "", "a key in double quotes at line 3, column 1"),
        ("{\"a\": {\"b\" 1}}", "a", "a colon at line 1, column 12"),
        ("[1, 2 3]", "", "a comma or a closing bracket at line 1, column 7"),
        ("[1,]", "[1]", "a value at line 1, column 4"),
        ("{\"a\":1", "", "a comma or a closing brace at line 1, column 7"),
        ("[\"ü\", tru]", "[1]", "a value at line 1, column 7"),
        ("nullx", "", "the end at line 1, column 5"),
        ("1 2", "", "the end at line 1, column 3"),
        ("01", "", "the end at line 1, column 2"),
        ("1.", "", "a digit at line 1, column 3"),
        (".5", "", "a value at line 1, column 1"),
        ("-", "", "a digit at line 1, column 2"),
        ("+1", "", "a value at line 1, column 1"),
        ("1e+", "", "a digit at line 1, column 4"),
        ("NaN", "", "a value at line 1, column 1"),
        ("'a'", "", "a value at line 1, column 1"),
        ("\"a", "", "a closing quote at line 1, column 3"),
        ("\"a\nb\"", "", "an escape for a control character at line 1, column 3"),
        ("\"\\x\"", "", "one of \"\\/bfnrtu after a backslash at line 1, column 3"),
        ("\"\\u12g4\"", "", "four hexadecimal digits at line 1, column 6"),
        ("\"\\ud83d\\u\"", "", "four hexadecimal digits at line 1, column 10"),
        ("\u{feff}{}", "", "a value at line 1, column 1"),
        ("\u{a0}1", "", "a value at line 1, column 1"),
        ("[1] // no", "", "the end at line 1, column 5"),
    ] {
        let error = JsonText::parse(text).unwrap_err();
        let wanted = format!("is not JSON: expected {rule}");
        assert_eq!((error.path.as_str(), error.rule.as_str()), (path, wanted.as_str()), "{text:?}");
    }
}

#[test]
fn an_error_names_its_place_in_a_sentence_and_cuts_long_keys() {
    assert_eq!(
        JsonText::parse("[1").unwrap_err().to_string(),
        "the JSON text is not JSON: expected a comma or a closing bracket at line 1, column 3"
    );
    let text = format!("{{\"{}\":[1e999]}}", "ä".repeat(1000));
    let path = JsonText::parse(&text).unwrap_err().path;
    assert_eq!(path, format!("[\"{}…\"][0]", "ä".repeat(64)));
}

#[test]
fn more_than_128_levels_are_refused_and_deep_ones_do_no_harm() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(JsonText::parse(&nested(128)).unwrap().as_str(), nested(128));
    let error = JsonText::parse(&nested(129)).unwrap_err();
    assert_eq!(error.rule, "must not be nested deeper than 128 levels");
    assert_eq!(error.path, "[0]".repeat(128));
    JsonText::parse(&"[".repeat(1_000_000)).unwrap_err();
    JsonText::parse(&"{\"a\":".repeat(1_000_000)).unwrap_err();
}

#[test]
fn many_members_are_settled_as_few_are() {
    let members = |order: &mut dyn Iterator<Item = u32>| order.map(|n| format!("\"{n}\":{n}")).collect::<Vec<_>>();
    let given = format!("{{{}}}", members(&mut (0..5000).rev()).join(","));
    let printed = format!("{{{}}}", members(&mut (0..5000)).join(","));
    assert_eq!(JsonText::parse(&given).unwrap().as_str(), printed);

    let names: Vec<String> = (0..5000).map(|n| format!("\"k{}\":{n}", n % 2500)).collect();
    let last: Vec<String> = (0..2500).map(|n| format!("\"k{n}\":{}", n + 2500)).collect();
    let printed = format!("{{{}}}", last.join(","));
    assert_eq!(JsonText::parse(&format!("{{{}}}", names.join(","))).unwrap().as_str(), printed);
}

#[test]
fn an_envelope_holds_its_parts_in_javascript_s_order_and_its_json_byte_for_byte() {
    let data = JsonText::parse("{ \"name\": \"Zoë\\/1\", \"n\": 1.0 }").unwrap();
    let body = JsonText::object(&[
        ("id", Part::Text("evt_1")),
        ("note", Part::Text("a \"quote\"\\\n\u{1}\u{2028}é")),
        ("created", Part::Integer(-1_700_000_000)),
        ("data", Part::Object(&[("object", Part::Json(&data)), ("7", Part::Object(&[]))])),
    ]);
    let printed = concat!(
        r#"{"id":"evt_1","note":"a \"quote\"\\\n\u0001"#,
        "\u{2028}",
        r#"é","created":-1700000000,"data":{"7":{},"object":{"name":"Zoë/1","n":1}}}"#
    );
    assert_eq!(body.as_str(), printed);
    assert_eq!(JsonText::parse(printed).unwrap(), body);
}

/// A string literal from pieces that are easy to get wrong, with lone surrogates or without.
fn string(surrogates: bool) -> impl Strategy<Value = String> {
    let halves = if surrogates { &[r"\ud83d", r"\uDE00", r"\uDFFF"][..] } else { &[r"\ud83d\ude00"][..] };
    let plain = any::<char>().prop_filter("must be escaped", |c| !matches!(c, '\0'..'\x20' | '"' | '\\'));
    const SHORT: &[&str] = &["\\\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t"];
    let piece = prop_oneof![
        plain.prop_map(String::from),
        prop::sample::select(SHORT).prop_map(str::to_owned),
        prop::sample::select(halves).prop_map(str::to_owned),
        prop::sample::select(&["\u{7f}", "\u{2028}", "\u{2029}", "\u{fffe}", "😀"][..]).prop_map(str::to_owned),
        (0_u16..0x100).prop_map(|unit| format!("\\u{unit:04X}")),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    let float = any::<f64>().prop_filter("finite", |f| f.is_finite());
    prop_oneof![
        float.prop_map(|f| format!("{f:e}")),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(|n| n.to_string()),
        (-1000_i64..1000).prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?",
    ]
    .prop_filter("refused", |text| JsonText::parse(text).is_ok())
}

fn key(surrogates: bool) -> impl Strategy<Value = String> {
    const FEW: &[&str] = &["a", "b", "0", "1", "10", "01", "4294967294", "4294967295", "__proto__", ""];
    prop_oneof![prop::sample::select(FEW).prop_map(|key| format!("\"{key}\"")), string(surrogates)]
}

/// JSON text with white space, in any spelling that JavaScript takes.
fn json(surrogates: bool) -> impl Strategy<Value = String> {
    let word = prop::sample::select(&["null", "true", "false"][..]).prop_map(str::to_owned);
    let leaf = prop_oneof![1 => word, 3 => number(), 3 => string(surrogates)];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        let space = prop::sample::select(&["", " ", "\n\t", "\r\n"][..]);
        let member =
            (key(surrogates), space.clone(), inner.clone()).prop_map(|(k, s, v)| format!("{s}{k}{s}:{s}{v}{s}"));
        let item = (space, inner).prop_map(|(s, v)| format!("{s}{v}{s}"));
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..24).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Equal but for the last bit of a number, which serde_json does not always read.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= one.abs() * 1e-15 + f64::MIN_POSITIVE
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}

proptest! {
    #[test]
    fn what_is_printed_means_what_was_given(text in json(false)) {
        let printed = JsonText::parse(&text).unwrap();
        let (before, after) = (serde_json::from_str(&text).unwrap(), serde_json::from_str(printed.as_str()).unwrap());
        prop_assert!(same(&before, &after), "{} became {}", text, printed);
    }

    #[test]
    fn what_is_printed_is_printed_the_same_again(text in json(true)) {
        let printed = JsonText::parse(&text).unwrap();
        prop_assert_eq!(&JsonText::parse(printed.as_str()).unwrap(), &printed);
    }

    #[test]
    fn a_text_written_by_the_program_is_read_as_itself(text in any::<String>()) {
        let written = JsonText::object(&[("text", Part::Text(&text))]);
        prop_assert_eq!(&JsonText::parse(written.as_str()).unwrap(), &written);
        let value: Value = serde_json::from_str(written.as_str()).unwrap();
        prop_assert_eq!(value["text"].as_str(), Some(text.as_str()));
    }

    #[test]
    fn what_is_taken_is_json(text in "[\\[\\]{}:,\"\\\\ue0-9.+ \n-]{0,24}") {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        match JsonText::parse(&text) {
            Ok(_) => prop_assert!(theirs, "{} is taken", text),
            Err(error) => prop_assert!(!theirs || !error.rule.starts_with("is not JSON"), "{}: {}", text, error),
        }
    }
}

#[test]
fn javascript_itself_prints_the_same_bytes() {
    let mut runner = TestRunner::deterministic();
    let generated = (0..600).map(|_| json(true).new_tree(&mut runner).unwrap().current());
    let texts: Vec<String> = PRINTED.iter().map(|(text, _)| (*text).to_owned()).chain(generated).collect();

    let theirs = stringify_in_node(&texts);
    assert_eq!(theirs.len(), texts.len());
    for (text, theirs) in texts.iter().zip(theirs) {
        assert_eq!(JsonText::parse(text).unwrap().as_str(), theirs, "{text}");
    }
}

/// `JSON.stringify(JSON.parse(text))` of every text, by one run of `node`, which `bin/test` installs.
fn stringify_in_node(texts: &[String]) -> Vec<String> {
    let script = "const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));\
                  console.log(JSON.stringify(texts.map(text => JSON.stringify(JSON.parse(text)))));";
    let mut node = Command::new("node")
        .args(["-e", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed (bin/test does it)");
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(serde_json::to_string(texts).unwrap().as_bytes()).unwrap();
    drop(stdin);
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}
