//! The paths that Rust code names, with nested imports flattened and imported names resolved.

use std::{collections::HashMap, iter::Peekable, vec::IntoIter};

/// A path, and the line on which it is named, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// Its segments, separated by `::`; that of a glob import ends with `*`.
    pub path: String,
    /// The line of its last segment.
    pub line: usize,
}

impl NamedPath {
    /// Whether the path contains `name`, one or more whole segments; or imports it with a glob.
    pub fn names(&self, name: &str) -> bool {
        let (path, name) = (format!("::{}::", self.path), format!("::{name}::"));
        let glob = path.strip_suffix("*::").is_some_and(|module| name.starts_with(module));
        glob || path.contains(&name)
    }
}

/// The paths that `code` names: each import, and each qualified path outside of imports. A first
/// segment that the file imports is replaced by its path. Comments and literals are ignored, and so
/// are scopes: imports count for the whole file.
pub fn paths(code: &str) -> Vec<NamedPath> {
    let mut tokens = tokens(code).into_iter().peekable();
    let (mut imports, mut others) = (Imports::default(), Vec::new());
    let mut after_dot = false;
    while let Some((token, line)) = tokens.next() {
        let is_method = std::mem::replace(&mut after_dot, token == Token::Other('.'));
        match token {
            // `impl Trait + use<'a>` imports nothing.
            Token::Name(name) if name == "use" && !next_is(&mut tokens, &Token::Other('<')) => {
                imports.read_tree(&mut tokens, Vec::new());
            }
            Token::Name(first) if !is_method => {
                let mut path = NamedPath { path: first, line };
                while tokens.next_if(|(token, _)| *token == Token::Separator).is_some() {
                    let Some((Token::Name(segment), line)) = tokens.next_if(is_name) else { break };
                    path = NamedPath { path: format!("{}::{segment}", path.path), line };
                }
                others.push(path);
            }
            _ => {}
        }
    }
    let qualified = others.into_iter().filter_map(|NamedPath { path, line }| {
        let (first, rest) = path.split_once("::")?;
        let first = imports.names.get(first).map_or(first, String::as_str);
        Some(NamedPath { path: format!("{first}::{rest}"), line })
    });
    let qualified: Vec<_> = qualified.collect();
    imports.paths.into_iter().chain(qualified).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    /// `::`
    Separator,
    Other(char),
}

type Tokens = Peekable<IntoIter<(Token, usize)>>;

fn is_name((token, _): &(Token, usize)) -> bool {
    matches!(token, Token::Name(_))
}

fn next_is(tokens: &mut Tokens, token: &Token) -> bool {
    tokens.peek().is_some_and(|(next, _)| next == token)
}

#[derive(Debug, Default)]
struct Imports {
    paths: Vec<NamedPath>,
    /// The path of each imported name.
    names: HashMap<String, String>,
}

impl Imports {
    /// Reads a tree of imports below `prefix`, without the `,` or `;` that follows it.
    fn read_tree(&mut self, tokens: &mut Tokens, mut prefix: Vec<String>) {
        while let Some((token, line)) = tokens.next_if(|(token, _)| !ends_tree(token)) {
            match token {
                Token::Separator => {}
                Token::Other('{') => {
                    while tokens.peek().is_some_and(|(token, _)| *token != Token::Other('}')) {
                        self.read_tree(tokens, prefix.clone());
                        tokens.next_if(|(token, _)| *token == Token::Other(','));
                    }
                    tokens.next();
                }
                Token::Other(symbol) => {
                    prefix.push(symbol.to_string());
                    self.paths.push(NamedPath { path: prefix.join("::"), line });
                }
                Token::Name(segment) => {
                    if segment != "self" || prefix.is_empty() {
                        prefix.push(segment);
                    }
                    if next_is(tokens, &Token::Separator) {
                        continue;
                    }
                    let is_renamed = next_is(tokens, &Token::Name("as".to_owned()));
                    if is_renamed {
                        tokens.next();
                    }
                    let name = tokens.next_if(|token| is_renamed && is_name(token));
                    let name = match name {
                        Some((Token::Name(name), _)) => name,
                        _ => prefix.last().cloned().unwrap_or_default(),
                    };
                    self.names.insert(name, prefix.join("::"));
                    self.paths.push(NamedPath { path: prefix.join("::"), line });
                }
            }
        }
    }
}

fn ends_tree(token: &Token) -> bool {
    [',', ';', '}'].map(Token::Other).contains(token)
}

