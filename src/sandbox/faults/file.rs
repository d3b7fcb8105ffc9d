//! The faults file: tables `[[fault]]`, each checked against its kind, so that a setting that would do nothing is a mistake.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{Effect, Fault, FaultsError, Listed};
use crate::sandbox::accounts::located;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    account: Option<String>,
    endpoint: Option<String>,
    share: Option<f64>,
    from: Option<String>,
    #[serde(rename = "for")]
    lasting: Option<String>,
    count: Option<u64>,
    delay: Option<String>,
    status: Option<u16>,
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    elements: Option<f64>,
    list: Option<Listed>,
    marker: Option<String>,
    location: Option<String>,
    bytes: Option<u64>,
    every: Option<String>,
}

/// Reads a faults file: tables `[[fault]]`.
pub fn parse(text: &str) -> Result<Vec<Fault>, FaultsError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        fault: Vec<Written>,
    }
    let file: File = toml::from_str(text).map_err(|error| {
        let (line, message) = located(text, &error);
        FaultsError::Toml { line, message }
    })?;
    let numbered = (1..).zip(file.fault);
    numbered.map(|(index, it)| it.checked().map_err(|what| FaultsError::Fault { index, what })).collect()
}

impl Written {
    fn checked(mut self) -> Result<Fault, String> {
        let from = duration("from", self.from.take())?.unwrap_or_default();
        let until = duration("for", self.lasting.take())?.map(|lasting| from.saturating_add(lasting));
        let share = part("share", self.share.take(), 1.0)?;
        let mut fault = Fault { from, until, share, count: self.count.take(), ..Fault::new(Effect::Delay) };
        (fault.account, fault.endpoint) = (self.account.take(), self.endpoint.take());
        let delay = duration("delay", self.delay.take())?;
        fault.effect = self.effect(delay)?;
        let unused = self.unused();
        if !unused.is_empty() {
            return Err(format!("a {} has no {}", self.kind, unused.join(", ")));
        }
        if !matches!(fault.effect, Effect::DelayAnswer(_)) {
            fault.delay = delay.unwrap_or_default();
        }
        Ok(fault)
    }

    /// Takes what the kind needs; what is left afterwards is a mistake.
    fn effect(&mut self, delay: Option<Duration>) -> Result<Effect, String> {
        let missing = |what: &str| format!("a {} needs `{what}`", self.kind);
        Ok(match self.kind.as_str() {
            "status" => Effect::Status {
                status: status(self.status.take().ok_or_else(|| missing("status"))?)?,
                body: self.body.take(),
                headers: headers(std::mem::take(&mut self.headers))?,
            },
            "delay" if delay.is_some() => Effect::Delay,
            "delay" | "delay_answer" => Effect::DelayAnswer(delay.ok_or_else(|| missing("delay"))?),
            "hang" => Effect::Hang,
            "reset_before" => Effect::ResetBefore,
            "reset_after" => Effect::ResetAfter,
            "revoke_key" => Effect::RevokeKey,
            "throttle" => Effect::Throttle,
            "partial_failure" => Effect::PartialFailure {
                elements: part("elements", self.elements.take(), 0.1)?,
                list: self.list.take().unwrap_or_default(),
            },
            "poison" => Effect::Poison {
                marker: self.marker.take().filter(|m| !m.is_empty()).ok_or_else(|| missing("marker"))?,
                status: match self.status.take().unwrap_or(400) {
                    status @ (400 | 500) => status,
                    other => return Err(format!("a poison answers 400 or 500, not {other}")),
                },
            },
            "not_the_vendor" => Effect::NotTheVendor,
            "redirect" => Effect::Redirect {
                location: headers([("location".to_owned(), self.location.take().ok_or_else(|| missing("location"))?)])?
                    .swap_remove(0)
                    .1,
            },
            "huge_answer" => Effect::HugeAnswer { bytes: self.bytes.take().unwrap_or(64 << 20) },
            "broken_json" => Effect::BrokenJson,
            "slow_body" => {
                Effect::SlowBody(duration("every", self.every.take())?.unwrap_or(Duration::from_millis(100)))
            }
            "short_body" => Effect::ShortBody,
            other => return Err(format!("there is no kind {other:?}")),
        })
    }

    fn unused(&self) -> Vec<&'static str> {
        let left = [
            ("status", self.status.is_some()),
            ("body", self.body.is_some()),
            ("headers", !self.headers.is_empty()),
            ("elements", self.elements.is_some()),
            ("list", self.list.is_some()),
            ("marker", self.marker.is_some()),
            ("location", self.location.is_some()),
            ("bytes", self.bytes.is_some()),
            ("every", self.every.is_some()),
        ];
        left.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect()
    }
}

fn duration(name: &str, text: Option<String>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|it| Duration::try_from(it).ok());
    parsed.map(Some).ok_or_else(|| format!("`{name}` is a duration like \"10s\", not {text:?}"))
}

fn part(name: &str, value: Option<f64>, default: f64) -> Result<f64, String> {
    let value = value.unwrap_or(default);
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(format!("`{name}` is between 0 and 1, not {value}")) }
}

/// 1xx have a meaning for the connection and are not answers.
fn status(status: u16) -> Result<u16, String> {
    if (200..=599).contains(&status) { Ok(status) } else { Err(format!("`status` is 200 to 599, not {status}")) }
}

fn headers(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Vec<(String, String)>, String> {
    let pairs: Vec<_> = pairs.into_iter().collect();
    for (name, value) in &pairs {
        if name.parse::<http::HeaderName>().is_err() || value.parse::<http::HeaderValue>().is_err() {
            return Err(format!("{name:?} = {value:?} is not a header"));
        }
    }
    Ok(pairs)
}
