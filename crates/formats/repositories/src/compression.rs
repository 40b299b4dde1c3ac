mod lz4;

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use std::io::{self, BufRead, ErrorKind, Read};
use thiserror::Error;

/// The most memory that a decoder may take for what it looks back at. `xz -6` and `zstd -19` need 8 MiB; `xz -9` (64 MiB)
/// and `zstd --ultra -22` (128 MiB) are refused, since a scan has 48 MiB.
const WINDOW_BYTES_MAX: u32 = 32 << 20;
/// What lzma-rust2 counts beside the window.
const XZ_OVERHEAD_KIB: u32 = 1024;

/// How a list is compressed. As for apt, the file's name decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// No extension of a compression.
    Plain,
    /// `.gz`
    Gzip,
    /// `.xz`
    Xz,
    /// `.lz4`, in the frame format.
    Lz4,
    /// `.zst`
    Zstandard,
}

/// Why a list cannot be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecompressionError {
    /// A compression that apt knows and this reader does not.
    #[error("lists compressed as .{extension} are not supported")]
    Unsupported {
        /// The file name's extension.
        extension: &'static str,
    },
    /// The decompressed bytes are more than the caller allows.
    #[error("the list is larger than {bytes_max} bytes when decompressed")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
}

impl Compression {
    /// The compressions in the order in which apt looks for a list, each with its extension.
    const EXTENSIONS: [(Self, &'static str); 5] =
        [(Self::Plain, ""), (Self::Zstandard, ".zst"), (Self::Xz, ".xz"), (Self::Gzip, ".gz"), (Self::Lz4, ".lz4")];

    /// The compression that a file's name shows.
    ///
    /// # Errors
    /// [`DecompressionError::Unsupported`] for `.bz2` and `.lzma`.
    pub fn of_file_name(name: &str) -> Result<Self, DecompressionError> {
        for extension in ["bz2", "lzma"] {
            if name.strip_suffix(extension).is_some_and(|stem| stem.ends_with('.')) {
                return Err(DecompressionError::Unsupported { extension });
            }
        }
        let compressed = Self::EXTENSIONS.iter().skip(1).find(|(_, extension)| name.ends_with(extension));
        Ok(compressed.map_or(Self::Plain, |(compression, _)| *compression))
    }

    /// The file names under which apt may have stored a list, in the order in which apt looks. The last two cannot be
    /// read: they are here so that such a list is refused by name instead of being taken for missing.
    pub fn file_names(stem: &str) -> impl Iterator<Item = String> + '_ {
        let extensions = Self::EXTENSIONS.iter().map(|(_, extension)| *extension).chain([".bz2", ".lzma"]);
        extensions.map(move |extension| format!("{stem}{extension}"))
    }
}

/// A bounded reader of a list's decompressed bytes. Its own memory is bounded too: windows of more than 32 MiB are refused.
pub struct Decompressed<R: BufRead> {
    decoder: Decoder<R>,
    bytes_left: u64,
    bytes_max: u64,
}

enum Decoder<R: BufRead> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Xz(Box<XzReader<R>>),
    Lz4(Box<lz4::Frames<R>>),
    Zstandard(Box<zstd::Decoder<'static, R>>),
}

impl<R: BufRead> Decompressed<R> {
    /// Reads `reader` as the compression that `name` shows, and fails after `bytes_max` decompressed bytes.
    ///
    /// # Errors
    /// [`DecompressionError::Unsupported`] inside of an [`io::Error`]. Later, while reading: an [`io::Error`] around
    /// [`DecompressionError::TooLarge`], or one that says that the bytes are corrupt, cut off, or need too much memory.
    pub fn new(name: &str, mut reader: R, bytes_max: u64) -> io::Result<Self> {
        let compression = Compression::of_file_name(name).map_err(io::Error::other)?;
        if compression != Compression::Plain && reader.fill_buf()?.is_empty() {
            // Even nothing is something when it is compressed.
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let decoder = match compression {
            Compression::Plain => Decoder::Plain(reader),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(reader))),
            Compression::Xz => {
                let memory_kib = WINDOW_BYTES_MAX / 1024 + XZ_OVERHEAD_KIB;
                Decoder::Xz(Box::new(XzReader::new_mem_limit(reader, true, memory_kib)))
            }
            Compression::Lz4 => Decoder::Lz4(Box::new(lz4::Frames::new(reader))),
            Compression::Zstandard => {
                let mut decoder = zstd::Decoder::with_buffer(reader)?;
                decoder.window_log_max(WINDOW_BYTES_MAX.ilog2())?;
                Decoder::Zstandard(Box::new(decoder))
            }
        };
        Ok(Self { decoder, bytes_left: bytes_max, bytes_max })
    }

    fn decode(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.decoder {
            Decoder::Plain(reader) => reader.read(buffer),
            Decoder::Gzip(reader) => reader.read(buffer),
            Decoder::Xz(reader) => reader.read(buffer),
            Decoder::Lz4(reader) => reader.read(buffer),
            Decoder::Zstandard(reader) => reader.read(buffer),
        }
    }
}

impl<R: BufRead> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left == 0 && !buffer.is_empty() {
            return match self.decode(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other(DecompressionError::TooLarge { bytes_max: self.bytes_max })),
            };
        }
        let allowed = usize::try_from(self.bytes_left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.decode(buffer.get_mut(..allowed).unwrap_or_default())?;
        self.bytes_left = self.bytes_left.saturating_sub(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
