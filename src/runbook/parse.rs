//! Text to a tree of nodes: the limits and the subset of YAML that a runbook may use. Uses the event parser of the
//! YAML package, so that every node has its exact place and every violation is reported, not only the first.

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::fault::{Fault, Place};
use super::node::{Key, Node, NodeValue};
use super::text::unseen;

/// The largest runbook in bytes.
pub const LARGEST: usize = 1024 * 1024;
/// The deepest nesting.
pub const DEEPEST: usize = 32;
/// The most nodes.
pub const MOST_NODES: usize = 10_000;

/// Parses the bytes of one of a runbook's files; `nodes` counts those of all of them.
pub fn parse(bytes: &[u8], file: u16, nodes: &mut usize) -> Result<Node, Vec<Fault>> {
    let start = Place { file, line: 1, col: 1 };
    let text = decoded(bytes, start).map_err(|fault| vec![fault])?;
    let mut reading = Reading {
        faults: Vec::new(),
        nodes,
        documents: 0,
        stack: Vec::new(),
        root: None,
    };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                let at = Place {
                    file,
                    line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
                    col: u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX),
                };
                if !reading.event(event, at) {
                    break;
                }
            }
            Err(error) => {
                let mark = error.marker();
                let at = Place {
                    file,
                    line: u32::try_from(mark.line()).unwrap_or(u32::MAX),
                    col: u32::try_from(mark.col() + 1).unwrap_or(u32::MAX),
                };
                reading
                    .faults
                    .push(Fault::new(at, format!("this is not YAML: {}", error.info())));
                break;
            }
        }
    }
    match reading.root {
        _ if !reading.faults.is_empty() => Err(reading.faults),
        Some(root) => Ok(root),
        None if file > 0 => Err(vec![
            Fault::new(start, "the included file is empty").hint("write phases: with at least one phase"),
        ]),
        None => Err(vec![Fault::new(start, "the runbook is empty").hint(
            "write version: 1, a name and phases; runbooks/quickstart.yaml is one to begin with",
        )]),
    }
}

fn decoded(bytes: &[u8], start: Place) -> Result<&str, Fault> {
    if bytes.len() > LARGEST {
        return Err(
            Fault::new(start, "the runbook is larger than 1 MiB, which is the limit")
                .hint("split the night into several runbooks"),
        );
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Fault::new(start, "the runbook is UTF-16").hint("save it as UTF-8 without BOM"));
    }
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        return Err(Fault::new(start, "the runbook begins with a byte order mark").hint("save it as UTF-8 without BOM"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let from = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let col = String::from_utf8_lossy(before.get(from..).unwrap_or_default())
            .chars()
            .count()
            + 1;
        let at = Place {
            file: start.file,
            line: u32::try_from(line).unwrap_or(1),
            col: u32::try_from(col).unwrap_or(1),
        };
        Fault::new(at, "the runbook is not UTF-8 here").hint("save it as UTF-8 without BOM")
    })
}

enum Open {
    List(Place, Vec<Node>),
    Map(Place, Vec<(Key, Node)>, Option<Key>),
}

struct Reading<'n> {
    faults: Vec<Fault>,
    nodes: &'n mut usize,
    documents: usize,
    stack: Vec<Open>,
    root: Option<Node>,
}

