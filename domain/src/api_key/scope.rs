//! What an API key may be used for, beside what its owner's role allows.

/// One thing that a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Publish events.
    EventsWrite,
    /// Look at published events and at the catalogues.
    EventsRead,
    /// Look at endpoints.
    WebhooksRead,
    /// Create, change, rotate, test and delete endpoints.
    WebhooksWrite,
    /// Look at deliveries and their attempts.
    DeliveriesRead,
    /// Retry and replay deliveries.
    DeliveriesWrite,
    /// Look at folders, QR codes and barcodes, and take their pictures.
    LibraryRead,
}

const NAMES: [(Scope, &str); 7] = [
    (Scope::EventsWrite, "events:write"),
    (Scope::EventsRead, "events:read"),
    (Scope::WebhooksRead, "webhooks:read"),
    (Scope::WebhooksWrite, "webhooks:write"),
    (Scope::DeliveriesRead, "deliveries:read"),
    (Scope::DeliveriesWrite, "deliveries:write"),
    (Scope::LibraryRead, "library:read"),
];

impl Scope {
    /// Every scope: what a new key has unless it says otherwise.
    pub const ALL: [Self; 7] = [
        Self::EventsWrite,
        Self::EventsRead,
        Self::WebhooksRead,
        Self::WebhooksWrite,
        Self::DeliveriesRead,
        Self::DeliveriesWrite,
        Self::LibraryRead,
    ];

    /// The name in rows and answers.
    pub const fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The scope of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(scope, _)| *scope)
    }
}
