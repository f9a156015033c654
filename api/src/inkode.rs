//! Inkode's workspace surface for webhooks: endpoints of every dialect, their deliveries and replays; opened by a session.

mod delivery;
mod endpoint;
mod replay;

pub use self::{
    delivery::{DeliveryApi, DeliveryState},
    endpoint::EndpointApi,
    replay::ReplayApi,
};
use crate::webhook::Names;

/// How this surface spells the fields of an endpoint.
const NAMES: Names = Names { events: "eventTypes", name: "name" };
