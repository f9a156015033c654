//! Inkode's workspace surface, opened by a session: links and barcodes with their folders and tags; webhook endpoints of every dialect,
//! their deliveries and replays.

pub(crate) mod asked;
pub(crate) mod barcode;
mod conversion;
mod delivery;
mod endpoint;
mod import;
mod label;
mod link;
mod link_page;
mod own_domain;
mod replay;
mod stats;

pub use self::{
    barcode::BarcodeApi,
    conversion::ConversionOriginApi,
    delivery::{DeliveryApi, DeliveryState},
    endpoint::EndpointApi,
    import::ImportApi,
    label::LabelApi,
    link::{LinkApi, LinkBulkApi, LinkExportApi},
    link_page::LinkPageApi,
    own_domain::OwnDomainApi,
    replay::ReplayApi,
};
use crate::webhook::Names;

/// How this surface spells the fields of an endpoint.
const NAMES: Names = Names { events: "eventTypes", name: "name" };
