//! Who asks: what a session, an API key or another proof of identity becomes before anything is decided.

use crate::{
    api_key::{ApiKeyOwner, ApiKeyPrefix, Scope},
    id::{ApiKeyId, GrantId, OrgId, UserId},
    member::{Membership, Role},
    oauth,
    plan::Plan,
};

/// A person who acts in an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The organisation whose rows they see.
    pub org_id: OrgId,
    /// The person.
    pub user_id: UserId,
    /// What they may do, as of now.
    pub role: Role,
    /// What the proof of identity allows beside the role.
    pub scopes: Vec<Scope>,
    /// How they proved who they are.
    pub via: Via,
    /// What the organisation has paid for.
    pub plan: Plan,
    /// Whether that is suspended, because an invoice stayed unpaid: then nothing can be made or changed.
    pub suspended: bool,
}

/// A proof of identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A signed-in session.
    Session,
    /// An API key.
    ApiKey {
        /// The surface it was made for.
        prefix: ApiKeyPrefix,
        /// Its row.
        id: ApiKeyId,
    },
    /// An access token that a member let a program have.
    Oauth {
        /// What they allowed.
        id: GrantId,
    },
}

/// What a caller lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The role reads only.
    #[error("this needs the role owner or admin")]
    Role,
    /// The key or token was made without this scope.
    #[error("this API key does not have the scope {}", .0.name())]
    Scope(Scope),
}

impl Caller {
    /// A signed-in member, who may do all that their role allows.
    pub fn from_session(member: &Membership) -> Self {
        Self {
            org_id: member.org_id,
            user_id: member.user_id,
            role: member.role,
            scopes: Scope::ALL.to_vec(),
            via: Via::Session,
            plan: member.plan,
            suspended: member.suspended,
        }
    }

    /// The owner of an API key, within the key's scopes.
    pub fn from_api_key(owner: ApiKeyOwner) -> Self {
        Self {
            org_id: owner.org_id,
            user_id: owner.user_id,
            role: owner.role,
            scopes: owner.scopes,
            via: Via::ApiKey { prefix: owner.prefix, id: owner.key_id },
            plan: owner.plan,
            suspended: owner.suspended,
        }
    }

    /// The member behind an access token, within what they allowed.
    pub fn from_oauth(owner: oauth::Owner) -> Self {
        Self {
            org_id: owner.org_id,
            user_id: owner.user_id,
            role: owner.role,
            scopes: owner.scopes,
            via: Via::Oauth { id: owner.grant_id },
            plan: owner.plan,
            suspended: owner.suspended,
        }
    }

    /// Refuses whoever may only read.
    pub fn require_manager(&self) -> Result<(), Forbidden> {
        if self.role.may_manage() { Ok(()) } else { Err(Forbidden::Role) }
    }

    /// Refuses a key that was made without `scope`.
    pub fn require_scope(&self, scope: Scope) -> Result<(), Forbidden> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(Forbidden::Scope(scope)) }
    }
}
