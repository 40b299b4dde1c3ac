//! A connection that ends when nothing comes over it: whoever opens many and says nothing must not use up the server's open
//! files. Agents beat every half minute, so theirs stay.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// How long the first request may take, until something is answered to it.
const FIRST_MAX: Duration = Duration::from_secs(60);
/// How long nothing may come or go after that. An agent that is silent for 75 s is given up by its own conversation.
const IDLE_MAX: Duration = Duration::from_secs(150);
/// How exact the end is; the timer is not set anew for every frame.
const GRAIN: Duration = Duration::from_secs(5);

/// A connection with its patience.
pub(crate) struct Watched<S> {
    stream: S,
    answered: bool,
    end: Pin<Box<Sleep>>,
}

impl<S> Watched<S> {
    /// Begins to watch.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, answered: false, end: Box::pin(sleep(FIRST_MAX)) }
    }

    fn moved(&mut self) {
        let end = Instant::now() + IDLE_MAX;
        if self.answered && end.saturating_duration_since(self.end.deadline()) >= GRAIN {
            self.end.as_mut().reset(end);
        }
    }

    fn wrote<T>(&mut self, written: &Poll<io::Result<T>>) {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.answered = true;
            self.moved();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                this.moved();
                Poll::Ready(read)
            }
            Poll::Pending => this.end.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_let_go() {
        let (_client, server) = duplex(64);
        let began = Instant::now();
        let end = Watched::new(server).read_u8().await.unwrap_err();
        assert_eq!((end.kind(), began.elapsed()), (io::ErrorKind::TimedOut, FIRST_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_request_that_trickles_in_gets_no_more_time() {
        let (mut client, server) = duplex(64);
        let mut server = Watched::new(server);
        tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(7)).await;
            }
        });
        let began = Instant::now();
        while server.read_u8().await.is_ok() {}
        assert_eq!(began.elapsed(), FIRST_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_on_talking_stays() {
        let (mut client, server) = duplex(64);
        let mut server = Watched::new(server);
        server.write_all(b"!").await.unwrap();
        for _ in 0..20 {
            sleep(Duration::from_secs(100)).await;
            client.write_all(b"x").await.unwrap();
            server.read_u8().await.unwrap();
        }
        let began = Instant::now();
        assert!(server.read_u8().await.is_err());
        assert!(began.elapsed() <= IDLE_MAX && began.elapsed() + GRAIN >= IDLE_MAX, "{:?}", began.elapsed());
    }
}
