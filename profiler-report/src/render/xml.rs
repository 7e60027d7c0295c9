//! Text inside XML.

use std::borrow::Cow;

/// `text` for an element or a quoted attribute. What XML 1.0 has no characters for becomes U+FFFD;
/// line ends in attributes are kept as references.
pub fn escape(text: &str) -> Cow<'_, str> {
    let plain = |c: char| {
        matches!(c, ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..) && !"&<>\"'".contains(c)
    };
    if text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c if plain(c) => out.push(c),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_survives_but_for_what_xml_cannot_say(text in any::<String>()) {
            let document = format!("<a b=\"{0}\">{0}</a>", escape(&text));
            let parsed = roxmltree::Document::parse(&document).expect("well-formed");
            let sayable = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
            let expected: String = text.chars().map(|c| if sayable(c) { c } else { '\u{fffd}' }).collect();
            prop_assert_eq!(parsed.root_element().attribute("b"), Some(expected.as_str()));
            prop_assert_eq!(parsed.root_element().text().unwrap_or_default(), expected);
        }
    }
}
