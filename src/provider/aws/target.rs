//! An account and region to act in. Retries of the SDK are off for everything that can change something: the engine
//! decides what may be sent twice. Reads are tried three times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::{Mutex, OnceCell};

use crate::provider::action::{ActionError, ActionErrorKind};

use super::classify::{Sent, classify};

/// How long a call may take, its retries included, where the connection says nothing.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long credentials are kept that do not say when they end.
const KEPT: Duration = Duration::from_secs(300);
/// Those that end within this are had anew.
const SOON: Duration = Duration::from_secs(60);
/// How often a read is tried in that time.
const TRIES: u32 = 3;

/// How calls are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Fixed credentials that open nothing: the lab's.
    Fake,
    /// The SDK's own chain: environment, profile, instance role.
    Chain,
}

/// An AWS connection.
#[derive(Debug, Clone)]
pub struct AwsTarget {
    pub region: String,
    /// The account that the caller must belong to.
    pub account: String,
    /// An endpoint instead of AWS's own.
    pub endpoint: Option<String>,
    pub identity: Identity,
    /// A profile of the shared configuration files, instead of the default one.
    pub profile: Option<String>,
    /// The authoritative DNS server to ask, `None` where it has to be found.
    pub dns_server: Option<SocketAddr>,
    /// How long a call may take, its retries included; [`PATIENCE`] by default.
    pub patience: Duration,
    config: Arc<OnceCell<SdkConfig>>,
    reading: Arc<OnceCell<SdkConfig>>,
    credentials: Arc<Mutex<Option<(Instant, Credentials)>>>,
}

impl AwsTarget {
    /// A connection to an account in a region.
    pub fn new(region: &str, account: &str, endpoint: Option<String>, identity: Identity) -> Self {
        Self {
            region: region.to_owned(),
            account: account.to_owned(),
            endpoint,
            identity,
            profile: None,
            dns_server: None,
            patience: PATIENCE,
            config: Arc::default(),
            reading: Arc::default(),
            credentials: Arc::default(),
        }
    }

    /// The SDK's configuration for what can change something, made once: sent once, never again.
    pub async fn config(&self) -> &SdkConfig {
        self.config.get_or_init(|| self.load()).await
    }

    /// The SDK's configuration for reads: tried again after throttling, a broken connection or an error of the server.
    pub async fn reading(&self) -> &SdkConfig {
        let made = async || {
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(self.connects_within())
                .operation_attempt_timeout(self.patience.div_f64(2.0))
                .operation_timeout(self.patience)
                .build();
            let careful = self.config().await.clone().into_builder();
            careful
                // Throttled once, it asks more slowly from then on, whoever asks.
                .retry_config(RetryConfig::adaptive().with_max_attempts(TRIES))
                .timeout_config(timeouts)
                .build()
        };
        self.reading.get_or_init(made).await
    }

    fn connects_within(&self) -> Duration {
        // Before the call's own time is over: a connection that never stood has sent nothing.
        self.patience.div_f64(3.0).min(Duration::from_secs(5))
    }

    async fn load(&self) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.connects_within())
            .operation_timeout(self.patience)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if self.identity == Identity::Fake {
            let fake = Credentials::new("LAB", "lab", None, None, "lab");
            loader = loader.credentials_provider(SharedCredentialsProvider::new(fake));
        }
        loader.load().await
    }

    /// Credentials for a call that is signed here; kept for a while, because some come from a program or a service.
    ///
    /// # Errors
    /// Words for people: there are none, or they could not be had.
    pub async fn credentials(&self) -> Result<Credentials, String> {
        let mut kept = self.credentials.lock().await;
        if let Some((since, credentials)) = kept.as_ref() {
            let expires = credentials.expiry().is_some_and(|at| at <= SystemTime::now() + SOON);
            if since.elapsed() < KEPT && !expires {
                return Ok(credentials.clone());
            }
        }
        let provider = self.config().await.credentials_provider();
        let provider = provider.ok_or("there are no credentials; log in, or check the connection's profile")?;
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|error| format!("{error}; log in, or check the connection's profile"))?;
        *kept = Some((Instant::now(), credentials.clone()));
        Ok(credentials)
    }

    /// Refuses to act as anybody but a member of the connection's account.
    pub async fn prove_account(&self) -> Result<(), ActionError> {
        self.caller().await.map(drop)
    }

    /// The ARN of who we are, a member of the connection's account (STS `GetCallerIdentity`).
    pub async fn caller(&self) -> Result<String, ActionError> {
        let client = aws_sdk_sts::Client::new(self.reading().await);
        let caller = client
            .get_caller_identity()
            .send()
            .await
            .map_err(|error| classify(error, "sts:GetCallerIdentity", Sent::Read))?;
        let account = caller.account().unwrap_or_default();
        if account != self.account {
            return Err(ActionError::new(
                ActionErrorKind::Permanent,
                format!(
                    "the credentials belong to account {account}, the connection names {}; check the profile",
                    self.account
                ),
            ));
        }
        Ok(caller.arn().unwrap_or_default().to_owned())
    }

    /// Refuses what lies in another account or region than the connection names; `arn` tells where it lies.
    pub fn prove_place(&self, arn: &str) -> Result<(), ActionError> {
        let mut parts = arn.split(':').skip(3);
        let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if (region, account) == (self.region.as_str(), self.account.as_str()) {
            return Ok(());
        }
        let words = format!(
            "{arn} lies in region {region} of account {account}, the connection names {} of {}; check the connection",
            self.region, self.account
        );
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    }

    /// What an approval binds of this connection.
    pub fn identity_json(&self) -> serde_json::Value {
        serde_json::json!({ "account": self.account, "region": self.region })
    }
}
