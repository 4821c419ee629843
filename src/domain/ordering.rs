/// `ordering`: which deliveries of a target wait for earlier ones (DESIGN.md §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// None does.
    #[default]
    None,
    /// One at a time for each key.
    ByKey,
    /// One at a time for each partition.
    Strict,
}

impl Ordering {
    /// As it is written in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Ordering::None => "none",
            Ordering::ByKey => "by_key",
            Ordering::Strict => "strict",
        }
    }
}
