//! What tracefs says about its own bytes: `events/*/*/format` and `events/header_page`.
//!
//! Both are lines like `field:TYPE NAME[LEN]; offset:O; size:S; signed:B;`, printed by `f_show`
//! (kernel/trace/trace_events.c) and `ring_buffer_print_page_header` (kernel/trace/ring_buffer.c,
//! Linux 7.3). A `format` file does not name the event's system; the recorder prefixes it with a line
//! `# system/event`.

use thiserror::Error;

use super::bytes::{signed, unsigned};
use super::text::{scrub, scrub_c_string};

/// Fields of one event that are read; the kernel's own limit on probe arguments is 128.
const MAX_FIELDS: usize = 256;
/// Bytes of a name that are kept.
const MAX_NAME: usize = 128;
/// Bytes of a string field that are kept; a trace record fits in one sub-buffer page.
const MAX_STRING: usize = 4096;

/// Why a description could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// A line of an event's format that must be there is not.
    #[error("format of trace event `{event}` has no usable `{line}` line")]
    Missing {
        /// The event, as far as it was named.
        event: String,
        /// The line: `name:`, `ID:`, ...
        line: &'static str,
    },
    /// A line does not read as a field.
    #[error("format of `{event}`: cannot read the line `{line}`")]
    BadField {
        /// The event, or `header_page`.
        event: String,
        /// The line, scrubbed.
        line: String,
    },
    /// More fields than any event has.
    #[error("format of trace event `{event}` has more than {MAX_FIELDS} fields")]
    TooManyFields {
        /// The event.
        event: String,
    },
    /// `header_page` describes a page this decoder does not know.
    #[error("events/header_page: {0}; ring-buffer pages of this kernel cannot be decoded")]
    Page(&'static str),
}

/// How a field's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// One value of `size` bytes.
    Scalar,
    /// An array of fixed size, in place.
    Array,
    /// `__data_loc`: a word with length (high half) and offset from the record's start (low half).
    DataLoc,
    /// `__rel_loc`: the same, with the offset from the word's own end.
    RelLoc,
    /// An array that runs to the end of the record (`buf[]`, size 0).
    Trailing,
}

/// One field of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Name in the kernel's record.
    pub name: String,
    /// C type as printed, without `__data_loc` and brackets.
    pub ty: String,
    /// Bytes from the record's start.
    pub offset: usize,
    /// Bytes; 0 for [`FieldKind::Trailing`].
    pub size: usize,
    /// Whether the type is signed.
    pub signed: bool,
    /// How to read it.
    pub kind: FieldKind,
}

impl Field {
    /// Whether it holds text: an array of `char` in one of its forms.
    pub fn is_text(&self) -> bool {
        self.kind != FieldKind::Scalar && self.ty.split(' ').any(|word| word == "char")
    }

    /// The bytes of the field in `record`, wherever they lie; `None` if not inside it.
    fn bytes<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let (start, len) = match self.kind {
            FieldKind::Scalar | FieldKind::Array => (self.offset, self.size),
            FieldKind::Trailing => return record.get(self.offset..),
            FieldKind::DataLoc | FieldKind::RelLoc => {
                let word = unsigned(record, self.offset, 4)?;
                let (len, at) = ((word >> 16) as usize, (word & 0xffff) as usize);
                let base = if self.kind == FieldKind::RelLoc { self.offset.checked_add(4)? } else { 0 };
                (base.checked_add(at)?, len)
            }
        };
        record.get(start..start.checked_add(len)?)
    }
}

/// One event's record layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFormat {
    /// From the `# system/event` line, if there was one.
    pub system: Option<String>,
    /// Name of the event.
    pub name: String,
    /// What `common_type` holds in its records.
    pub id: u16,
    /// Fields, in the order printed.
    pub fields: Vec<Field>,
}

