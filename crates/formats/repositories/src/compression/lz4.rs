use lz4_flex::frame::FrameDecoder;
use std::io::{self, BufRead, ErrorKind, Read};

/// Reads frames of LZ4 one after the other (LZ4 frame format, lz4.org).
///
/// lz4_flex takes the end of the file for the end of the frame; here a frame without its end mark is an error, since half a
/// list must not pass for a whole one. Each frame gets a decoder of its own, whose buffers have the size that its head asks
/// for.
pub(super) struct Frames<R: BufRead> {
    /// `None` only while the decoder is exchanged, or after that failed.
    decoder: Option<FrameDecoder<Watched<R>>>,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { decoder: Some(FrameDecoder::new(Watched::new(inner))) }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(decoder) = &mut self.decoder else { return Ok(0) };
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if !decoder.get_ref().has_ended() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if decoder.get_mut().inner.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let watched = self.decoder.take().map(FrameDecoder::into_inner);
            self.decoder = watched.map(|watched| FrameDecoder::new(Watched::new(watched.inner)));
        }
    }
}

/// Remembers the begin and the end of what was read. The decoder reads no byte beyond its frame.
struct Watched<R> {
    inner: R,
    count: u64,
    /// The byte after the magic number.
    flags: u8,
    last: [u8; 8],
}

impl<R> Watched<R> {
    fn new(inner: R) -> Self {
        Self { inner, count: 0, flags: 0, last: [0; 8] }
    }

    /// Whether the last bytes are the end mark, and the checksum if the flags promise one. A block of text that happens to
    /// end in the mark's four zeros does not occur.
    fn has_ended(&self) -> bool {
        const HEAD_BYTES: u64 = 7;
        let has_checksum = self.flags & 0b100 != 0;
        let mark = if has_checksum { self.last.get(..4) } else { self.last.get(4..) };
        self.count > HEAD_BYTES && mark == Some(&[0; 4])
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        if let Some(flags) = 4_u64.checked_sub(self.count).and_then(|at| read.get(usize::try_from(at).ok()?)) {
            self.flags = *flags;
        }
        let tail = read.get(count.saturating_sub(8)..).unwrap_or_default();
        self.last.rotate_left(tail.len());
        if let Some(slot) = self.last.get_mut(8 - tail.len()..) {
            slot.copy_from_slice(tail);
        }
        self.count += count as u64;
        Ok(count)
    }
}
