//! `POST /queues/{queue}/messages`: one message, or one event.

use bytes::Bytes;
use futures::Stream;
use http::header;
use oncebus_core::config::{DoorConfig, Idempotency, QueueConfig};
use oncebus_core::id::check_logical_id;
use oncebus_core::ingest::cloudevents::{self, Mode};
use oncebus_core::ingest::entry::{Entry, location};
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::schedule::{Schedule, When};
use oncebus_core::ingest::size::{Fit, Sizes};
use oncebus_core::message::Properties;
use oncebus_core::problem::{Kind, Problem};
use oncebus_core::time::Instant;
use oncebus_core::trace::Trace;
use oncebus_runtime::platform::Platform;

use crate::answer::{Answer, Refusal, Service};
use crate::serve::{Context, read_body};
use crate::{batch, door};

/// Takes the body as opaque bytes, or the event that it is, and answers 202 without a body once the broker has said 201. An array of events is a batch, and
/// answered as one: whoever delivers events has one address for both.
///
/// # Errors
/// Nothing was accepted; or no answer came, and a repetition under the same id is harmless.
pub async fn post<P, S, E>(context: &Context<'_, P>, queue: &str, head: &Head, body: S) -> Result<Answer, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    if Mode::of(head)? == Some(Mode::Batched) {
        return batch::post(context, queue, head, body).await;
    }
    let queue = context.queue(queue)?;
    let taken = take(context, &queue.door, &Sizes::of(&context.settings.config, queue), head, body).await?;
    deliver(context, queue, &taken).await
}

/// A request that has become a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The message.
    pub entry: Entry,
    /// The idempotency key, where the request has one.
    pub key: Option<String>,
    /// When the message is to be delivered.
    pub when: Option<When>,
}

/// A message that the broker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The queue that it went to.
    pub queue: String,
    /// Its id.
    pub id: String,
}

/// Makes a message of a request: of its body, named as the door of its queue says; or of the event that it is, whose name is its own.
///
/// # Errors
/// It cannot be one.
pub async fn take<P, S, E>(
    context: &Context<'_, P>,
    door: &DoorConfig,
    sizes: &Sizes,
    head: &Head,
    body: S,
) -> Result<Taken, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    match Mode::of(head)? {
        Some(Mode::Structured) => {
            let (key, schedule) = (head.lock_key()?, Schedule::of(head)?);
            let event = read_body(head, body, sizes.most_json()).await?;
            return Ok(Taken::event(cloudevents::event(&event, key.as_deref())?, head, schedule));
        }
        Some(Mode::Binary) => {
            let taken = Taken::event(cloudevents::binary(head)?, head, Schedule::of(head)?);
            let limit = sizes.body_limit(&taken.entry)?;
            return Ok(taken.with_body(read_body(head, body, limit).await?));
        }
        Some(Mode::Batched) => {
            let detail = "an array of events goes to a queue: /queues/{queue}/batch";
            return Err(Problem::new(Kind::UnsupportedContentType, detail).into());
        }
        None => {}
    }
    if door.key_from.read_body() || door.lock_key_from.read_body() {
        let content_type = head.content_type()?;
        let schedule = Schedule::of(head)?;
        let body = read_body(head, body, sizes.most()).await?;
        let names = Names::read(context, door, head, &body)?;
        return Ok(names.taken(content_type, head, schedule).with_body(body));
    }
    // All is in the head, so that nothing of a body is read that cannot be a message.
    let names = Names::read(context, door, head, &[])?;
    let taken = names.taken(head.content_type()?, head, Schedule::of(head)?);
    let limit = sizes.body_limit(&taken.entry)?;
    Ok(taken.with_body(read_body(head, body, limit).await?))
}

impl Taken {
    /// An event: what it is called is its key, whoever brings it.
    fn event(entry: Entry, head: &Head, schedule: Schedule) -> Self {
        let mut entry = entry.traced(Trace::of_request(head).as_ref());
        entry.message.time_to_live = schedule.time_to_live;
        Self { key: Some(entry.id.clone()), entry, when: schedule.when }
    }

    /// The same message, named as the door of this queue says: for one that was taken before its queue was known.
    ///
    /// # Errors
    /// It cannot have that name.
    pub fn for_queue<P: Platform>(
        self,
        context: &Context<'_, P>,
        queue: &QueueConfig,
        head: &Head,
    ) -> Result<Self, Refusal> {
        if queue.door == DoorConfig::default() || Mode::of(head)?.is_some() {
            return Ok(self);
        }
        let names = Names::read(context, &queue.door, head, &self.entry.message.body)?;
        let id = if names.key.is_some() { names.id } else { self.entry.id.clone() };
        let entry = self.entry.renamed(id, names.lock_key.as_deref());
        Ok(Self { entry, key: names.key, when: self.when })
    }

