//! Single reads of AWS's Query protocol, for services whose SDK crate would cost minutes of every build for one call: IAM
//! (<https://docs.aws.amazon.com/IAM/latest/APIReference/>) and CloudWatch
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/>). Signature Version 4 by AWS's own crate. Must not
//! send anything that changes something.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::provider::action::{ActionError, ActionErrorKind};

use super::classify::{Sent, refused, unsent};
use super::target::AwsTarget;

/// How often a read is tried.
const TRIES: u32 = 3;
/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(300);
/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 1024 * 1024;

/// A service of the Query protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Version 2010-05-08; one endpoint for all regions of a partition.
    Iam,
    /// Version 2010-08-01.
    CloudWatch,
}

impl Service {
    const fn version(self) -> &'static str {
        match self {
            Self::Iam => "2010-05-08",
            Self::CloudWatch => "2010-08-01",
        }
    }

    const fn signed_as(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::CloudWatch => "monitoring",
        }
    }

    /// Where it is, and the region that its signature names, by the partition of a region (AWS General Reference,
    /// "AWS service endpoints").
    fn place(self, region: &str) -> (String, String) {
        let china = region.starts_with("cn-");
        let domain = if china { "amazonaws.com.cn" } else { "amazonaws.com" };
        match self {
            Self::CloudWatch => (format!("https://monitoring.{region}.{domain}/"), region.to_owned()),
            Self::Iam if china => (format!("https://iam.cn-north-1.{domain}/"), "cn-north-1".to_owned()),
            Self::Iam if region.starts_with("us-gov-") => {
                (format!("https://iam.us-gov.{domain}/"), "us-gov-west-1".to_owned())
            }
            Self::Iam => (format!("https://iam.{domain}/"), "us-east-1".to_owned()),
        }
    }
}

/// The answer of a read, and the id that AWS gave the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<T> {
    pub body: T,
    pub request_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    #[serde(rename = "Error")]
    error: Option<Words>,
    /// As EC2's own form has it, and what imitates it.
    #[serde(rename = "Errors")]
    errors: Option<Errors>,
    #[serde(rename = "RequestId", alias = "RequestID")]
    request_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Errors {
    #[serde(rename = "Error")]
    error: Words,
}

#[derive(Debug, Deserialize)]
struct Words {
    #[serde(rename = "Code")]
    code: String,
    #[serde(rename = "Message", default)]
    message: String,
}

/// Asks, three times at most. `what` is `service:Operation`, for people.
///
/// # Errors
/// Classed as every other AWS error; a read that got no answer is transient.
pub async fn ask<T: DeserializeOwned>(
    target: &AwsTarget,
    service: Service,
    operation: &str,
    parameters: &[(String, String)],
) -> Result<Answered<T>, ActionError> {
    let call = format!(
        "{}:{operation}",
        service.signed_as().replace("monitoring", "cloudwatch")
    );
    let client = reqwest::Client::builder()
        .timeout(target.patience.div_f64(2.0))
        .connect_timeout(target.patience.div_f64(3.0).min(CONNECTING))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| unsent(&call, &error))?;
    let asking = async {
        let mut tries = 1;
        loop {
            match once(target, service, (operation, &call), parameters, &client).await {
                Err(error) if error.kind == ActionErrorKind::Transient && tries < TRIES => {
                    tracing::info!(%error, "asking again");
                    tokio::time::sleep(PAUSE * tries).await;
                    tries += 1;
                }
                settled => return settled,
            }
        }
    };
    tokio::time::timeout(target.patience, asking)
        .await
        .unwrap_or_else(|_elapsed| {
            let words = format!("{call}: no answer in time; it can be asked again");
            Err(ActionError::new(ActionErrorKind::Transient, words))
        })
}

