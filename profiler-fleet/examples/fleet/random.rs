//! Numbers that look random and are the same every time.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
pub struct Random(u64);

impl Random {
    /// A sequence for each pair of numbers.
    pub fn new(seed: u64, host: u32, update: u32) -> Self {
        let mut random = Self(seed ^ u64::from(host) << 32 ^ u64::from(update));
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About 1, with a standard deviation of `spread`: the sum of twelve uniform numbers is near enough to normal.
    pub fn about_one(&mut self, spread: f64) -> f64 {
        let sum: f64 = (0..12).map(|_| self.unit()).sum();
        (1.0 + spread * (sum - 6.0)).max(0.1)
    }
}
