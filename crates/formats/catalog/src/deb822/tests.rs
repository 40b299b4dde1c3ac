use super::*;
use proptest::prelude::*;

fn texts(file: &[u8]) -> Vec<String> {
    stanzas(file).map(|stanza| String::from_utf8_lossy(stanza.bytes).into_owned()).collect()
}

#[test]
fn stanzas_end_at_empty_lines() {
    assert_eq!(texts(b"\n\nA: 1\nB: 2\n\n\n\nC: 3\n"), ["A: 1\nB: 2", "C: 3\n"]);
    assert_eq!(texts(b"A: 1\n \n\t\nB: 2"), ["A: 1\n \n\t\nB: 2"], "blanks continue");
    assert_eq!(texts(b"A: 1\r\nB: 2\r\n\r\nC: 3\r\n"), ["A: 1\r\nB: 2\r", "C: 3\r\n"]);
    assert!(texts(b"").is_empty());
    assert!(texts(b"\n\r\n\n").is_empty());
}

#[test]
fn fields_continue_and_comments_are_left_out() {
    let file = b"# head\nA: 1\n  2\n# between\n\t3\nno colon\n stray\nb : x:y \nA:4\nEmpty:\n";
    let stanza = stanzas(file).next().unwrap();
    let fields: Vec<_> = stanza.fields().map(|field| (field.name, field.value)).collect();
    assert_eq!(fields, [(&b"A"[..], &b"1\n  2\n# between\n\t3"[..]), (b"b", b"x:y"), (b"A", b"4"), (b"Empty", b"")]);
    let first = stanza.fields().next().unwrap();
    assert_eq!(first.words(), ["1", "2", "3"]);
    assert_eq!(first.line(), None);
    assert_eq!(stanza.value("a").unwrap().line(), Some("4"), "the last one counts");
}

#[test]
fn a_stanza_split_between_reads() {
    for file in [&b"A: 1\n\nB: 2"[..], b"A: 1\r\n\r\r\nB: 2", b"A\n\r\r\r\n"] {
        let carriage_returns = file.contains(&b'\r');
        let whole = stanza_end(file, 0, carriage_returns).unwrap();
        for split in 0..file.len() {
            let part = &file[..split];
            if stanza_end(part, 0, carriage_returns).is_none() {
                assert_eq!(stanza_end(file, resume_at(part), carriage_returns), Some(whole), "{file:?} {split}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn nothing_panics(file in proptest::collection::vec(prop_oneof![
        Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), Just(b'#'), Just(b'A'), any::<u8>()
    ], 0..60)) {
        for stanza in stanzas(&file) {
            prop_assert!(leading_line_ends(stanza.bytes) == 0);
            for field in stanza.fields() {
                let _ = (field.line(), field.words());
                prop_assert!(!field.name.contains(&b'\n'));
            }
        }
    }

    #[test]
    fn both_searches_agree(file in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'A')], 0..40), from in 0_usize..45) {
        prop_assert_eq!(stanza_end(&file, from, false), stanza_end(&file, from, true));
    }
}
