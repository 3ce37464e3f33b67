//! Runs that a `davylamp runner` carries out: they go on when the collector restarts.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::UnixStream;

use crate::act::executor::{Executor, ExecutorError, Printed, RunRequest, RunStatus, Started};
use crate::act::inventory::Inventory;
use crate::act::run::RunId;
use crate::act::settings::Access;
use crate::act::wire::{Answer, Ask, LINE_TIMEOUT, read, stranger, write};

/// How long a runner may take to answer: it may have to start a supervisor, or to kill what is left of a run.
const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take to read an inventory.
const ANSWER_INVENTORY: Duration = Duration::from_secs(130);

/// The collector's side of the socket. Keeps no connection: a runner that restarts is simply there again.
#[derive(Clone, Debug)]
pub struct Remote {
    socket: PathBuf,
    access: Access,
}

impl Remote {
    /// A client of the runner that listens on this socket.
    pub fn new(socket: PathBuf, access: Access) -> Self {
        Remote { socket, access }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, ExecutorError> {
        let away = |what: &dyn std::fmt::Display| {
            ExecutorError::Away(format!("the runner at {}: {what}", self.socket.display()))
        };
        let connect = tokio::time::timeout(LINE_TIMEOUT, UnixStream::connect(&self.socket)).await;
        let mut stream = connect.map_err(|error| away(&error))?.map_err(|error| away(&error))?;
        // Whoever sits on the socket will be believed about runs, so it must be one of us.
        if let Some((user, group)) = stranger(&stream, self.access).map_err(|error| away(&error))? {
            return Err(away(&format!("it belongs to user {user} of group {group}, who may not run it")));
        }
        let wait = if ask == Ask::Inventory { ANSWER_INVENTORY } else { ANSWER };
        write(&mut stream, &ask).await.map_err(|error| away(&error))?;
        match read(&mut stream, wait).await.map_err(|error| away(&error))? {
            Answer::Error(error) => Err(error),
            answer => Ok(answer),
        }
    }

    async fn done(&self, ask: Ask) -> Result<(), ExecutorError> {
        match self.ask(ask).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Answer) -> ExecutorError {
    ExecutorError::Away(format!("the runner answered something else than was asked: {answer:?}"))
}

impl Executor for Remote {
    fn ready(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        self.done(Ask::Ready).boxed()
    }

    fn start(&self, request: RunRequest) -> BoxFuture<'_, Result<Started, ExecutorError>> {
        async move {
            match self.ask(Ask::Start(Box::new(request))).await? {
                Answer::Started(started) => Ok(started),
                other => Err(unexpected(&other)),
            }
        }
        .boxed()
    }

    fn status(&self, run: RunId) -> BoxFuture<'_, Result<RunStatus, ExecutorError>> {
        async move {
            match self.ask(Ask::Status(run)).await? {
                Answer::Status(status) => Ok(status),
                other => Err(unexpected(&other)),
            }
        }
        .boxed()
    }

    fn cancel(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        self.done(Ask::Cancel(run)).boxed()
    }

    fn abandon(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        self.done(Ask::Abandon(run)).boxed()
    }

    fn printed(&self, run: RunId, from: u64) -> BoxFuture<'_, Result<Printed, ExecutorError>> {
        async move {
            match self.ask(Ask::Printed(run, from)).await? {
                Answer::Printed(printed) => Ok(printed),
                other => Err(unexpected(&other)),
            }
        }
        .boxed()
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Option<Inventory>, ExecutorError>> {
        async move {
            match self.ask(Ask::Inventory).await? {
                Answer::Inventory(inventory) => Ok(inventory),
                other => Err(unexpected(&other)),
            }
        }
        .boxed()
    }

    fn outlives_us(&self) -> bool {
        true
    }
}
