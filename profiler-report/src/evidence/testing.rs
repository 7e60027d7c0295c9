//! A writer of ring-buffer pages for tests, after `rb_update_event` of kernel/trace/ring_buffer.c.

use super::format::PageLayout;

/// Layout of an x86-64 page of 4 KiB.
pub(crate) const LAYOUT: PageLayout =
    PageLayout { timestamp_offset: 0, commit_offset: 8, commit_size: 8, data_offset: 16, data_size: 4080 };

/// Builds one page.
pub(crate) struct PageWriter {
    timestamp: u64,
    data: Vec<u8>,
}

impl PageWriter {
    pub(crate) fn new(timestamp: u64) -> Self {
        Self { timestamp, data: Vec::new() }
    }

    fn word(&mut self, word: u32) {
        self.data.extend(word.to_le_bytes());
    }

    fn header(&mut self, type_len: u32, delta: u32) {
        assert!(delta < 1 << 27);
        self.word(type_len | delta << 5);
    }

    /// A data event; `data` is padded to 4 bytes as the kernel does.
    pub(crate) fn data(&mut self, delta: u32, data: &[u8]) -> &mut Self {
        let padded = data.len().next_multiple_of(4) as u32;
        if (1..=28).contains(&(padded / 4)) {
            self.header(padded / 4, delta);
        } else {
            self.header(0, delta);
            self.word(padded + 4);
        }
        self.data.extend(data);
        self.data.resize(self.data.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn discarded(&mut self, delta: u32, bytes: u32) -> &mut Self {
        self.header(29, delta);
        self.word(bytes.next_multiple_of(4) + 4);
        self.data.resize(self.data.len() + bytes.next_multiple_of(4) as usize, 0xee);
        self
    }

    pub(crate) fn extend(&mut self, delta: u64) -> &mut Self {
        self.time(30, delta)
    }

    pub(crate) fn stamp(&mut self, ts: u64) -> &mut Self {
        self.time(31, ts & ((1 << 59) - 1))
    }

    fn time(&mut self, type_len: u32, value: u64) -> &mut Self {
        self.header(type_len, (value & ((1 << 27) - 1)) as u32);
        self.word(u32::try_from(value >> 27).unwrap());
        self
    }

    /// Null padding: the rest of the page is unused.
    pub(crate) fn rest(&mut self) -> &mut Self {
        self.header(29, 0);
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// The page with `flags` in its commit word and `missed`, if any, behind the data.
    pub(crate) fn page(&self, flags: u64, missed: Option<u64>) -> Vec<u8> {
        assert!(self.data.len() <= LAYOUT.data_size, "page overflows");
        let mut page = self.timestamp.to_le_bytes().to_vec();
        page.extend((self.data.len() as u64 | flags).to_le_bytes());
        page.extend(&self.data);
        page.extend(missed.map(u64::to_le_bytes).unwrap_or_default());
        page.resize(LAYOUT.data_offset + LAYOUT.data_size, 0);
        page
    }
}
