//! The way out of mails, used twice at the same time.

use domain::{
    id::OrgId,
    notification::{Letters, Subscription},
};

use super::*;

/// Waits until so many connections wait for a lock.
async fn waiting(app: &TestApp, connections: i64) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let begun = std::time::Instant::now();
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(app.store.pool()).await.unwrap() < connections {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{connections} never wait");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn of_clicks_at_the_same_time_each_ends_what_it_is_for() {
    let app = TestApp::start().await;
    let mut orgs = [app.org("acme").await, app.org("other").await];
    let person = orgs[0].member;
    let mut conn = app.store.pool().acquire().await.unwrap();
    domain::member::put(&mut conn, orgs[1].id, person, Role::Member, app.clock.now()).await.unwrap();
    // Memberships are held in the order of the organisations.
    orgs.sort_by_key(|org| org.id.0);
    let [first, last] = &orgs;
    let click = async |after: i64, org_id: OrgId, letters: Letters| {
        waiting(&app, after).await;
        let subscription = Subscription { org_id, user_id: person, letters };
        let path = subscription.address("", &app.context.sealing, &app.chance);
        assert_eq!(app.call("POST", &path, "", None).await.status, 200, "{letters:?} of {org_id}");
    };
    // Somebody holds the first membership until all three have come as far as they get.
    let mut held = app.store.begin().await.unwrap();
    sqlx::query("select from members where org_id = $1 and user_id = $2 for no key update")
        .bind(first.id.0)
        .bind(person.0)
        .execute(&mut *held)
        .await
        .unwrap();
    tokio::join!(
        click(0, first.id, Letters::Notifications),
        click(1, last.id, Letters::Notifications),
        click(2, first.id, Letters::Digest),
        async {
            waiting(&app, 3).await;
            held.commit().await.unwrap();
        },
    );
    let wishes = async |org: &TestOrg| {
        let wishes = Member { app: &app, org, id: person }.ask("GET", "/preferences", None).await.expect(200);
        (wishes["mode"].clone(), wishes["weeklyDigest"].clone())
    };
    assert_eq!(wishes(first).await, (json!("off"), json!(false)));
    assert_eq!(wishes(last).await, (json!("off"), json!(true)));
}
