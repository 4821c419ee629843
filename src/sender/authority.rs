//! What one attempt proves its right with: its request, with a token if the target needs one.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Request;
use hyper::header::AUTHORIZATION;

use super::desk::{Assignment, Desk, Peer};
use super::dial::Step;
use super::token::{Token, TokenSource};
use crate::domain::{Moment, Reply};
use crate::plan::Target;

/// The tokens of one attempt; most targets have none.
pub(super) struct Authority<'a> {
    source: Option<&'a Arc<TokenSource>>,
    token: Option<Arc<Token>>,
    /// One refusal of a token was made good already.
    renewed: bool,
}

impl<'a> Authority<'a> {
    pub(super) fn of(peer: &'a Peer) -> Authority<'a> {
        Authority { source: peer.tokens.as_ref(), token: None, renewed: false }
    }

    /// The request, rendered and signed for now. A token is waited for before.
    pub(super) async fn request(
        &mut self,
        desk: &Rc<Desk>,
        target: &Target,
        peer: &Peer,
        assignment: &Assignment,
        step: &Cell<Step>,
    ) -> Result<Request<Bytes>, Reply> {
        if let Some(source) = self.source {
            step.set(Step::Authorizing);
            self.token = Some(source.token(desk).await?);
            step.set(Step::Exchanging);
        }
        let attempt = assignment.attempt();
        let rendered = target
            .blueprint
            .render(&attempt.event, attempt.number, Moment::now().wall_ms)
            .map_err(|fault| Reply::Unrenderable(fault.0))?;
        desk.remark_on(attempt.target, target, &rendered.body);
        let mut request = peer.endpoint.request(rendered);
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        Ok(request)
    }

    /// Whether the same attempt is to be made once more with another token: its own was refused
    /// (401), for the first time.
    pub(super) fn is_to_ask_again(&mut self, status: u16) -> bool {
        let (Some(source), Some(token)) = (self.source, &self.token) else { return false };
        if status != 401 {
            token.accept();
            return false;
        }
        let again = !self.renewed && source.refuse(token);
        self.renewed = true;
        again
    }
}
