//! Which arrays and objects are open, one bit each.

use super::Expect;

/// Deepest nesting of arrays and objects, the top-level object included. serde_json stops one
/// level earlier, Go's reader at 10,000; real calls stay below 30.
pub const NESTING_MAX: u8 = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Array,
    Object,
}

impl Container {
    pub(super) fn ends_with(self, byte: u8) -> bool {
        match self {
            Self::Array => byte == b']',
            Self::Object => byte == b'}',
        }
    }

    pub(super) fn after_comma(self) -> Expect {
        match self {
            Self::Array => Expect::Value,
            Self::Object => Expect::Name,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// The innermost container is the lowest bit; 1 is an object.
    objects: u128,
    depth: u8,
}

impl Nesting {
    /// Says no when the nesting is as deep as it may be.
    pub(super) fn push(&mut self, container: Container) -> bool {
        if self.depth == NESTING_MAX {
            return false;
        }
        self.objects = self.objects << 1 | u128::from(container == Container::Object);
        self.depth += 1;
        true
    }

    pub(super) fn pop(&mut self) {
        self.objects >>= 1;
        self.depth = self.depth.saturating_sub(1);
    }

    pub(super) fn innermost(&self) -> Container {
        if self.objects & 1 == 1 { Container::Object } else { Container::Array }
    }

    pub(super) fn depth(&self) -> u8 {
        self.depth
    }
}
