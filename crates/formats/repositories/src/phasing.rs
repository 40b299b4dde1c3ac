//! The lot that decides whether a phased update's turn has come for a machine, as apt draws it: apt_preferences(5), "Phased
//! Updates". apt seeds `std::minstd_rand` from a `std::seed_seq` over the characters of `source-version-machine` and draws
//! from `std::uniform_int_distribution(0, 100)`; the three are defined by ISO C++ (26.6.8.1, 26.6.4.2) but for the last,
//! where GNU's library, with which apt is built, decides.

/// `std::minstd_rand`: x := 48271 x mod (2^31 - 1).
const MULTIPLIER: u64 = 48271;
const MODULUS: u64 = (1 << 31) - 1;

/// The lot of a machine for one version of a source package, 0 to 100: the update is the machine's as soon as
/// `Phased-Update-Percentage` is not below it.
pub(crate) fn lot(source: &str, source_version: &str, machine_id: &str) -> u8 {
    let seed_text = format!("{source}-{source_version}-{machine_id}");
    let seed = u64::from(seed_words(seed_text.as_bytes())[3]) % MODULUS;
    let mut state = if seed == 0 { 1 } else { seed };
    // The engine gives 1 to 2^31 - 2. Of this span 101 equal shares are used, and what is beyond them is drawn again.
    let share = (MODULUS - 2) / 101;
    loop {
        state = state * MULTIPLIER % MODULUS;
        let drawn = (state - 1) / share;
        if let Some(lot) = u8::try_from(drawn).ok().filter(|&lot| lot <= 100) {
            return lot;
        }
    }
}

/// The four words that `std::seed_seq::generate` gives (ISO C++ 26.6.8.1): as many as an engine with 31 bits of state asks
/// for.
fn seed_words(text: &[u8]) -> [u32; 4] {
    /// For four words: p and q of the standard.
    const P: usize = 1;
    const Q: usize = 2;
    let mut words = [0x8b8b_8b8b_u32; 4];
    let at = |words: &[u32; 4], k: usize| words.get(k % 4).copied().unwrap_or_default();
    let change = |words: &mut [u32; 4], k: usize, to: &dyn Fn(u32) -> u32| {
        if let Some(word) = words.get_mut(k % 4) {
            *word = to(*word);
        }
    };
    let mix = |word: u32| word ^ (word >> 27);
    let rounds = (text.len() + 1).max(4);
    for k in 0..rounds {
        // k + 3 is k - 1 here.
        let r1 = mix(at(&words, k) ^ at(&words, k + P) ^ at(&words, k + 3)).wrapping_mul(1_664_525);
        let position = (k % 4) as u32;
        let added = match k.checked_sub(1) {
            None => text.len() as u32,
            // Characters are signed where apt decides.
            Some(before) => text.get(before).map_or(position, |&byte| position.wrapping_add(byte.cast_signed() as u32)),
        };
        let r2 = r1.wrapping_add(added);
        change(&mut words, k + P, &|word| word.wrapping_add(r1));
        change(&mut words, k + Q, &|word| word.wrapping_add(r2));
        change(&mut words, k, &|_| r2);
    }
    for k in rounds..rounds + 4 {
        let sum = at(&words, k).wrapping_add(at(&words, k + P)).wrapping_add(at(&words, k + 3));
        let r3 = mix(sum).wrapping_mul(1_566_083_941);
        let r4 = r3.wrapping_sub((k % 4) as u32);
        change(&mut words, k + P, &|word| word ^ r3);
        change(&mut words, k + Q, &|word| word ^ r4);
        change(&mut words, k, &|_| r4);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_gnu_draws() {
        // Drawn by a program of C++ with GNU's library, GCC 12.
        for (source, version, machine, drawn) in [
            ("linux", "6.1.0-13.14", "0123456789abcdef0123456789abcdef", 8),
            ("linux", "1", "b08dfa6083e7567a1921a715000001fb", 58),
            ("linux", "2:3.0~rc1-4ubuntu5.1", "912e43bd1c1d4ba481f9f8ccab25f9ee", 99),
            ("linux", "", "0123456789abcdef0123456789abcdef", 60),
            ("linux", "é", "b08dfa6083e7567a1921a715000001fb", 26),
            ("openssl", "6.1.0-13.14", "912e43bd1c1d4ba481f9f8ccab25f9ee", 7),
            ("openssl", "2:3.0~rc1-4ubuntu5.1", "0123456789abcdef0123456789abcdef", 88),
            ("openssl", "12ubuntu4", "b08dfa6083e7567a1921a715000001fb", 26),
            ("openssl", "", "912e43bd1c1d4ba481f9f8ccab25f9ee", 28),
            ("a", "6.1.0-13.14", "0123456789abcdef0123456789abcdef", 69),
            ("a", "1", "b08dfa6083e7567a1921a715000001fb", 61),
            ("a", "2:3.0~rc1-4ubuntu5.1", "912e43bd1c1d4ba481f9f8ccab25f9ee", 45),
            ("a", "", "0123456789abcdef0123456789abcdef", 45),
            ("a", "é", "b08dfa6083e7567a1921a715000001fb", 82),
            ("base-files", "6.1.0-13.14", "912e43bd1c1d4ba481f9f8ccab25f9ee", 90),
            ("base-files", "2:3.0~rc1-4ubuntu5.1", "0123456789abcdef0123456789abcdef", 47),
            ("base-files", "12ubuntu4", "b08dfa6083e7567a1921a715000001fb", 86),
            ("base-files", "", "912e43bd1c1d4ba481f9f8ccab25f9ee", 69),
            ("gcc-12", "6.1.0-13.14", "0123456789abcdef0123456789abcdef", 61),
            ("gcc-12", "1", "b08dfa6083e7567a1921a715000001fb", 33),
            ("gcc-12", "2:3.0~rc1-4ubuntu5.1", "912e43bd1c1d4ba481f9f8ccab25f9ee", 1),
            ("gcc-12", "", "0123456789abcdef0123456789abcdef", 24),
            ("gcc-12", "é", "b08dfa6083e7567a1921a715000001fb", 35),
            ("", "6.1.0-13.14", "912e43bd1c1d4ba481f9f8ccab25f9ee", 36),
            ("", "2:3.0~rc1-4ubuntu5.1", "0123456789abcdef0123456789abcdef", 76),
            ("", "12ubuntu4", "b08dfa6083e7567a1921a715000001fb", 29),
            ("", "", "912e43bd1c1d4ba481f9f8ccab25f9ee", 22),
        ] {
            assert_eq!(lot(source, version, machine), drawn, "{source} {version} {machine}");
        }
    }

    #[test]
    fn every_lot_is_drawn_about_as_often() {
        let mut count = [0_u32; 101];
        for number in 0..20_200 {
            count[usize::from(lot("source", &number.to_string(), "0123456789abcdef0123456789abcdef"))] += 1;
        }
        assert!(count.iter().all(|&count| (120..=290).contains(&count)), "{count:?}");
    }
}
