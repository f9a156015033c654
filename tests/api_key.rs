//! API keys: what they look like, what their scopes and their owner's role allow.

use domain::{
    api_key::{ApiKeyOwner, ApiKeyPrefix, Scope},
    caller::{Caller, Forbidden, Via},
    id::{ApiKeyId, OrgId, UserId},
    member::Role,
    plan::Plan,
};

fn caller(role: Role, scopes: &[Scope]) -> Caller {
    Caller::from_api_key(ApiKeyOwner {
        key_id: ApiKeyId(Default::default()),
        org_id: OrgId::SYSTEM,
        user_id: UserId(Default::default()),
        prefix: ApiKeyPrefix::Ink,
        scopes: scopes.to_vec(),
        role,
        suspended: false,
        plan: Plan::Pro,
    })
}

#[test]
fn each_surface_has_its_prefix() {
    let texts: Vec<&str> = ApiKeyPrefix::ALL.iter().map(|prefix| prefix.text()).collect();
    assert_eq!(texts, ["ink_", "ilqr_", "secret_live_", "inkr_", "smk_"]);
    for prefix in ApiKeyPrefix::ALL {
        assert_eq!(format!("{}_", prefix.name()), prefix.text());
        assert_eq!(ApiKeyPrefix::by_name(prefix.name()), Some(prefix));
        assert_eq!(ApiKeyPrefix::by_name(prefix.text()), Some(prefix));
        let key = format!("{}{}", prefix.text(), "aB3".repeat(14).split_at(40).0);
        assert_eq!(ApiKeyPrefix::of_secret(&key), Some(prefix));
    }
}

#[test]
fn what_cannot_be_a_key_is_told_from_its_text() {
    let forty = "a".repeat(40);
    for text in [
        String::new(),
        "ink_".into(),
        forty.clone(),
        format!("key_{forty}"),
        format!("INK_{forty}"),
        format!("ink_{}", "a".repeat(39)),
        format!("ink_{forty}a"),
        format!("ink_{}", "é".repeat(20)),
        format!("ink_{}\0", "a".repeat(39)),
        format!(" ink_{forty}"),
    ] {
        assert_eq!(ApiKeyPrefix::of_secret(&text), None, "{text:?}");
    }
}

#[test]
fn every_scope_is_found_by_its_name() {
    for scope in Scope::ALL {
        assert_eq!(Scope::by_name(scope.name()), Some(scope));
    }
    assert_eq!(Scope::by_name("events:admin"), None);
}

#[test]
fn members_read_and_owners_and_admins_manage() {
    assert_eq!(caller(Role::Owner, &Scope::ALL).require_manager(), Ok(()));
    assert_eq!(caller(Role::Admin, &Scope::ALL).require_manager(), Ok(()));
    assert_eq!(caller(Role::Member, &Scope::ALL).require_manager(), Err(Forbidden::Role));
}

#[test]
fn a_key_does_what_its_scopes_say_and_the_refusal_names_the_scope() {
    let caller = caller(Role::Owner, &[Scope::EventsWrite]);
    assert_eq!(caller.require_scope(Scope::EventsWrite), Ok(()));
    let refused = caller.require_scope(Scope::WebhooksWrite).unwrap_err();
    assert_eq!(refused.to_string(), "this API key does not have the scope webhooks:write");
    assert!(matches!(caller.via, Via::ApiKey { prefix: ApiKeyPrefix::Ink, .. }));
}

#[test]
fn plans_are_in_the_order_of_their_size() {
    assert!(Plan::ALL.is_sorted());
    assert!(Plan::ALL.iter().all(|plan| Plan::by_name(plan.name()) == Some(*plan)));
}
