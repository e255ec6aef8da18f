//! What components print.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Where a component printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line that a component printed.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// The component's name in the manifest.
    pub component: String,
    /// The number of the instance, as in [`OutboundCall`](crate::OutboundCall).
    pub instance: u64,
    /// Where it was printed.
    pub stream: Stream,
    /// The line, without its end.
    pub text: String,
}

/// Takes the lines that components print.
#[derive(Clone)]
pub struct LogSink(Arc<dyn Fn(LogLine) + Send + Sync>);

impl LogSink {
    /// Calls a function for each line. It must not block.
    pub fn new(take: impl Fn(LogLine) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Keeps nothing.
    #[must_use]
    pub fn discard() -> Self {
        Self::new(|_| ())
    }
}

/// Every line becomes an event of `tracing` at level INFO.
impl Default for LogSink {
    fn default() -> Self {
        Self::new(|line| {
            let LogLine { component, instance, text, .. } = line;
            tracing::info!(target: "oncebus_host::guest", component, instance, "{text}");
        })
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSink")
    }
}

/// One stream of one instance: gathers what is printed into lines.
#[derive(Clone)]
pub(crate) struct Printer(Arc<Mutex<Line>>);

struct Line {
    sink: LogSink,
    component: String,
    instance: u64,
    stream: Stream,
    pending: Vec<u8>,
}

/// A line longer than this many bytes is cut into several.
const LONGEST_LINE: usize = 64 * 1024;

impl Printer {
    pub(crate) fn new(sink: &LogSink, component: &str, instance: u64, stream: Stream) -> Self {
        let (sink, component) = (sink.clone(), component.to_owned());
        Self(Arc::new(Mutex::new(Line { sink, component, instance, stream, pending: Vec::new() })))
    }

    fn print(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).print(bytes);
    }
}

impl Line {
    fn print(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.pending.push(byte);
            }
            if byte == b'\n' || self.pending.len() >= LONGEST_LINE {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let text = String::from_utf8_lossy(pending.strip_suffix(b"\r").unwrap_or(&pending)).into_owned();
        let (component, instance, stream) = (self.component.clone(), self.instance, self.stream);
        (self.sink.0)(LogLine { component, instance, stream, text });
    }
}

/// The last line may have no end.
impl Drop for Line {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            self.end();
        }
    }
}

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// Printing never waits.
#[async_trait]
impl Pollable for Printer {
    async fn ready(&mut self) {}
}

impl OutputStream for Printer {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LONGEST_LINE)
    }
}

impl AsyncWrite for Printer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_comes_out_in_lines() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let sink = LogSink::new(move |line| kept.lock().unwrap().push(line.text));
        let printer = Printer::new(&sink, "c", 1, Stream::Stdout);
        for part in ["one\ntw", "o\r\n\n", "thr\u{e9}e"] {
            printer.print(part.as_bytes());
        }
        drop(printer);
        assert_eq!(*lines.lock().unwrap(), ["one", "two", "", "thrée"]);
    }
}
