//! A load generator for WebSocket servers that accounts for every message it sends, and a direct
//! server to compare with.
//!
//! Values, tested without a socket: [`plan`], [`schedule`], [`content`], [`stamp`], [`frame`],
//! [`protocol`], [`pusher`], [`account`], [`latency`], [`report`], [`text`], [`svg`], [`html`]. With I/O:
//! [`proc_stats`], [`link`], [`load`], [`flood`], [`direct`].

mod account;
mod args;
mod content;
mod direct;
mod flood;
mod frame;
mod html;
mod latency;
mod link;
mod load;
mod plan;
mod proc_stats;
mod protocol;
mod pusher;
mod report;
mod schedule;
mod stamp;
mod svg;
mod target;
mod text;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

use args::{Args, Task};

fn main() -> ExitCode {
    let ended = match Args::parse().task() {
        Ok(Task::Direct(settings)) => direct::serve(&settings).map(|()| true),
        Ok(Task::Flood(settings)) => flood::run(&settings).map(|()| true),
        Ok(Task::Share(plan, child_role)) => load::child::run(*plan, child_role.run).map(|()| true),
        Ok(Task::Load(plan, output)) => {
            load::run(&plan, output.quiet).and_then(|report| output.write(&report))
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
