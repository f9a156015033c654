//! What an organisation has paid for, and how much of what that includes. What a dialect asks of a plan is in its own
//! limits. Whether there is room for more is asked in `quota`.

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

/// Something of which a plan includes so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quota {
    /// Short links that are not put away.
    Links,
    /// QR codes that lead through a short code and are not put away.
    DynamicCodes,
    /// Barcodes that are not put away.
    Barcodes,
    /// Webhook endpoints of all dialects together.
    Endpoints,
    /// Contacts.
    Contacts,
    /// Members.
    Seats,
    /// Visits of links and codes in a calendar month (UTC), without those of robots. Nothing ends when they are used.
    MonthlyScans,
}

impl Quota {
    /// Every quota, in the order of [`INCLUDED`].
    pub const ALL: [Self; 7] = [
        Self::Links,
        Self::DynamicCodes,
        Self::Barcodes,
        Self::Endpoints,
        Self::Contacts,
        Self::Seats,
        Self::MonthlyScans,
    ];

    /// Its name in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::DynamicCodes => "dynamic_codes",
            Self::Barcodes => "barcodes",
            Self::Endpoints => "endpoints",
            Self::Contacts => "contacts",
            Self::Seats => "seats",
            Self::MonthlyScans => "monthly_scans",
        }
    }

    /// What it counts, for sentences.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Links => "short links",
            Self::DynamicCodes => "dynamic QR codes",
            Self::Barcodes => "barcodes",
            Self::Endpoints => "webhook endpoints",
            Self::Contacts => "contacts",
            Self::Seats => "members",
            Self::MonthlyScans => "scans per month",
        }
    }
}

impl Quota {
    /// Whether it is counted by the calendar month, and begins anew with each.
    pub const fn is_monthly(self) -> bool {
        matches!(self, Self::MonthlyScans)
    }
}

/// What each plan includes, in the orders of [`Plan::ALL`] and [`Quota::ALL`]; `None` for as many as one likes.
pub const INCLUDED: [[Option<i64>; Quota::ALL.len()]; Plan::ALL.len()] = [
    [Some(50), Some(10), Some(25), Some(3), Some(100), Some(3), Some(250)],
    [Some(500), Some(50), Some(250), Some(10), Some(1_000), Some(5), Some(500)],
    [Some(5_000), Some(500), Some(2_500), Some(50), Some(10_000), Some(25), Some(10_000)],
    [Some(10_000), Some(5_000), Some(10_000), Some(200), Some(100_000), Some(100), Some(250_000)],
    [None; Quota::ALL.len()],
];

impl Plan {
    /// How many of something the plan includes; `None` for as many as one likes.
    pub const fn includes(self, quota: Quota) -> Option<i64> {
        INCLUDED[self as usize][quota as usize]
    }
}

// `includes` finds a number by its place.
const _: () = {
    let mut place = 0;
    while place < Plan::ALL.len() {
        assert!(Plan::ALL[place] as usize == place);
        place += 1;
    }
    place = 0;
    while place < Quota::ALL.len() {
        assert!(Quota::ALL[place] as usize == place);
        place += 1;
    }
};
