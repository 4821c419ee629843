//! An open HTTP/2 connection, which many attempts share.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Reason, RecvStream};
use hyper::Request;
use hyper::header::CONTENT_LENGTH;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::line::{Answer, BODY_LIMIT, Broken, HEAD_LIMIT, Progress, Stream, Traffic, Transport};
use super::timer::Timer;

/// A connection that nobody needed for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// What a receiver may send ahead in one answer: enough for the part of an answer that is read.
const STREAM_WINDOW: u32 = 32 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// An open connection. A task of its own reads and writes it until it ends.
pub(super) struct SharedLine {
    requests: SendRequest<Bytes>,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    traffic: Rc<Traffic>,
    /// Requests that are out.
    streams: Cell<usize>,
    /// Used since the last look at it.
    used: Cell<bool>,
    closed: Cell<bool>,
    /// A request has ended, or the connection.
    freed: Notify,
}

/// The right to one request; ends with its answer.
pub(super) struct Slot<'a> {
    line: &'a SharedLine,
    requests: SendRequest<Bytes>,
}

/// Why no whole answer came over a shared connection.
pub(super) struct Cut {
    pub(super) broken: Broken,
    /// The receiver has not looked at the request, by its own word.
    pub(super) unprocessed: bool,
    /// Only this request ended; the connection can be used on.
    pub(super) usable: bool,
}

impl SharedLine {
    pub(super) async fn over(transport: Transport) -> Result<Rc<SharedLine>, h2::Error> {
        let state = Rc::new(State::default());
        let stream = Stream { transport, traffic: state.traffic.clone() };
        let (requests, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_LIMIT as u32)
            .handshake::<_, Bytes>(stream)
            .await?;
        tokio::task::spawn_local(drive(connection, state.clone()));
        Ok(Rc::new(SharedLine { requests, state }))
    }

    /// Whether nothing more can be sent on it.
    pub(super) fn is_closed(&self) -> bool {
        self.state.closed.get()
    }

    /// How many bytes have come in.
    pub(super) fn received(&self) -> u64 {
        self.state.traffic.received.get()
    }

    /// Waits until the receiver takes one more request at once.
    pub(super) async fn slot(&self) -> Result<Slot<'_>, Cut> {
        loop {
            // Before the look, so that nothing is missed between.
            let freed = self.state.freed.notified();
            let limit = self.requests.current_max_send_streams().max(1);
            if self.state.closed.get() || self.state.streams.get() < limit {
                break;
            }
            freed.await;
        }
        let before = self.received();
        let requests = self.requests.clone().ready().await.map_err(|error| self.cut(before, &error, true))?;
        self.state.streams.set(self.state.streams.get() + 1);
        self.state.used.set(true);
        Ok(Slot { line: self, requests })
    }

    fn cut(&self, before: u64, error: &h2::Error, unsent: bool) -> Cut {
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let unprocessed = unsent || (error.is_remote() && (error.is_go_away() || refused));
        let broken = self.state.traffic.broken(before, || text_of(error));
        Cut { broken, unprocessed, usable: error.is_reset() && !unsent }
    }
}

impl Slot<'_> {
    /// Sends a request and reads its answer. `progress` tells whoever gives up how far it came.
    pub(super) async fn exchange(
        mut self,
        request: Request<Bytes>,
        progress: &Cell<Progress>,
    ) -> Result<Answer, Cut> {
        let before = self.line.received();
        progress.set(Progress::Waiting);
        let (mut head, body) = request.into_parts();
        if !body.is_empty() {
            head.headers.insert(CONTENT_LENGTH, body.len().into());
        }
        let sent = self.requests.send_request(Request::from_parts(head, ()), body.is_empty());
        let (response, mut sink) = sent.map_err(|error| self.line.cut(before, &error, true))?;
        let cut = |error: h2::Error| self.line.cut(before, &error, false);
        if !body.is_empty() {
            sink.send_data(body, true).map_err(cut)?;
        }
        let response = response.await.map_err(cut)?;
        progress.set(Progress::Body);
        let (head, body) = response.into_parts();
        let complete = finish(body).await.map_err(cut)?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, complete })
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let state = &self.line.state;
        state.streams.set(state.streams.get().saturating_sub(1));
        state.freed.notify_one();
    }
}

/// Reads the body to its end or to the limit; tells which. Dropped before its end, only its own
/// stream is given up.
async fn finish(mut body: RecvStream) -> Result<bool, h2::Error> {
    let mut read = 0;
    while let Some(data) = body.data().await {
        let length = data?.len();
        read += length as u64;
        if read > BODY_LIMIT {
            return Ok(false);
        }
        body.flow_control().release_capacity(length)?;
    }
    Ok(true)
}

/// Reads and writes a connection until it ends, or nobody needed it for a while.
async fn drive(connection: Connection<Stream, Bytes>, state: Rc<State>) {
    /// Says that the connection has ended, also when its task is dropped.
    struct Ended(Rc<State>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.closed.set(true);
            self.0.freed.notify_waiters();
        }
    }
    let _ended = Ended(state.clone());
    let mut timer = Timer::new();
    timer.set(Instant::now(), IDLE);
    let mut connection = pin!(connection);
    std::future::poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            ready!(timer.poll(cx));
            if state.streams.get() == 0 && !state.used.take() {
                return Poll::Ready(());
            }
            timer.set(Instant::now(), IDLE);
        }
    })
    .await;
}

fn text_of(error: &h2::Error) -> String {
    if let Some(error) = error.get_io() {
        format!("the connection broke: {}", error.kind())
    } else if error.is_go_away() && error.is_remote() {
        format!("the receiver ended the connection ({})", reason(error))
    } else if error.is_go_away() {
        format!(
            "the receiver does not speak HTTP/2 as it should ({}); write `http: 1` if it can't",
            reason(error)
        )
    } else if error.is_reset() {
        format!("the receiver gave up the request ({})", reason(error))
    } else {
        "the receiver closed the connection before its answer was complete".to_owned()
    }
}

fn reason(error: &h2::Error) -> String {
    error.reason().map_or_else(|| "no reason".to_owned(), |reason| format!("{reason:?}"))
}
