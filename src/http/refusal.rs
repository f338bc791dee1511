//! Why a message is refused: the words for the metric, the answer and the operator's log.

macro_rules! refusals {
    ($($finding:ident $label:literal $explanation:literal;)*) => {
        /// What is wrong with a message. Most findings apply to requests and responses alike;
        /// for a response they are carried by a [`ResponseFault`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Refusal {
            $(#[doc = $explanation] $finding,)*
        }

        impl Refusal {
            /// How many findings there are.
            pub const COUNT: usize = [$($label),*].len();

            /// Every finding, at its [`Refusal::index`].
            pub const ALL: [Self; Self::COUNT] = [$(Self::$finding),*];

            /// The value of the metric's label `reason`.
            pub fn label(self) -> &'static str {
                match self { $(Self::$finding => $label),* }
            }

            /// One sentence for the operator's log.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$finding => $explanation),* }
            }
        }
    };
}

refusals! {
    // Lines and fields of a head.
    LineFeedBare "bare_line_feed" "A line ends in LF without CR.";
    CarriageReturnBare "bare_carriage_return" "A CR stands without LF.";
    FieldFolded "folded_field" "A line starts with a space or tab: a folded field, or a second start line.";
    FieldNameEmpty "empty_field_name" "A field line starts with its colon.";
    FieldNameInvalid "invalid_field_name" "A field name holds a byte that no token may hold.";
    FieldNameSpace "space_in_field_name" "A space or tab stands in a field name or before its colon.";
    FieldNameTwin "field_name_twin" "A field name turns into that of a framing or identity field where a server reads underscores as hyphens.";
    ColonMissing "missing_colon" "A field line has no colon.";
    FieldValueInvalid "invalid_field_value" "A field value holds a control character.";
    StartLineTooLong "start_line_too_long" "The start line alone is larger than the limit of the head.";
    FieldValuePadded "padded_field_value" "A field value of HTTP/2 begins or ends with a space or tab.";
    HeadTooLarge "head_too_large" "The head is larger than the limit.";
    FieldsTooMany "too_many_fields" "The head has more fields than the limit.";

    // How long the body is.
    LengthInvalid "invalid_length" "Content-Length is not one plain decimal number.";
    LengthRepeated "repeated_length" "There is more than one Content-Length.";
    LengthTooLarge "length_too_large" "Content-Length is larger than any body can be.";
    LengthWithCoding "length_with_coding" "Content-Length stands next to Transfer-Encoding.";
    CodingInvalid "invalid_coding" "Transfer-Encoding is not a list of tokens.";
    CodingUnsupported "unsupported_coding" "Transfer-Encoding names a coding other than chunked.";
    CodingRepeated "repeated_coding" "Transfer-Encoding says chunked twice.";
    CodingAfterChunked "coding_after_chunked" "Transfer-Encoding has chunked, but not last.";
    CodingInHttp10 "coding_in_http_1_0" "An HTTP/1.0 message has Transfer-Encoding.";

    // What concerns this connection only.
    ConnectionInvalid "invalid_connection" "Connection is not a short list of tokens.";
    ConnectionNamesProtected "connection_names_protected" "Connection asks to drop a framing or identity field.";

    // The body.
    ChunkSizeInvalid "invalid_chunk_size" "A chunk size is not a plain hexadecimal number.";
    ChunkSizeTooLarge "chunk_size_too_large" "A chunk size is larger than any body can be.";
    ChunkExtensionInvalid "invalid_chunk_extension" "A chunk extension breaks the grammar.";
    ChunkLineTooLong "chunk_line_too_long" "The line of a chunk size is longer than the limit.";
    ChunkUnterminated "unterminated_chunk" "The data of a chunk is not followed by CRLF.";
    TrailersTooLarge "trailers_too_large" "The trailers are larger than the limit.";
    BodyIncomplete "incomplete_body" "The connection ended in the middle of a body.";
    BodyTooLarge "body_too_large" "The body is larger than the limit.";
    BodyTimeout "body_timeout" "The body stopped arriving.";
    BodyTooSlow "body_too_slow" "The body came too slowly as a whole.";

    // The request line.
    EmptyLinesRepeated "repeated_empty_lines" "More than one empty line stands before the request line.";
    RequestLineSpacing "request_line_spacing" "The request line is not three words with single spaces between them.";
    MethodInvalid "invalid_method" "The method holds a byte that no token may hold.";
    MethodTooLong "method_too_long" "The method is longer than any that is known.";
    MethodCase "method_case" "The method differs from a known one only in upper and lower case.";
    MethodUnsupported "unsupported_method" "CONNECT asks for a tunnel, which a gateway does not give.";
    MethodRefused "refused_method" "TRACE would show a client what the gateway adds to its requests.";
    TargetInvalid "invalid_target" "The request target holds a byte that no URI may hold.";
    TargetFragment "target_fragment" "The request target has a fragment.";
    TargetForm "target_form" "The request target has none of the forms that its method may have.";
    TargetScheme "target_scheme" "The request target has a scheme other than http and https.";
    TargetAuthority "target_authority" "The host or port of the request target is invalid.";
    VersionMissing "missing_version" "The request line ends without a version, as in HTTP/0.9.";
    VersionInvalid "invalid_version" "The version is not HTTP/ with one digit, a dot and one digit.";
    VersionUnsupported "unsupported_version" "The version is neither HTTP/1.1 nor HTTP/1.0.";

    // What a request means.
    HostMissing "missing_host" "An HTTP/1.1 request has no Host.";
    HostRepeated "repeated_host" "There is more than one Host.";
    HostInvalid "invalid_host" "Host is not a host with an optional port.";
    HostDisagrees "host_disagrees" "Host differs from the host in the request target.";
    ExpectationUnsupported "unsupported_expectation" "Expect asks for something other than 100-continue.";
    HeadTimeout "head_timeout" "The head stopped arriving.";
    HeadIncomplete "incomplete_head" "The connection ended in the middle of a head.";

    // The path.
    PathEscapeInvalid "invalid_path_escape" "A percent sign in the path is not followed by two hexadecimal digits.";
    PathSlashEncoded "encoded_slash" "The path holds an encoded slash.";
    PathNulEncoded "encoded_nul" "The path holds an encoded NUL.";
    PathBackslash "path_backslash" "The path holds a backslash, plain or encoded.";
    PathAboveRoot "path_above_root" "Dot segments lead above the root of the path.";
    PathDotParameter "path_dot_parameter" "A dot segment has a parameter, which servlet containers drop before they resolve it.";
    PathInvalid "invalid_path" "The path does not start with a slash, or holds a byte that no path may hold.";

    // The PROXY protocol.
    ProxyHeaderMissing "missing_proxy_header" "The connection does not begin with a PROXY protocol header.";
    ProxyHeaderInvalid "invalid_proxy_header" "The PROXY protocol header breaks its grammar.";
    ProxyHeaderTooLong "proxy_header_too_long" "The PROXY protocol header is longer than the limit.";
    ProxyHeaderChecksum "wrong_proxy_header_checksum" "The PROXY protocol header is not what its checksum was taken of.";
    ProxyHeaderIncomplete "incomplete_proxy_header" "The connection ended in the middle of a PROXY protocol header.";
    ProxyHeaderTimeout "proxy_header_timeout" "The PROXY protocol header stopped arriving.";
    ProxyUntrusted "untrusted_proxy" "The peer is not trusted to say whose connection it passes on.";

    // A connection of HTTP/2 as a whole: it is closed.
    Http2Broken "http2_broken" "The connection broke a rule of HTTP/2.";
    Http2Flood "http2_flood" "Frames came that cost more than they are worth: resets or empty DATA in a burst, CONTINUATION without end.";
    Http2Resets "http2_resets" "The client cancelled too many of its requests.";
    Http2Control "http2_control_frames" "Too many PING, SETTINGS, PRIORITY, WINDOW_UPDATE or unknown frames came.";

    // What a route does not take.
    AddressDenied "address_denied" "The route is not open to the client's address.";
    WebSocketUnserved "websocket_unserved" "All endpoints of the route speak HTTP/2, on which WebSockets are not passed on.";
    RedirectHostMissing "redirect_without_host" "The request names no host to be redirected to.";

    // Responses.
    StatusLineInvalid "invalid_status_line" "The response does not start with a status line.";
    InterimTooMany "too_many_interim_responses" "More interim responses (1xx) came than any server needs.";
    SwitchUnasked "unasked_switch" "The response switches protocols without having been asked, or does not say to which.";
    WebSocketAcceptWrong "wrong_websocket_accept" "The response accepts another WebSocket than the one that was asked for.";
}

