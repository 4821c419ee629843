//! An open HTTP/1.1 connection: one request after another, each with its answer.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::trust;
use crate::domain::Fault;

/// So much of an answer's body is read (DESIGN.md §5).
pub(super) const BODY_LIMIT: u64 = 16 * 1024;

/// The largest head of an answer, in bytes.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;

/// What came back from a request.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Whether the body ended within the limit; if not, the connection can't be used again.
    pub(super) complete: bool,
}

/// Why no whole answer came.
pub(super) struct Broken {
    pub(super) fault: Fault,
    /// For people.
    pub(super) text: String,
    /// No byte came back after the request was handed over.
    pub(super) silent: bool,
}

/// How far the exchange under way has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    Body,
}

/// What reads and writes; `None` once it has ended. It must be dropped then: a request that was
/// handed over and not taken yet learns of the end only by that.
type Driver = Option<Connection<TokioIo<Stream>, Full<Bytes>>>;

/// An open connection. It does nothing unless it is polled: while a request is out by
/// [`Line::exchange`], otherwise by [`Line::poll_closed`].
pub(super) struct Line {
    requests: SendRequest<Full<Bytes>>,
    driver: Driver,
    traffic: Rc<Traffic>,
}

impl Line {
    pub(super) async fn over(transport: Transport) -> hyper::Result<Line> {
        let traffic = Rc::new(Traffic::default());
        let stream = Stream { transport, traffic: traffic.clone() };
        let (requests, driver) =
            http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(TokioIo::new(stream)).await?;
        Ok(Line { requests, driver: Some(driver), traffic })
    }

    /// Ready once nothing more can be sent on this connection: the receiver closed it, said
    /// something unasked, or answered the last request before it was whole.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.drive(cx);
        if self.driver.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Sends a request and reads its answer. `progress` tells whoever gives up how far it came.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Bytes>,
        progress: &Cell<Progress>,
    ) -> Result<Answer, Broken> {
        let before = self.traffic.received.get();
        progress.set(Progress::Waiting);
        match self.converse(request.map(Full::new), progress).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.traffic.broken(before, || text_of(&error))),
        }
    }

    /// Driver and answer are polled together in the caller's task. The answer's own waker does
    /// nothing, since only the driver can bring it forward and it is polled after the driver.
    async fn converse(
        &mut self,
        request: Request<Full<Bytes>>,
        progress: &Cell<Progress>,
    ) -> hyper::Result<Answer> {
        let mut head = pin!(self.requests.send_request(request));
        let driver = &mut self.driver;
        let response = std::future::poll_fn(|cx| {
            poll_driver(driver, cx);
            head.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await?;
        progress.set(Progress::Body);
        let (head, body) = response.into_parts();
        let complete = self.finish(body).await?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, complete })
    }

    /// Reads the body to its end or to the limit; tells which.
    async fn finish(&mut self, mut body: Incoming) -> hyper::Result<bool> {
        if body.is_end_stream() {
            return Ok(true);
        }
        if body.size_hint().lower() > BODY_LIMIT {
            return Ok(false);
        }
        let mut read = 0;
        std::future::poll_fn(|cx| {
            loop {
                // The body's first poll asks for data, which the driver then brings.
                let asked = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
                let frame = match asked {
                    Poll::Ready(frame) => frame,
                    Poll::Pending => {
                        self.drive(cx);
                        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                            Poll::Ready(frame) => frame,
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                };
                match frame {
                    None => return Poll::Ready(Ok(true)),
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
                }
                if read > BODY_LIMIT {
                    return Poll::Ready(Ok(false));
                }
            }
        })
        .await
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        poll_driver(&mut self.driver, cx);
    }
}

/// An error of the driver is dropped here: whoever waits for an answer gets it too.
fn poll_driver(driver: &mut Driver, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && Pin::new(running).poll(cx).is_ready()
    {
        *driver = None;
    }
}

fn text_of(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    if let Some(kind) = cause.map(io::Error::kind).filter(|kind| *kind != io::ErrorKind::UnexpectedEof) {
        format!("the connection broke: {kind}")
    } else if error.is_parse_too_large() {
        format!("the head of the answer is larger than {} KiB or has too many headers", HEAD_LIMIT / 1024)
    } else if error.is_parse() {
        "the answer is not HTTP/1.1".into()
    } else {
        "the receiver closed the connection before its answer was complete".into()
    }
}

/// What a connection runs over.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A transport that says what it read.
pub(super) struct Stream {
    pub(super) transport: Transport,
    pub(super) traffic: Rc<Traffic>,
}

/// What came in on a connection.
#[derive(Default)]
pub(super) struct Traffic {
    /// So many bytes; they tell a receiver that closed an idle connection from one that broke off
    /// its answer.
    pub(super) received: Cell<u64>,
    /// What TLS said against it after the handshake: with TLS 1.3 a receiver refuses our certificate
    /// only then.
    refused: RefCell<Option<String>>,
}

impl Traffic {
    /// A connection that broke after `before` bytes had come; `text` is asked unless TLS has an own.
    pub(super) fn broken(&self, before: u64, text: impl FnOnce() -> String) -> Broken {
        let silent = self.received.get() == before;
        match self.refused.borrow().clone() {
            Some(text) => Broken { fault: Fault::Tls, text, silent },
            None => Broken { fault: Fault::Network, text: text(), silent },
        }
    }

    fn note<T>(&self, read: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = read
            && error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
        {
            self.refused.replace(Some(trust::text_of(error)));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = match &mut this.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let traffic = &this.traffic;
        traffic.received.set(traffic.received.get() + (buf.filled().len() - before) as u64);
        traffic.note(&read);
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
