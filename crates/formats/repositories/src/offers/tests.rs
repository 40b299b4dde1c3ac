use super::*;
use proptest::prelude::*;
use std::io;

const LIST: &str = "\
Package: acl
Version: 2.3.1-3
Installed-Size: 207
Architecture: amd64
Description: access control lists
 Package: libssl3
Size: 62324

Package: libssl3
Source: openssl
Version: 3.0.11-1~deb12u2
Architecture: amd64
Multi-Arch: same
Section: libs
Priority: optional
Phased-Update-Percentage: 20
Size: 2019824
Depends: libc6 (>= 2.34)

Package: libssl3
Source: openssl (3.0.9-1)
Version: 3.0.9-1+b1
Architecture: i386

Version: 1.35
Architecture: all
Package: TAR

Package: libssl3
Description-md5: only a description

package:zlib1g
Version: 1
Architecture: amd64
Phased-Update-Percentage: 200";

fn wanted() -> Offers {
    Offers::of_packages(["libssl3", "tar", "zlib1g", "no-such"])
}

/// Gives its bytes in pieces.
struct Pieces<'a> {
    bytes: &'a [u8],
    length: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.length.min(buffer.len());
        self.bytes.read(&mut buffer[..length])
    }
}

fn read(bytes: &[u8], length: usize) -> (Offers, Result<(), ListError>) {
    let mut offers = wanted();
    let result = offers.read(OfferingList::default(), &mut Pieces { bytes, length });
    (offers, result)
}

#[test]
fn the_wanted_packages_alone() {
    let (offers, result) = read(LIST.as_bytes(), 1 << 20);
    result.unwrap();
    let found: Vec<_> = offers.offers.iter().map(|offer| (offer.name.as_str(), offer.version.as_str())).collect();
    assert_eq!(found, [("libssl3", "3.0.11-1~deb12u2"), ("libssl3", "3.0.9-1+b1"), ("tar", "1.35"), ("zlib1g", "1")]);
    let [first, second, ..] = &offers.offers[..] else { panic!() };
    assert_eq!((first.source.as_str(), first.source_version.as_str()), ("openssl", "3.0.11-1~deb12u2"));
    assert_eq!((first.section.as_str(), first.priority.as_str()), ("libs", "optional"));
    assert_eq!((first.phased_update_percentage, first.build.size_bytes), (20, 2_019_824));
    assert_eq!((second.source.as_str(), second.source_version.as_str()), ("openssl", "3.0.9-1"));
    assert_eq!((second.architecture.as_str(), second.section.as_str()), ("i386", ""));
    assert_eq!((second.phased_update_percentage, offers.offers[3].phased_update_percentage), (100, 100));
}

#[test]
fn however_the_bytes_come() {
    let whole = read(LIST.as_bytes(), 1 << 20).0;
    for length in 1..60 {
        let (offers, result) = read(LIST.as_bytes(), length);
        result.unwrap();
        assert!(offers == whole, "{length}");
        let (offers, result) = read(LIST.replace('\n', "\r\n").as_bytes(), length);
        result.unwrap();
        assert!(offers == whole, "{length}, carriage returns");
    }
}

#[test]
fn a_stanza_that_is_too_long_is_passed_over() {
    for filling in ["x", "\r", " y\n", "\r\n "] {
        let long = filling.repeat(3 * STANZA_BYTES_MAX / filling.len());
        let list = format!("Package: libssl3\nVersion: 1\nArchitecture: all\nDescription: {long}\n\n{LIST}");
        for length in [4096, 1 << 22] {
            let (offers, result) = read(list.as_bytes(), length);
            assert!(matches!(result, Err(ListError::Malformed { count: 1 })), "{filling:?} {length} {result:?}");
            assert_eq!(offers.offers.len(), 4, "{filling:?} {length}");
        }
        let last = format!("{LIST}\n\nPackage: libssl3\nDescription: {long}");
        let (offers, result) = read(last.as_bytes(), 4096);
        assert!(matches!(result, Err(ListError::Malformed { count: 1 })), "{filling:?} at the end: {result:?}");
        assert_eq!(offers.offers.len(), 4);
    }
}

#[test]
fn versions_without_end_are_bounded() {
    let list = "Package: tar\nVersion: 1\nArchitecture: all\n\n".repeat(OFFERS_MAX + 1);
    let (offers, result) = read(list.as_bytes(), 1 << 20);
    assert!(matches!(result, Err(ListError::TooMany)));
    assert_eq!(offers.offers.len(), OFFERS_MAX);
}

#[test]
fn what_is_not_text_is_left_out() {
    let list = b"Package: tar\nVersion: 1\xff\nArchitecture: all\n\nPackage: tar\nVersion: 1\n\nPackage: tar\nVersion: 2\nArchitecture: all\n";
    let (offers, result) = read(list, 1 << 20);
    assert!(matches!(result, Err(ListError::Malformed { count: 2 })));
    assert_eq!(offers.offers.len(), 1);
}

#[test]
fn a_failing_reader() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(DecompressionError::TooLarge { bytes_max: 7 }))
        }
    }
    let result = wanted().read(OfferingList::default(), &mut Failing);
    assert!(matches!(result, Err(ListError::Decompression(DecompressionError::TooLarge { bytes_max: 7 }))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200), length in 1_usize..50) {
        let _ = read(&bytes, length);
    }

    #[test]
    fn mutated_lists_are_read_alike_in_pieces(changes in proptest::collection::vec((0..LIST.len(), prop_oneof![Just(b'\n'), Just(b':'), any::<u8>()]), 0..12), cut in 0..=LIST.len(), length in 1_usize..200) {
        let mut list = LIST.as_bytes().to_vec();
        for (position, byte) in changes {
            // Whether lines end in carriage returns is decided by the first that comes.
            list[position] = if byte == b'\r' { b'x' } else { byte };
        }
        list.truncate(cut);
        let (whole, first) = read(&list, 1 << 20);
        let (pieces, second) = read(&list, length);
        prop_assert!(whole == pieces);
        prop_assert_eq!(first.is_ok(), second.is_ok());
        // The slow search finds the same.
        let stanzas: Vec<_> = deb822::stanzas(&list).collect();
        prop_assert!(whole.offers.len() <= stanzas.len());
    }
}
