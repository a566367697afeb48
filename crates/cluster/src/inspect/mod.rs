//! Reports of gateways about themselves and their clients, as callers get them: values.

mod clients;
mod gateways;
mod history;
mod tail;

pub use self::{
    clients::{ClientFilter, ClientPage, InspectedClient, InvalidPageStart, PageStart},
    gateways::{GatewayReport, WorkerReport, workers},
    history::{ClusterHistory, HistoryEvent, HistoryFilter},
    tail::{Tail, TailBatch, TailFrame, TailTarget},
};

#[cfg(test)]
mod tests;
