//! Link modes that a port offers when it negotiates: the bits of `ETHTOOL_LINK_MODE_…` (linux/ethtool.h).

use std::fmt;
use std::str::FromStr;

use super::wire::read_u32;

const WORDS: usize = 8;

/// A set of link modes. In text a hexadecimal number, as ethtool(8) takes it: `0x2f`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeBits([u32; WORDS]);

impl ModeBits {
    /// How many bits there may be: more than there are.
    pub const COUNT: u32 = 32 * WORDS as u32;

    /// From the words of a compact bit set, the lowest first.
    pub fn read(bytes: &[u8]) -> ModeBits {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = read_u32(bytes);
        }
        ModeBits(words)
    }

    /// The words of a compact bit set.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == ModeBits::default()
    }
}

impl fmt::Display for ModeBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: String = self.0.iter().rev().map(|word| format!("{word:08x}")).collect();
        let digits = all.trim_start_matches('0');
        write!(f, "0x{}", if digits.is_empty() { "0" } else { digits })
    }
}

impl FromStr for ModeBits {
    type Err = String;

    fn from_str(text: &str) -> Result<ModeBits, String> {
        let wrong = || format!("{text:?} is no set of link modes");
        let is_number = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let digits = text.strip_prefix("0x").filter(is_number).filter(|digits| digits.len() <= 8 * WORDS);
        let digits = digits.ok_or_else(wrong)?;
        let mut words = [0; WORDS];
        for (word, digits) in words.iter_mut().zip(digits.as_bytes().rchunks(8)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *word = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(ModeBits(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_as_it_prints() {
        for (words, text) in
            [(vec![0], "0x0"), (vec![0x2f], "0x2f"), (vec![0x8000_0000, 0, 1], "0x10000000080000000")]
        {
            let bytes: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
            let bits = ModeBits::read(&bytes);
            assert_eq!((bits.to_string().as_str(), bits.is_empty()), (text, text == "0x0"));
            assert_eq!(text.parse(), Ok(bits));
            assert_eq!(ModeBits::read(&bits.bytes()), bits);
        }
        for text in ["", "2f", "0x+1", &format!("0x{}", "0".repeat(65)), "0xé"] {
            assert!(text.parse::<ModeBits>().is_err(), "{text}");
        }
        // More words than are known, and half a word, are left out.
        assert!(
            ModeBits::read(&[[0; 32], [0xff; 32]].concat()).is_empty()
                && ModeBits::read(&[1, 0, 0]).is_empty()
        );
    }
}
