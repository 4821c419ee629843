use super::FromStore;

/// What was last told of whether a store can be written: told, and logged, when it changes.
#[derive(Debug)]
pub(super) struct Standing {
    source: String,
    told: Option<Result<(), String>>,
}

impl Standing {
    /// Of the store on the broker of this source; nothing is told yet.
    pub(super) fn new(source: String) -> Standing {
        Standing { source, told: None }
    }

    /// Why the store can't be written, as far as is known.
    pub(super) fn fault(&self) -> Option<&str> {
        self.told.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// Whether it can be written now. The answer is what to tell, if that is news.
    pub(super) fn tell(&mut self, up: Result<(), String>) -> Option<FromStore> {
        if self.told.as_ref() == Some(&up) {
            return None;
        }
        match (&self.told, &up) {
            (Some(Err(_)), Ok(())) => {
                tracing::info!(source = self.source, "dead letters and retries can be written again")
            }
            (Some(Err(_)), Err(reason)) => {
                tracing::debug!(source = self.source, "dead letters and retries: {reason}")
            }
            (_, Err(reason)) => tracing::error!(
                source = self.source,
                "dead letters or retries can't be written: {reason}. Events that need it wait, and nothing is \
                 acknowledged past them; mend that, and it goes on by itself",
            ),
            (_, Ok(())) => {}
        }
        self.told = Some(up.clone());
        Some(FromStore::Up(up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_told() {
        let mut standing = Standing::new("orders".to_owned());
        assert_eq!(standing.tell(Ok(())), Some(FromStore::Up(Ok(()))));
        assert_eq!((standing.tell(Ok(())), standing.fault()), (None, None));
        assert!(standing.tell(Err("gone".to_owned())).is_some());
        assert_eq!(standing.fault(), Some("gone"));
        assert!(standing.tell(Err("gone".to_owned())).is_none());
    }
}