async fn once<T: DeserializeOwned>(
    target: &AwsTarget,
    service: Service,
    (operation, call): (&str, &str),
    parameters: &[(String, String)],
    client: &reqwest::Client,
) -> Result<Answered<T>, ActionError> {
    let request = signed(target, service, client, form(service, operation, parameters))
        .await
        .map_err(|words| ActionError::new(ActionErrorKind::Permanent, format!("{call} was not sent: {words}")))?;
    let transient = |words: String| ActionError::new(ActionErrorKind::Transient, words);
    let mut answer = client.execute(request).await.map_err(|error| {
        transient(format!(
            "{call}: the connection failed: {}; it can be asked again",
            error.without_url()
        ))
    })?;
    let status = answer.status().as_u16();
    let header = answer.headers().get("x-amzn-requestid");
    let request_id = header.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let mut bytes = Vec::new();
    while let Some(piece) = answer
        .chunk()
        .await
        .map_err(|error| transient(format!("{call}: the answer broke off: {}", error.without_url())))?
    {
        bytes.extend_from_slice(&piece);
        if bytes.len() > LARGEST {
            return Err(transient(format!("{call}: the answer is larger than 1 MiB")));
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    if status == 200 {
        let body = quick_xml::de::from_str(&text).map_err(|error| ActionError {
            request_id: request_id.clone(),
            ..transient(format!(
                "{call}: the answer could not be read: {error}; it can be asked again"
            ))
        })?;
        return Ok(Answered { body, request_id });
    }
    let said: Option<Refusal> = quick_xml::de::from_str(&text).ok();
    let (words, named) = said.map_or((None, None), |said| {
        (said.error.or(said.errors.map(|errors| errors.error)), said.request_id)
    });
    let told = words
        .as_ref()
        .map(|words| (words.code.as_str(), words.message.as_str()));
    Err(ActionError {
        request_id: request_id.or(named),
        ..refused(call, status, told, Sent::Read)
    })
}

fn form(service: Service, operation: &str, parameters: &[(String, String)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", operation);
    form.append_pair("Version", service.version());
    form.extend_pairs(parameters);
    form.finish()
}

/// The request with its signature.
async fn signed(
    target: &AwsTarget,
    service: Service,
    client: &reqwest::Client,
    body: String,
) -> Result<reqwest::Request, String> {
    let (own, region) = service.place(&target.region);
    let url = target.endpoint.clone().unwrap_or(own);
    let identity = target.credentials().await?.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&region)
        .name(service.signed_as())
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let request = client
        .post(&url)
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(body.clone())
        .build()
        .map_err(|error| error.without_url().to_string())?;
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new(
        "POST",
        request.url().as_str(),
        headers,
        SignableBody::Bytes(body.as_bytes()),
    )
    .map_err(|error| error.to_string())?;
    let (instructions, _signature) = sign(signable, &parameters)
        .map_err(|error| error.to_string())?
        .into_parts();
    let mut signed = request.try_clone().ok_or("the request cannot be copied")?;
    for (name, value) in instructions.headers() {
        let value = reqwest::header::HeaderValue::from_str(value).map_err(|error| error.to_string())?;
        let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        signed.headers_mut().insert(name, value);
    }
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_own_places() {
        for (service, region, url, signed) in [
            (Service::Iam, "sa-east-1", "https://iam.amazonaws.com/", "us-east-1"),
            (
                Service::Iam,
                "cn-northwest-1",
                "https://iam.cn-north-1.amazonaws.com.cn/",
                "cn-north-1",
            ),
            (
                Service::Iam,
                "us-gov-east-1",
                "https://iam.us-gov.amazonaws.com/",
                "us-gov-west-1",
            ),
            (
                Service::CloudWatch,
                "sa-east-1",
                "https://monitoring.sa-east-1.amazonaws.com/",
                "sa-east-1",
            ),
            (
                Service::CloudWatch,
                "cn-north-1",
                "https://monitoring.cn-north-1.amazonaws.com.cn/",
                "cn-north-1",
            ),
        ] {
            assert_eq!(
                service.place(region),
                (url.to_owned(), signed.to_owned()),
                "{service:?} {region}"
            );
        }
    }
}
