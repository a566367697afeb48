//! Reports of gateways about themselves and their clients, as callers get them: values.

mod clients;
mod gateways;
mod history;

pub use self::{
    clients::{ClientFilter, ClientPage, InspectedClient, InvalidPageStart, PageStart},
    gateways::{GatewayReport, WorkerReport, workers},
    history::{ClusterHistory, HistoryEvent, HistoryFilter},
};

#[cfg(test)]
mod tests;
