use std::sync::Arc;

use super::SharedGrant;
use super::tier_intake::TierMessage;
use crate::domain::{Event, Receipt};
use crate::engine::{Grant, Input};
use crate::plan::Window;

/// What a source has handed over, against what it is granted.
#[derive(Debug)]
pub(super) struct Allowance {
    grant: Arc<SharedGrant>,
    window: Window,
    /// All that was handed over since the start.
    handed: Grant,
}

impl Allowance {
    pub(super) fn new(grant: Arc<SharedGrant>, window: Window) -> Allowance {
        Allowance { grant, window, handed: Grant::default() }
    }

    /// The window that the grant keeps to.
    pub(super) fn window(&self) -> Window {
        self.window
    }

    /// How much may be handed over now.
    pub(super) fn left(&self) -> Grant {
        let grant = self.grant.read();
        Grant {
            events: grant.events.saturating_sub(self.handed.events),
            bytes: grant.bytes.saturating_sub(self.handed.bytes),
        }
    }

    /// Whether at least a quarter of the window is free.
    pub(super) fn is_roomy(&self) -> bool {
        let (left, window) = (self.left(), self.window);
        left.events >= window.events.div_ceil(4) && left.bytes >= window.bytes / 4
    }

    /// Whether this event may be handed over now.
    pub(super) fn fits(&self, event: &Event) -> bool {
        let left = self.left();
        // Key and headers can make an event larger than the whole window: it goes alone.
        let alone = left.bytes >= self.window.bytes;
        left.events > 0 && (event.weight() <= left.bytes || alone)
    }

    /// Counts an event, which is handed over with this.
    pub(super) fn hand_over(&mut self, event: Event, receipt: Receipt) -> Input {
        self.count(&event);
        Input::Arrived { event: Arc::new(event), receipt }
    }

    /// Counts what a tier's record holds, which is handed over with this.
    pub(super) fn resume(&mut self, message: TierMessage, receipt: Receipt) -> Input {
        self.count(message.event());
        match message {
            TierMessage::Waiting(event, waiting) => {
                Input::Resumed { event: Arc::new(event), receipt, waiting }
            }
            TierMessage::Unreadable(event, detail) => {
                Input::Unreadable { event: Arc::new(event), receipt, detail }
            }
        }
    }

    fn count(&mut self, event: &Event) {
        self.handed.events += 1;
        self.handed.bytes = self.handed.bytes.saturating_add(event.weight());
    }
}
