//! A message, as a broker takes and gives it.

/// A message to produce, or one that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Kafka's.
    pub partition: Option<i32>,
    /// Kafka's offset, or NATS's sequence.
    pub offset: i64,
    /// Kafka's; NATS has none.
    pub key: Option<Vec<u8>>,
    /// NATS's; a scene has one for all that names none.
    pub subject: Option<String>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    pub fn json(value: &serde_json::Value) -> Record {
        Record::bytes(value.to_string())
    }

    pub fn bytes(value: impl Into<Vec<u8>>) -> Record {
        Record { value: Some(value.into()), ..Record::default() }
    }

    pub fn tombstone(key: &str) -> Record {
        Record { key: Some(key.into()), ..Record::default() }
    }

    pub fn key(mut self, key: &str) -> Record {
        self.key = Some(key.into());
        self
    }

    pub fn on(mut self, subject: &str) -> Record {
        self.subject = Some(subject.to_owned());
        self
    }

    pub fn in_partition(mut self, partition: i32) -> Record {
        self.partition = Some(partition);
        self
    }

    pub fn with(mut self, header: &str, value: &str) -> Record {
        self.headers.push((header.to_owned(), value.into()));
        self
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        std::str::from_utf8(value).ok()
    }
}
