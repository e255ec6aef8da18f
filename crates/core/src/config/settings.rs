//! Every setting there is: key, unit, default, range, and whether it is a secret.
//!
//! The table is the single source: the parser reads through it, `docs/CONFIGURATION.md` is rendered from it
//! ([`render_table`]), and a test holds the two together.

use std::fmt::Write as _;

/// Where a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the top of the document.
    Document,
    /// In the table `[storage]`.
    Storage,
    /// In `[queues.NAME]`, or in `[defaults]` for all queues.
    Queue,
    /// In the table `[cloudevents]`.
    CloudEvents,
    /// In `[webhooks.NAME]`.
    Webhook,
    /// In `[webhooks.NAME]` of the kind `hmac`.
    Hmac,
    /// In `[[routes]]`.
    Route,
    /// In `match` of a route.
    Match,
    /// In `[groups.NAME]`, or in a route that has its queues to itself.
    Group,
    /// In `[routing]`.
    Routing,
    /// In the table `[access]`.
    Access,
    /// In `[[access.keys]]`.
    AccessKey,
    /// A Spin variable (`SPIN_VARIABLE_…` in the environment, in capitals).
    Variable,
}

impl Place {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Document,
        Self::Storage,
        Self::Queue,
        Self::CloudEvents,
        Self::Webhook,
        Self::Hmac,
        Self::Route,
        Self::Match,
        Self::Group,
        Self::Routing,
        Self::Access,
        Self::AccessKey,
        Self::Variable,
    ];

    /// The key as a user writes it.
    #[must_use]
    pub fn path(self, key: &str) -> String {
        match self {
            Self::Document | Self::Variable => key.to_owned(),
            Self::Storage => format!("storage.{key}"),
            Self::Queue => format!("queues.NAME.{key}"),
            Self::CloudEvents => format!("cloudevents.{key}"),
            Self::Webhook | Self::Hmac => format!("webhooks.NAME.{key}"),
            Self::Route => format!("routes[].{key}"),
            Self::Match => format!("routes[].match.{key}"),
            Self::Group => format!("groups.NAME.{key}"),
            Self::Routing => format!("routing.{key}"),
            Self::Access => format!("access.{key}"),
            Self::AccessKey => format!("access.keys[].{key}"),
        }
    }
}

/// What a setting's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number with its unit and its bounds, both inclusive.
    Number {
        /// What is counted: `s`, `ms`, `bytes`, or a noun.
        unit: &'static str,
        /// The value where the key is absent.
        default: u64,
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// Text. `default` is what an absent key means, in words or as the value itself.
    Text {
        /// What the text must be.
        expected: &'static str,
        /// What an absent key means.
        default: &'static str,
    },
    /// A list or a table.
    Structure {
        /// What it must be.
        expected: &'static str,
        /// What an absent key means.
        default: &'static str,
    },
    /// True or false.
    Flag {
        /// What an absent key means.
        default: &'static str,
    },
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Where it is written.
    pub place: Place,
    /// Its key.
    pub key: &'static str,
    /// Its value.
    pub kind: Kind,
    /// Whether it must never be printed.
    pub secret: bool,
    /// What it does.
    pub about: &'static str,
}

const fn number(
    place: Place,
    key: &'static str,
    unit: &'static str,
    default: u64,
    min: u64,
    max: u64,
    about: &'static str,
) -> Setting {
    Setting { place, key, kind: Kind::Number { unit, default, min, max }, secret: false, about }
}

const fn text(
    place: Place,
    key: &'static str,
    expected: &'static str,
    default: &'static str,
    about: &'static str,
) -> Setting {
    Setting { place, key, kind: Kind::Text { expected, default }, secret: false, about }
}

const fn structure(
    place: Place,
    key: &'static str,
    expected: &'static str,
    default: &'static str,
    about: &'static str,
) -> Setting {
    Setting { place, key, kind: Kind::Structure { expected, default }, secret: false, about }
}

const fn flag(place: Place, key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { place, key, kind: Kind::Flag { default }, secret: false, about }
}

const fn variable(
    key: &'static str,
    expected: &'static str,
    default: &'static str,
    secret: bool,
    about: &'static str,
) -> Setting {
    Setting { place: Place::Variable, key, kind: Kind::Text { expected, default }, secret, about }
}

