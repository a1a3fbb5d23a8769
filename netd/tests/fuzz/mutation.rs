//! Inputs made from good ones by changes that are likely to lead far before they are noticed.

use proptest::prelude::*;
use proptest::sample::Index;

/// Longest input.
const MAX_BYTES: usize = 256 * 1024;

/// One change of an input.
#[derive(Clone, Debug)]
enum Mutation {
    /// Another byte.
    Byte(Index, u8),
    /// Bytes taken out.
    Cut(Index, u8),
    /// The rest taken off.
    Truncate(Index),
    /// A word put in: one that means something somewhere.
    Word(Index, Index),
    /// Part of another good input.
    Splice { at: Index, input: Index, from: Index, length: u16 },
    /// A part again and again.
    Repeat { from: Index, length: u8, times: u16 },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        12 => (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        6 => (index(), any::<u8>()).prop_map(|(at, length)| Mutation::Cut(at, length)),
        2 => index().prop_map(Mutation::Truncate),
        18 => (index(), index()).prop_map(|(at, word)| Mutation::Word(at, word)),
        9 => (index(), index(), index(), 0..2000_u16)
            .prop_map(|(at, input, from, length)| Mutation::Splice { at, input, from, length }),
        // Rarely, and rarely often: long inputs take the time of many short ones.
        1 => (index(), any::<u8>(), 0..12_u32)
            .prop_map(|(from, length, power)| Mutation::Repeat { from, length, times: 1 << power }),
    ]
}

/// A place in the input, its end included.
fn place(index: &Index, bytes: &[u8]) -> usize {
    index.index(bytes.len() + 1)
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation, inputs: &[Vec<u8>], words: &[Vec<u8>]) {
    match mutation {
        Mutation::Byte(at, byte) => {
            let at = place(at, bytes);
            if let Some(place) = bytes.get_mut(at) {
                *place = *byte;
            }
        }
        Mutation::Cut(at, length) => {
            let at = place(at, bytes);
            bytes.drain(at..(at + usize::from(*length)).min(bytes.len()));
        }
        Mutation::Truncate(at) => bytes.truncate(place(at, bytes)),
        Mutation::Word(at, word) => {
            let at = place(at, bytes);
            // In place of what stands there as often as beside it.
            let word = word.get(words);
            let end = if at.is_multiple_of(2) { at } else { (at + word.len()).min(bytes.len()) };
            bytes.splice(at..end, word.iter().copied());
        }
        Mutation::Splice { at, input, from, length } => {
            let (at, input) = (place(at, bytes), input.get(inputs));
            let from = place(from, input);
            let part = &input[from..(from + usize::from(*length)).min(input.len())];
            bytes.splice(at..at, part.iter().copied());
        }
        Mutation::Repeat { from, length, times } => {
            let from = place(from, bytes);
            let part = bytes[from..(from + usize::from(*length)).min(bytes.len())].to_vec();
            let times = usize::from(*times).min(MAX_BYTES / part.len().max(1));
            bytes.splice(from..from, part.repeat(times));
        }
    }
    bytes.truncate(MAX_BYTES);
}

/// Inputs from good ones and words that mean something.
pub fn of(inputs: &[Vec<u8>], words: &[Vec<u8>]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let (inputs, words) = (inputs.to_vec(), words.to_vec());
    (any::<Index>(), prop::collection::vec(mutation(), 0..4)).prop_map(move |(which, mutations)| {
        let mut bytes = which.get(&inputs).clone();
        for mutation in &mutations {
            apply(&mut bytes, mutation, &inputs, &words);
        }
        bytes
    })
}
