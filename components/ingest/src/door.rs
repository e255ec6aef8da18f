//! Idempotency at the door: performs what `oncebus_core::ingest::door` decides.

use oncebus_core::config::QueueConfig;
use oncebus_core::id::{Names, door_name};
use oncebus_core::ingest::door::{Door, Event, KeyRecord, Step, Verdict};
use oncebus_core::problem::{Kind, Problem};
use oncebus_runtime::broker::Counted;
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Platform;
use oncebus_runtime::records::{Created, Written};

use crate::answer::{Refusal, Service};
use crate::messages::{Accepted, Taken, send_at};
use crate::serve::Context;

/// Sends a message, unless its key says that it was sent.
///
/// # Errors
/// The key stands for another payload, another request is sending it, or a service behind this one refuses.
pub async fn admit<P: Platform>(
    context: &Context<'_, P>,
    queue: &QueueConfig,
    key: &str,
    taken: &Taken,
) -> Result<Accepted, Refusal> {
    let records = context.records();
    let deadline = context.deadline();
    let name = door_name(&queue.group, context.caller.name(), key);
    let mark = Names::new(context.random()).fresh();
    let intent = KeyRecord::first(taken.entry.fingerprint(), queue.name.clone(), taken.entry.id.clone(), mark);
    let (mut door, mut step) = Door::new(intent);
    // What a service said last: for the client and for the log.
    let mut said = None;
    loop {
        let event = match step {
            Step::Create(record) => {
                let (created, _) = records.create_key(&name, &record, deadline).await;
                let event = created.map(|created| match created {
                    Created::New(etag) => Event::Written(etag),
                    Created::Exists => Event::Refused,
                });
                event.unwrap_or_else(|failure| write_failed(&failure, &mut said))
            }
            Step::TakeOver(etag, record) => {
                let (written, _) = records.write_key(&name, &etag, &record, deadline).await;
                let event = written.map(|written| match written {
                    Written::Now(etag) => Event::Written(etag),
                    Written::Refused => Event::Refused,
                });
                event.unwrap_or_else(|failure| write_failed(&failure, &mut said))
            }
            Step::Look => match records.look_at_key(&name, deadline).await.0 {
                Ok(found) => found.map_or(Event::Missing, Event::Found),
                Err(failure) => {
                    said = Some(Service::Storage.refusal(&failure));
                    Event::Unavailable
                }
            },
            Step::Send { queue, id } => {
                let entry = taken.entry.clone().renamed(id, taken.entry.lock_key());
                match send_at(context, &queue, entry, taken.when, deadline).await {
                    Ok(()) => Event::Accepted,
                    Err(refusal) => {
                        said = Some(refusal);
                        Event::NotAccepted
                    }
                }
            }
            Step::Mark(etag, record) => {
                let marked: Counted<Written> = records.mark_key(&name, &etag, &record, deadline).await;
                // Nothing depends on it: the next request under the key finds out.
                drop(marked);
                Event::Marked
            }
            Step::End(verdict) => return end(verdict, said),
        };
        step = door.on(event);
    }
}

fn write_failed(failure: &Failure, said: &mut Option<Refusal>) -> Event {
    *said = Some(Service::Storage.refusal(failure));
    match failure {
        Failure::Ambiguous(_) => Event::Unknown,
        _ => Event::Unavailable,
    }
}

fn end(verdict: Verdict, said: Option<Refusal>) -> Result<Accepted, Refusal> {
    match verdict {
        Verdict::Accepted { queue, id } => Ok(Accepted { queue, id }),
        Verdict::OtherPayload => {
            let detail = "another body or content type was sent under this key: nothing was sent now";
            Err(Problem::new(Kind::KeyReused, detail).into())
        }
        Verdict::InProgress { retry_after } => {
            let detail = "repeat the same request later: it is then answered as the first one was, or sent";
            Err(Problem::new(Kind::InProgress, detail).retry_after(retry_after).into())
        }
        Verdict::NotAccepted | Verdict::Unavailable => {
            let unsaid = || Problem::new(Kind::Unavailable, "a service behind this one did not answer").into();
            Err(said.unwrap_or_else(unsaid))
        }
    }
}
