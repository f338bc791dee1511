//! The fields of a head or of trailers, as places in the buffer they were read from.

use super::field_name::FieldName;
use super::span::Span;

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    pub known: FieldName,
    /// As sent; a token.
    pub name: Span,
    /// Without spaces around it; no control characters except tab, but any byte above 0x7f.
    pub value: Span,
    /// Concerns this connection only, by itself or because Connection names it: not forwarded.
    pub hop_by_hop: bool,
}

/// The fields in the order they came.
#[derive(Default, Debug)]
pub struct Fields {
    list: Vec<Field>,
    seen: FieldSet,
    repeated: FieldSet,
}

impl Fields {
    pub fn as_slice(&self) -> &[Field] {
        &self.list
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.list.iter()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The first field of that name. Costs next to nothing when there is none.
    pub fn first(&self, known: FieldName) -> Option<&Field> {
        if !self.seen.has(known) {
            return None;
        }
        self.list.iter().find(|field| field.known == known)
    }

    /// Every field of that name.
    pub fn all(&self, known: FieldName) -> impl Iterator<Item = &Field> {
        let list = if self.seen.has(known) { &self.list[..] } else { &[] };
        list.iter().filter(move |field| field.known == known)
    }

    pub fn has(&self, known: FieldName) -> bool {
        self.seen.has(known)
    }

    /// Whether more than one field has that name.
    pub fn is_repeated(&self, known: FieldName) -> bool {
        self.repeated.has(known)
    }

    /// The value of the first field called `name`, in any case: for names that are not known.
    pub fn get<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let has_name = |field: &&Field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes());
        self.list.iter().find(has_name).map(|field| field.value.of(bytes))
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.seen = FieldSet::default();
        self.repeated = FieldSet::default();
    }

    pub(super) fn push(&mut self, field: Field) {
        if self.seen.has(field.known) {
            self.repeated.add(field.known);
        }
        self.seen.add(field.known);
        self.list.push(field);
    }

    /// Marks every field called `name` as not to be forwarded.
    pub(super) fn nominate(&mut self, bytes: &[u8], name: &[u8]) {
        let known = FieldName::of(name);
        for field in &mut self.list {
            if field.known == known
                && (known != FieldName::Other || field.name.of(bytes).eq_ignore_ascii_case(name))
            {
                field.hop_by_hop = true;
            }
        }
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = &'a Field;
    type IntoIter = std::slice::Iter<'a, Field>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Which names occur, one bit each.
#[derive(Clone, Copy, Default, Debug)]
struct FieldSet(u64);

const _: () = assert!((FieldName::Other as u32) < u64::BITS, "one bit for each name");

impl FieldSet {
    fn add(&mut self, name: FieldName) {
        self.0 |= 1 << name as u32;
    }

    fn has(self, name: FieldName) -> bool {
        self.0 & 1 << name as u32 != 0
    }
}
