//! Cuts an input into slices, the same ones for the same input.

/// Splits off the byte that chooses the cuts; `None` for an empty input.
pub fn with_seed(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(seed, rest)| (*seed, rest))
}

/// The slices that `seed` makes of `bytes`: 0 leaves it whole, 1 makes slices of one byte, others slices of random lengths.
pub fn slices(seed: u8, bytes: &[u8]) -> Vec<&[u8]> {
    let mut random = Random::new(seed, bytes.len());
    let longest = match seed {
        0 => usize::MAX,
        1 => 1,
        2..128 => 8,
        _ => 64,
    };
    let mut rest = bytes;
    let mut slices = Vec::new();
    while !rest.is_empty() {
        let length = match longest {
            usize::MAX => rest.len(),
            longest => 1 + random.below(longest),
        };
        let (slice, after) = rest.split_at(length.min(rest.len()));
        slices.push(slice);
        rest = after;
    }
    slices
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn new(seed: u8, length: usize) -> Self {
        Self(0x2545_f491_4f6c_dd1d ^ (u64::from(seed) << 32) ^ length as u64)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }
}
