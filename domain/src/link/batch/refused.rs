//! Why a change of a batch was not made.

use super::{CODE_RULE, DOMAIN_RULE};
use crate::{downgrade::Beyond, quota::Full};

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The organisation has no such link.
    #[error("No link has this id.")]
    Unknown,
    /// An earlier change of the batch is of the same link.
    #[error("The link is there twice.")]
    Twice,
    /// The code belongs to something else.
    #[error("The slug {slug} is taken: {address} leads elsewhere.")]
    Taken {
        /// The code.
        slug: String,
        /// The whole address.
        address: String,
    },
    /// The domain is none that the organisation has proven.
    #[error("domain {DOMAIN_RULE}")]
    Domain,
    /// The QR code that is to lead through the link is none of the organisation's, or static.
    #[error("qrCodeId {CODE_RULE}")]
    QrCode,
    /// No code was found that is free.
    #[error("No free code was found.")]
    NoCode,
    /// Fields that name a folder or tag which is not the organisation's or put away.
    #[error("{}", .0.iter().map(|(field, rule)| format!("{field} {rule}")).collect::<Vec<_>>().join("; "))]
    Labels(Vec<(String, &'static str)>),
    /// The plan has no room for more.
    #[error(transparent)]
    Full(#[from] Full),
    /// The link is beyond the plan.
    #[error(transparent)]
    Beyond(#[from] Beyond),
}
