// SPDX-License-Identifier: MIT OR Apache-2.0

//! The bytes of a connection, encrypted or not.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::tls::Certificate;

/// Longer than any connection lives; what is later cannot be waited for.
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a connection reads from and writes to.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Who wants to know why a connection broke. It is dropped with the connection.
pub trait Watch: Send + Unpin {
    /// Reading or writing failed.
    fn failed(&self, error: &io::Error);
}

/// A connection, which ends with the certificate of the other side at the latest.
pub struct Stream<W> {
    bytes: Box<dyn Bytes>,
    expiry: Option<Pin<Box<Sleep>>>,
    watch: W,
}

impl<W: Watch> Stream<W> {
    /// A connection without certificates.
    pub fn plain(bytes: impl Bytes + 'static, watch: W) -> Self {
        Self {
            bytes: Box::new(bytes),
            expiry: None,
            watch,
        }
    }

    /// A connection to who has shown these certificates, his own first.
    pub fn encrypted(
        bytes: impl Bytes + 'static,
        shown: Option<&[CertificateDer<'_>]>,
        watch: W,
    ) -> Self {
        let certificate = shown
            .and_then(|chain| chain.first())
            .and_then(|der| Certificate::from_der(der));
        let left = certificate.map_or(Duration::ZERO, |certificate| {
            certificate.left(SystemTime::now()).unwrap_or_default()
        });
        Self {
            expiry: Some(Box::pin(sleep(left.min(FAR_AWAY)))),
            ..Self::plain(bytes, watch)
        }
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            self.watch.failed(error);
        }
        result
    }
}

impl<W: Watch> AsyncRead for Stream<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let expiry = self.expiry.as_mut();
        let expired = expiry.is_some_and(|expiry| expiry.as_mut().poll(context).is_ready());
        let result = if expired {
            let text = "the certificate of the other side has expired";
            Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, text)))
        } else {
            Pin::new(&mut self.bytes).poll_read(context, buffer)
        };
        self.note(result)
    }
}

impl<W: Watch> AsyncWrite for Stream<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.bytes).poll_write(context, bytes);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.bytes).poll_flush(context);
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(context)
    }
}

impl<W: fmt::Debug> fmt::Debug for Stream<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::tls::{Authority, Role, Subject};

    /// Nobody.
    struct Unwatched;

    impl Watch for Unwatched {
        fn failed(&self, _: &io::Error) {}
    }

    fn certificate(valid: Duration) -> CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject;

        let now = SystemTime::now();
        let pair = Authority::create(now, valid * 2).expect("an authority");
        let authority = Authority::load(&pair).expect("the same");
        let subject = Subject {
            role: Role::Controller,
            names: vec!["sip1".to_owned()],
            addresses: vec![],
        };
        let pair = authority.issue(&subject, now, valid).expect("issued");
        CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("a certificate")
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_when_the_certificate_of_the_other_side_does() {
        let valid = Duration::from_secs(7200);
        let (near, mut far) = duplex(100);
        let mut stream = Stream::encrypted(near, Some(&[certificate(valid)]), Unwatched);
        let mut byte = [0];
        far.write_all(b"x").await.expect("open");
        assert_eq!(stream.read(&mut byte).await.expect("open"), 1);
        // The clock of the test stands still but for what is waited for.
        let begun = tokio::time::Instant::now();
        let error = stream.read(&mut byte).await.expect_err("expired");
        assert!(error.to_string().contains("expired"), "{error}");
        assert!(begun.elapsed() > valid - Duration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn who_shows_no_certificate_is_not_read_from() {
        let (near, _far) = duplex(100);
        let mut stream = Stream::encrypted(near, None, Unwatched);
        stream.read(&mut [0]).await.expect_err("nobody");
    }
}
