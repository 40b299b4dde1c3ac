use super::*;
use proptest::prelude::*;
use std::io::Write;

const NAMES: [&str; 5] = ["x_Packages", "x_Packages.gz", "x_Packages.xz", "x_Packages.lz4", "x_Packages.zst"];

fn compressed(name: &str, bytes: &[u8]) -> Vec<u8> {
    match Compression::of_file_name(name).unwrap() {
        Compression::Plain => bytes.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => {
            let options = lzma_rust2::XzOptions::with_preset(6);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstandard => zstd::encode_all(bytes, 3).unwrap(),
    }
}

fn decompressed(name: &str, bytes: &[u8], bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    Decompressed::new(name, bytes, bytes_max)?.read_to_end(&mut read)?;
    Ok(read)
}

fn text() -> Vec<u8> {
    (0..20_000)
        .flat_map(|number| format!("Package: p{number}\nVersion: {}\n\n", number * 7919 % 1000).into_bytes())
        .collect()
}

#[test]
fn every_compression_is_read() {
    let text = text();
    for name in NAMES {
        let packed = compressed(name, &text);
        assert!(decompressed(name, &packed, text.len() as u64).unwrap() == text, "{name}");
        if name != "x_Packages" {
            let twice = [&packed[..], &packed[..]].concat();
            let read = decompressed(name, &twice, u64::MAX).unwrap();
            assert!(read == [&text[..], &text[..]].concat(), "{name}: two members");
        }
    }
}

#[test]
fn the_bound_holds() {
    let text = text();
    for name in NAMES {
        let error = decompressed(name, &compressed(name, &text), text.len() as u64 - 1).unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<DecompressionError>();
        assert_eq!(inner, Some(&DecompressionError::TooLarge { bytes_max: text.len() as u64 - 1 }), "{name}");
    }
}

#[test]
fn what_is_cut_off_is_an_error() {
    let text = text();
    for name in &NAMES[1..] {
        let packed = compressed(name, &text);
        for length in [packed.len() / 2, packed.len() - 1].into_iter().chain(0..100) {
            assert!(decompressed(name, &packed[..length], u64::MAX).is_err(), "{name} {length}");
        }
    }
}

#[test]
fn an_lz4_frame_cut_between_blocks() {
    for checksum in [false, true] {
        let info = lz4_flex::frame::FrameInfo::new().content_checksum(checksum);
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        for _ in 0..3 {
            encoder.write_all(&text()[..70_000]).unwrap();
            encoder.flush().unwrap();
        }
        let between = encoder.get_ref().len();
        let whole = encoder.finish().unwrap();
        assert_eq!(decompressed("x.lz4", &whole, u64::MAX).unwrap().len(), 210_000);
        for length in between..whole.len() {
            assert!(decompressed("x.lz4", &whole[..length], u64::MAX).is_err(), "{checksum} {length}");
        }
    }
}

#[test]
fn a_decoder_that_needs_too_much_memory_is_refused() {
    let mut options = lzma_rust2::XzOptions::with_preset(6);
    options.lzma_options.dict_size = 64 << 20;
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(b"text").unwrap();
    assert!(decompressed("x.xz", &encoder.finish().unwrap(), u64::MAX).is_err());

    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&vec![0; 1 << 20]).unwrap();
    assert!(decompressed("x.zst", &encoder.finish().unwrap(), u64::MAX).is_err());
}

#[test]
fn names_show_the_compression() {
    assert_eq!(Compression::of_file_name("a_xz"), Ok(Compression::Plain));
    assert_eq!(Compression::of_file_name("a.lz4"), Ok(Compression::Lz4));
    assert_eq!(Compression::of_file_name("a.bz2"), Err(DecompressionError::Unsupported { extension: "bz2" }));
    let names: Vec<_> = Compression::file_names("a").collect();
    assert_eq!(names, ["a", "a.zst", "a.xz", "a.gz", "a.lz4", "a.bz2", "a.lzma"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_bytes_panic(which in 0..NAMES.len(), bytes in proptest::collection::vec(any::<u8>(), 0..300), changes in proptest::collection::vec((0_usize..400, any::<u8>()), 0..8)) {
        let name = NAMES[which];
        let _ = decompressed(name, &bytes, 1 << 20);
        let mut packed = compressed(name, b"Package: a\nVersion: 1\n\nPackage: a\nVersion: 1\n\nPackage: b\n");
        for (position, byte) in changes {
            if let Some(changed) = packed.get_mut(position) {
                *changed = byte;
            }
        }
        let read = decompressed(name, &packed, 1 << 16);
        prop_assert!(read.map_or(0, |read| read.len()) <= 1 << 16);
    }
}