/// `public_url`.
pub const PUBLIC_URL: Setting = text(
    Place::Document,
    "public_url",
    "an http:// or https:// URL without a query",
    "none: webhooks that sign their URL are refused",
    "Scheme, host and path prefix under which senders reach ingest. Twilio signs the URL it called, so behind a proxy it cannot be guessed. The variable `public_url` beats it.",
);
/// `max_message_bytes`.
pub const MAX_MESSAGE_BYTES: Setting = number(
    Place::Document,
    "max_message_bytes",
    "bytes",
    262_144,
    1_024,
    1_048_576,
    "The most that body and properties of a message, or of one Service Bus batch, may come to. Service Bus takes 256 KB in Basic and Standard, 1 MB in Premium.",
);
/// `max_batch_items`.
pub const MAX_BATCH_ITEMS: Setting = number(
    Place::Document,
    "max_batch_items",
    "items",
    10_000,
    1,
    100_000,
    "The most items that one request to `/batch` may carry.",
);
/// `max_batch_bytes`.
pub const MAX_BATCH_BYTES: Setting = number(
    Place::Document,
    "max_batch_bytes",
    "bytes",
    16_777_216,
    1_024,
    104_857_600,
    "The most that the body of one request to `/batch` may come to.",
);
/// `max_sends_in_flight`.
pub const MAX_SENDS_IN_FLIGHT: Setting = number(
    Place::Document,
    "max_sends_in_flight",
    "sends",
    4,
    1,
    64,
    "How many sends of one request to `/batch` may be under way at once. Each may hold `max_message_bytes` in memory, twice.",
);
/// `storage.container`.
pub const CONTAINER: Setting = text(
    Place::Storage,
    "container",
    "3 to 63 characters out of a-z, 0-9 and single hyphens",
    "oncebus",
    "The container of the records. `oncebus up` and `oncebus doctor` make it; the components' SAS cannot.",
);
/// `queues.NAME.group`.
pub const GROUP: Setting = text(
    Place::Queue,
    "group",
    "1 to 50 characters out of a-z, A-Z, 0-9, dot, hyphen and underscore",
    "the queue's name",
    "Queues of one group share their records: the same id on another queue of the group is the same message.",
);
/// `queues.NAME.poison_queue`.
pub const POISON_QUEUE: Setting = text(
    Place::Queue,
    "poison_queue",
    "the name of a queue",
    "NAME.poison",
    "Where a copy of a parked message goes. Service Bus cannot dead-letter over REST.",
);
/// `queues.NAME.lock_duration_seconds`.
pub const LOCK_DURATION: Setting = number(
    Place::Queue,
    "lock_duration_seconds",
    "s",
    60,
    5,
    300,
    "The queue's LockDuration, as Service Bus has it. `oncebus doctor` compares; so does each run with its first delivery, and logs an error where the queue's is shorter.",
);
/// `queues.NAME.max_delivery_count`.
pub const MAX_DELIVERY_COUNT: Setting = number(
    Place::Queue,
    "max_delivery_count",
    "deliveries",
    10,
    2,
    2_000,
    "The queue's MaxDeliveryCount, as Service Bus has it.",
);
/// `queues.NAME.claim_ttl_seconds`.
pub const CLAIM_TTL: Setting = number(
    Place::Queue,
    "claim_ttl_seconds",
    "s",
    45,
    5,
    285,
    "How long a claim holds without being renewed. One call of the processor must end within it, less the margin. With the margin and 10 s from receive to claim it must fit into the lock duration.",
);
/// `queues.NAME.claim_margin_seconds`.
pub const CLAIM_MARGIN: Setting = number(
    Place::Queue,
    "claim_margin_seconds",
    "s",
    5,
    2,
    60,
    "How much earlier than the ttl the holder stops, and how much later than it another takes over. Server times have a resolution of 1 s.",
);
/// `queues.NAME.max_attempts`.
pub const MAX_ATTEMPTS: Setting = number(
    Place::Queue,
    "max_attempts",
    "attempts",
    5,
    1,
    100,
    "Handled failures and takeovers of dead instances since the last checkpoint, after which a message is parked. A death among other messages uses up no last attempt: one more follows, alone.",
);
/// `queues.NAME.retry_base_seconds`.
pub const RETRY_BASE: Setting = number(
    Place::Queue,
    "retry_base_seconds",
    "s",
    2,
    1,
    3_600,
    "The first retry comes within this time, each further one within twice the time before (full jitter).",
);
/// `queues.NAME.retry_cap_seconds`.
pub const RETRY_CAP: Setting = number(Place::Queue, "retry_cap_seconds", "s", 300, 1, 86_400, "No retry waits longer.");
/// `queues.NAME.max_execution_seconds`.
pub const MAX_EXECUTION: Setting = number(
    Place::Queue,
    "max_execution_seconds",
    "s",
    300,
    1,
    86_400,
    "How long the steps of one message may take together, over all its runs; then it is retried with the reason `execution-timeout`. Twice this must fit into max_delivery_count × lock_duration_seconds.",
);
/// `queues.NAME.batch`.
pub const BATCH: Setting = number(
    Place::Queue,
    "batch",
    "messages",
    32,
    1,
    256,
    "The most messages given to the processor in one call. `?batch=` of a run beats it.",
);
/// `queues.NAME.gather_milliseconds`.
pub const GATHER: Setting = number(
    Place::Queue,
    "gather_milliseconds",
    "ms",
    50,
    0,
    5_000,
    "How long after its first message a batch waits for more.",
);
/// `queues.NAME.on_key_failure`.
pub const ON_KEY_FAILURE: Setting = text(
    Place::Queue,
    "on_key_failure",
    "`continue` or `hold`",
    "continue",
    "What happens to the messages of a lock key behind one that failed and is to be retried: `continue` goes on with them, `hold` holds them back until it is done or parked.",
);
/// `queues.NAME.hold_limit_seconds`.
pub const HOLD_LIMIT: Setting = number(
    Place::Queue,
    "hold_limit_seconds",
    "s",
    259_200,
    60,
    31_536_000,
    "With `hold`: so long after it was due, a message of which nothing has come holds back the others of its key no more. At least as long as a message lives in the queue; `oncebus doctor` makes queues with 3 days.",
);
/// `queues.NAME.release`.
pub const RELEASE: Setting = text(
    Place::Queue,
    "release",
    "`keep` or `delete`",
    "keep",
    "What becomes of the record of a message that is done and completed. `delete` is the lock alone, without memory: a duplicate is processed again, and epochs begin again with 1. It needs the right `d` in the SAS of `storage`.",
);
/// `queues.NAME.idempotency`.
pub const IDEMPOTENCY: Setting = text(
    Place::Queue,
    "idempotency",
    "`off`, `broker` or `record`",
    "off",
    "What becomes of a repetition of `POST /queues/NAME/messages`. `off`: it is accepted and sent, and recognised when it is processed. `broker`: the same, and the broker's duplicate detection drops it within its window; a key is required. `record`: it is recognised before it is sent, at two calls to the storage for each new key; another payload under the key is refused.",
);
/// `queues.NAME.key_from`.
pub const KEY_FROM: Setting = structure(
    Place::Queue,
    "key_from",
    "a list of `header:NAME`, `json:/POINTER`, `form:FIELD` and, as the last, `payload`",
    "`header:Idempotency-Key`, `header:Message-Id`",
    "Where the message's id, which is its idempotency key, is taken from: the first that is there. `payload` is the SHA-256 of content type and body.",
);
/// `queues.NAME.key_required`.
pub const KEY_REQUIRED: Setting = flag(
    Place::Queue,
    "key_required",
    "false; with `idempotency = \"broker\"` always true",
    "Whether a message without a key is refused. Otherwise it gets a UUIDv7, and a repetition of it is another message.",
);
/// `queues.NAME.lock_key_from`.
pub const LOCK_KEY_FROM: Setting = structure(
    Place::Queue,
    "lock_key_from",
    "a list of `header:NAME`, `json:/POINTER` and `form:FIELD`",
    "`header:Oncebus-Lock-Key`",
    "Where the lock key is taken from: the first that is there.",
);
/// `access.mode`.
pub const ACCESS_MODE: Setting = text(
    Place::Access,
    "mode",
    "`none`, `keys` or `hmac`",
    "none",
    "Who may send and ask. `none`: everybody who reaches ingest; for a machine of one's own. `keys`: who shows an API key. `hmac`: who signs. Webhooks have signatures of their own, and health is open.",
);
/// `access.tolerance_seconds`.
pub const ACCESS_TOLERANCE: Setting = number(
    Place::Access,
    "tolerance_seconds",
    "s",
    300,
    10,
    3_600,
    "For `hmac`: how far the time of a signature may be from the time here, either way.",
);
/// `access.keys[].name`.
pub const ACCESS_KEY_NAME: Setting = text(
    Place::AccessKey,
    "name",
    "1 to 50 characters out of a-z, A-Z, 0-9, dot, hyphen and underscore, unlike that of any other key",
    "required",
    "Who the client is. With `idempotency = \"record\"` its keys are its own, and ids begin with this name and a colon.",
);
/// `access.keys[].sha256`.
pub const ACCESS_KEY_SHA256: Setting = text(
    Place::AccessKey,
    "sha256",
    "64 hex digits, unlike those of any other key",
    "required for `keys`",
    "The SHA-256 of the API key. `oncebus access new-key` makes both.",
);
/// `access.keys[].secret_variable`.
pub const ACCESS_KEY_VARIABLE: Setting = text(
    Place::AccessKey,
    "secret_variable",
    "the name of a Spin variable: a-z, 0-9 and underscore",
    "`access_secret`",
    "For `hmac`: the variable that has the secret. Any but `access_secret` must be added to `spin.toml`, at the top and for ingest.",
);
/// `access.keys[].queues`.
pub const ACCESS_KEY_QUEUES: Setting = structure(
    Place::AccessKey,
    "queues",
    "a list of configured queues",
    "all queues",
    "The queues that the client may send to and ask about.",
);
/// `queues.NAME.large_bodies`.
pub const LARGE_BODIES: Setting = text(
    Place::Queue,
    "large_bodies",
    "`refuse` or `claim-check`",
    "refuse",
    "What becomes of a message that is larger than `max_message_bytes`: `refuse` answers 413, `claim-check` keeps its body in a blob beside its record.",
);
/// `queues.NAME.max_large_body_bytes`.
pub const MAX_LARGE_BODY_BYTES: Setting = number(
    Place::Queue,
    "max_large_body_bytes",
    "bytes",
    8_388_608,
    1_024,
    67_108_864,
    "With `claim-check`: the most that a body may come to. An instance holds it in memory, twice while it is stored.",
);
/// `cloudevents.allowed_origins`.
pub const ALLOWED_ORIGINS: Setting = text(
    Place::CloudEvents,
    "allowed_origins",
    "origins, with commas between them, or `*`",
    "none: nobody who asks may deliver",
    "Who gets consent when it asks by `OPTIONS` with `WebHook-Request-Origin`. Event Grid asks as `eventgrid.azure.net`.",
);
/// `cloudevents.requests_per_minute`.
pub const REQUESTS_PER_MINUTE: Setting = number(
    Place::CloudEvents,
    "requests_per_minute",
    "requests per minute",
    0,
    0,
    1_000_000,
    "The `WebHook-Allowed-Rate` that comes with consent; 0 is `*`, any rate. A word to the sender: nothing here counts.",
);
/// `webhooks.NAME.kind`.
pub const WEBHOOK_KIND: Setting = text(
    Place::Webhook,
    "kind",
    "`twilio`, `standard`, `github`, `stripe`, `slack`, `shopify` or `hmac`",
    "NAME, where that is one of them",
    "Who sends, and how they sign. `standard` is Standard Webhooks and Svix, `hmac` anybody else who signs by HMAC.",
);
/// `webhooks.NAME.queue`.
pub const WEBHOOK_QUEUE: Setting = text(
    Place::Webhook,
    "queue",
    "the name of a configured queue",
    "none: where `[[routes]]` say",
    "Where the messages go.",
);
/// `webhooks.NAME.secrets`.
pub const WEBHOOK_SECRETS: Setting = structure(
    Place::Webhook,
    "secrets",
    "a list of names of Spin variables",
    "the variable of the kind, see [Variables](#variables)",
    "The variables that hold the secrets: several while one is replaced by the next. An empty one is left aside; if none is left, every request is refused.",
);
/// `webhooks.NAME.key_from`.
pub const WEBHOOK_KEY_FROM: Setting = structure(
    Place::Webhook,
    "key_from",
    "a list of `header:NAME`, `json:/POINTER`, `form:FIELD` and, as the last, `payload`",
    "that of the kind; `payload` for `hmac`",
    "Where the message's id is taken from, as `key_from` of a queue. A request that has none is refused.",
);
/// `webhooks.NAME.lock_key_from`.
pub const WEBHOOK_LOCK_KEY_FROM: Setting = structure(
    Place::Webhook,
    "lock_key_from",
    "a list of `header:NAME`, `json:/POINTER` and `form:FIELD`",
    "for `twilio` the other side's number, else none",
    "Where the lock key is taken from: the first that is there.",
);
/// `webhooks.NAME.properties`.
pub const WEBHOOK_PROPERTIES: Setting = structure(
    Place::Webhook,
    "properties",
    "a list of names of headers, none that belongs to HTTP or holds a credential",
    "for `github` and `shopify` those that name the event, else none",
    "The headers that become properties of the message, under their names in lower case. The property `webhook`, which has the webhook's name, is always there.",
);
/// `webhooks.NAME.header`.
pub const HMAC_HEADER: Setting =
    text(Place::Hmac, "header", "the name of a header", "required", "The header that carries the signature.");
