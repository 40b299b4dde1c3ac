//! The bytes below a connection: TCP, perhaps through a proxy, with TLS or without.

use crate::ServerAddress;
use crate::connection::{STEP_PATIENCE, words};
use crate::reach::{Proxy, Reach};
use crate::tls::{self, Channel};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// The longest answer of a proxy to a request for a tunnel, in bytes.
const PROXY_ANSWER_BYTES_MAX: usize = 8 << 10;

/// A stream of bytes to the server.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Opens one; says what went wrong.
pub(crate) async fn open(address: &ServerAddress, reach: &Reach) -> Result<(Transport, Option<Channel>), String> {
    let stream = match reach.proxy_for(address) {
        None => connect(address).await?,
        Some(proxy) => {
            let through = |reason: String| format!("proxy {}: {reason}", proxy.address().authority());
            let stream = connect(proxy.address()).await.map_err(through)?;
            let asked = timeout(STEP_PATIENCE, tunnel(stream, address, proxy)).await;
            asked.map_err(|_| through("no answer".to_owned()))?.map_err(through)?
        }
    };
    if !address.is_tls() {
        return Ok((Transport::Plain(stream), None));
    }
    let (host, _) = address.host_and_port();
    let secured = timeout(STEP_PATIENCE, tls::secure(stream, host)).await;
    let (stream, channel) = secured.map_err(|_| "no answer to TLS".to_owned())??;
    Ok((Transport::Tls(Box::new(stream)), Some(channel)))
}

async fn connect(address: &ServerAddress) -> Result<TcpStream, String> {
    let connecting = timeout(STEP_PATIENCE, TcpStream::connect(address.host_and_port())).await;
    let stream = connecting.map_err(|_| "no answer".to_owned())?.map_err(|e| plain(&e))?;
    // Small frames are not held back; the option is a matter of speed alone.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Asks a proxy for a tunnel to the server (RFC 9110, section 9.3.6).
async fn tunnel(mut stream: TcpStream, address: &ServerAddress, proxy: &Proxy) -> Result<TcpStream, String> {
    let authority = address.authority();
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(credentials) = proxy.credentials() {
        request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(credentials)));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| plain(&e))?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head belongs to the tunnel.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= PROXY_ANSWER_BYTES_MAX {
            return Err("its answer is too long".to_owned());
        }
        answer.push(stream.read_u8().await.map_err(|e| plain(&e))?);
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if line.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2') => Ok(stream),
        Some("407") => Err("it wants a user and a password: http://USER:PASSWORD@HOST:PORT".to_owned()),
        _ => Err(format!("it gives no way to {authority}: {}", words(line))),
    }
}

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default().to_owned();
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A proxy that gives one answer; what it was asked.
    async fn asked(answer: &'static str, url: &str) -> (Result<TcpStream, String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::parse(&url.replace("PORT", &listener.local_addr().unwrap().port().to_string())).unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let stream = connect(proxy.address()).await.unwrap();
        let server = ServerAddress::parse("https://careen.example").unwrap();
        let tunnel = tunnel(stream, &server, &proxy).await;
        (tunnel, serving.await.unwrap())
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_a_tunnel() {
        let (tunnel, request) = asked("HTTP/1.1 200 ok\r\nVia: p\r\n\r\n\x16", "http://u:p%40ss@127.0.0.1:PORT").await;
        let expected = "CONNECT careen.example:443 HTTP/1.1\r\nHost: careen.example:443\r\n\
                        Proxy-Authorization: Basic dTpwQHNz\r\n\r\n";
        assert_eq!(request, expected);
        // What comes after the head is the server's.
        assert_eq!(tunnel.unwrap().read_u8().await.unwrap(), 0x16);
        for (answer, said) in [
            ("HTTP/1.1 407 no\r\n\r\n", "it wants a user and a password"),
            ("HTTP/1.1 403 not\x1b[2J there\r\n\r\n", "no way to careen.example:443: HTTP/1.1 403 not[2J there"),
            ("SSH-2.0-x\r\n\r\n", "no way to"),
            ("HTTP/1.1 200", "early eof"),
        ] {
            let error = asked(answer, "http://127.0.0.1:PORT").await.0.unwrap_err();
            assert!(error.to_lowercase().contains(&said.to_lowercase()) || said == "early eof", "{error}");
        }
    }
}
