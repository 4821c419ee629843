use super::Moment;

/// Whether a target gets attempts now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetState {
    /// It does.
    #[default]
    Active,
    /// It failed so often that only one delivery is tried now and then.
    Open {
        /// When the next one is tried.
        next_probe: Moment,
    },
    /// That one is being tried.
    Probing,
    /// It asked for a pause (`Retry-After`).
    Paused {
        /// Until then.
        until: Moment,
    },
    /// It is switched off, by configuration or by its own answers.
    Disabled,
}

impl TargetState {
    /// All texts of [`TargetState::as_str`].
    pub const NAMES: [&str; 5] = ["active", "open", "probing", "paused", "disabled"];

    /// The text used in metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetState::Active => "active",
            TargetState::Open { .. } => "open",
            TargetState::Probing => "probing",
            TargetState::Paused { .. } => "paused",
            TargetState::Disabled => "disabled",
        }
    }
}

/// How a target stands in this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetStanding {
    /// Whether it gets attempts.
    pub state: TargetState,
    /// Since when.
    pub since: Moment,
    /// Why, for people; `None` while it is active. Holds no URL and no secret.
    pub reason: Option<Box<str>>,
}
