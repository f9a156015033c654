//! Inkode's workspace surface, opened by a session: links, QR codes and barcodes with their folders and tags; webhook
//! endpoints of every dialect, their deliveries and replays.

mod alert;
pub(crate) mod asked;
pub(crate) mod barcode;
mod billing;
mod bulk;
mod conversion;
mod delivery;
mod endpoint;
mod export;
mod import;
mod label;
mod limit;
mod link;
mod link_page;
mod notification;
mod own_domain;
pub(crate) mod qr;
mod replay;
mod stats;

pub use self::{
    alert::AlertApi,
    barcode::BarcodeApi,
    billing::BillingApi,
    conversion::ConversionOriginApi,
    delivery::{DeliveryApi, DeliveryState},
    endpoint::EndpointApi,
    export::ExportApi,
    import::ImportApi,
    label::LabelApi,
    limit::LimitApi,
    link::{LinkApi, LinkBulkApi},
    link_page::LinkPageApi,
    notification::NotificationApi,
    own_domain::OwnDomainApi,
    qr::{QrApi, QrBulkApi},
    replay::ReplayApi,
};
use crate::webhook::Names;

/// How this surface spells the fields of an endpoint.
const NAMES: Names = Names { events: "eventTypes", name: "name" };
