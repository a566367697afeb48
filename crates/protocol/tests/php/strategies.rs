//! Random values and texts: ordinary ones, edge cases, and hostile ones.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use push_suite_protocol::php::{Key, Object, Value};

/// A value without references. Objects are of classes that are unknown to PHP.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 40, 6, |inner| {
        let array = vec((key(), inner.clone()), 0..6)
            .prop_map(|entries| Value::Array(entries.into_iter().collect()));
        let list =
            vec(inner.clone(), 0..6).prop_map(|values| Value::Array(values.into_iter().collect()));
        let object = (select(&["stdClass", "A", "A\\B_1"][..]), vec((property(), inner), 0..4))
            .prop_map(|(class, properties)| {
                let properties = properties.into_iter().collect();
                Value::Object(Object { class: class.into(), properties })
            });
        prop_oneof![3 => array, 2 => list, 1 => object]
    })
}

pub(crate) fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![-300_i64..300, any::<i64>(), select(&[i64::MIN, i64::MAX][..])]
            .prop_map(Value::Int),
        float().prop_map(Value::Float),
        text().prop_map(Value::Str),
    ]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<u64>().prop_map(f64::from_bits),
        (-10_000_i32..10_000, 0_i32..8).prop_map(|(n, scale)| f64::from(n) / 10_f64.powi(scale)),
        (-100_i32..100, -20_i32..30).prop_map(|(n, scale)| f64::from(n) * 10_f64.powi(scale)),
        select(
            &[0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 9.223_372_036_854_776e18][..]
        ),
    ]
}

fn text() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        "[a-z]{0,8}".prop_map(Bytes::from),
        "\\PC{0,8}".prop_map(Bytes::from),
        "-?0?[0-9]{0,20}".prop_map(Bytes::from),
        "[\u{0}-\u{2030}/\"\\\\]{0,6}".prop_map(Bytes::from),
        vec(any::<u8>(), 0..8).prop_map(Bytes::from),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        (-3_i64..12).prop_map(Key::Int),
        any::<i64>().prop_map(Key::Int),
        select(&["a", "b", "c", ""][..]).prop_map(Key::from),
        text().prop_map(Key::from_text),
    ]
}

fn property() -> impl Strategy<Value = Key> {
    let name = prop_oneof![
        "[a-z]{1,3}".prop_map(String::into_bytes),
        "[0-9]{1,3}".prop_map(String::into_bytes),
        "\u{0}(\\*|A)\u{0}[a-z]{1,3}".prop_map(String::into_bytes),
    ];
    name.prop_map(|name| Key::Str(name.into()))
}

/// Text that resembles serialized text, and occasionally is valid.
pub(crate) fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(
        &[
            "a:1:{",
            "a:2:{",
            "a:0:{}",
            "a:",
            "1",
            "0",
            "2",
            ":",
            "{",
            "}",
            "i:0;",
            "i:1;",
            "i:-5;",
            "i:+5;",
            "i:",
            ";",
            "s:1:\"a\";",
            "s:1:\"5\";",
            "s:0:\"\";",
            "S:1:\"\\41\";",
            "s:",
            "\"",
            "N;",
            "b:0;",
            "b:1;",
            "b:2;",
            "d:0.1;",
            "d:.5;",
            "d:1.;",
            "d:1e3;",
            "d:INF;",
            "d:-INF;",
            "d:NAN;",
            "d:-0;",
            "d:",
            "O:1:\"A\":1:{",
            "O:1:\"A\":0:{}",
            "O:3:\"A-B\":0:{}",
            "R:2;",
            "R:3;",
            "r:2;",
            "r:3;",
            "R:0;",
            "r:9;",
            "i:99999999999999999999;",
            "d:1e999;",
            "-",
            "x",
        ][..],
    );
    let pieces = vec(piece, 0..10).prop_map(|pieces| pieces.concat().into_bytes());
    // A text with a valid start passes more checks.
    let array = vec(
        select(
            &[
                "i:0;",
                "i:1;",
                "s:1:\"a\";",
                "s:1:\"5\";",
                "N;",
                "b:1;",
                "a:0:{}",
                "a:1:{i:0;N;}",
                "R:2;",
                "R:3;",
                "r:2;",
                "r:3;",
                "O:1:\"A\":0:{}",
                "O:1:\"A\":1:{s:1:\"p\";N;}",
                "d:0.5;",
            ][..],
        ),
        2..10,
    )
    .prop_map(|parts| {
        let count = parts.len() / 2;
        format!("a:{count}:{{{}}}", parts.concat()).into_bytes()
    });
    let changed =
        (value(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, at, byte)| {
            let mut text = crate::written(&value.into());
            let at = at.index(text.len());
            text[at] = byte;
            text
        });
    prop_oneof![pieces, array, changed]
        .prop_filter("PHP handles it differently", |text| is_plain(text))
}