fn tokens(code: &str) -> Vec<(Token, usize)> {
    let (mut tokens, mut line, mut rest) = (Vec::new(), 1, code);
    while let Some(first) = rest.chars().next() {
        let name = rest.find(|char: char| !is_part_of_name(char)).unwrap_or(rest.len());
        let length = if let Some(comment) = comment(rest).or_else(|| literal(rest)) {
            comment
        } else if name != 0 {
            tokens.push((Token::Name(rest[..name].to_owned()), line));
            name
        } else if rest.starts_with("::") {
            tokens.push((Token::Separator, line));
            2
        } else {
            if !first.is_whitespace() {
                tokens.push((Token::Other(first), line));
            }
            first.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn is_part_of_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The length of the comment at the start of `code`.
fn comment(code: &str) -> Option<usize> {
    let end = if code.starts_with("//") {
        code.find('\n')
    } else if code.starts_with("/*") {
        code.find("*/").map(|end| end + 2)
    } else {
        return None;
    };
    Some(end.unwrap_or(code.len()))
}

/// The length of the string or character literal, or of the lifetime, at the start of `code`.
fn literal(code: &str) -> Option<usize> {
    let prefix = code.find(|char| !matches!(char, 'b' | 'c' | 'r')).unwrap_or(code.len());
    let (raw, quoted) = (code[..prefix].ends_with('r'), &code[prefix..]);
    let hashes = quoted.find(|char| char != '#').unwrap_or(quoted.len());
    if raw && quoted[hashes..].starts_with('"') {
        let closing = format!("\"{}", "#".repeat(hashes));
        let start = prefix + hashes + 1;
        let end = code[start..].find(&closing).map(|end| start + end + closing.len());
        return Some(end.unwrap_or(code.len()));
    }
    let quote = quoted.chars().next().filter(|char| matches!(char, '"' | '\''))?;
    let mut escaped = false;
    let end = quoted.char_indices().skip(1).find(|&(_, char)| {
        let ends = char == quote && !escaped;
        escaped = char == '\\' && !escaped;
        ends
    });
    let end = end.map_or(quoted.len(), |(at, _)| at + 1);
    let is_lifetime = quote == '\'' && !quoted.starts_with("'\\") && {
        let inner = quoted.get(1..end.saturating_sub(1)).unwrap_or_default();
        inner.chars().count() != 1
    };
    if is_lifetime {
        let name = quoted[1..].find(|char: char| !is_part_of_name(char));
        return Some(prefix + 1 + name.unwrap_or(quoted.len() - 1));
    }
    Some(prefix + end)
}

/// Whether `text` contains `word` as a whole word.
pub fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |char: char| char.is_alphanumeric() || char == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(code: &str) -> Vec<String> {
        paths(code).into_iter().map(|named| named.path).collect()
    }

    #[test]
    fn nested_import_is_flattened() {
        let code = "use std::{\n    io::{self, Read as _},\n    net::{TcpStream, tcp::*},\n};\n";
        let expected = ["std::io", "std::io::Read", "std::net::TcpStream", "std::net::tcp::*"];
        assert_eq!(named(code), expected);
        assert_eq!(paths(code)[2].line, 3);
    }

    #[test]
    fn public_and_global_imports_are_read() {
        let code = "pub(crate) use ::tokio::net; pub use a::b as c;";
        assert_eq!(named(code), ["tokio::net", "a::b"]);
    }

    #[test]
    fn imported_module_and_renamed_item_are_resolved() {
        let code = "use std::{net, thread as t}; fn f() { net::TcpStream::connect(t::spawn) }";
        let expected =
            ["std::net", "std::thread", "std::net::TcpStream::connect", "std::thread::spawn"];
        assert_eq!(named(code), expected);
    }

    #[test]
    fn comments_literals_and_lifetimes_name_nothing() {
        let code = "// use a::b;\n/* c::d */ fn f<'a>(x: &'a str) -> impl I + use<'a> {\n\
                    g(\"e::f\", r#\"g::\"h\"#, '\"', '\\'', b'x', b\"\\\"i::j\"); k::l }";
        let expected = [NamedPath { path: "k::l".to_owned(), line: 3 }];
        assert_eq!(paths(code).last(), expected.last());
        assert_eq!(named(code), ["k::l"]);
    }

    #[test]
    fn method_after_a_dot_is_no_import() {
        assert_eq!(named("use std::net; self.net::<T>(); x.net.y::<U>()"), ["std::net"]);
    }

    #[test]
    fn path_names_whole_segments_only() {
        let path = |path: &str| NamedPath { path: path.to_owned(), line: 1 };
        assert!(path("std::net::TcpStream").names("std::net::TcpStream"));
        assert!(path("std::thread::Builder").names("thread::Builder"));
        assert!(path("tokio::net::TcpStream").names("tokio::net"));
        assert!(path("std::net::*").names("std::net::TcpStream"));
        assert!(!path("std::net::SocketAddr").names("std::net::TcpStream"));
        assert!(!path("tokio::network").names("tokio::net"));
        assert!(!path("std::io::*").names("std::net::TcpStream"));
    }

    #[test]
    fn words_are_matched_as_a_whole_only() {
        assert!(has_word("use tokio::net;", "tokio"));
        assert!(has_word("async fn", "async"));
        assert!(!has_word("fn asynchronous()", "async"));
        assert!(!has_word("let tokio_like = 1;", "tokio"));
    }
}
