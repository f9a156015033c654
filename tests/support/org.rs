//! An organisation with an owner, a member, and a key of each prefix.

use std::collections::HashMap;

use chrono::Duration;
use chrono_tz::Tz;
use domain::{
    api_key::{self, ApiKeyPrefix, NewApiKey, Scope},
    id::{OrgId, UserId},
    member::{self, Role},
    org::{self, NewOrg},
    plan::Plan,
    session::{OrgClaim, SessionIssuer},
    user::{self, NewUser},
};
use secrecy::{ExposeSecret, SecretString};

use super::app::TestApp;

/// The stories' own session issuer.
pub const SESSION_KEY: &str = include_str!("keys/session.pem");

/// An organisation to tell stories about.
#[derive(Debug, Clone)]
pub struct TestOrg {
    /// Its id.
    pub id: OrgId,
    /// Its owner.
    pub owner: UserId,
    /// Its plain member.
    pub member: UserId,
    keys: HashMap<&'static str, String>,
    member_keys: HashMap<&'static str, String>,
}

impl TestOrg {
    /// Makes an organisation called `slug` on `plan`.
    pub async fn make(app: &TestApp, slug: &str, plan: Plan) -> Self {
        let (now, chance) = (app.clock.now(), &app.chance);
        let mut tx = app.store.begin().await.unwrap();
        let new = NewOrg { slug: slug.parse().unwrap(), name: slug.to_owned(), plan, external_id: None };
        let org = org::create(&mut tx, &new, now, chance).await.unwrap().expect("a fresh slug");
        let mut people = vec![];
        let (mut keys, mut member_keys) = (HashMap::new(), HashMap::new());
        for (name, role) in [("owner", Role::Owner), ("member", Role::Member)] {
            let email = format!("{name}@{slug}.example").parse().unwrap();
            let new = NewUser { email, name: name.to_owned(), external_id: None };
            let person = user::create(&mut tx, &new, now, chance).await.unwrap().expect("a fresh address");
            member::put(&mut tx, org.id, person.id, role, now).await.unwrap();
            for prefix in ApiKeyPrefix::ALL {
                let new = NewApiKey {
                    org_id: org.id,
                    user_id: person.id,
                    name: name.to_owned(),
                    prefix,
                    scopes: Scope::ALL.to_vec(),
                };
                let (_, secret) = api_key::create(&mut tx, &new, now, chance).await.unwrap();
                let keys = if role == Role::Owner { &mut keys } else { &mut member_keys };
                keys.insert(prefix.text(), secret.expose_secret().to_owned());
            }
            people.push(person.id);
        }
        tx.commit().await.unwrap();
        Self { id: org.id, owner: people[0], member: people[1], keys, member_keys }
    }

    /// Lets a person in called `name`, who lives in `zone`.
    pub async fn join(&self, app: &TestApp, name: &str, role: Role, zone: Tz) -> UserId {
        let (now, chance) = (app.clock.now(), &app.chance);
        let mut tx = app.store.begin().await.unwrap();
        let email = format!("{name}@acme.example").parse().unwrap();
        let new = NewUser { email, name: name.to_owned(), external_id: None };
        let person = user::create(&mut tx, &new, now, chance).await.unwrap().expect("a fresh address");
        user::set_time_zone(&mut tx, person.id, zone).await.unwrap();
        member::put(&mut tx, self.id, person.id, role, now).await.unwrap();
        tx.commit().await.unwrap();
        person.id
    }

    /// The owner's key of a prefix such as `ink_`.
    pub fn key(&self, prefix: &str) -> &str {
        &self.keys[prefix]
    }

    /// The plain member's key of a prefix.
    pub fn member_key(&self, prefix: &str) -> &str {
        &self.member_keys[prefix]
    }

    /// A session of the owner, valid for 90 days of the story.
    pub fn session(&self, app: &TestApp) -> String {
        self.session_of(app, self.owner)
    }

    /// A session of the plain member.
    pub fn member_session(&self, app: &TestApp) -> String {
        self.session_of(app, self.member)
    }

    /// A session of any member.
    pub fn session_of(&self, app: &TestApp, user: UserId) -> String {
        let issuer = SessionIssuer::from_pem(&SecretString::from(SESSION_KEY), "stories", None).unwrap();
        let claim = OrgClaim { external_id: self.id.to_string(), role: "owner".into(), slug: None };
        let token = issuer.issue(&user.to_string(), Some(&claim), Duration::days(90), app.clock.now(), &app.chance);
        token.unwrap().expose_secret().to_owned()
    }
}
