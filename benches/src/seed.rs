//! Past events, deliveries and attempts, made by SQL in the shape that the program gives them.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// UUIDv7 (RFC 9562) of a moment.
pub const UUID7: &str =
    "create or replace function bench_uuid7(at timestamptz) returns uuid language sql volatile as $$
  select overlay(encode(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) from 1 for 6), 'hex')
    placing '7' from 13 for 1)::uuid
$$";

/// Deliveries that were made on one day, one per event.
#[derive(Debug)]
pub struct Day<'a> {
    /// The day.
    pub day: NaiveDate,
    /// Whose.
    pub org_id: Uuid,
    /// To which endpoints, in turn.
    pub endpoints: &'a [Uuid],
    /// Of which type.
    pub event_type: &'a str,
    /// How many.
    pub deliveries: i64,
    /// How many attempts each had; the last one succeeded.
    pub attempts: i32,
}

/// Makes the day's partitions and fills them; the deliveries spread evenly over the 24 hours.
pub async fn fill(conn: &mut PgConnection, day: &Day<'_>) -> anyhow::Result<()> {
    sqlx::raw_sql(UUID7).execute(&mut *conn).await?;
    sqlx::query("select create_day($1)").bind(day.day).execute(&mut *conn).await?;
    let start: DateTime<Utc> = day.day.and_time(chrono::NaiveTime::MIN).and_utc();
    sqlx::raw_sql("drop table if exists bench_seed; create unlogged table bench_seed (at timestamptz, event_id uuid, delivery_id uuid, endpoint_id uuid)")
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into bench_seed
         select at, bench_uuid7(at), bench_uuid7(at), ($3::uuid[])[1 + n % cardinality($3::uuid[])]
         from (select n, $1::timestamptz + interval '1 day' * (n + 0.5) / $2 as at from generate_series(0, $2 - 1) n) t",
    )
    .bind(start)
    .bind(day.deliveries)
    .bind(day.endpoints)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into events (id, org_id, type, data, created_at)
         select event_id, $1, $2, '{\"text\":\"' || repeat('x', 200) || '\"}', at from bench_seed",
    )
    .bind(day.org_id)
    .bind(day.event_type)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into deliveries (id, org_id, event_id, endpoint_id, state, attempts, tries, scheduled_from, reason,
                                 created_at, finished_at)
         select delivery_id, $1, event_id, endpoint_id, 'delivered', $2, $2, at,
                'Delivered: attempt ' || $2 || ' was answered with status 200.', at, at + interval '20 ms' from bench_seed",
    )
    .bind(day.org_id)
    .bind(day.attempts)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into attempts (delivery_id, number, org_id, endpoint_id, started_at, duration_ms, status, response_body,
                               remote_addr)
         select delivery_id, number, $1, endpoint_id, at + interval '1 minute' * (number - 1), 5,
                case when number = $2 then 200 else 503 end, 'ok', '127.0.0.1:8080'
         from bench_seed, generate_series(1, $2) number",
    )
    .bind(day.org_id)
    .bind(day.attempts)
    .execute(&mut *conn)
    .await?;
    sqlx::raw_sql("drop table bench_seed").execute(&mut *conn).await?;
    Ok(())
}
