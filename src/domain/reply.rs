/// What came back from one attempt, as data.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The receiver answered.
    Status {
        /// The HTTP status code.
        status: u16,
        /// Its `Retry-After` header, if it sent a valid one.
        retry_after: Option<RetryAfter>,
    },
    /// No answer came.
    Fault {
        /// The kind of fault.
        fault: Fault,
        /// What happened, for people. Holds no URL and no secret.
        detail: Box<str>,
    },
    /// The request can't be rendered for this target; nothing was sent.
    Unrenderable(Box<str>),
    /// The lease had ended before the request started; nothing was sent, and it is no attempt.
    Withheld,
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The host name could not be resolved.
    Dns,
    /// The connection could not be made, broke, or did not speak HTTP.
    Network,
    /// The TLS handshake failed.
    Tls,
    /// What proves to the receiver who we are could not be had, for example a token.
    Auth,
    /// The deadline of the attempt passed.
    Timeout,
    /// The target's `egress` does not allow the address.
    Blocked,
}

impl Fault {
    /// The text used in metrics and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Dns => "dns",
            Fault::Network => "network",
            Fault::Tls => "tls",
            Fault::Auth => "auth",
            Fault::Timeout => "timeout",
            Fault::Blocked => "blocked",
        }
    }
}

/// A `Retry-After` header (RFC 9110 §10.2.3), in either of its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// So many seconds after the response.
    Seconds(u64),
    /// At this time, in milliseconds since 1970-01-01 UTC.
    At(i64),
}
