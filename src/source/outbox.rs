use std::cell::RefCell;

use super::{FromSource, Report};
use crate::domain::SourceId;
use crate::engine::Input;

/// The way out to the pipeline.
pub(super) struct Outbox {
    source: SourceId,
    emit: Box<dyn Fn(FromSource) + Send>,
    ready: RefCell<Option<Result<(), String>>>,
}

impl Outbox {
    pub(super) fn new(source: SourceId, emit: impl Fn(FromSource) + Send + 'static) -> Outbox {
        Outbox { source, emit: Box::new(emit), ready: RefCell::default() }
    }

    pub(super) fn source(&self) -> SourceId {
        self.source
    }

    pub(super) fn inputs(&self, inputs: Vec<Input>) {
        if !inputs.is_empty() {
            (self.emit)(FromSource::Inputs(inputs));
        }
    }

    pub(super) fn report(&self, report: Report) {
        (self.emit)(FromSource::Report(self.source, report));
    }

    /// Tells whether the source is ready, if that is news.
    pub(super) fn ready(&self, ready: Result<(), String>) {
        if self.ready.borrow().as_ref() != Some(&ready) {
            *self.ready.borrow_mut() = Some(ready.clone());
            self.report(Report::Ready(ready));
        }
    }

    pub(super) fn stopped(&self, result: Result<(), String>) {
        (self.emit)(FromSource::Stopped(self.source, result));
    }
}