/// `webhooks.NAME.algorithm`.
pub const HMAC_ALGORITHM: Setting =
    text(Place::Hmac, "algorithm", "`sha1`, `sha256` or `sha512`", "sha256", "The digest of the HMAC.");
/// `webhooks.NAME.encoding`.
pub const HMAC_ENCODING: Setting =
    text(Place::Hmac, "encoding", "`hex` or `base64`", "hex", "How the signature is written.");
/// `webhooks.NAME.prefix`.
pub const HMAC_PREFIX: Setting =
    text(Place::Hmac, "prefix", "text", "none", "What stands before the signature, as in `sha256=…`.");
/// `webhooks.NAME.timestamp_header`.
pub const HMAC_TIMESTAMP_HEADER: Setting = text(
    Place::Hmac,
    "timestamp_header",
    "the name of a header",
    "none: the time is not checked",
    "The header that carries the time of the signature, in seconds since 1970.",
);
/// `webhooks.NAME.tolerance_seconds`.
pub const HMAC_TOLERANCE: Setting = number(
    Place::Hmac,
    "tolerance_seconds",
    "s",
    300,
    1,
    86_400,
    "How far that time may be before or after this service's.",
);
/// `webhooks.NAME.signed`.
pub const HMAC_SIGNED: Setting = text(
    Place::Hmac,
    "signed",
    "text with `{body}` once; with `{timestamp}` once if there is a timestamp_header, else without; with `{id}` at most once, and only if `key_from` is one header",
    "`{timestamp}.{body}` with a timestamp_header, else `{body}`",
    "What the signature is made over.",
);
/// `routes[].name`.
pub const ROUTE_NAME: Setting = text(
    Place::Route,
    "name",
    "1 to 50 characters out of a-z, A-Z, 0-9, dot, hyphen and underscore, unlike that of any other route",
    "none: logs and answers know the route by its place, from 0",
    "What logs and `/routes/test` call it.",
);
/// `routes[].match`.
pub const ROUTE_MATCH: Setting = structure(
    Place::Route,
    "match",
    "a table of conditions",
    "none: the route takes whatever comes to it, and must be the last",
    "What must hold of a request, all of it. The first route whose conditions hold takes the message.",
);
/// `routes[].queue`.
pub const ROUTE_QUEUE: Setting =
    text(Place::Route, "queue", "the name of a configured queue", "none", "The queue that the message goes to.");
