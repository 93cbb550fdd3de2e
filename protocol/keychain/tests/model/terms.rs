//! What is said and known, as terms instead of octets: a key, tag or hash is what it was made of, and
//! who has not got the parts cannot make it (Dolev and Yao). One term has one number.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// A term's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct T(u32);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Node {
    /// A name, number or word: everybody knows it.
    Word(&'static str, u8),
    /// A random value or key, of somebody.
    Secret(&'static str, u8, u8),
    /// What two halves make: of one and of the public part of the other.
    Shared(T, T),
    /// Of parts: a list (which gives its parts away), or a hash, key, tag or signature (which do not).
    List(&'static str, Vec<T>),
    Sealed(&'static str, Vec<T>),
}

#[derive(Debug, Default)]
pub(crate) struct Terms {
    nodes: Vec<Node>,
    numbers: HashMap<Node, T, FixedState>,
}

impl Terms {
    fn number(&mut self, node: Node) -> T {
        if let Some(known) = self.numbers.get(&node) {
            return *known;
        }
        let next = T(u32::try_from(self.nodes.len()).unwrap());
        self.nodes.push(node.clone());
        self.numbers.insert(node, next);
        next
    }

    pub(crate) fn word(&mut self, kind: &'static str, value: u8) -> T {
        self.number(Node::Word(kind, value))
    }

    pub(crate) fn secret(&mut self, kind: &'static str, of: u8, nth: u8) -> T {
        self.number(Node::Secret(kind, of, nth))
    }

    pub(crate) fn list(&mut self, kind: &'static str, parts: &[T]) -> T {
        self.number(Node::List(kind, parts.to_vec()))
    }

    /// A hash, a key that is derived, or, of a key and what is said, a tag or signature.
    pub(crate) fn sealed(&mut self, label: &'static str, parts: &[T]) -> T {
        self.number(Node::Sealed(label, parts.to_vec()))
    }

    /// The public part of a secret half or of a seed.
    pub(crate) fn public(&mut self, secret: T) -> T {
        self.sealed("public", &[secret])
    }

    /// What a half and a public part make.
    pub(crate) fn shared(&mut self, half: T, public: T) -> T {
        let other = self.parts(public)[0];
        self.public(half);
        self.number(Node::Shared(half.min(other), half.max(other)))
    }

    /// The value of a word.
    pub(crate) fn value(&self, word: T) -> u8 {
        match self.nodes[word.0 as usize] {
            Node::Word(_, value) => value,
            _ => panic!("{} is no word", self.show(word)),
        }
    }

    pub(crate) fn is(&self, term: T, kind: &'static str) -> bool {
        match &self.nodes[term.0 as usize] {
            Node::Word(of, _) | Node::Secret(of, ..) => *of == kind,
            Node::List(of, _) | Node::Sealed(of, _) => *of == kind,
            Node::Shared(..) => false,
        }
    }

    pub(crate) fn parts(&self, term: T) -> Vec<T> {
        match &self.nodes[term.0 as usize] {
            Node::List(_, parts) | Node::Sealed(_, parts) => parts.clone(),
            _ => panic!("{} has no parts", self.show(term)),
        }
    }

    /// What is learned of a message: the parts of its lists.
    pub(crate) fn learn(&self, known: &mut Vec<T>, term: T) {
        match &self.nodes[term.0 as usize] {
            Node::List(_, parts) => parts.iter().for_each(|part| self.learn(known, *part)),
            Node::Word(..) => {}
            _ => {
                if let Err(at) = known.binary_search(&term) {
                    known.insert(at, term);
                }
            }
        }
    }

    /// Whether who knows these can make that.
    pub(crate) fn makes(&self, known: &[T], term: T) -> bool {
        known.binary_search(&term).is_ok()
            || match &self.nodes[term.0 as usize] {
                Node::Word(..) => true,
                Node::Secret(..) => false,
                Node::Shared(one, other) => {
                    let public = |half: &T| self.numbers[&Node::Sealed("public", vec![*half])];
                    let with = |one: &T, other: &T| {
                        self.makes(known, *one) && self.makes(known, public(other))
                    };
                    with(one, other) || with(other, one)
                }
                Node::List(_, parts) | Node::Sealed(_, parts) => {
                    parts.iter().all(|part| self.makes(known, *part))
                }
            }
    }

    /// For who reads a run that was found.
    pub(crate) fn show(&self, term: T) -> String {
        let list = |parts: &[T]| {
            let shown: Vec<_> = parts.iter().map(|part| self.show(*part)).collect();
            shown.join(" ")
        };
        match &self.nodes[term.0 as usize] {
            Node::Word(kind, value) => format!("{kind}{value}"),
            Node::Secret(kind, of, nth) => format!("{kind}{of}.{nth}"),
            Node::Shared(one, other) => format!("Z({} {})", self.show(*one), self.show(*other)),
            // The whole chain would be in it.
            Node::Sealed("digest", parts) => format!("digest of #{}", parts[0].0),
            Node::List("record", parts) => {
                format!(
                    "record #{} of hop {} in {}",
                    term.0,
                    self.show(parts[2]),
                    self.show(parts[3])
                )
            }
            Node::List("ticket", parts) => {
                format!("ticket #{} from {}", term.0, list(&parts[..2]).replace(' ', " to "))
            }
            Node::List("response", parts) => {
                let [who, key, ..] = parts[..] else { unreachable!("it has both") };
                let (who, key) = (self.show(who), self.show(key));
                format!("response #{} of {who} with {} by {key}", term.0, self.show(parts[5]))
            }
            Node::Sealed("transcript", _) => format!("transcript#{}", term.0),
            Node::List(kind, parts) | Node::Sealed(kind, parts) => {
                format!("{kind}({})", list(parts))
            }
        }
    }
}

#[test]
fn who_has_no_part_of_a_key_does_not_make_it_and_who_has_all_does() {
    let mut terms = Terms::default();
    let (one, other) = (terms.secret("half", 1, 0), terms.secret("half", 2, 0));
    let public = terms.public(other);
    let shared = terms.shared(one, public);
    let key = terms.sealed("hop", &[shared]);
    let mut known = Vec::new();
    let message = terms.list("message", &[public]);
    terms.learn(&mut known, message);
    assert!(!terms.makes(&known, key));
    terms.learn(&mut known, one);
    assert!(terms.makes(&known, key) && !terms.makes(&known, other));
    let known = [key];
    assert!(terms.makes(&known, key) && !terms.makes(&known, shared));
}
