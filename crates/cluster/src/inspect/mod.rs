//! Reports of gateways about themselves and their clients, as callers get them: values.

mod clients;
mod gateways;
mod history;
mod refusals;
mod registers;
mod tail;
mod trace;

pub use self::{
    clients::{ClientFilter, ClientPage, InspectedClient, InvalidPageStart, PageStart},
    gateways::{GatewayReport, WorkerReport, workers},
    history::{ClusterHistory, HistoryEvent, HistoryFilter},
    refusals::RegisterRefusals,
    registers::RegisterReport,
    tail::{Tail, TailBatch, TailFrame, TailTarget},
    trace::{ClientTrace, ClusterTrace, GatewayTrace},
};

#[cfg(test)]
mod tests;
