//! What the tests need: Kafka, processes, certificates, a proxy.