/// Excludes texts that PHP reads differently: it loses references to the root value, which it
/// copies; it never writes references to repeated objects; it writes int properties as strings; and
/// it has this one class, whose name is case-insensitive.
fn is_plain(text: &[u8]) -> bool {
    let mut classes = text.windows(8).filter(|at| at.eq_ignore_ascii_case(b"stdClass"));
    let special =
        [&b"R:1;"[..], b"C:", b"E:", b"\":1:{i:"].into_iter().any(|part| contains(text, part));
    let both = contains(text, b"R:") && contains(text, b"r:");
    !special && !both && classes.all(|class| class == b"stdClass")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|at| at == part)
}

/// Valid and almost valid JSON.
pub(crate) fn json() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        select(
            &[
                "null",
                "true",
                "false",
                "0",
                "-0",
                "1.0",
                "-1.5e3",
                "1E5",
                "1e999",
                "-1e-999",
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775809",
                "01",
                "1.",
                ".5",
                "TRUE",
                "nul",
                "\"\\ud83d\\ude00\"",
                "\"\\ud83d\"",
                "\"\\ude00\"",
                "\"\\ud83d\\u0041\"",
                "\"\\u0000\"",
                "\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"",
                "\"\\x\"",
                "\"\u{1}\"",
                "\"\u{7f}中\"",
                "-"
            ][..]
        )
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|int| int.to_string()),
        any::<f64>().prop_map(|float| format!("{float:e}")),
        "\"[a-z5/]{0,4}\"",
    ];
    let blank = || select(&["", "", "", " ", "\n\t\r ", "\u{b}"][..]);
    let text = leaf.prop_recursive(4, 30, 5, move |inner| {
        let item = (blank(), inner, blank()).prop_map(|(a, item, b)| format!("{a}{item}{b}"));
        let list = vec(item.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(",")));
        let name = select(&["a", "b", "5", "05", "-5", "", "\\u0000a", "\\u0061"][..]);
        let entry = (blank(), name, blank(), item)
            .prop_map(|(a, name, b, item)| format!("{a}\"{name}\"{b}:{item}"));
        let object = vec(entry, 0..5).prop_map(|entries| format!("{{{}}}", entries.join(",")));
        prop_oneof![list, object]
    });
    let whole = text.clone().prop_map(String::into_bytes);
    let changed = (text, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
        let mut text = text.into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        text
    });
    let pieces =
        vec(
            select(
                &[
                    "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "1", "-", ".", "e", "null", " ",
                    "\\",
                ][..],
            ),
            0..8,
        )
        .prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![4 => whole, 2 => changed, 1 => pieces]
}

/// Query strings.
pub(crate) fn query() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(
            &[
                "a", "b", "c", "[", "]", "=", "&", "=", "&", "[]", "[a]", "[b]", "[0]", "[-5]", "%5B",
                "%5D", "+", "%20", " ", ".", "%00", "%", "%zz", "5", "10", "07", "\u{e9}", "\t", "\n",
                "\u{b}", "a=1&", "a[b]=1&", "a[]=1&", "a[][c]=1&", ";", "#", "\0", "%26", "%3D",
                "GLOBALS", "this", "_", "9223372036854775807", "9223372036854775808",
            ][..],
        )
        .prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..4),
        1 => (60_usize..70).prop_map(|count| format!("a{}=1&", "[x]".repeat(count)).into_bytes()),
    ];
    let query = vec(piece, 0..20).prop_map(|pieces| pieces.concat());
    // Occasionally about as many variables as PHP accepts.
    let many = (990_usize..1010, query.clone()).prop_map(|(count, query)| {
        let mut many: Vec<u8> =
            (0..count).flat_map(|at| format!("&k{at}={at}").into_bytes()).collect();
        many.push(b'&');
        many.extend_from_slice(&query);
        many
    });
    prop_oneof![200 => query, 1 => many]
}

/// Request targets, from the first slash.
pub(crate) fn target() -> impl Strategy<Value = String> {
    let piece = select(
        &[
            "/", "/", ":", "8", "80", "65535", "65536", "123456", "?", "?", "#", "a", "b", "@",
            "=", "&", "[", "]", ".", "%41", "\u{1}", "\u{7f}", "\u{e9}", "-", "+", "http", "://",
        ][..],
    );
    vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}
