//! The classes of AWS errors. A request whose answer did not come is in doubt, never transient, when it could have
//! changed something.

use std::fmt::Debug;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::provider::action::{ActionError, ActionErrorKind};

/// What kind of request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Read,
    Mutation,
}

/// Codes that say "later": AWS did nothing.
const LATER: &[&str] = &[
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "PriorRequestNotComplete",
    "RequestThrottled",
    "SlowDown",
];

/// Codes that say who is asking is not known or has to come again.
const IDENTITY: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "RequestExpired",
];

/// The class of an SDK error, with words for people.
pub fn classify<E>(error: SdkError<E, HttpResponse>, call: &str, sent: Sent) -> ActionError
where
    E: ProvideErrorMetadata + Debug,
{
    let unanswered = match sent {
        Sent::Read => ActionErrorKind::Transient,
        Sent::Mutation => ActionErrorKind::InDoubt,
    };
    let request_id = error.request_id().map(str::to_owned);
    let (kind, words) = match &error {
        SdkError::ConstructionFailure(cause) => (
            ActionErrorKind::Permanent,
            format!("{call} could not be made: {cause:?}; nothing was sent"),
        ),
        SdkError::TimeoutError(_) => (unanswered, format!("{call}: no answer in time; {}", hint(sent))),
        SdkError::DispatchFailure(failure) => {
            let cause = failure
                .as_connector_error()
                .map(|error| error as &(dyn std::error::Error + 'static));
            let words = cause.map_or_else(|| "not sent".to_owned(), chain);
            if cause.is_some_and(|error| find::<CredentialsError>(error).is_some()) {
                let words = format!("{call} was not sent: {words}; log in, or check the connection's profile");
                (ActionErrorKind::Permanent, words)
            } else if cause.is_some_and(never_connected) {
                let words = format!("{call}: the connection failed: {words}; nothing was sent, check the network");
                (ActionErrorKind::Transient, words)
            } else {
                (
                    unanswered,
                    format!("{call}: the connection failed: {words}; {}", hint(sent)),
                )
            }
        }
        SdkError::ResponseError(cause) => {
            let status = cause.raw().status().as_u16();
            let words = format!("{call}: the answer ({status}) could not be read; {}", hint(sent));
            (unanswered, words)
        }
        SdkError::ServiceError(cause) => {
            let status = cause.raw().status().as_u16();
            let words = cause.err().message().unwrap_or("no message");
            let told = cause.err().code().map(|code| (code, words));
            let error = refused(call, status, told, sent);
            (error.kind, error.message)
        }
        _ => (unanswered, format!("{call}: {error:?}; {}", hint(sent))),
    };
    ActionError {
        kind,
        message: words,
        request_id,
        evidence: Vec::new(),
    }
}

/// A service's answer with an error: its status, its code and words where it gave any.
pub fn refused(call: &str, status: u16, told: Option<(&str, &str)>, sent: Sent) -> ActionError {
    let unanswered = match sent {
        Sent::Read => ActionErrorKind::Transient,
        Sent::Mutation => ActionErrorKind::InDoubt,
    };
    let code = told.map(|(code, _)| code);
    let kind = kind_of(status, code, unanswered);
    let said = match told {
        Some((code, words)) => format!("{call} was refused: {code}: {words}"),
        None => format!("{call}: the answer ({status}) says nothing that is known"),
    };
    let hint = match code {
        Some(code) if IDENTITY.contains(&code) => "log in again, or check the connection's profile",
        Some(_) | None if kind == ActionErrorKind::Permanent => "nothing was changed",
        Some(_) | None if kind == ActionErrorKind::Transient => "nothing was changed, it can be tried again",
        Some(_) | None => hint(sent),
    };
    ActionError::new(kind, format!("{said}; {hint}"))
}

/// A request that could not even be made.
pub fn unsent(call: &str, cause: &dyn std::error::Error) -> ActionError {
    let words = format!("{call} could not be made: {cause}; nothing was sent");
    ActionError::new(ActionErrorKind::Permanent, words)
}

/// What an answer with an error says. An answer that nobody can read says nothing, unless its status does.
fn kind_of(status: u16, code: Option<&str>, unanswered: ActionErrorKind) -> ActionErrorKind {
    match (status, code) {
        (_, Some(code)) if LATER.contains(&code) => ActionErrorKind::Transient,
        (429, None) => ActionErrorKind::Transient,
        // The server gave up on a request that it may have begun, whatever it calls that.
        (408, _) => unanswered,
        (400..=499, _) => ActionErrorKind::Permanent,
        _ => unanswered,
    }
}

const fn hint(sent: Sent) -> &'static str {
    match sent {
        Sent::Read => "it can be asked again",
        Sent::Mutation => "it may have happened: look before anything is sent again",
    }
}

/// A failure once the peer has accepted the effect: whatever is not known then is in doubt, not refused.
pub fn accepted(error: ActionError) -> ActionError {
    match error.kind {
        ActionErrorKind::Permanent | ActionErrorKind::Transient => ActionError {
            kind: ActionErrorKind::InDoubt,
            message: format!("it was accepted, and then: {}", error.message),
            ..error
        },
        ActionErrorKind::InDoubt | ActionErrorKind::Cancelled => error,
    }
}

fn find<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let mut source = Some(error);
    while let Some(cause) = source {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        source = cause.source();
    }
    None
}

/// Whether there never was a connection: nothing can have been sent.
fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    find::<hyper_util::client::legacy::Error>(error).is_some_and(|client| client.is_connect())
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

/// Whether a service refused with this code; some services add `Fault` to theirs.
pub fn says<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, wanted: &str) -> bool {
    code(error).is_some_and(|code| code.strip_suffix("Fault").unwrap_or(code) == wanted)
}

/// The code of a service's refusal.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    match error {
        SdkError::ServiceError(cause) => cause.err().code(),
        _ => None,
    }
}
