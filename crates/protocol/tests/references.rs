//! Sessions with random references between values: regardless of their expanded size, results stay
//! within their limits, and encoded values can be decoded again.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use push_suite_protocol::{
    php::{json_encode, serialize, unserialize},
    session::{MAX_PHP_SESSION, Session, SessionError},
};

/// The value of a key.
#[derive(Clone, Debug)]
enum Node {
    Null,
    Text(usize),
    Array(Vec<Self>),
    Object(Vec<Self>),
    /// `R` or `r` of an earlier value, selected by this number.
    Again(bool, usize),
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        1 => Just(Node::Null),
        1 => (0_usize..3000).prop_map(Node::Text),
        4 => (any::<bool>(), any::<usize>()).prop_map(|(by, of)| Node::Again(by, of)),
    ];
    leaf.prop_recursive(6, 120, 6, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 0..6).prop_map(Node::Array),
            1 => vec(inner, 0..6).prop_map(Node::Object),
        ]
    })
}

/// A sequence of arrays, each of which may refer to earlier ones several times.
fn session() -> impl Strategy<Value = Bytes> {
    let refers = vec(1_usize..4, 1..4)
        .prop_map(|refs| Node::Array(refs.into_iter().map(|of| Node::Again(true, of)).collect()));
    let any = prop_oneof![1 => node(), 2 => refers];
    vec(any, 1..60).prop_map(|nodes| {
        let mut writer = Writer::default();
        writer.value(&Node::Array(nodes));
        writer.text.into()
    })
}

#[derive(Default)]
struct Writer {
    text: String,
    slot: usize,
    /// The numbers of values that are complete.
    whole: Vec<usize>,
    /// The numbers of objects.
    objects: Vec<usize>,
}

impl Writer {
    fn value(&mut self, node: &Node) {
        if let Node::Again(true, of) = node {
            // The last few are the largest. Occasionally a reference to an enclosing array.
            let whole = self.whole.iter().rev().nth(of % 8).copied();
            if let Some(slot) = if of % 100 == 99 { Some(self.slot) } else { whole } {
                self.text += &format!("R:{slot};");
                return;
            }
        }
        self.slot += 1;
        let slot = self.slot;
        match node {
            Node::Null => self.text += "N;",
            Node::Text(length) => self.text += &format!("s:{length}:\"{}\";", "x".repeat(*length)),
            Node::Array(nodes) => {
                self.text += &format!("a:{}:{{", nodes.len());
                self.entries(nodes);
            }
            Node::Object(nodes) => {
                self.objects.push(self.slot);
                self.text += &format!("O:1:\"A\":{}:{{", nodes.len());
                self.entries(nodes);
            }
            Node::Again(_, of) => match self.objects.len() {
                0 => self.text += "i:0;",
                objects => self.text += &format!("r:{};", self.objects[of % objects]),
            },
        }
        self.whole.push(slot);
    }

    fn entries(&mut self, nodes: &[Node]) {
        for (at, node) in nodes.iter().enumerate() {
            // Some keys are not those of a list, and some are names of private properties.
            match at % 3 {
                2 => {
                    let name = format!("\0k{at}");
                    self.text += &format!("s:{}:\"{name}\";", name.len());
                }
                _ => self.text += &format!("i:{at};"),
            }
            self.value(node);
        }
        self.text.push('}');
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn session_read_as_json_is_bounded(text in session()) {
        let session = Session::from_php(text).unwrap();
        match session.decode() {
            Ok(object) => {
                // Only numbers may take more bytes in JSON than they are counted with.
                let written = serde_json::to_vec(&object).unwrap().len();
                prop_assert!(written <= 2 * MAX_PHP_SESSION, "{written}");
            }
            Err(SessionError::Unfolds { .. } | SessionError::Endless) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn encoded_document_is_within_the_limit_and_round_trips(
        text in session(), limit in 0_usize..200_000,
    ) {
        let document = unserialize(&text).unwrap();
        if let Ok(json) = json_encode(&document, limit) {
            prop_assert!(json.len() <= limit, "{}", json.len());
        }
        let mut out = Vec::new();
        if serialize(&document, limit, &mut out).is_ok() {
            prop_assert!(out.len() <= limit, "{}", out.len());
            let mut again = Vec::new();
            serialize(&unserialize(&out.clone().into()).unwrap(), limit, &mut again).unwrap();
            prop_assert_eq!(out, again);
        }
    }

    #[test]
    fn merged_session_is_bounded_and_readable(old in session(), new in session()) {
        let mut merged = Session::from_php(old.clone()).unwrap();
        let done = merged.merge(&Session::from_php(new).unwrap());
        match done {
            Ok(()) => {
                prop_assert!(merged.as_encoded().len() <= MAX_PHP_SESSION);
                prop_assert!(unserialize(merged.as_encoded()).is_ok());
            }
            Err(_) => prop_assert_eq!(merged.as_encoded(), &old),
        }
    }
}
