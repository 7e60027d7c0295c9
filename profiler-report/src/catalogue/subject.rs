//! Templates of a span's subject: text with paths in braces.
//!
//! `{PATH}` is a number in hexadecimal, `{PATH d}` in decimal, `{PATH s}` a C string. What is not known
//! leaves the text between the commas around it out.

use std::str::FromStr;

use profiler_common::walk::SLOTS;
use serde::{Deserialize, de};

use super::path::Path;

/// What a record says of a call, beside its function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// First three arguments, raw.
    pub args: [u64; 3],
    /// Strings that the probe's walks led to, scrubbed; empty if unknown.
    pub texts: [String; SLOTS],
    /// Numbers that they led to.
    pub numbers: [Option<u64>; SLOTS],
}

/// A template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// Parts between commas.
    pieces: Vec<Vec<Part>>,
    /// Paths to strings, in the order of [`Found::texts`].
    pub texts: Vec<Path>,
    /// Paths to numbers, in the order of [`Found::numbers`].
    pub numbers: Vec<Path>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Arg(usize, Base),
    Text(usize),
    Number(usize, Base),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Hexadecimal,
    Decimal,
}

impl Base {
    fn write(self, value: u64) -> String {
        match self {
            Self::Hexadecimal => format!("{value:#x}"),
            Self::Decimal => value.to_string(),
        }
    }
}

impl Template {
    /// The subject of one call.
    pub fn fill(&self, found: &Found) -> String {
        let pieces = self.pieces.iter().filter_map(|piece| {
            piece
                .iter()
                .map(|part| part.fill(found))
                .collect::<Option<String>>()
                .filter(|text| !text.is_empty())
        });
        pieces.collect::<Vec<_>>().join(", ")
    }

    /// Whether it names this argument itself.
    pub fn uses_arg(&self, arg: usize) -> bool {
        self.pieces.iter().flatten().any(|part| matches!(part, Part::Arg(index, _) if *index == arg))
    }

    fn part(&mut self, text: &str) -> Result<Part, String> {
        let (path, kind) = text.rsplit_once(' ').unwrap_or((text, "x"));
        let path: Path = path.parse()?;
        let base = match kind {
            "s" => return Ok(Part::Text(slot(&mut self.texts, path)?)),
            "x" => Base::Hexadecimal,
            "d" => Base::Decimal,
            _ => return Err(format!("{{{text}}}: a path ends in nothing, d or s")),
        };
        if path.base.is_none() && path.arg < 3 {
            return Ok(Part::Arg(path.arg.into(), base));
        }
        Ok(Part::Number(slot(&mut self.numbers, path)?, base))
    }
}

/// The place of a path among those of its kind.
fn slot(paths: &mut Vec<Path>, path: Path) -> Result<usize, String> {
    if paths.len() == SLOTS {
        return Err(format!("{path}: a record has room for {SLOTS} strings and {SLOTS} numbers"));
    }
    paths.push(path);
    Ok(paths.len() - 1)
}

impl Part {
    fn fill(&self, found: &Found) -> Option<String> {
        match self {
            Self::Literal(text) => Some(text.clone()),
            Self::Arg(index, base) => found.args.get(*index).map(|value| base.write(*value)),
            Self::Text(slot) => found.texts.get(*slot).filter(|text| !text.is_empty()).cloned(),
            Self::Number(slot, base) => found.numbers.get(*slot)?.map(|value| base.write(value)),
        }
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut template = Self::default();
        for piece in text.split(", ").filter(|piece| !piece.is_empty()) {
            let mut parts = Vec::new();
            let mut rest = piece;
            while let Some((literal, braced)) = rest.split_once('{') {
                let (path, after) = braced.split_once('}').ok_or_else(|| format!("{text:?} lacks a }}"))?;
                parts.push(Part::Literal(literal.to_owned()));
                parts.push(template.part(path)?);
                rest = after;
            }
            parts.push(Part::Literal(rest.to_owned()));
            template.pieces.push(parts);
        }
        Ok(template)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_takes_its_piece_with_it() {
        let template: Template =
            "session {arg0:luo_session.name s}, token {arg1}, {arg0:a.b s}, {arg0:a.c d} folios"
                .parse()
                .unwrap();
        let paths: Vec<_> = template.texts.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["arg0:luo_session.name", "arg0:a.b"]);
        let mut found = Found { args: [1, 0x1ab, 3], ..Found::default() };
        assert_eq!(template.fill(&found), "token 0x1ab");
        found.texts = ["lab-0".into(), "memfd-v2".into()];
        found.numbers = [Some(1024), None];
        assert_eq!(template.fill(&found), "session lab-0, token 0x1ab, memfd-v2, 1024 folios");
    }

    #[test]
    fn refuses_what_no_record_has_room_for() {
        for text in
            ["{arg0", "{name}", "{arg0 q}", "{arg0:a.b s}{arg0:a.c s}{arg0:a.d s}", "{arg3}{arg4}{arg5}"]
        {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
        assert_eq!("".parse::<Template>().unwrap().fill(&Found::default()), "");
    }
}