/// `routes[].group`.
pub const ROUTE_GROUP: Setting = text(
    Place::Route,
    "group",
    "the name of a group, as in [groups.NAME]",
    "none",
    "The group out of which a queue is chosen. In place of `queue` or `group` a route may have the settings of a group itself, beginning with `queues`.",
);
/// `routes[].match.headers`.
pub const MATCH_HEADERS: Setting = structure(
    Place::Match,
    "headers",
    "a table of header names, each with one of { equals = TEXT }, { prefix = TEXT }, { present = true or false }",
    "none",
    "Names are the same in any case, values are not. Of a header that comes several times one value is enough. Headers that carry credentials are refused.",
);
/// `routes[].match.content_type`.
pub const MATCH_CONTENT_TYPE: Setting = text(
    Place::Match,
    "content_type",
    "a media type without parameters, TYPE/SUBTYPE or TYPE/*",
    "any",
    "The request's media type, whatever its parameters.",
);
/// `routes[].match.json`.
pub const MATCH_JSON: Setting = structure(
    Place::Match,
    "json",
    "a table of JSON Pointers (RFC 6901), each with text, a number, true or false",
    "none",
    "What a body must have there. The content type must say JSON. 1 and 1.0 are the same number, \"1\" is another thing.",
);
/// `routes[].match.cloudevents_type`.
pub const MATCH_EVENT_TYPE: Setting = text(
    Place::Match,
    "cloudevents_type",
    "the type of an event, or its beginning and a star: com.example.*",
    "any",
    "The type of a CloudEvent: the header `ce-type`, or in structured mode (`application/cloudevents+json`) the member `type`.",
);
/// `routes[].match.source`.
pub const MATCH_SOURCE: Setting =
    text(Place::Match, "source", "the name of a configured webhook", "any", "The webhook that the message came in by.");
