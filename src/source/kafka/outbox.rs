use crate::domain::SourceId;
use crate::engine::Input;
use crate::source::{FromSource, Report};

/// The way out to the pipeline.
pub(super) struct Outbox {
    source: SourceId,
    emit: Box<dyn Fn(FromSource) + Send>,
}

impl Outbox {
    pub(super) fn new(source: SourceId, emit: impl Fn(FromSource) + Send + 'static) -> Outbox {
        Outbox { source, emit: Box::new(emit) }
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

    pub(super) fn stopped(&self, result: Result<(), String>) {
        (self.emit)(FromSource::Stopped(self.source, result));
    }
}
