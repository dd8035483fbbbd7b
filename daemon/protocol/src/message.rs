//! JSON-RPC 2.0 messages: <https://www.jsonrpc.org/specification>. Batches are not used, as in LSP.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{ErrorCode, RpcError};

/// A request's number or name, chosen by its sender.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    Number(i64),
    Text(String),
}

/// A method that is answered with exactly one response.
pub trait RequestKind {
    const METHOD: &'static str;
    type Params: Serialize + DeserializeOwned;
    type Result: Serialize + DeserializeOwned;
}

/// A message that is never answered.
pub trait NotificationKind {
    const METHOD: &'static str;
    type Params: Serialize + DeserializeOwned;
}

#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub id: Id,
    pub method: String,
    pub params: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub method: String,
    pub params: Value,
}

/// The one answer to a request. `id` is null only where the request's own id could not be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub id: Option<Id>,
    pub outcome: Result<Value, RpcError>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Request(Request),
    Notification(Notification),
    Response(Response),
}

/// All members that any of the three messages may have, as they lie on the wire.
#[derive(Serialize, Deserialize)]
struct Wire {
    jsonrpc: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    params: Option<Value>,
    // A result may be null and yet be there: hence the explicit presence.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Message {
    /// Reads a frame's body.
    ///
    /// # Errors
    /// The response to send back: [`ErrorCode::ParseError`] or [`ErrorCode::InvalidRequest`], with the id where
    /// one could be read.
    #[expect(clippy::result_large_err, reason = "the error is sent on at once, not carried up")]
    pub fn parse(body: &[u8]) -> Result<Message, Response> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            Response::failed(None, RpcError::new(ErrorCode::ParseError, format!("this is not JSON: {error}")))
        })?;
        let id = value.get("id").cloned().and_then(|id| serde_json::from_value::<Id>(id).ok());
        let invalid = |why: &str| {
            Response::failed(
                id.clone(),
                RpcError::new(ErrorCode::InvalidRequest, format!("no JSON-RPC 2.0 message: {why}")),
            )
        };
        let wire: Wire = serde_json::from_value(value).map_err(|error| invalid(&error.to_string()))?;
        if wire.jsonrpc != "2.0" {
            return Err(invalid("\"jsonrpc\" must be \"2.0\""));
        }
        if wire.id.as_ref().is_some_and(|raw| !raw.is_null()) && id.is_none() {
            return Err(invalid("\"id\" must be an integer or a string"));
        }
        let params = wire.params.unwrap_or(Value::Null);
        match (wire.method, id, wire.result, wire.error) {
            (Some(method), Some(id), None, None) => Ok(Message::Request(Request { id, method, params })),
            (Some(method), None, None, None) => Ok(Message::Notification(Notification { method, params })),
            (None, id, Some(result), None) => Ok(Message::Response(Response { id, outcome: Ok(result) })),
            (None, id, None, Some(error)) => Ok(Message::Response(Response { id, outcome: Err(error) })),
            (_, id, _, _) => Err(Response::failed(
                id,
                RpcError::new(
                    ErrorCode::InvalidRequest,
                    "a message has either a method, a result or an error",
                ),
            )),
        }
    }

    /// The bytes of a frame's body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut wire = Wire {
            jsonrpc: "2.0".to_owned(),
            id: None,
            method: None,
            params: None,
            result: None,
            error: None,
        };
        match self.clone() {
            Message::Request(Request { id, method, params }) => {
                wire.id = Some(id_value(id));
                wire.method = Some(method);
                wire.params = Some(params);
            }
            Message::Notification(Notification { method, params }) => {
                wire.method = Some(method);
                wire.params = Some(params);
            }
            Message::Response(Response { id, outcome }) => {
                wire.id = Some(id.map_or(Value::Null, id_value));
                match outcome {
                    Ok(result) => wire.result = Some(result),
                    Err(error) => wire.error = Some(error),
                }
            }
        }
        // Strings and `Value`s always serialise.
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

fn id_value(id: Id) -> Value {
    match id {
        Id::Number(number) => number.into(),
        Id::Text(text) => text.into(),
    }
}

impl Request {
    pub fn new<R: RequestKind>(id: Id, params: &R::Params) -> Self {
        Self { id, method: R::METHOD.to_owned(), params: to_value(params) }
    }
}

impl Notification {
    pub fn new<N: NotificationKind>(params: &N::Params) -> Self {
        Self { method: N::METHOD.to_owned(), params: to_value(params) }
    }

    /// The params, if this is an `N`.
    pub fn parse<N: NotificationKind>(&self) -> Option<Result<N::Params, serde_json::Error>> {
        (self.method == N::METHOD).then(|| N::Params::deserialize(&self.params))
    }
}

impl Response {
    pub fn ok<T: Serialize>(id: Id, result: &T) -> Self {
        Self { id: Some(id), outcome: Ok(to_value(result)) }
    }

    pub fn failed(id: Option<Id>, error: RpcError) -> Self {
        Self { id, outcome: Err(error) }
    }
}

/// The protocol's own types have string keys and finite numbers; a float that is not finite becomes null, as JSON has it.
fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &Message) {
        let parsed = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed, *expected);
        assert_eq!(Message::parse(&parsed.to_bytes()).unwrap(), *expected);
    }

    #[test]
    fn three_kinds_of_messages() {
        let id = Id::Number(7);
        check(
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{}}"#,
            &Message::Request(Request { id: id.clone(), method: "m".into(), params: serde_json::json!({}) }),
        );
        check(
            r#"{"jsonrpc":"2.0","method":"m"}"#,
            &Message::Notification(Notification { method: "m".into(), params: Value::Null }),
        );
        check(
            r#"{"jsonrpc":"2.0","id":7,"result":null}"#,
            &Message::Response(Response { id: Some(id), outcome: Ok(Value::Null) }),
        );
    }

    #[test]
    fn what_is_no_message_is_answered() {
        let code = |text: &str| Message::parse(text.as_bytes()).unwrap_err().outcome.unwrap_err().code;
        assert_eq!(code("{"), ErrorCode::ParseError);
        assert_eq!(code("[]"), ErrorCode::InvalidRequest);
        assert_eq!(code(r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#), ErrorCode::InvalidRequest);
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#), ErrorCode::InvalidRequest);
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"m","result":1}"#), ErrorCode::InvalidRequest);
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1}"#), ErrorCode::InvalidRequest);
    }
}
