//! Errors in the shape of OpenAI's API.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kcache::Error;
use serde_json::{Value, json};

/// Seconds after which a refused client may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why a request is refused or failed.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// Status of the response.
    pub status: StatusCode,
    /// What can be told apart by programs.
    pub code: Option<&'static str>,
    /// The field at fault.
    pub param: Option<&'static str>,
    /// What a person reads.
    pub message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: Option<&'static str>, message: String) -> Self {
        Self {
            status,
            code,
            param: None,
            message,
        }
    }

    /// A request that cannot be understood.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, None, message.into())
    }

    /// A field that cannot be used.
    pub fn param(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param),
            ..Self::bad(format!("{param}: {}", message.into()))
        }
    }

    /// A field that asks for what the server does not do.
    pub fn unsupported(param: &'static str, what: &str) -> Self {
        Self {
            code: Some("unsupported_parameter"),
            ..Self::param(param, format!("{what} is not supported"))
        }
    }

    /// A model that is not served.
    pub fn unknown_model(name: &str, served: &str) -> Self {
        let message = format!("the model {name:?} does not exist; this server has {served:?}");
        Self {
            param: Some("model"),
            ..Self::new(StatusCode::NOT_FOUND, Some("model_not_found"), message)
        }
    }

    /// The key is wrong or missing.
    pub fn unauthorized() -> Self {
        let message = "the key is wrong or missing: send Authorization: Bearer KEY".to_owned();
        let status = StatusCode::UNAUTHORIZED;
        Self::new(status, Some("invalid_api_key"), message)
    }

    /// All places are taken.
    pub fn queue_full(places: usize) -> Self {
        let message =
            format!("the server holds {places} requests already, as many as it takes; try again");
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::new(status, Some("queue_full"), message)
    }

    /// The server is about to end.
    pub fn closing() -> Self {
        let message = "the server is shutting down".to_owned();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Some("closing"), message)
    }

    /// Nothing can be computed any more.
    pub fn out_of_order(why: &str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, Some("out_of_order"), why.to_owned())
    }

    /// What should not have happened.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::other(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// Without a code.
    pub fn other(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, None, message.into())
    }

    /// The JSON object.
    pub fn body(&self) -> Value {
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::UNAUTHORIZED => "authentication_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl From<&Error> for ApiError {
    fn from(error: &Error) -> Self {
        let message = error.to_string();
        match error {
            Error::ContextFull { .. } => Self::new(
                StatusCode::BAD_REQUEST,
                Some("context_length_exceeded"),
                message,
            ),
            Error::InvalidArgument(_) | Error::Model(_) => Self::bad(message),
            Error::Cancelled => Self::closing(),
            _ if error.is_device_lost() => Self::out_of_order(&message),
            _ if error.is_out_of_memory() => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Some("out_of_memory"),
                message,
            ),
            Error::OutOfMemory { .. } | Error::Device(_) => Self::internal(message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