/// `groups.NAME.queues`.
pub const GROUP_QUEUES: Setting = structure(
    Place::Group,
    "queues",
    "a list of configured queues, none twice, that have the same `group`",
    "required",
    "The queues of the group. They share their records, so that a repetition that comes to another of them is the same message. For `priority` the highest lane comes first.",
);
/// `groups.NAME.strategy`.
pub const GROUP_STRATEGY: Setting = text(
    Place::Group,
    "strategy",
    "`hash`, `weight`, `shortest` or `priority`",
    "hash",
    "How a queue is chosen. `hash`: by the lock key, else by the id. `weight`: by the id, in proportion to the weights. `shortest`: the least backlog, as the pump saw it last; where that is not known, as `weight`. `priority`: the lane that the message names.",
);
/// `groups.NAME.weights`.
pub const GROUP_WEIGHTS: Setting = structure(
    Place::Group,
    "weights",
    "a table of queues of the group, each with a whole number from 1 to 100",
    "1 each; for `priority` each lane twice that of the next lower",
    "A queue's share: of the messages, and for `priority` of the pump's runs while all lanes have messages. There no lane's weight may be above that of a higher one.",
);
/// `groups.NAME.priority_header`.
pub const PRIORITY_HEADER: Setting = text(
    Place::Group,
    "priority_header",
    "the name of a header",
    "none",
    "For `priority`: the header that names the lane. Either this or `priority_field`.",
);
/// `groups.NAME.priority_field`.
pub const PRIORITY_FIELD: Setting = text(
    Place::Group,
    "priority_field",
    "a JSON Pointer (RFC 6901)",
    "none",
    "For `priority`: the field of a JSON body that names the lane, text or a whole number.",
);
/// `groups.NAME.priorities`.
pub const PRIORITIES: Setting = structure(
    Place::Group,
    "priorities",
    "a list of as many texts as there are queues, none twice",
    "required for `priority`",
    "What names each lane, the highest first; the same in any case.",
);
/// `groups.NAME.priority_default`.
pub const PRIORITY_DEFAULT: Setting = text(
    Place::Group,
    "priority_default",
    "one of `priorities`",
    "the last of `priorities`",
    "For `priority`: the lane of a message that names none, or one that there is not.",
);
/// `routing.backlog_max_age_seconds`.
pub const BACKLOG_MAX_AGE: Setting = number(
    Place::Routing,
    "backlog_max_age_seconds",
    "s",
    30,
    5,
    3_600,
    "A backlog that was seen longer ago, by the storage's clock, is not gone by. The pump writes what it sees at least three times in this time.",
);

