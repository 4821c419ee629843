/// `rate`: how many attempts a target gets in this process, by a token bucket. Already divided by
/// `replicas`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Attempts a second; more than 0.
    pub per_second: f64,
    /// Attempts that may be made at once after a pause; at least 1.
    pub burst: f64,
}
