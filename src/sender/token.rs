//! Tokens of OAuth 2.0 client credentials (RFC 6749 §4.4): fetched by one for all, kept until shortly
//! before they expire.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use rustls::ClientConfig;
use tokio::sync::Notify;

use super::dial::fault;
use super::names::Names;
use super::token_request::{Style, TokenRequest};
use crate::domain::{Fault, Reply};
use crate::plan::Target;

/// A token that does not say how long it lives is kept for so long.
pub(super) const USUAL_LIFE: Duration = Duration::from_secs(300);

/// A token is fetched anew so long before its end, or when a fifth of its life is left, whichever is later.
const MARGIN: Duration = Duration::from_secs(30);

/// After a failure nobody asks again for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// A token that was fetched because another one was refused, and is refused itself, is not replaced
/// before it is so old: then the receiver does not refuse tokens for their age.
const LEAST_AGE: Duration = Duration::from_secs(5);

/// What a request shows. Its text is marked sensitive.
pub(super) struct Token {
    header: HeaderValue,
    serial: u64,
    fetched_at: Instant,
    refresh_at: Instant,
    expires_at: Instant,
    /// It replaces one that was refused.
    replaces: bool,
    accepted: AtomicBool,
}

/// What a token endpoint gave.
pub(super) struct Grant {
    /// `Bearer …`, marked sensitive.
    pub(super) header: HeaderValue,
    pub(super) life: Duration,
}

/// The tokens of all targets with the same credentials, for all sender threads.
pub(super) struct TokenSource {
    request: TokenRequest,
    state: Mutex<State>,
    /// A fetch has ended.
    changed: Notify,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    fetching: bool,
    failure: Option<(Instant, Box<str>)>,
    serial: u64,
    /// The last token was refused, and none was fetched since.
    refused: bool,
    style: Style,
}

/// What is to be done for whoever needs a token.
enum Found {
    Token(Arc<Token>),
    Failure(Box<str>),
    Nothing,
}

impl TokenSource {
    /// Those of each target; targets that would ask the same in the same way share one.
    pub(super) fn of_targets(targets: &[(&Target, Option<ClientConfig>)]) -> Vec<Option<Arc<TokenSource>>> {
        let mut sources: Vec<Option<Arc<TokenSource>>> = Vec::with_capacity(targets.len());
        for (index, (target, tls)) in targets.iter().enumerate() {
            let same = targets[..index].iter().position(|(earlier, _)| asks_the_same(earlier, target));
            let source = match same.and_then(|index| sources[index].clone()) {
                Some(source) => Some(source),
                None => {
                    TokenRequest::of(target, tls.clone()).map(|request| Arc::new(TokenSource::new(request)))
                }
            };
            sources.push(source);
        }
        sources
    }

    fn new(request: TokenRequest) -> TokenSource {
        TokenSource { request, state: Mutex::default(), changed: Notify::new() }
    }

    /// A token that has not expired; if there is none, waits for the one that is being fetched.
    pub(super) async fn token(self: &Arc<Self>, names: &Rc<Names>) -> Result<Arc<Token>, Reply> {
        loop {
            // Before the look, so that no end of a fetch is missed between.
            let changed = self.changed.notified();
            match self.look(names) {
                Found::Token(token) => return Ok(token),
                Found::Failure(text) => return Err(fault(Fault::Auth, text)),
                Found::Nothing => changed.await,
            }
        }
    }

    /// Looks for a token, and has one fetched if it is time for that.
    fn look(self: &Arc<Self>, names: &Rc<Names>) -> Found {
        let now = Instant::now();
        let mut state = self.lock();
        let token = state.token.clone().filter(|token| now < token.expires_at);
        if token.as_ref().is_some_and(|token| now < token.refresh_at) {
            return token.map_or(Found::Nothing, Found::Token);
        }
        let failure =
            state.failure.as_ref().filter(|(at, _)| now < *at + PAUSE).map(|(_, text)| text.clone());
        if !state.fetching && failure.is_none() {
            state.fetching = true;
            let fetch = Fetch { source: self.clone(), ended: false };
            tokio::task::spawn_local(fetch.run(names.clone(), state.style));
        }
        match (token, failure) {
            (Some(token), _) => Found::Token(token),
            (None, Some(text)) if !state.fetching => Found::Failure(text),
            (None, _) => Found::Nothing,
        }
    }

    /// Takes note that the receiver refused this token; whether another one is worth a try.
    pub(super) fn refuse(&self, token: &Token) -> bool {
        let mut state = self.lock();
        let is_current = state.token.as_ref().is_some_and(|current| current.serial == token.serial);
        if !is_current {
            return true;
        }
        let futile = token.replaces
            && !token.accepted.load(Ordering::Relaxed)
            && token.fetched_at.elapsed() < LEAST_AGE;
        if !futile {
            state.token = None;
            state.refused = true;
        }
        !futile
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves whole values behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// The receiver did not refuse it.
    pub(super) fn accept(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }
}

/// A fetch under way. Dropped before its end, it has failed, so that nobody waits for ever.
struct Fetch {
    source: Arc<TokenSource>,
    ended: bool,
}

impl Fetch {
    async fn run(mut self, names: Rc<Names>, style: Style) {
        let began = Instant::now();
        let result = self.source.request.make(&names, style).await;
        let mut state = self.source.lock();
        match result {
            Ok((grant, style)) => {
                state.serial += 1;
                let margin = (grant.life / 5).min(MARGIN);
                state.token = Some(Arc::new(Token {
                    header: grant.header,
                    serial: state.serial,
                    fetched_at: began,
                    refresh_at: began + (grant.life - margin),
                    expires_at: began + grant.life,
                    replaces: std::mem::take(&mut state.refused),
                    accepted: AtomicBool::new(false),
                }));
                (state.style, state.failure) = (style, None);
            }
            Err(text) => {
                tracing::warn!(endpoint = %self.source.request, reason = %text, "no token could be had; check `auth.oauth2` and its endpoint");
                state.failure = Some((Instant::now(), text));
            }
        }
        state.fetching = false;
        drop(state);
        self.ended = true;
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if !self.ended {
            let mut state = self.source.lock();
            state.fetching = false;
            state.failure = Some((Instant::now(), "the fetch of a token was broken off".into()));
        }
        self.source.changed.notify_waiters();
    }
}

fn asks_the_same(one: &Target, other: &Target) -> bool {
    one.oauth2.is_some()
        && one.oauth2 == other.oauth2
        && one.egress == other.egress
        && one.proxy == other.proxy
        && one.tls == other.tls
}