impl EventFormat {
    /// Parses one `format` file, with or without the recorder's `# system/event` line.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let (mut system, mut name, mut id) = (None, None, None);
        let mut fields = Vec::new();
        for line in text.lines().map(str::trim) {
            let event = || name.clone().unwrap_or_default();
            if let Some(path) = line.strip_prefix("# ") {
                system = path.split_once('/').map(|(system, _)| clean(system));
            } else if let Some(value) = line.strip_prefix("name:") {
                name = Some(clean(value)).filter(|name| !name.is_empty());
            } else if let Some(value) = line.strip_prefix("ID:") {
                id = value.trim().parse().ok();
            } else if line.starts_with("print fmt:") {
                break;
            } else if line.starts_with("field:") {
                if fields.len() == MAX_FIELDS {
                    return Err(FormatError::TooManyFields { event: event() });
                }
                fields.push(field(line).ok_or_else(|| bad_field(&event(), line))?);
            }
        }
        let name = name.ok_or(FormatError::Missing { event: String::new(), line: "name:" })?;
        let id = id.ok_or_else(|| FormatError::Missing { event: name.clone(), line: "ID:" })?;
        Ok(Self { system, name, id, fields })
    }

    /// The field with this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// An unsigned scalar; `None` if the event has no such field or the record is too short for it.
    pub fn u64(&self, record: &[u8], name: &str) -> Option<u64> {
        let field = self.field(name).filter(|field| field.kind == FieldKind::Scalar)?;
        unsigned(record, field.offset, field.size)
    }

    /// A scalar, sign-extended from its size.
    pub fn i64(&self, record: &[u8], name: &str) -> Option<i64> {
        let field = self.field(name).filter(|field| field.kind == FieldKind::Scalar)?;
        signed(record, field.offset, field.size)
    }

    /// Text up to its NUL, without one trailing newline, scrubbed.
    pub fn str(&self, record: &[u8], name: &str) -> Option<String> {
        let bytes = self.field(name).filter(|field| field.is_text())?.bytes(record)?;
        let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
        Some(scrub_c_string(text.strip_suffix(b"\n").unwrap_or(text), MAX_STRING))
    }
}

/// Where the parts of a sub-buffer page are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLayout {
    /// Byte of the page's time stamp, a `u64` in ticks of the buffer's clock.
    pub timestamp_offset: usize,
    /// Byte of the commit word: length of the data, with flags.
    pub commit_offset: usize,
    /// Bytes of the commit word: 4 or 8.
    pub commit_size: usize,
    /// Byte of the first event.
    pub data_offset: usize,
    /// Bytes for events; `data_offset + data_size` is the size of the page.
    pub data_size: usize,
}

impl PageLayout {
    /// Parses `events/header_page`.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut fields = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("field:")).take(MAX_FIELDS) {
            fields.push(field(line).ok_or_else(|| bad_field("header_page", line))?);
        }
        let find =
            |name, missing| fields.iter().find(|field| field.name == name).ok_or(FormatError::Page(missing));
        let timestamp = find("timestamp", "it has no `timestamp`")?;
        let commit = find("commit", "it has no `commit`")?;
        let data = find("data", "it has no `data`")?;
        let ends_before_data =
            |field: &Field| field.offset.checked_add(field.size).is_some_and(|end| end <= data.offset);
        if timestamp.size != 8 {
            return Err(FormatError::Page("its time stamp is not 8 bytes"));
        }
        if !matches!(commit.size, 4 | 8) {
            return Err(FormatError::Page("its commit word is neither 4 nor 8 bytes"));
        }
        if !ends_before_data(timestamp) || !ends_before_data(commit) {
            return Err(FormatError::Page("its header overlaps its data"));
        }
        Ok(Self {
            timestamp_offset: timestamp.offset,
            commit_offset: commit.offset,
            commit_size: commit.size,
            data_offset: data.offset,
            data_size: data.size,
        })
    }
}

/// Reads `field:TYPE NAME; offset:O; size:S; signed:B;`.
fn field(line: &str) -> Option<Field> {
    let mut parts = line.split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?.trim();
    let (mut offset, mut size, mut is_signed) = (None, None, None);
    for part in parts {
        match part.split_once(':') {
            Some(("offset", value)) => offset = value.parse::<u32>().ok(),
            Some(("size", value)) => size = value.parse::<u32>().ok(),
            Some(("signed", value)) => is_signed = Some(value == "1"),
            _ => {}
        }
    }
    let (ty, name) = declaration.rsplit_once([' ', '\t'])?;
    let (name, brackets) = match name.split_once('[') {
        Some((name, _)) => (name, true),
        None => (name, false),
    };
    let (size, ty) = (size? as usize, ty.trim());
    let (kind, ty) = if let Some(ty) = ty.strip_prefix("__data_loc ") {
        (FieldKind::DataLoc, ty)
    } else if let Some(ty) = ty.strip_prefix("__rel_loc ") {
        (FieldKind::RelLoc, ty)
    } else if brackets {
        (if size == 0 { FieldKind::Trailing } else { FieldKind::Array }, ty)
    } else {
        (FieldKind::Scalar, ty)
    };
    let ty = clean(ty.strip_suffix("[]").unwrap_or(ty));
    let name = clean(name.trim_start_matches('*'));
    Some(Field { name, ty, offset: offset? as usize, size, signed: is_signed?, kind })
}

fn bad_field(event: &str, line: &str) -> FormatError {
    FormatError::BadField { event: event.to_owned(), line: scrub(line.as_bytes(), MAX_NAME) }
}

fn clean(text: &str) -> String {
    scrub(text.trim().as_bytes(), MAX_NAME)
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
