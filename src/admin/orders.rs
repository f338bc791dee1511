//! What an operator can ask of the control thread, and how the thread is told.

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::config::WEIGHT_MAX;

/// Orders that may wait. Each is given by an operator who waits for its answer.
const WAITING_MAX: usize = 32;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    Change(EndpointChange),
    /// Read the configuration file again.
    Reload,
}

/// What is to be changed of one endpoint. What is `None` stays as it is.
#[derive(Debug, PartialEq, Eq)]
pub struct EndpointChange {
    pub cluster: String,
    /// Its name in the status, or an address of the file, which may stand for several endpoints.
    pub endpoint: String,
    pub state: Option<WantedState>,
    pub weight: Option<WantedWeight>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedState {
    Ready,
    Drain,
    Maintenance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedWeight {
    /// What the file says.
    Configured,
    /// At most [`WEIGHT_MAX`].
    Is(u32),
}

/// Why an order is not carried out, in words for who gave it.
#[derive(Debug, PartialEq, Eq)]
pub enum Rejection {
    /// What it is about does not exist.
    Unknown(String),
    /// It cannot be done as it is.
    Refused(String),
    /// It can be done a little later, perhaps by another process.
    Busy(String),
}

/// An order, who gave it, and where to say what came of it.
pub struct Given {
    pub order: Order,
    pub by: String,
    pub answer: oneshot::Sender<Result<Value, Rejection>>,
}

/// Where orders are given.
#[derive(Debug, Clone)]
pub struct Orders(mpsc::Sender<Given>);

/// Where orders are given and where they come out.
pub fn channel() -> (Orders, mpsc::Receiver<Given>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Orders(sender), receiver)
}

impl Orders {
    /// Gives an order and waits until it is carried out.
    pub(super) async fn give(&self, order: Order, by: String) -> Result<Value, Rejection> {
        let (answer, answered) = oneshot::channel();
        let given = Given { order, by, answer };
        self.0.try_send(given).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Rejection::Busy("too many orders wait already; try again shortly".into())
            }
            mpsc::error::TrySendError::Closed(_) => ending(),
        })?;
        answered.await.unwrap_or_else(|_| Err(ending()))
    }
}

/// What the process that asks next finds is another one, or none.
fn ending() -> Rejection {
    Rejection::Busy("this process is ending and takes no orders any more; try again shortly".into())
}

impl EndpointChange {
    /// Reads `{"state": "drain", "weight": 5}`, either of them or both; a weight of `null` is the
    /// one in the file.
    ///
    /// # Errors
    ///
    /// What is wrong with the body.
    pub(super) fn parse(cluster: String, endpoint: String, body: &Value) -> Result<Self, String> {
        let Value::Object(keys) = body else {
            return Err("the body has to be an object such as {\"state\": \"drain\"}".into());
        };
        let mut change = Self { cluster, endpoint, state: None, weight: None };
        for (key, value) in keys {
            match key.as_str() {
                "state" => change.state = Some(WantedState::parse(value)?),
                "weight" => change.weight = Some(WantedWeight::parse(value)?),
                _ => {
                    return Err(format!(
                        "no key is called {key:?}; keys are \"state\", \"weight\""
                    ));
                }
            }
        }
        if change.state.is_none() && change.weight.is_none() {
            return Err("nothing is to be changed: give \"state\", \"weight\" or both".into());
        }
        Ok(change)
    }
}

impl WantedState {
    fn parse(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("ready") => Ok(Self::Ready),
            Some("drain") => Ok(Self::Drain),
            Some("maintenance") => Ok(Self::Maintenance),
            _ => Err(format!(
                "\"state\" is one of \"ready\", \"drain\", \"maintenance\", and not {value}"
            )),
        }
    }
}

impl WantedWeight {
    fn parse(value: &Value) -> Result<Self, String> {
        if value.is_null() {
            return Ok(Self::Configured);
        }
        let weight = value.as_u64().filter(|weight| *weight <= WEIGHT_MAX);
        let weight = weight.and_then(|weight| u32::try_from(weight).ok());
        weight.map(Self::Is).ok_or_else(|| {
            format!("\"weight\" is a whole number from 0 to {WEIGHT_MAX} or null, and not {value}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(body: Value) -> Result<(Option<WantedState>, Option<WantedWeight>), String> {
        let change = EndpointChange::parse("docs".into(), "10.0.0.1:80".into(), &body)?;
        Ok((change.state, change.weight))
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let drain = Some(WantedState::Drain);
        assert_eq!(parse(json!({"state": "drain"})), Ok((drain, None)));
        assert_eq!(parse(json!({"weight": 0})), Ok((None, Some(WantedWeight::Is(0)))));
        let both = parse(json!({"weight": null, "state": "drain"}));
        assert_eq!(both, Ok((drain, Some(WantedWeight::Configured))));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_named() {
        for (body, named) in [
            (json!([]), "object"),
            (json!({}), "nothing is to be changed"),
            (json!({"state": "off"}), "\"off\""),
            (json!({"state": "ready", "wieght": 1}), "\"wieght\""),
            (json!({"weight": 1001}), "1001"),
            (json!({"weight": -1}), "-1"),
            (json!({"weight": 1.5}), "1.5"),
        ] {
            let why = parse(body).unwrap_err();
            assert!(why.contains(named), "{why}");
        }
    }

    #[tokio::test]
    async fn orders_beyond_the_bound_are_refused_at_once() {
        let (orders, mut receiver) = channel();
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let orders = orders.clone();
                tokio::spawn(async move { orders.give(Order::Reload, "a".into()).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let refused = orders.give(Order::Reload, "a".into()).await;
        assert!(matches!(refused, Err(Rejection::Busy(_))), "{refused:?}");

        receiver.close();
        while let Some(given) = receiver.recv().await {
            given.answer.send(Ok(json!(1))).unwrap();
        }
        for answered in waiting {
            assert_eq!(answered.await.unwrap(), Ok(json!(1)));
        }
        let refused = orders.give(Order::Reload, "a".into()).await;
        assert!(matches!(refused, Err(Rejection::Busy(_))), "{refused:?}");
    }
}