/// The variable `oncebus_config`.
pub const CONFIG_VARIABLE: Setting = variable(
    "oncebus_config",
    "the document that this page describes, as TOML or as JSON",
    "required",
    false,
    "`oncebus up` reads `oncebus.toml` and passes it on as JSON in one line.",
);
/// The variable `public_url`.
pub const PUBLIC_URL_VARIABLE: Setting = variable(
    "public_url",
    "a URL",
    "the document's `public_url`",
    false,
    "Beats the document, so that one document serves several places.",
);
/// The variable `servicebus_send`.
pub const SERVICEBUS_SEND: Setting = variable(
    "servicebus_send",
    "a Service Bus connection string with the right Send",
    "required",
    true,
    "Given to ingest, and to the queue handler for retries and poison copies.",
);
/// The variable `servicebus_listen`.
pub const SERVICEBUS_LISTEN: Setting = variable(
    "servicebus_listen",
    "a Service Bus connection string with the right Listen",
    "required",
    true,
    "Given to the queue handler.",
);
/// The variable `servicebus_origin`.
pub const SERVICEBUS_ORIGIN: Setting = variable(
    "servicebus_origin",
    "scheme, host and port of Service Bus",
    "required",
    false,
    "What `allowed_outbound_hosts` lets the components reach; `oncebus` derives it from the connection string.",
);
/// The variable `storage`.
pub const STORAGE: Setting = variable(
    "storage",
    "a Storage connection string, best with a container SAS of `sp=rcw`",
    "required",
    true,
    "Records are read, created and written, never deleted: `rcw` is all the components need.",
);
/// The variable `storage_origin`.
pub const STORAGE_ORIGIN: Setting =
    variable("storage_origin", "scheme, host and port of Blob Storage", "required", false, "As `servicebus_origin`.");
