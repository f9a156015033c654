//! What a workspace takes home as CSV: all links, all QR codes, and the visits of some days.

mod cells;

use std::{collections::HashMap, sync::Arc};

use chrono::{Days, NaiveDate};
use domain::{
    code::Target,
    id::{LabelId, LinkId, OrgId, QrId},
    label::{self, Kind},
    link, qr,
    visit::{self, Place, Sum},
};
use poem_openapi::{OpenApi, param::Query};
use sqlx::PgConnection;
use uuid::Uuid;

use self::cells::{LINK, QR_CODE, VISIT};
use crate::{
    app::App,
    auth::{Auth, Session},
    csv_file::{CsvFile, Portion, lines},
    failure::Failure,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
};

/// How many links or codes are read at a time.
const PORTION: i64 = 500;
/// Of how many links and codes visits are asked for at a time.
const TARGETS: usize = 500;
/// How many visits.
const VISITS: i64 = 5000;
/// The days of visits that nobody asked a number for, and the most.
const DAYS: (i64, i64) = (30, 366);

/// The routes of files.
#[derive(Debug)]
pub struct ExportApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl ExportApi {
    /// Export all short links
    ///
    /// CSV (RFC 4180), oldest first, those that are put away too. What a spreadsheet would take for a formula has an
    /// apostrophe before it, which an import takes away again.
    #[oai(path = "/links/export", method = "get", operation_id = "exportLinks")]
    async fn links(&self, auth: Auth<Session>) -> Result<CsvFile, Failed<Own>> {
        let of = Arc::new(self.workspace(auth.0.org_id).await?);
        Ok(CsvFile::new("links.csv", None, move |after| links(of.clone(), after)))
    }

    /// Export all QR codes
    ///
    /// CSV (RFC 4180), oldest first, those that are put away too, without their pictures.
    #[oai(path = "/qr/export", method = "get", operation_id = "exportQrCodes")]
    async fn qr_codes(&self, auth: Auth<Session>) -> Result<CsvFile, Failed<Own>> {
        let of = Arc::new(self.workspace(auth.0.org_id).await?);
        Ok(CsvFile::new("qr-codes.csv", None, move |after| qr_codes(of.clone(), after)))
    }

    /// Export visits
    ///
    /// CSV (RFC 4180), a line for each visit that was counted, day by day (UTC), those of programs too. A visitor is told
    /// apart within a day and by nobody beyond it.
    #[oai(path = "/visits/export", method = "get", operation_id = "exportVisits")]
    async fn visits(
        &self,
        auth: Auth<Session>,
        /// Only those of this link or QR code.
        #[oai(name = "targetId")]
        target_id: Query<Option<Text<text::CodeOwnerId>>>,
        /// How many days, today included; 30 if not given. Visits are kept as long as deliveries.
        #[oai(validator(minimum(value = "1"), maximum(value = "366")))]
        days: Query<Option<i64>>,
    ) -> Result<CsvFile, Failed<Own>> {
        let (app, org_id) = (self.0.clone(), auth.0.org_id);
        let days = days.0.unwrap_or(DAYS.0);
        if !(1..=DAYS.1).contains(&days) {
            return Err(Failure::field("days", format!("must be from 1 to {}", DAYS.1)).into());
        }
        let targets = match target_id.0.as_deref() {
            Some(id) => vec![self.target(org_id, id).await?],
            None => visit::targets(&mut *app.store.pool().acquire().await?, org_id).await?,
        };
        let today = app.clock.now().date_naive();
        let first = today - Days::new(days.unsigned_abs() - 1);
        let of = Arc::new(Visits { app, org_id, targets, today });
        Ok(CsvFile::new("visits.csv", At::Names(first), move |at| visits(of.clone(), at)))
    }
}

impl ExportApi {
    async fn workspace(&self, org_id: OrgId) -> Result<Workspace, Failure> {
        let app = self.0.clone();
        let mut conn = app.store.pool().acquire().await?;
        let mut labels = HashMap::new();
        for kind in [Kind::Folder, Kind::Tag] {
            labels.extend(label::list(&mut conn, org_id, kind, true).await?.into_iter().map(|it| (it.id, it.name)));
        }
        drop(conn);
        Ok(Workspace { app, org_id, labels })
    }

