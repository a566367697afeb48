//! Reports of gateways about themselves and their clients, as callers get them: values.

mod clients;
mod gateways;

pub use self::{
    clients::{ClientFilter, ClientPage, InspectedClient, InvalidPageStart, PageStart},
    gateways::{GatewayReport, WorkerReport, workers},
};

#[cfg(test)]
mod tests;
