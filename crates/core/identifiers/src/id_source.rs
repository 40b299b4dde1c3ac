/// Where randomness comes from. The edges give a source backed by the operating system, tests a seeded one.
pub trait IdSource: Send {
    /// Fills `bytes` with random bytes.
    fn fill(&mut self, bytes: &mut [u8]);

    /// A version 4 UUID in lower case (RFC 9562, section 5.4).
    fn uuid(&mut self) -> String {
        let mut b = [0u8; 16];
        self.fill(&mut b);
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// Seventeen lower-case hex digits, the first of them 0 as AWS's ids have it.
    fn hex17(&mut self) -> String {
        let mut b = [0u8; 8];
        self.fill(&mut b);
        format!("0{:016x}", u64::from_be_bytes(b))
    }
}

/// A reproducible source for tests and simulations (SplitMix64). Never for secrets.
#[derive(Debug, Clone)]
pub struct SeededIds(u64);

impl SeededIds {
    /// The same seed gives the same ids.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl IdSource for SeededIds {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}
