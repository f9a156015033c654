//! What a caller asks of a QR code, checked: every field that breaks a rule is named, what no scanner would read is refused,
//! and only then is anything stored.

use domain::{
    caller::Caller,
    code::{self, Code, Target},
    id::QrId,
    link::{self, batch::DOMAIN_RULE},
    own_domain,
    plan::Quota,
    qr::{
        self, QrCode,
        proof::{Refused, prove},
        style::{Level, Style},
    },
};
use poem_openapi::types::MaybeUndefined;
use sqlx::{PgConnection, types::Json};

use super::{
    change::Asked,
    shape::{QrCodeInput, QrCodePatch},
};
use crate::{
    app::App,
    failure::Failure,
    heavy,
    inkode::asked::{self, CODE_TRIES, check_labels, given},
};

/// A code that is about to be stored, and its logo where that is another now.
pub(super) struct Draft {
    pub(super) code: QrCode,
    pub(super) logo: Option<Option<Vec<u8>>>,
}

/// A new code.
pub(super) struct New {
    /// With its short code, which may be taken yet.
    pub(super) draft: Draft,
    /// Whether somebody chose that.
    pub(super) chosen: bool,
}

/// A new code, checked and proven.
pub(super) async fn new(app: &App, caller: &Caller, input: QrCodeInput) -> Result<New, Failure> {
    let chosen = input.short_code.is_some();
    let (now, dynamic) = (app.clock.now(), input.is_dynamic.unwrap_or(false));
    let random = (dynamic && input.short_code.is_none()).then(|| Code::random(&app.chance).as_str().to_owned());
    let blank = QrCode {
        id: QrId::new(now, &app.chance),
        org_id: caller.org_id,
        name: String::new(),
        content: None,
        payload: (!dynamic).then(String::new),
        domain: dynamic.then(String::new),
        short_code: dynamic.then(|| random.unwrap_or_default()),
        link_id: None,
        style: Json(Style::default()),
        has_logo: false,
        password_hash: None,
        password_version: 0,
        active: true,
        starts_at: None,
        expires_at: None,
        max_scans: None,
        folder_id: None,
        tag_ids: vec![],
        created_by: Some(caller.user_id),
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    let mut style = input.style;
    if let Some(style) = &mut style
        && matches!(style.logo, MaybeUndefined::Value(_))
    {
        style.error_correction.get_or_insert(Level::H.into());
    }
    let patch = QrCodePatch {
        name: input.name,
        content: given(input.content),
        domain: given(input.domain),
        short_code: input.short_code,
        link_id: given(input.link_id),
        style,
        password: given(input.password),
        active: input.active,
        starts_at: given(input.starts_at),
        expires_at: given(input.expires_at),
        max_scans: given(input.max_scans),
        folder_id: given(input.folder_id),
        tag_ids: input.tag_ids,
        archived: None,
    };
    let draft = Asked::read(app, patch, dynamic).await?.change(&blank, now)?;
    let logo = draft.logo.clone().flatten();
    proven(app, &draft.code, logo).await?;
    Ok(New { draft, chosen })
}

/// Refuses a code that no scanner would read.
pub(super) async fn proven(app: &App, code: &QrCode, logo: Option<Vec<u8>>) -> Result<(), Failure> {
    let (text, style) = (code.text(&app.settings.short_url).into_owned(), *code.style);
    let proven = heavy::run(move || prove(&text, &style, logo.as_deref())).await?;
    proven.map_err(|refused| match refused {
        Refused::TooLong(rule) => Failure::unsupported("content", rule.to_string()),
        Refused::Style(why) => Failure::unsupported(format!("style.{}", why.field), why.rule),
    })
}

/// Refuses one more dynamic code where the plan has no room for it.
pub(super) async fn check_room(conn: &mut PgConnection, caller: &Caller, code: &QrCode) -> Result<(), Failure> {
    if !code.is_dynamic() {
        return Ok(());
    }
    asked::check_room(conn, caller, Quota::DynamicCodes, qr::count_dynamic).await
}

/// Refuses a link, a folder or a tag that is new to a code and none of the organisation's.
pub(super) async fn check_known(conn: &mut PgConnection, code: &QrCode, before: &QrCode) -> Result<(), Failure> {
    let (labels, known) = ((code.folder_id, &*code.tag_ids), (before.folder_id, &*before.tag_ids));
    check_labels(conn, code.org_id, labels, known).await?;
    let Some(id) = code.link_id.filter(|_| code.link_id != before.link_id) else { return Ok(()) };
    match link::hold(conn, code.org_id, id).await?.is_some() {
        true => Ok(()),
        false => Err(Failure::field("linkId", "must be a link of yours")),
    }
}

/// Takes the code that `code` has, on a domain that the organisation has proven.
pub(super) async fn take_code(conn: &mut PgConnection, code: &QrCode) -> Result<(), Failure> {
    check_domain(conn, code).await?;
    if taken(conn, code).await? {
        return Ok(());
    }
    let short_code = code.short_code.as_deref().unwrap_or_default();
    Err(Failure::conflict("short_code_taken", format!("The short code {short_code} is taken.")))
}

/// Takes the code that `code` has, or else another that nobody chose either.
pub(super) async fn take_any_code(app: &App, conn: &mut PgConnection, draft: &mut Draft) -> Result<(), Failure> {
    check_domain(conn, &draft.code).await?;
    for _ in 0..CODE_TRIES {
        if taken(conn, &draft.code).await? {
            return Ok(());
        }
        draft.code.short_code = Some(Code::random(&app.chance).as_str().to_owned());
        proven(app, &draft.code, draft.logo.clone().flatten()).await?;
    }
    Err(Failure::internal("no free code was found"))
}

/// Refuses a domain that is not the organisation's, and holds one that is until the transaction ends.
async fn check_domain(conn: &mut PgConnection, code: &QrCode) -> Result<(), Failure> {
    let name = code.domain.as_deref().unwrap_or_default();
    let held = name.is_empty() || own_domain::hold(conn, code.org_id, name).await?;
    if held { Ok(()) } else { Err(Failure::field("domain", DOMAIN_RULE)) }
}

async fn taken(conn: &mut PgConnection, code: &QrCode) -> Result<bool, Failure> {
    let (Some(domain), Some(short_code)) = (&code.domain, &code.short_code) else { return Ok(true) };
    let short_code = short_code.parse().map_err(Failure::internal)?;
    Ok(code::take(conn, domain, &short_code, code.org_id, Target::Qr(code.id)).await?)
}