    /// A link or QR code of the organisation.
    async fn target(&self, org_id: OrgId, id: &str) -> Result<Uuid, Failure> {
        let unknown = || Failure::field("targetId", "must be the id of a link or a QR code of yours");
        let target: Target = id.parse().map_err(|_| unknown())?;
        let mut conn = self.0.store.pool().acquire().await?;
        let known = match target {
            Target::Link(id) => link::find(&mut conn, org_id, id).await?.is_some(),
            Target::Qr(id) => qr::find(&mut conn, org_id, id).await?.is_some(),
        };
        if known { Ok(target.row().1) } else { Err(unknown()) }
    }
}

/// Whose things are written down, and what their folders and tags are called.
struct Workspace {
    app: App,
    org_id: OrgId,
    labels: HashMap<LabelId, String>,
}

impl Workspace {
    /// What each of the things `ids` was visited, as far as it was counted.
    async fn sums(&self, conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Sum>, sqlx::Error> {
        let totals = visit::totals(conn, self.org_id, ids).await?;
        Ok(ids.iter().map(|id| totals.get(id).map(|total| total.sum).unwrap_or_default()).collect())
    }
}

/// The links behind `after`, with the names of the columns before the first.
async fn links(of: Arc<Workspace>, after: Option<Uuid>) -> Portion<Option<Uuid>> {
    let mut conn = of.app.store.pool().acquire().await?;
    let rows = link::list_behind(&mut conn, of.org_id, LinkId(after.unwrap_or_default()), PORTION).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id.0).collect();
    let sums = of.sums(&mut conn, &ids).await?;
    drop(conn);
    let cells = rows.iter().zip(sums).map(|(row, sum)| cells::of_link(&of, row, sum));
    portion(after.is_none().then_some(LINK), cells, &ids)
}

/// The QR codes behind `after`, in the same way.
async fn qr_codes(of: Arc<Workspace>, after: Option<Uuid>) -> Portion<Option<Uuid>> {
    let mut conn = of.app.store.pool().acquire().await?;
    let rows = qr::list_behind(&mut conn, of.org_id, QrId(after.unwrap_or_default()), PORTION).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id.0).collect();
    let sums = of.sums(&mut conn, &ids).await?;
    drop(conn);
    let cells = rows.iter().zip(sums).map(|(row, sum)| cells::of_qr_code(&of, row, sum));
    portion(after.is_none().then_some(QR_CODE), cells, &ids)
}

/// The lines of the things `ids`, behind the names of the columns if these are given; nothing where there is neither.
fn portion<const N: usize>(
    names: Option<[&str; N]>,
    cells: impl Iterator<Item = [String; N]>,
    ids: &[Uuid],
) -> Portion<Option<Uuid>> {
    if ids.is_empty() && names.is_none() {
        return Ok(None);
    }
    let names = names.into_iter().map(|names| names.map(str::to_owned));
    // Behind nothing at all comes nothing.
    let last = ids.last().copied().unwrap_or(Uuid::max());
    Ok(Some((lines(names.chain(cells))?, Some(last))))
}

/// Whose visits are written down.
struct Visits {
    app: App,
    org_id: OrgId,
    targets: Vec<Uuid>,
    today: NaiveDate,
}

/// How far a file of visits has come.
#[derive(Clone, Copy)]
enum At {
    /// Nowhere; the first day.
    Names(NaiveDate),
    /// Behind a visit of a day and of the nth portion of targets.
    Day(NaiveDate, usize, Place),
}

async fn visits(of: Arc<Visits>, at: At) -> Portion<At> {
    let (mut day, mut n, mut place) = match at {
        At::Names(first) => return Ok(Some((lines([VISIT])?, At::Day(first, 0, Place::default())))),
        At::Day(day, n, place) => (day, n, place),
    };
    while day <= of.today {
        let Some(targets) = of.targets.chunks(TARGETS).nth(n) else {
            (day, n, place) = (day + Days::new(1), 0, Place::default());
            continue;
        };
        let mut conn = of.app.store.pool().acquire().await?;
        let rows = visit::list_behind(&mut conn, of.org_id, targets, day, place, VISITS).await?;
        drop(conn);
        if let Some(last) = rows.last() {
            return Ok(Some((lines(rows.iter().map(cells::of_visit))?, At::Day(day, n, last.place()))));
        }
        (n, place) = (n + 1, Place::default());
    }
    Ok(None)
}