/// The variable `run_token`.
pub const RUN_TOKEN: Setting = variable(
    "run_token",
    "at least 16 characters",
    "required",
    true,
    "The bearer secret of `/internal/queues/{queue}/run`.",
);
/// The variable `twilio_auth_token`.
pub const TWILIO_AUTH_TOKEN: Setting = secret_of(
    "twilio_auth_token",
    "the auth token of the Twilio account, or a shared key",
    "Verifies webhooks of the kind `twilio`.",
);
/// The variable `standard_webhook_secret`.
pub const STANDARD_WEBHOOK_SECRET: Setting =
    secret_of("standard_webhook_secret", "`whsec_` and base64", "Verifies webhooks of the kind `standard`.");
/// The variable `github_webhook_secret`.
pub const GITHUB_WEBHOOK_SECRET: Setting =
    secret_of("github_webhook_secret", "the hook's secret", "Verifies webhooks of the kind `github`.");
/// The variable `stripe_webhook_secret`.
pub const STRIPE_WEBHOOK_SECRET: Setting = secret_of(
    "stripe_webhook_secret",
    "the endpoint's signing secret, `whsec_` included",
    "Verifies webhooks of the kind `stripe`.",
);
/// The variable `slack_signing_secret`.
pub const SLACK_SIGNING_SECRET: Setting =
    secret_of("slack_signing_secret", "the app's signing secret", "Verifies webhooks of the kind `slack`.");
/// The variable `shopify_client_secret`.
pub const SHOPIFY_CLIENT_SECRET: Setting =
    secret_of("shopify_client_secret", "the app's client secret", "Verifies webhooks of the kind `shopify`.");
/// The variable `hmac_webhook_secret`.
pub const HMAC_WEBHOOK_SECRET: Setting =
    secret_of("hmac_webhook_secret", "the secret as the sender has it", "Verifies webhooks of the kind `hmac`.");

/// The variable of a kind of webhook.
const fn secret_of(key: &'static str, expected: &'static str, about: &'static str) -> Setting {
    variable(key, expected, "none", true, about)
}

/// The variable `access_secret`.
pub const ACCESS_SECRET: Setting = variable(
    "access_secret",
    "text, best 32 random bytes in base64",
    "none: with `mode = \"hmac\"`, every request is refused",
    true,
    "What clients sign with, where `[[access.keys]]` names no other variable. `oncebus up` takes it from `ONCEBUS_ACCESS_SECRET`.",
);

