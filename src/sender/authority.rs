//! What one attempt proves its right with: a token if the target needs one, and the receiver's word that it
//! takes webhooks.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Request;
use hyper::header::{AUTHORIZATION, RETRY_AFTER};

use super::desk::{Assignment, Peer};
use super::dial::Step;
use super::handshake::{Handshake, Turn};
use super::line::Answer;
use super::names::Names;
use super::token::{Token, TokenSource};
use crate::domain::{Moment, Reply};
use crate::plan::Target;
use crate::wire;

/// What all attempts of one target share, in all threads. Most targets have neither.
#[derive(Clone, Default)]
pub(super) struct Rights {
    pub(super) tokens: Option<Arc<TokenSource>>,
    pub(super) handshake: Option<Arc<Handshake>>,
}

/// The right of one attempt.
pub(super) struct Authority<'a> {
    pub(super) names: &'a Rc<Names>,
    pub(super) target: &'a Target,
    pub(super) peer: &'a Peer,
    token: Option<Arc<Token>>,
    /// One refusal of a token was made good already.
    renewed: bool,
    /// The next request asks for the receiver's word.
    turn: Option<Turn<'a>>,
}

impl<'a> Authority<'a> {
    pub(super) fn of(names: &'a Rc<Names>, target: &'a Target, peer: &'a Peer) -> Authority<'a> {
        Authority { names, target, peer, token: None, renewed: false, turn: None }
    }

    /// The next request: the webhook, rendered and signed for now, or what has to be asked before. A
    /// token is waited for, and so is another attempt that asks.
    pub(super) async fn request(
        &mut self,
        assignment: &Assignment,
        step: &Cell<Step>,
    ) -> Result<Request<Bytes>, Reply> {
        let Rights { tokens, handshake } = &self.peer.rights;
        if let Some(source) = tokens {
            step.set(Step::Authorizing);
            self.token = Some(source.token(self.names).await?);
        }
        if let (Some(handshake), None) = (handshake, &self.turn) {
            step.set(Step::Asking);
            self.turn = handshake.turn().await?;
        }
        step.set(Step::Exchanging);
        let mut request = match &self.turn {
            Some(turn) => {
                let mut headers = self.target.blueprint.fixed_headers();
                turn.ask(&mut headers);
                self.peer.endpoint.options(headers)
            }
            None => self.webhook(assignment)?,
        };
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        Ok(request)
    }

    fn webhook(&self, assignment: &Assignment) -> Result<Request<Bytes>, Reply> {
        let attempt = assignment.attempt();
        let rendered = self.target.blueprint.render(&attempt.event, attempt.number, Moment::now().wall_ms);
        let rendered = rendered.map_err(|fault| Reply::Unrenderable(fault.0))?;
        self.remark_on(&rendered.body);
        Ok(self.peer.endpoint.request(rendered))
    }

    fn remark_on(&self, body: &[u8]) {
        if self.target.blueprint.is_first_refused_in_javascript(body) {
            tracing::warn!(
                target = &*self.target.name,
                "a body holds an integer beyond 2^53: it is sent with all its digits, and a receiver that verifies \
                 `JSON.stringify(JSON.parse(body))` refuses it; `payload.big_integers: round` sends what \
                 JavaScript makes of it. This is said once"
            );
        }
    }

    /// What the answer to its last request makes of the attempt; `None`: there is one more to make.
    pub(super) fn judge(&mut self, answer: &Answer) -> Option<Reply> {
        if self.is_to_renew(answer.status) {
            return None;
        }
        if let Some(turn) = &self.turn {
            let refusal = turn.judge(answer).err();
            if refusal.is_none() {
                self.turn = None;
            }
            return refusal;
        }
        let retry_after =
            answer.headers.get(RETRY_AFTER).and_then(|value| wire::retry_after(value.to_str().ok()?));
        Some(Reply::Status { status: answer.status, retry_after })
    }

    /// Whether the same request is to be made once more with another token: its own was refused
    /// (401), for the first time.
    fn is_to_renew(&mut self, status: u16) -> bool {
        let (Some(source), Some(token)) = (&self.peer.rights.tokens, &self.token) else { return false };
        if status != 401 {
            token.accept();
            return false;
        }
        let again = !self.renewed && source.refuse(token);
        self.renewed = true;
        again
    }

    /// The attempt has ended: those who wait for what it asked learn if that was in vain.
    pub(super) fn close(self, reply: &Reply) {
        if let (Some(turn), Reply::Fault { .. }) = (self.turn, reply) {
            turn.fail(reply.clone());
        }
    }
}
