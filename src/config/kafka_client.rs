//! What every client of the brokers starts from.
//!
//! Brokers and librdkafka's own properties, with secrets read. The consumer adds its group, the producer its
//! guarantees; neither may be set by a property.

use rdkafka::ClientConfig;
use secrecy::ExposeSecret;

use super::secret::{self, SecretError};
use super::{Kafka, Property};

/// The brokers and the properties, secrets included: never log it.
pub fn client_config(kafka: &Kafka) -> Result<ClientConfig, SecretError> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &kafka.brokers);
    for (name, property) in &kafka.properties {
        match property {
            Property::Plain(text) => client.set(name, text),
            Property::Secret(reference) if is_pem(name) => {
                client.set(name, secret::read_pem(reference)?.expose_secret())
            }
            Property::Secret(reference) => client.set(name, secret::read(reference)?.expose_secret()),
        };
    }
    Ok(client)
}

/// Whether the property's value has line breaks.
pub(super) fn is_pem(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, last)| last == "pem")
}
