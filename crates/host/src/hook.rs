//! Looking at every outbound request of every instance, and interfering: how tests kill an instance at a chosen point.

use futures::future::BoxFuture;
use http::{HeaderMap, Method, Uri};

/// An outbound request that an instance makes. Requests that `allowed_outbound_hosts` refuses do not count.
#[derive(Clone, Debug)]
pub struct OutboundCall {
    /// The component's name in the manifest.
    pub component: String,
    /// The number of the instance: 1 for the first of the application, one more for each.
    pub instance: u64,
    /// The request's method.
    pub method: Method,
    /// The whole address.
    pub uri: Uri,
    /// The request's headers, without `host`.
    pub headers: HeaderMap,
}

/// The head of an answer, as the service sent it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
}

/// What becomes of a request, and of the instance that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on.
    Continue,
    /// The instance dies at once, as by a SIGKILL: nothing of it runs again. The client of its request gets a 500, or a
    /// closed connection if the response had begun.
    Kill,
    /// The connection is refused: before the request, nothing is sent; after it, the same as `DropReply`.
    Fail,
    /// The request is performed, and the connection breaks before the instance sees the answer.
    DropReply,
}

/// Is asked before and after each outbound request. Both may wait, for as long as they like: the instance waits too.
pub trait OutboundHook: Send + Sync + 'static {
    /// Before anything is sent.
    fn before<'a>(&'a self, call: &'a OutboundCall) -> BoxFuture<'a, Verdict> {
        let _ = call;
        Box::pin(async { Verdict::Continue })
    }

    /// When the answer's head is there, or why it will not come; before the instance sees either. Not asked when
    /// `before` said `Fail` or `Kill`.
    fn after<'a>(&'a self, call: &'a OutboundCall, answer: Result<Answer, String>) -> BoxFuture<'a, Verdict> {
        let _ = (call, answer);
        Box::pin(async { Verdict::Continue })
    }
}