    fn with_body(self, body: Bytes) -> Self {
        Self { entry: self.entry.with_body(body), ..self }
    }
}

/// What a message is called.
struct Names {
    /// The idempotency key, where the request has one.
    key: Option<String>,
    /// The id: the key, with the client's name before it where keys are the client's own; or a fresh one.
    id: String,
    lock_key: Option<String>,
}

impl Names {
    fn read<P: Platform>(
        context: &Context<'_, P>,
        door: &DoorConfig,
        head: &Head,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let key = door.key_from.find(head, body)?;
        let id = match (&key, context.caller.name()) {
            (None, _) => context.fresh_id(),
            (Some(key), Some(client)) if door.idempotency == Idempotency::Record => {
                let id = format!("{client}:{key}");
                check_logical_id(&id)
                    .map_err(|error| Problem::new(Kind::InvalidId, format!("client and key: {error}")))?;
                id
            }
            (Some(key), _) => key.clone(),
        };
        Ok(Self { key, id, lock_key: door.lock_key_from.find(head, body)? })
    }

    fn taken(self, content_type: Option<&str>, head: &Head, schedule: Schedule) -> Taken {
        let entry = Entry::new(self.id, self.lock_key.as_deref(), content_type, Bytes::new(), Properties::new());
        let mut entry = entry.traced(Trace::of_request(head).as_ref());
        entry.message.time_to_live = schedule.time_to_live;
        Taken { entry, key: self.key, when: schedule.when }
    }
}

/// Sends a message to a queue, and answers 202 once the broker has it.
///
/// # Errors
/// Its door does not let it in, or as [`send_at`].
pub async fn deliver<P: Platform>(
    context: &Context<'_, P>,
    queue: &QueueConfig,
    taken: &Taken,
) -> Result<Answer, Refusal> {
    // Before anything is written down about it.
    Sizes::of(&context.settings.config, queue).check(&taken.entry)?;
    let Accepted { queue, id } = match (&taken.key, queue.door.idempotency) {
        (None, _) if queue.door.key_required => {
            let detail = format!("this queue takes nothing without a key: send {}", queue.door.key_from.in_words());
            return Err(Problem::new(Kind::MissingKey, detail).into());
        }
        (Some(key), Idempotency::Record) => door::admit(context, queue, key, taken).await?,
        _ => {
            send_at(context, &queue.name, taken.entry.clone(), taken.when, context.deadline()).await?;
            Accepted { queue: queue.name.clone(), id: taken.entry.id.clone() }
        }
    };
    Ok(Answer::empty(202).header(header::LOCATION, location(&queue, &id)))
}

/// Sends one message, by itself, to be delivered when it says. A body that is too large for the broker is stored first, where the queue has that.
///
/// # Errors
/// It is too large, or nobody said that it is stored; the broker did not say that it has it, or what time it is; or that time is too far ahead.
pub async fn send_at<P: Platform>(
    context: &Context<'_, P>,
    queue: &str,
    entry: Entry,
    when: Option<When>,
    deadline: Instant,
) -> Result<(), Refusal> {
    let sizes = Sizes::of(&context.settings.config, context.queue(queue)?);
    let broker = context.broker();
    let (mut entry, body) = match sizes.fit(entry)? {
        Fit::Whole(entry) => (entry, None),
        Fit::Claimed { entry, blob, body } => (entry, Some((blob, body))),
    };
    if let Some(when) = when {
        let (now, _) = broker.time(deadline).await;
        let now = now.map_err(|failure| Service::ServiceBus.refusal(&failure))?;
        entry.message.scheduled_for = when.by(now)?;
    }
    if let Some((blob, body)) = body {
        let (stored, _) = context.records().store(&blob, body, deadline).await;
        stored.map_err(|failure| Service::Storage.refusal(&failure))?;
    }
    let (sent, _) = broker.send(queue, &entry.message, deadline, false).await;
    sent.map_err(|failure| Service::ServiceBus.refusal(&failure))
}

/// Sends one message, by itself, at once.
///
/// # Errors
/// As [`send_at`].
pub async fn send<P: Platform>(context: &Context<'_, P>, queue: &str, entry: &Entry) -> Result<(), Refusal> {
    send_at(context, queue, entry.clone(), None, context.deadline()).await
}
