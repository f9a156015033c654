//! Migrations as those who have applied them know them: Postgres remembers each one's checksum, and a program whose
//! migration reads otherwise, be it by a comment, does not start there any more.

use std::collections::BTreeMap;

use inkfleet::migrate::MIGRATIONS;

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
