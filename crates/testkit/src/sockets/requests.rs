//! AWS requests over one connection that is kept: signed as AWS's clients sign, one at a time.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>

use std::path::Path;

use anyhow::{Context, bail};
use identifiers::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stream::{self, Duplex, Endpoint};

/// An access key.
#[derive(Clone)]
pub struct Credentials {
    id: String,
    secret: String,
    region: String,
}

/// What a server answers.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A connection on which requests follow each other.
pub struct Connection {
    stream: Box<dyn Duplex>,
    host: String,
    credentials: Credentials,
    /// The key of a day is derived once.
    key: Option<(String, [u8; 32])>,
    buffer: Vec<u8>,
}

impl Credentials {
    /// The administrator's key, from the `credentials` file in a server's data folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_server(data: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(data.join("credentials")).context("reading the credentials")?;
        let value = |name: &str| {
            let line = text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == name);
            line.map(|(_, value)| value.trim().to_owned()).with_context(|| format!("no {name} in the credentials"))
        };
        let region = value("region").unwrap_or_else(|_| "us-east-1".to_owned());
        Ok(Self { id: value("aws_access_key_id")?, secret: value("aws_secret_access_key")?, region })
    }
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    identity::hmac_sha256(key, text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The present as `20260105T080000Z`.
fn amz_date() -> anyhow::Result<String> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let text = Timestamp::from_seconds(i64::try_from(since.as_secs())?).to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    Ok(format!("{}Z", seconds.replace(['-', ':'], "")))
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn open(server: Endpoint, credentials: &Credentials) -> anyhow::Result<Self> {
        let (stream, _) = stream::open(server, None).await?;
        let (host, credentials) = (server.address.to_string(), credentials.clone());
        Ok(Self { stream, host, credentials, key: None, buffer: Vec::new() })
    }

    fn key(&mut self, day: &str) -> [u8; 32] {
        if let Some((_, key)) = self.key.as_ref().filter(|(of, _)| of == day) {
            return *key;
        }
        let day_key = hmac(format!("AWS4{}", self.credentials.secret).as_bytes(), day);
        let key = hmac(&hmac(&hmac(&day_key, &self.credentials.region), "ssm"), "aws4_request");
        self.key = Some((day.to_owned(), key));
        key
    }

    /// One awsJson1.1 request to `ssm` and its answer.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is no HTTP with a length.
    pub async fn ask(&mut self, operation: &str, body: &str) -> anyhow::Result<Answer> {
        let date = amz_date()?;
        let day = date.get(..8).context("no day")?.to_owned();
        let target = format!("AmazonSSM.{operation}");
        let host = self.host.clone();
        let headers =
            format!("content-type:application/x-amz-json-1.1\nhost:{host}\nx-amz-date:{date}\nx-amz-target:{target}\n");
        let names = "content-type;host;x-amz-date;x-amz-target";
        let canonical = format!("POST\n/\n\n{headers}\n{names}\n{}", identity::sha256_hex(body.as_bytes()));
        let scope = format!("{day}/{}/ssm/aws4_request", self.credentials.region);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", identity::sha256_hex(canonical.as_bytes()));
        let signature = hex(&hmac(&self.key(&day), &text));
        let id = &self.credentials.id;
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-date: {date}\r\n\
             x-amz-target: {target}\r\nauthorization: AWS4-HMAC-SHA256 Credential={id}/{scope}, \
             SignedHeaders={names}, Signature={signature}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default()).to_ascii_lowercase();
                let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                let length: usize = length.context("an answer without a length")?.trim().parse()?;
                let whole = end + 4 + length;
                while self.buffer.len() < whole {
                    self.read().await?;
                }
                let rest = self.buffer.split_off(whole);
                let body = self.buffer.split_off(end + 4);
                self.buffer = rest;
                return Ok(Answer { status, body });
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server has closed the connection");
        }
        Ok(())
    }
}
