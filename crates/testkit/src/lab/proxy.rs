//! A small HTTP forward proxy (RFC 9110 section 3.7) between hosts without any route and the machine's mirror.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, bail};

use super::held;
use crate::machine::{AptSettings, authority};

/// The longest request head; apt's are some hundred bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The longest answer or tunnel, in each direction.
const BODY_BYTES_MAX: u64 = 2 << 30;

/// How many clients are served at once.
const CLIENTS_MAX: usize = 64;

/// How long either side may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Lets GET, HEAD and CONNECT through to the hosts that the machine's apt uses, and answers 403 to the rest.
/// Its listener belongs to the switch, its own connections go out over the machine's network.
#[derive(Debug)]
pub struct PackageProxy {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    allowed: Vec<String>,
    upstream_proxy: Option<String>,
    requests: Mutex<Vec<String>>,
    clients: AtomicUsize,
    ended: AtomicBool,
}

impl PackageProxy {
    pub(super) fn start(listener: TcpListener, settings: &AptSettings) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            allowed: settings.allowed_hosts(),
            upstream_proxy: settings.proxy.as_deref().and_then(authority),
            requests: Mutex::default(),
            clients: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        // Without blocking, so that the end is noticed.
        listener.set_nonblocking(true)?;
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().name("lab-proxy".to_owned()).spawn(move || accept(&listener, &serving))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The first lines of all requests so far, refused ones included.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        held(&self.shared.requests).clone()
    }
}

impl Drop for PackageProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.ended.load(Ordering::SeqCst) {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        if shared.clients.fetch_add(1, Ordering::SeqCst) >= CLIENTS_MAX {
            shared.clients.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            if let Err(error) = serve(&client, &shared) {
                // The client may be gone too.
                let _ = answer(&client, &format!("502 {error:#}").replace(['\r', '\n'], " "));
            }
            let _ = client.shutdown(Shutdown::Both);
            shared.clients.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// One request; the connection is closed after it, which apt takes well.
fn serve(client: &TcpStream, shared: &Shared) -> anyhow::Result<()> {
    client.set_nonblocking(false)?;
    bound(client)?;
    let head = read_head(client)?;
    let Some(request) = Request::parse(&head) else { return answer(client, "400 not a proxy request") };
    held(&shared.requests).push(request.first_line.clone());
    if !shared.allowed.contains(&request.authority) {
        return answer(client, "403 not a host of packages");
    }
    if request.method == "CONNECT" {
        let upstream = connect(&request.authority)?;
        answer(client, "200 connected")?;
        return tunnel(client, &upstream);
    }
    let (peer, target) = match &shared.upstream_proxy {
        Some(proxy) => (proxy, &request.uri),
        None => (&request.authority, &request.path),
    };
    let mut upstream = connect(peer)?;
    upstream.write_all(request.head_for(target).as_bytes())?;
    std::io::copy(&mut upstream.take(BODY_BYTES_MAX), &mut &*client)?;
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    first_line: String,
    method: String,
    uri: String,
    authority: String,
    path: String,
    headers: Vec<String>,
}

impl Request {
    /// Reads a request's head; none if it is not a GET, HEAD or CONNECT in the form for proxies.
    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let first_line = lines.next()?.to_owned();
        let mut words = first_line.split(' ');
        let (method, uri) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers = lines.map(str::to_owned).collect();
        match method.as_str() {
            "CONNECT" => Some(Self { authority: uri.clone(), path: String::new(), first_line, method, uri, headers }),
            "GET" | "HEAD" if uri.starts_with("http://") => {
                let authority = authority(&uri)?;
                let path = uri.trim_start_matches("http://").split_once('/').map(|(_, path)| format!("/{path}"));
                Some(Self { authority, path: path.unwrap_or_else(|| "/".to_owned()), first_line, method, uri, headers })
            }
            _ => None,
        }
    }

    /// The head to send on: only the headers that apt's questions need.
    fn head_for(&self, target: &str) -> String {
        const KEPT: [&str; 6] = ["host", "range", "if-range", "if-modified-since", "user-agent", "cache-control"];
        let mut head = format!("{} {target} HTTP/1.1\r\n", self.method);
        for header in &self.headers {
            let name = header.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if KEPT.contains(&name.as_str()) {
                head.push_str(header);
                head.push_str("\r\n");
            }
        }
        head.push_str("Connection: close\r\n\r\n");
        head
    }
}

fn read_head(mut client: &TcpStream) -> anyhow::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX || client.read(&mut byte)? == 0 {
            bail!("no whole request");
        }
        head.extend(byte);
    }
    Ok(String::from_utf8(head)?)
}

fn answer(mut client: &TcpStream, status: &str) -> anyhow::Result<()> {
    let end = if status.starts_with("200") { "" } else { "Content-Length: 0\r\nConnection: close\r\n" };
    client.write_all(format!("HTTP/1.1 {status}\r\n{end}\r\n").as_bytes())?;
    Ok(())
}

fn connect(authority: &str) -> anyhow::Result<TcpStream> {
    let mut last = None;
    for address in authority.to_socket_addrs().with_context(|| format!("resolving {authority}"))? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(15)) {
            Ok(stream) => {
                bound(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    bail!("connecting to {authority}: {last:?}")
}

fn bound(stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(())
}

fn tunnel(client: &TcpStream, upstream: &TcpStream) -> anyhow::Result<()> {
    thread::scope(|scope| {
        scope.spawn(|| {
            // Either side's end or silence ends both directions.
            let _ = std::io::copy(&mut client.take(BODY_BYTES_MAX), &mut &*upstream);
            let _ = upstream.shutdown(Shutdown::Both);
        });
        let copied = std::io::copy(&mut upstream.take(BODY_BYTES_MAX), &mut &*client);
        let _ = client.shutdown(Shutdown::Both);
        copied
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_on_in_origin_form_with_few_headers() {
        let head = "GET http://m.example/debian/InRelease HTTP/1.1\r\nHost: m.example\r\nRange: bytes=5-\r\n\
                    Cookie: a\r\nConnection: keep-alive\r\n\r\n";
        let request = Request::parse(head).unwrap();
        assert_eq!(request.authority, "m.example:80");
        assert_eq!(
            request.head_for(&request.path),
            "GET /debian/InRelease HTTP/1.1\r\nHost: m.example\r\nRange: bytes=5-\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn only_fetching_requests_are_known() {
        assert!(Request::parse("POST http://m.example/ HTTP/1.1\r\n\r\n").is_none());
        assert!(Request::parse("GET /debian HTTP/1.1\r\n\r\n").is_none());
        let tunnel = Request::parse("CONNECT m.example:443 HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(tunnel.authority, "m.example:443");
    }
}