impl Refusal {
    /// Position in [`Refusal::ALL`], for counters kept in arrays.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The status that tells a client so.
    pub fn status(self) -> u16 {
        match self {
            Self::AddressDenied => 403,
            Self::MethodRefused => 405,
            Self::HeadTimeout | Self::BodyTimeout | Self::BodyTooSlow => 408,
            Self::BodyTooLarge | Self::LengthTooLarge => 413,
            Self::StartLineTooLong => 414,
            Self::ExpectationUnsupported => 417,
            Self::HeadTooLarge | Self::FieldsTooMany | Self::TrailersTooLarge => 431,
            Self::CodingUnsupported | Self::MethodUnsupported | Self::WebSocketUnserved => 501,
            Self::StatusLineInvalid
            | Self::SwitchUnasked
            | Self::WebSocketAcceptWrong
            | Self::InterimTooMany => ResponseFault::STATUS,
            Self::VersionUnsupported => 505,
            _ => 400,
        }
    }
}

/// What is wrong with a response. A type of its own, so that an upstream's fault is never
/// answered as if it were the client's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ResponseFault(pub Refusal);

impl ResponseFault {
    /// The status that tells a client so: Bad Gateway.
    pub const STATUS: u16 = 502;

    /// As [`Refusal::label`].
    pub fn label(self) -> &'static str {
        self.0.label()
    }

    /// As [`Refusal::explanation`].
    pub fn explanation(self) -> &'static str {
        self.0.explanation()
    }

    /// As [`Refusal::index`].
    pub fn index(self) -> usize {
        self.0.index()
    }

    /// [`ResponseFault::STATUS`], whatever the finding.
    pub fn status(self) -> u16 {
        Self::STATUS
    }
}

impl From<Refusal> for ResponseFault {
    fn from(finding: Refusal) -> Self {
        Self(finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_finding_stands_at_its_index() {
        for (index, finding) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(finding.index(), index);
        }
    }

    #[test]
    fn labels_are_distinct_and_in_snake_case() {
        let labels: HashSet<_> = Refusal::ALL.iter().map(|finding| finding.label()).collect();
        assert_eq!(labels.len(), Refusal::COUNT);
        for label in labels {
            let is_snake = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            assert!(label.bytes().all(is_snake), "{label}");
        }
    }

    #[test]
    fn a_fault_of_an_upstream_is_never_answered_as_the_clients() {
        for finding in Refusal::ALL {
            assert_eq!(ResponseFault::from(finding).status(), 502);
            assert!((400..=505).contains(&finding.status()));
        }
    }
}