impl Reading<'_> {
    fn fault(&mut self, at: Place, message: impl Into<String>, hint: &str) {
        self.faults.push(Fault::new(at, message).hint(hint));
    }

    fn event(&mut self, event: Event<'_>, at: Place) -> bool {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.fault(
                        at,
                        "a second document begins here",
                        "a runbook is one document; remove the `---`",
                    );
                    return false;
                }
            }
            Event::Alias(..) | Event::UnresolvedAlias(..) => {
                self.fault(at, "aliases are not allowed", "write the value out");
                return self.put(Node {
                    at,
                    value: NodeValue::Null,
                });
            }
            Event::Anchor(..) => self.fault(at, "anchors are not allowed", "write the value out where it is needed"),
            Event::Scalar(text, style, anchor, tag) => {
                self.decorated(at, anchor, tag.as_deref());
                let value = self.scalar(&text, style, at);
                return self.put(Node { at, value });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.decorated(at, anchor, tag.as_deref());
                return self.open(Open::List(at, Vec::new()), at);
            }
            Event::MappingStart(_, anchor, tag) => {
                self.decorated(at, anchor, tag.as_deref());
                return self.open(Open::Map(at, Vec::new(), None), at);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let node = match self.stack.pop() {
                    Some(Open::List(at, items)) => Node {
                        at,
                        value: NodeValue::List(items),
                    },
                    Some(Open::Map(at, entries, _)) => Node {
                        at,
                        value: NodeValue::Map(entries),
                    },
                    None => return false,
                };
                return self.put(node);
            }
            _ => {}
        }
        true
    }

    fn decorated(&mut self, at: Place, anchor: usize, tag: Option<&Tag>) {
        if anchor > 0
            && !self
                .faults
                .iter()
                .any(|fault| fault.message.starts_with("anchors") && fault.place.line == at.line)
        {
            self.fault(at, "anchors are not allowed", "write the value out where it is needed");
        }
        if tag.is_some() {
            self.fault(
                at,
                "tags are not allowed",
                "remove the `!…`; types are known from the format",
            );
        }
    }

    fn open(&mut self, open: Open, at: Place) -> bool {
        if self.stack.len() >= DEEPEST {
            self.fault(
                at,
                "nested deeper than 32 levels",
                "a runbook is flat; is a bracket missing?",
            );
            return false;
        }
        if let Some(Open::Map(_, _, None)) = self.stack.last() {
            self.fault(
                at,
                "a key must be plain text",
                "is there an indentation or a quote missing?",
            );
            return false;
        }
        self.stack.push(open);
        true
    }

    fn put(&mut self, node: Node) -> bool {
        *self.nodes += 1;
        if *self.nodes > MOST_NODES {
            self.fault(node.at, "more than 10,000 nodes", "split the runbook");
            return false;
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, pending)) => match pending.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let (key, fault) = key_of(node, entries);
                    *pending = Some(key);
                    self.faults.extend(fault);
                }
            },
        }
        true
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Place) -> NodeValue {
        if let Some(bad) = text.chars().find(|ch| unseen(*ch)) {
            self.fault(
                at,
                format!(
                    "a character that is not seen ({}) is in this text",
                    bad.escape_unicode()
                ),
                "control, bidirectional and zero-width characters are not allowed; type the text anew",
            );
        }
        if !matches!(style, ScalarStyle::Plain) {
            return NodeValue::Text {
                text: text.to_owned(),
                plain: false,
            };
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => NodeValue::Null,
            "true" => NodeValue::Bool(true),
            "false" => NodeValue::Bool(false),
            _ => self.number(text, at),
        }
    }

    fn number(&mut self, text: &str, at: Place) -> NodeValue {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let as_text = || NodeValue::Text {
            text: text.to_owned(),
            plain: true,
        };
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            // 007 is a name, not a number.
            if digits.len() > 1 && digits.starts_with('0') {
                return as_text();
            }
            return text.parse().map(NodeValue::Int).unwrap_or_else(|_too_large| {
                self.fault(
                    at,
                    format!("{text} is out of range"),
                    "integers have 64 bits; write an id in quotes",
                );
                NodeValue::Null
            });
        }
        if [".nan", ".inf", "-.inf", "+.inf"].contains(&text.to_lowercase().as_str()) {
            self.fault(
                at,
                format!("{text} is not a number that can be used"),
                "write a finite number",
            );
            return NodeValue::Null;
        }
        let numeric = digits.starts_with(|ch: char| ch.is_ascii_digit())
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
            && digits.bytes().any(|byte| b".eE".contains(&byte));
        match text.parse::<f64>() {
            Ok(number) if numeric && number.is_finite() => NodeValue::Float(number),
            Ok(_) if numeric => {
                self.fault(at, format!("{text} is out of range"), "write a finite number");
                NodeValue::Null
            }
            Ok(_) | Err(_) => as_text(),
        }
    }
}

fn key_of(node: Node, entries: &[(Key, Node)]) -> (Key, Option<Fault>) {
    let at = node.at;
    let (text, fault) = match node.value {
        NodeValue::Text { text, .. } => (text, None),
        NodeValue::Int(number) => (number.to_string(), None),
        NodeValue::Bool(flag) => (flag.to_string(), None),
        NodeValue::Null | NodeValue::Float(_) | NodeValue::List(_) | NodeValue::Map(_) => (
            String::new(),
            Some(Fault::new(at, "a key must be plain text").hint("write it in quotes")),
        ),
    };
    let fault = fault.or_else(|| {
        if text == "<<" {
            return Some(Fault::new(at, "merge keys are not allowed").hint("write the fields out"));
        }
        let first = entries.iter().find(|(key, _)| key.text == text)?;
        Some(
            Fault::new(at, format!("the key \"{text}\" is here twice"))
                .hint(format!("the first one is in line {}", first.0.at.line)),
        )
    });
    (Key { text, at }, fault)
}
