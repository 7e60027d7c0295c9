//! Which function of the kernel an address is in, by the `System.map` of its build (without KASLR).

use anyhow::{Context, Result};

/// The upper half of the address space is the kernel's (Documentation/arch/x86/x86_64/mm.rst).
const UPPER_HALF: u64 = 1 << 63;

/// What lies at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// The lower half: user space; before the kernel is at its place, whatever runs there.
    Low,
    /// A function of the kernel, without what the compiler put behind its name.
    Function(&'a str),
    /// Code that the running kernel made: programs, trampolines, copies of instructions.
    Made,
}

/// The functions of one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    /// Address and name, in the order of addresses; of several with one address the first.
    functions: Vec<(u64, String)>,
    /// The first address behind the image.
    end: u64,
}

impl Symbols {
    /// Out of the text of a `System.map`: lines `ADDRESS TYPE NAME`. What is no such line is left out.
    ///
    /// # Errors
    /// When it does not say where the kernel ends.
    pub fn parse(text: &str) -> Result<Self> {
        let symbols = text.lines().filter_map(symbol);
        let (mut functions, mut end) = (Vec::new(), None);
        for (address, kind, name) in symbols {
            match kind {
                "t" | "T" | "w" | "W" => functions.push((address, name.to_owned())),
                _ if name == "_end" => end = Some(address),
                _ => {}
            }
        }
        functions.sort_by_key(|(address, _)| *address);
        functions.dedup_by_key(|(address, _)| *address);
        Ok(Self { functions, end: end.context("no symbol `_end`")? })
    }

    /// Where a function begins.
    pub fn address(&self, function: &str) -> Option<u64> {
        self.functions.iter().find(|(_, name)| name == function).map(|(address, _)| *address)
    }

    /// What lies at an address.
    pub fn place(&self, address: u64) -> Place<'_> {
        if address < UPPER_HALF {
            return Place::Low;
        }
        let after = self.functions.partition_point(|(begin, _)| *begin <= address);
        let function = after.checked_sub(1).and_then(|index| self.functions.get(index));
        match function {
            Some((_, name)) if address < self.end => {
                // `foo.constprop.0`, `foo.part.0`: parts of one function, or a kind of it.
                Place::Function(name.split('.').next().unwrap_or_default())
            }
            _ => Place::Made,
        }
    }
}

fn symbol(line: &str) -> Option<(u64, &str, &str)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    Some((address, words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAP: &str = "\
        00000000007ec728 A text_size\n\
        ffffffff81000000 T _stext\n\
        ffffffff81000000 T _text\n\
        ffffffff81000040 t one.constprop.0\n\
        ffffffff81000040 t its_alias\n\
        not a symbol\n\
        ffffffff81000080 D data\n\
        ffffffff81000090 W two\n\
        ffffffff81000100 B _end\n";

    #[test]
    fn an_address_is_in_the_function_that_begins_before_it() {
        let symbols = Symbols::parse(MAP).unwrap();
        let place = |offset: u64| symbols.place(0xffff_ffff_8100_0000 + offset);
        assert_eq!(place(0), Place::Function("_stext"));
        assert_eq!((place(0x3f), place(0x40)), (Place::Function("_stext"), Place::Function("one")));
        assert_eq!((place(0x8f), place(0x90)), (Place::Function("one"), Place::Function("two")));
        assert_eq!((place(0xff), place(0x100)), (Place::Function("two"), Place::Made));
        assert_eq!(symbols.place(0x7fff_f753_9000), Place::Low);
        assert_eq!(symbols.place(0xffff_8880_0000_0000), Place::Made, "below the image");
        assert_eq!(symbols.address("two"), Some(0xffff_ffff_8100_0090));
        assert_eq!(symbols.address("data"), None);
        assert!(Symbols::parse("ffffffff81000000 T _text\n").is_err());
    }

    proptest! {
        #[test]
        fn any_text_and_any_address_do(text in "([0-9a-f]{0,17} [TtBx]? ?[a-z._]{0,4}\n?)*", address: u64) {
            if let Ok(symbols) = Symbols::parse(&(text + "\nffffffff82000000 B _end\n")) {
                let _ = symbols.place(address);
            }
        }
    }
}
