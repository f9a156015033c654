//! What an organisation has paid for. What a plan includes is said where it counts (a dialect's limits, for example).

/// A plan, from the smallest to the largest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type, serde::Serialize, serde::Deserialize,
)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// Costs nothing.
    Free,
    /// The first paid one.
    Starter,
    /// The first with QR Code Agency's webhooks.
    Pro,
    /// For teams.
    Business,
    /// The largest.
    Enterprise,
}

impl Plan {
    /// Every plan, from the smallest to the largest.
    pub const ALL: [Self; 5] = [Self::Free, Self::Starter, Self::Pro, Self::Business, Self::Enterprise];

    /// The name in rows and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Starter => "starter",
            Self::Pro => "pro",
            Self::Business => "business",
            Self::Enterprise => "enterprise",
        }
    }

    /// The plan of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.name() == name)
    }
}
