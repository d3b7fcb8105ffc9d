//! How much librdkafka may fetch ahead for the two readers of a pipeline, in bytes.
//!
//! What waits in their queues is held memory, so it is part of `[memory] total`. The poll thread takes what the reader's
//! queue has by the batch, and while it works on that the queue fills again: so that one counts twice. What is put aside
//! of paused partitions is the rest of a batch. librdkafka counts keys and values, and goes over the figure by one fetch;
//! both excesses are bounded and belong to what the process takes beside the total.

use rdkafka::ClientConfig;

use crate::config::{Config, Property};

/// Enough for the throughput that was measured; more only waits.
const READER: u64 = 8 << 20;
const SWEEPER: u64 = 2 << 20;
/// No reader needs to be more records ahead in a partition; small ones take more room than their bytes.
const RECORDS: &str = "20000";
/// librdkafka does not go below the largest message that it takes.
const LEAST_FETCH: u64 = 1 << 20;

/// The queues' sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Of the reader that is a member of the group.
    reader: u64,
    /// Of the one that reads again for deferred accounts.
    sweeper: u64,
}

impl Queues {
    /// By the total, unless the properties say how much.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let total = config.memory.total;
        let set = config.kafka.properties.iter().find(|(name, _)| name == "queued.max.messages.kbytes");
        let set = set.and_then(|(_, value)| match value {
            Property::Plain(text) => text.parse::<u64>().ok(),
            Property::Secret(_) => None,
        });
        let reader = set.map_or(READER.min(total / 16), |kbytes| kbytes.saturating_mul(1 << 10));
        Self { reader, sweeper: SWEEPER.min(total / 32) }
    }

    /// What is left of the total for calls, dead letters and ledgers; at least half of it, whatever the properties say.
    #[must_use]
    pub fn leave(self, total: u64) -> u64 {
        total.saturating_sub(self.reader.saturating_mul(2).saturating_add(self.sweeper)).max(total / 2)
    }

    /// Bounds the reader; the properties win.
    pub fn bound_reader(self, config: &mut ClientConfig) {
        for (name, value) in [
            ("queued.max.messages.kbytes", (self.reader >> 10).to_string()),
            ("fetch.max.bytes", self.reader.clamp(LEAST_FETCH, READER).to_string()),
            ("queued.min.messages", RECORDS.to_owned()),
        ] {
            if config.get(name).is_none() {
                config.set(name, value);
            }
        }
    }

    /// Bounds the one that reads again.
    pub fn bound_sweeper(self, config: &mut ClientConfig) {
        config.set("queued.max.messages.kbytes", (self.sweeper >> 10).to_string());
        config.set("fetch.max.bytes", self.sweeper.clamp(LEAST_FETCH, SWEEPER).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(total: &str, properties: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let text = format!(
            "[kafka]\nbrokers = \"b:1\"\ngroup = \"g\"\ntopics = [\"t\"]\n[kafka.properties]\n{properties}\n\
             [memory]\ntotal = \"{total}\"\n[accounts.a.iterable]\nregion = \"us\"\nkeys = [{{ env = \"K\" }}]\n"
        );
        std::fs::write(&path, text).unwrap();
        crate::config::load(&path).unwrap().config
    }

    #[test]
    fn the_queues_are_part_of_the_total_and_small_where_it_is_small() {
        let queues = Queues::of(&config("256MiB", ""));
        assert_eq!(queues.leave(256 << 20), (256 - 2 * 8 - 2) << 20);
        let queues = Queues::of(&config("8MiB", ""));
        assert_eq!(queues.leave(8 << 20), (8 << 20) - 2 * (512 << 10) - (256 << 10));
    }

    #[test]
    fn a_queue_that_the_properties_set_counts_as_it_is_set() {
        let config = config("256MiB", "\"queued.max.messages.kbytes\" = 32768");
        assert_eq!(Queues::of(&config).leave(256 << 20), (256 - 2 * 32 - 2) << 20);
        let mut client = ClientConfig::new();
        client.set("queued.max.messages.kbytes", "32768");
        Queues::of(&config).bound_reader(&mut client);
        assert_eq!(client.get("queued.max.messages.kbytes"), Some("32768"));
        assert_eq!(client.get("fetch.max.bytes"), Some("8388608"));
    }
}
