//! The library on the wire.

use domain::{barcode::Shown, qr};
use poem_openapi::{Enum, Object};

use crate::{
    text::{self, Text},
    timestamp::Timestamp,
};

/// A workspace.
#[derive(Debug, Object)]
pub(super) struct CanvaWorkspace {
    /// Its id.
    pub(super) id: Text<text::OrgId>,
    /// Its name in addresses.
    pub(super) slug: String,
    /// What it is called.
    pub(super) name: String,
    /// Its plan.
    pub(super) plan: String,
}

/// A member.
#[derive(Debug, Object)]
pub(super) struct CanvaUser {
    /// Their id.
    pub(super) id: Text<text::UserId>,
    /// What they are called; may be empty.
    pub(super) name: String,
    /// Where they are written to.
    pub(super) email: String,
    /// What they may do in the workspace.
    pub(super) role: String,
}

/// What opens the library.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum ConnectionType {
    /// An access token that a member let a program have.
    Oauth,
    /// An API key.
    ApiKey,
}

/// What the request was opened by.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct CanvaConnection {
    /// Its kind.
    pub(super) r#type: ConnectionType,
    /// Its id: of the grant, or of the key.
    pub(super) id: String,
    /// What the program or the key is called.
    pub(super) name: String,
    /// What it may be used for.
    pub(super) scopes: Vec<String>,
    /// Since when there is one.
    pub(super) created_at: Timestamp,
}

/// Whom a token or key speaks for.
#[derive(Debug, Object)]
pub(super) struct CanvaMe {
    /// The workspace that it opens.
    pub(super) workspace: CanvaWorkspace,
    /// Whose it is.
    pub(super) user: CanvaUser,
    /// The token or key.
    pub(super) connection: CanvaConnection,
}

/// A folder.
#[derive(Debug, Object)]
pub(super) struct CanvaFolder {
    /// Its id.
    pub(super) id: Text<text::FolderId>,
    /// What it is called.
    pub(super) name: String,
}

/// The folders of a workspace that are not put away, by name.
#[derive(Debug, Object)]
pub(super) struct CanvaFolders {
    /// Them.
    pub(super) items: Vec<CanvaFolder>,
    /// How many there are.
    pub(super) total: i64,
}

/// A barcode.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct CanvaBarcode {
    /// Its id.
    id: Text<text::BarcodeId>,
    /// What it is called.
    name: String,
    /// What kind it is of.
    r#type: Text<text::BarcodeType>,
    /// What scanners read.
    value: String,
    /// What its folder is called.
    folder_name: Option<String>,
}

/// The first of a workspace's barcodes.
#[derive(Debug, Object)]
pub(super) struct CanvaBarcodes {
    /// Them.
    items: Vec<CanvaBarcode>,
    /// How many there are of what was asked for.
    total: i64,
}

impl From<Vec<Shown>> for CanvaBarcodes {
    fn from(rows: Vec<Shown>) -> Self {
        let total = rows.first().map_or(0, |row| row.total);
        let barcode = |row: Shown| CanvaBarcode {
            id: row.id.to_string().into(),
            name: row.name,
            r#type: row.kind.name().into(),
            value: row.value,
            folder_name: row.folder_name,
        };
        Self { items: rows.into_iter().map(barcode).collect(), total }
    }
}

/// A QR code.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct CanvaQrCode {
    /// Its id.
    id: Text<text::QrId>,
    /// What it is called.
    name: String,
    /// What it holds.
    r#type: Text<text::QrType>,
    /// The code that a dynamic one leads through.
    short_code: Option<String>,
    /// Whether it leads through a code.
    is_dynamic: bool,
    /// What its folder is called.
    folder_name: Option<String>,
}

/// The first of a workspace's QR codes.
#[derive(Debug, Object)]
pub(super) struct CanvaQrCodes {
    /// Them.
    items: Vec<CanvaQrCode>,
    /// How many there are of what was asked for.
    total: i64,
}

impl From<Vec<qr::Shown>> for CanvaQrCodes {
    fn from(rows: Vec<qr::Shown>) -> Self {
        let total = rows.first().map_or(0, |row| row.total);
        let code = |row: qr::Shown| CanvaQrCode {
            id: row.id.to_string().into(),
            name: row.name,
            r#type: row.kind.into(),
            is_dynamic: row.short_code.is_some(),
            short_code: row.short_code,
            folder_name: row.folder_name,
        };
        Self { items: rows.into_iter().map(code).collect(), total }
    }
}
