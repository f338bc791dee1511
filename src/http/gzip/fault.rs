//! Why a compressed body is refused.

use std::fmt;

/// What is wrong with a compressed body, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GzipFault {
    /// Offset in the body as it came, in bytes.
    pub at: u64,
    pub problem: GzipProblem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GzipProblem {
    /// It does not begin as RFC 1952 says.
    NotGzip,
    /// A flag is set that RFC 1952 does not define: what it stands for cannot be skipped.
    UnknownFlag,
    HeaderChecksum,
    Corrupt,
    Checksum,
    Length,
    Ended,
    Trailing,
}

impl std::error::Error for GzipFault {}

impl fmt::Display for GzipFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.problem)
    }
}

impl fmt::Display for GzipProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotGzip => "it does not begin as gzip does",
            Self::UnknownFlag => "a flag that is not defined",
            Self::HeaderChecksum => "the checksum of the header is wrong",
            Self::Corrupt => "the compressed data is broken",
            Self::Checksum => "the checksum of the content is wrong",
            Self::Length => "the stated length is not that of the content",
            Self::Ended => "it breaks off",
            Self::Trailing => "something follows its end",
        })
    }
}
