//! The commands, each in a file of its own.

mod audit;
mod bind;
mod certificates;
mod check;
pub(crate) mod clients;
mod completions;
mod config;
mod drain;
pub(crate) mod events;
mod explain;
pub(crate) mod gateways;
mod group;
mod groups;
mod kick;
mod lag;
mod log_level;
mod man;
pub(crate) mod observe;
mod reached;
mod registers;
mod send;
pub(crate) mod status;
mod tail;
mod target;
mod token;
mod top;
mod trace;
mod uid;
mod uids;
mod watch;
mod workers;

use clap::Subcommand;
use service::settings::Loaded;

use crate::{
    args::{Args, Settings},
    dashboard::Dashboard,
    failure::Failure,
    output::Output,
};

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the cluster on one screen: what is wrong first, each with the next step
    Status(status::Status),
    /// Show gateways and the busiest clients, repeatedly
    Top(top::Top),
    /// Show the status of each gateway
    Gateways(gateways::Gateways),
    /// Show the workers, with their clients and unfinished events
    Workers(workers::Workers),
    /// Show the registers, and whether they accept the secret
    Registers(registers::Registers),
    /// Show clients, selected by uid, group, address, worker or queue
    Clients(clients::Clients),
    /// Show a client
    Client(clients::One),
    /// Show the groups, with the number of their clients
    Groups(groups::Groups),
    /// Show the members of a group
    Group(group::Group),
    /// Show the uids that are online, with the number of their clients
    Uids(uids::Uids),
    /// Show the clients of a uid
    #[command(visible_alias = "who")]
    Uid(uid::Uid),
    /// Send a message, and report which clients it reached
    Send(send::Send),
    /// Close clients, and report how many were closed
    Kick(kick::Kick),
    /// Bind a client to a uid, in place of its current one
    Bind(bind::Bind),
    /// Remove the uid of a client
    Unbind(bind::Unbind),
    /// Add a client, or all clients of a uid, to a group
    Join(bind::Join),
    /// Remove a client, or all clients of a uid, from a group
    Leave(bind::Leave),
    /// Serve a page that shows the cluster, for a browser
    Dashboard(Dashboard),
    /// Check the cluster for a monitoring system: exit code 0 ok, 1 warning, 2 critical, 3 unknown
    Check(check::Check),
    /// Show the last lifecycle events of clients: connects, closes with their cause, refusals
    Events(events::Events),
    /// Show messages of a client, a uid or a group while they pass, without their payloads
    Tail(tail::Tail),
    /// Push to a client, a uid or a group, and show the time of each step until the sockets
    Trace(trace::Trace),
    /// Take a gateway out of service, as SIGTERM does
    Drain(drain::Drain),
    /// Show or change the filter of a gateway's log while it runs
    LogLevel(log_level::LogLevel),
    /// Write everything about the cluster into one file, for a report of a fault
    Audit(audit::Audit),
    /// Explain a close code, a close cause, the code of a refused handshake, or the fate of a client
    Explain(explain::Explain),
    /// Make and verify tokens of clients
    Token(token::Token),
    /// Show the settings of this program, each with its origin, or those of a gateway
    Config(config::Config),
    /// Write the completions of a shell to standard output
    Completions(completions::Completions),
    /// Write manual pages into a folder
    Man(man::Man),
}

/// The surroundings of every command.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) output: Output,
}

/// Runs a command, and returns its exit code.
///
/// # Errors
/// When the command fails.
pub(crate) async fn run(loaded: Loaded<Args>) -> Result<u8, Failure> {
    let sheet = loaded.sheet();
    let (settings, command) = loaded.args.split();
    let output = Output::new(settings.format, settings.color);
    let context = Context { settings, output };
    match command {
        Command::Status(it) => it.run(&context).await,
        Command::Top(it) => it.run(&context).await,
        Command::Gateways(it) => it.run(&context).await,
        Command::Workers(it) => it.run(&context).await,
        Command::Registers(it) => it.run(&context).await,
        Command::Clients(it) => it.run(&context).await,
        Command::Client(it) => it.run(&context).await,
        Command::Audit(it) => it.run(&context, &sheet).await,
        Command::Events(it) => it.run(&context).await,
        Command::Tail(it) => it.run(&context).await,
        Command::Trace(it) => it.run(&context).await,
        Command::Drain(it) => it.run(&context).await,
        Command::LogLevel(it) => it.run(&context).await,
        Command::Check(it) => it.run(&context).await,
        Command::Dashboard(it) => it.run(&context).await,
        Command::Groups(it) => it.run(&context).await,
        Command::Group(it) => it.run(&context).await,
        Command::Uids(it) => it.run(&context).await,
        Command::Uid(it) => it.run(&context).await,
        Command::Send(it) => it.run(&context).await,
        Command::Kick(it) => it.run(&context).await,
        Command::Bind(it) => it.run(&context).await,
        Command::Unbind(it) => it.run(&context).await,
        Command::Join(it) => it.run(&context).await,
        Command::Leave(it) => it.run(&context).await,
        Command::Explain(it) => it.run(&context).await,
        Command::Token(it) => it.run(&context),
        Command::Config(it) => it.run(&context, &sheet).await,
        Command::Completions(it) => it.run(&context),
        Command::Man(it) => it.run(),
    }
}
