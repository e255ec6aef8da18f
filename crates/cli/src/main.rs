//! `oncebus`: the command line.
//!
//! `up` runs everything in the foreground, `pump` keeps runs of an app going that runs elsewhere, `doctor` looks at the
//! services and makes what is missing, `send` puts messages in, `status` says what became of them, `bench` measures, `access` makes
//! keys for those who send.
//! `records` and `dead-letters` are for operators: they look at what there is, redrive, and delete.
//!
//! Standard output is for results, standard error for logs and progress. Every command returns an error with its
//! causes, which ends the program with status 1; wrong arguments end it with status 2.

mod access;
mod bench;
mod chaos;
mod dead_letters;
mod demo;
mod doctor;
mod document;
mod emulator;
mod logging;
mod operator;
mod pump;
mod records;
mod rng;
mod secrets;
mod send;
mod signals;
mod status;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The emulator's program has it too: what is measured of the one is true of the other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes messages over HTTP, puts them on Azure Service Bus, and processes each of them once in effect.
#[derive(Debug, Parser)]
#[command(name = "oncebus", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything here: emulator (unless connection strings are given), app, pump.
    Up(Box<up::Args>),
    /// Connect, check the rights, make container and queues where allowed, say what is missing.
    Doctor(Box<doctor::Args>),
    /// Keep runs of each queue going, for an app that runs elsewhere.
    Pump(Box<pump::Args>),
    /// Send messages to an app: from a file, from standard input, or made up.
    Send(Box<send::Args>),
    /// Say what became of a message, or how an app is.
    Status(Box<status::Args>),
    /// Look at the records of messages, and delete those that are over and old.
    Records(Box<records::Args>),
    /// Look at poison queues and dead-letter queues, send messages back once, take letters away.
    DeadLetters(Box<dead_letters::Args>),
    /// Make keys for those who send.
    Access(Box<access::Args>),
    /// Show that it holds: kill workers at every kind of call, lose replies, kill the emulator, and count what is in the store.
    Chaos(Box<chaos::Args>),
    /// Run the emulator alone.
    Emulator(Box<emulator::Args>),
    /// Measure.
    Bench(Box<bench::Args>),
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    logging::start(matches!(&command, Command::Up(args) if args.demo) || matches!(&command, Command::Chaos(_)));
    match run(command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oncebus: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(args) => up::run(*args).await,
        Command::Doctor(args) => doctor::run(*args).await,
        Command::Pump(args) => pump::run(*args).await,
        Command::Send(args) => send::run(*args).await,
        Command::Status(args) => status::run(*args).await,
        Command::Records(args) => records::run(*args).await,
        Command::DeadLetters(args) => dead_letters::run(*args).await,
        Command::Access(args) => access::run(&args),
        Command::Chaos(args) => chaos::run(*args).await,
        Command::Emulator(args) => emulator::run(*args).await,
        Command::Bench(args) => bench::run(*args).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::CommandLine;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
