//! Migrations as those who have applied them know them: Postgres remembers each one's checksum, and a program whose
//! migration reads otherwise, be it by a comment, does not start there any more.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::{id::OrgId, visit};
use inkfleet::migrate::MIGRATIONS;
use sqlx::{Connection, PgConnection, migrate::Migrator};
use uuid::Uuid;

use crate::support::database::Database;

#[test]
fn a_migration_that_was_ever_applied_stays_as_it_is_to_the_letter() {
    let noted: BTreeMap<&str, &str> = include_str!("../migrations/SHA384SUMS")
        .lines()
        .map(|line| line.split_once("  ").expect("lines are those of sha384sum"))
        .map(|(sum, file)| (file.split_once('_').expect("files begin with their number").0, sum))
        .collect();
    let present: Vec<(String, String)> =
        MIGRATIONS.iter().map(|m| (format!("{:04}", m.version), hex::encode(&m.checksum))).collect();
    for (number, sum) in &present {
        let known = noted.get(number.as_str()).copied();
        assert_eq!(
            known,
            Some(sum.as_str()),
            "migration {number}: if it is new, add its line with `sha384sum` to migrations/SHA384SUMS; if it is not, leave \
             it as it was and write another"
        );
    }
    assert_eq!(noted.len(), present.len(), "a migration that was applied cannot be taken away");
}

#[tokio::test]
async fn sums_of_visits_that_were_json_stay_what_they_were() {
    let database = Database::empty().await;
    let mut conn = PgConnection::connect(&database.url).await.unwrap();
    let before = MIGRATIONS.iter().filter(|m| m.version < 22).cloned().collect();
    Migrator::with_migrations(before).run(&mut conn).await.unwrap();
    let mut facets = serde_json::json!({
        "hour": {"9": [3, 2], "13": [300_000, 64]},
        "referrer": {"": [63, 0], "bücher.example": [1, 1]},
        "branch": {},
    });
    let (org, day) = (OrgId(Uuid::from_u128(7)), NaiveDate::from_ymd_opt(2026, 3, 2).unwrap());
    for (target, facets) in [(1, &facets), (2, &serde_json::json!({}))] {
        sqlx::query("insert into visit_days values ($1, $2, $3, 300003, 66, 5, $4)")
            .bind(org.0)
            .bind(Uuid::from_u128(target))
            .bind(day)
            .bind(facets)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    MIGRATIONS.run(&mut conn).await.unwrap();

    let traffic = visit::traffic(&mut conn, org, Some(Uuid::from_u128(1)), day, day).await.unwrap();
    let tally = &traffic.days[&day];
    assert_eq!((tally.sum.visits, tally.sum.uniques, tally.bots), (300_003, 66, 5));
    // A facet without values is as good as none.
    facets.as_object_mut().unwrap().remove("branch");
    assert_eq!(serde_json::to_value(&tally.facets).unwrap(), facets);
    let traffic = visit::traffic(&mut conn, org, Some(Uuid::from_u128(2)), day, day).await.unwrap();
    assert!(traffic.days[&day].facets.is_empty());
    conn.close().await.unwrap();
    database.remove();
}
