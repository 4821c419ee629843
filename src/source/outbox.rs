use std::cell::RefCell;
use std::sync::Arc;

use super::{FromSource, Report};
use crate::domain::ConsumerId;
use crate::engine::Input;

/// The way out to the pipeline.
pub(super) struct Outbox {
    consumer: ConsumerId,
    source: Arc<str>,
    emit: Box<dyn Fn(FromSource) + Send>,
    ready: RefCell<Option<Result<(), String>>>,
}

impl Outbox {
    pub(super) fn new(
        consumer: ConsumerId,
        source: &str,
        emit: impl Fn(FromSource) + Send + 'static,
    ) -> Outbox {
        Outbox { consumer, source: source.into(), emit: Box::new(emit), ready: RefCell::default() }
    }

    pub(super) fn consumer(&self) -> ConsumerId {
        self.consumer
    }

    /// The source's name, for the log.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn inputs(&self, inputs: Vec<Input>) {
        if !inputs.is_empty() {
            (self.emit)(FromSource::Inputs(inputs));
        }
    }

    pub(super) fn report(&self, report: Report) {
        (self.emit)(FromSource::Report(self.consumer, report));
    }

    /// Tells whether the source is ready, if that is news.
    pub(super) fn ready(&self, ready: Result<(), String>) {
        if self.ready.borrow().as_ref() != Some(&ready) {
            *self.ready.borrow_mut() = Some(ready.clone());
            self.report(Report::Ready(ready));
        }
    }

    pub(super) fn stopped(&self, result: Result<(), String>) {
        (self.emit)(FromSource::Stopped(self.consumer, result));
    }
}