/// All of them, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    PUBLIC_URL,
    MAX_MESSAGE_BYTES,
    MAX_BATCH_ITEMS,
    MAX_BATCH_BYTES,
    MAX_SENDS_IN_FLIGHT,
    CONTAINER,
    GROUP,
    POISON_QUEUE,
    LOCK_DURATION,
    MAX_DELIVERY_COUNT,
    CLAIM_TTL,
    CLAIM_MARGIN,
    MAX_ATTEMPTS,
    RETRY_BASE,
    RETRY_CAP,
    MAX_EXECUTION,
    BATCH,
    GATHER,
    ON_KEY_FAILURE,
    HOLD_LIMIT,
    RELEASE,
    IDEMPOTENCY,
    KEY_FROM,
    KEY_REQUIRED,
    LOCK_KEY_FROM,
    LARGE_BODIES,
    MAX_LARGE_BODY_BYTES,
    ALLOWED_ORIGINS,
    REQUESTS_PER_MINUTE,
    WEBHOOK_KIND,
    WEBHOOK_QUEUE,
    WEBHOOK_SECRETS,
    WEBHOOK_KEY_FROM,
    WEBHOOK_LOCK_KEY_FROM,
    WEBHOOK_PROPERTIES,
    HMAC_HEADER,
    HMAC_ALGORITHM,
    HMAC_ENCODING,
    HMAC_PREFIX,
    HMAC_TIMESTAMP_HEADER,
    HMAC_TOLERANCE,
    HMAC_SIGNED,
    ROUTE_NAME,
    ROUTE_MATCH,
    ROUTE_QUEUE,
    ROUTE_GROUP,
    MATCH_HEADERS,
    MATCH_CONTENT_TYPE,
    MATCH_JSON,
    MATCH_EVENT_TYPE,
    MATCH_SOURCE,
    GROUP_QUEUES,
    GROUP_STRATEGY,
    GROUP_WEIGHTS,
    PRIORITY_HEADER,
    PRIORITY_FIELD,
    PRIORITIES,
    PRIORITY_DEFAULT,
    BACKLOG_MAX_AGE,
    ACCESS_MODE,
    ACCESS_TOLERANCE,
    ACCESS_KEY_NAME,
    ACCESS_KEY_SHA256,
    ACCESS_KEY_VARIABLE,
    ACCESS_KEY_QUEUES,
    CONFIG_VARIABLE,
    PUBLIC_URL_VARIABLE,
    SERVICEBUS_SEND,
    SERVICEBUS_LISTEN,
    SERVICEBUS_ORIGIN,
    STORAGE,
    STORAGE_ORIGIN,
    RUN_TOKEN,
    TWILIO_AUTH_TOKEN,
    STANDARD_WEBHOOK_SECRET,
    GITHUB_WEBHOOK_SECRET,
    STRIPE_WEBHOOK_SECRET,
    SLACK_SIGNING_SECRET,
    SHOPIFY_CLIENT_SECRET,
    HMAC_WEBHOOK_SECRET,
    ACCESS_SECRET,
];

/// The table of `docs/CONFIGURATION.md`, as Markdown.
#[must_use]
pub fn render_table(settings: &[Setting]) -> String {
    let mut out = String::from("| key | value | default | secret | what it does |\n| --- | --- | --- | --- | --- |\n");
    for setting in settings {
        let (value, default) = match setting.kind {
            Kind::Number { unit, default, min, max } => (format!("{min} to {max} {unit}"), format!("{default} {unit}")),
            Kind::Text { expected, default } | Kind::Structure { expected, default } => {
                (expected.to_owned(), default.to_owned())
            }
            Kind::Flag { default } => ("true or false".to_owned(), default.to_owned()),
        };
        let secret = if setting.secret { "yes" } else { "no" };
        let path = setting.place.path(setting.key);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{path}` | {value} | {default} | {secret} | {} |", setting.about);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_range() {
        for setting in SETTINGS {
            if let Kind::Number { default, min, max, .. } = setting.kind {
                assert!((min..=max).contains(&default), "{}", setting.key);
            }
        }
    }

    #[test]
    fn no_setting_is_listed_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for setting in SETTINGS {
            assert!(
                seen.insert((setting.place.path(setting.key), setting.place == Place::Variable)),
                "{}",
                setting.key
            );
        }
    }

    #[test]
    fn the_documentation_shows_every_setting_as_it_is() {
        let page = include_str!("../../../../docs/CONFIGURATION.md");
        for place in Place::ALL {
            let settings: Vec<Setting> = SETTINGS.iter().copied().filter(|setting| setting.place == place).collect();
            let table = render_table(&settings);
            assert!(page.contains(&table), "docs/CONFIGURATION.md must contain this table:\n{table}");
        }
    }
}
