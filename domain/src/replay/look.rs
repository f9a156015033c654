//! Reading what a replay takes, a bounded number of rows at a time: a range may hold millions of deliveries of which
//! hardly any is wanted.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Replay;
use crate::id::{DeliveryId, EndpointId};

/// The fewest deliveries of one endpoint that a look reads, however many endpoints there are.
const EACH_LEAST: usize = 16;
/// The deliveries that one look of a count reads.
const COUNTED: usize = 10_000;

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The deliveries to take, in the order of their making.
    pub wanted: Vec<DeliveryId>,
    /// Everything up to here was looked at.
    pub until: Uuid,
    /// Whether that is everything before the end.
    pub end: bool,
}

/// Looks at about `most` deliveries to `endpoints` that come after `after` and before `to`.
pub async fn look(
    conn: &mut PgConnection,
    replay: &Replay,
    endpoints: &[EndpointId],
    after: Uuid,
    to: Uuid,
    most: usize,
) -> Result<Look, sqlx::Error> {
    let each = (most / endpoints.len().max(1)).max(EACH_LEAST);
    let rows = sqlx::query!(
        r#"select d.id, d.endpoint_id as "endpoint_id: EndpointId",
                  (d.state = any($5) and not d.is_test and (d.finished_at is null or d.finished_at <= $6)
                   and ($7::text[] is null or exists (select 1 from events e
                        where e.id = d.event_id and e.org_id = d.org_id and e.type = any($7)))) as "wanted!"
           from unnest($2::uuid[]) as f(endpoint_id) cross join lateral (
             select * from deliveries
             where org_id = $1 and endpoint_id = f.endpoint_id and id > $3 and id < $4 order by id limit $8) d
           order by d.id"#,
        replay.org_id.0,
        &endpoints.iter().map(|id| id.0).collect::<Vec<_>>(),
        after,
        to,
        &replay.delivery_states,
        replay.created_at,
        replay.event_types.as_deref(),
        each as i64,
    )
    .fetch_all(conn)
    .await?;
    let mut seen: HashMap<EndpointId, (usize, Uuid)> = HashMap::new();
    for row in &rows {
        let (count, last) = seen.entry(row.endpoint_id).or_insert((0, row.id));
        (*count, *last) = (*count + 1, row.id);
    }
    // An endpoint that filled its share may have more, so nothing beyond the first such stop has been looked at.
    let stop = seen.values().filter(|(count, _)| *count == each).map(|(_, last)| *last).min();
    let until = stop.unwrap_or(Uuid::from_u128(to.as_u128().saturating_sub(1)));
    let wanted = rows.iter().filter(|row| row.wanted && row.id <= until).map(|row| DeliveryId(row.id)).collect();
    Ok(Look { wanted, until, end: stop.is_none() })
}

/// Counts on with at most `looks` looks; does nothing where all is counted.
pub async fn count(conn: &mut PgConnection, replay: &mut Replay, looks: usize) -> Result<(), sqlx::Error> {
    let Some(mut until) = replay.counted_id else { return Ok(()) };
    for _ in 0..looks {
        let look = look(conn, replay, &replay.endpoint_ids, until, replay.to_id, COUNTED).await?;
        replay.total += look.wanted.len() as i64;
        until = look.until;
        replay.counted_id = (!look.end).then_some(until);
        if look.end {
            break;
        }
    }
    sqlx::query!(
        "update replays set total = $2, counted_id = $3 where id = $1",
        replay.id.0,
        replay.total,
        replay.counted_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}
