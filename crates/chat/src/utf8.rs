//! Bytes to text as they come, never half a character.

/// Decodes a stream of bytes. What it gives out is always whole characters, and all of it together is
/// what [`String::from_utf8_lossy`] makes of all bytes together.
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    /// The beginning of a character, at most three bytes.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// A stream that has seen nothing.
    pub fn new() -> Utf8Stream {
        Utf8Stream::default()
    }

    /// The text that is certain after these bytes. The beginning of a character is held back; bytes that can
    /// never be one become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    if let Some(invalid) = error.error_len() {
                        text.push(char::REPLACEMENT_CHARACTER);
                        rest = &rest[invalid..];
                        continue;
                    }
                }
            }
            break;
        }
        self.pending = rest.to_vec();
        text
    }

    /// The end of the stream: U+FFFD for a character that has only begun.
    pub fn finish(&mut self) -> String {
        let begun = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&begun).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_come_whole() {
        let mut stream = Utf8Stream::new();
        let steps: Vec<String> = "a€🌍".bytes().map(|byte| stream.push(&[byte])).collect();
        assert_eq!(steps, ["a", "", "", "€", "", "", "", "🌍"]);
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn invalid_bytes_are_replaced_when_that_is_certain() {
        let mut stream = Utf8Stream::new();
        assert_eq!(stream.push(b"\xff"), "\u{fffd}");
        assert_eq!(stream.push(b"\xe2\x82"), "");
        assert_eq!(stream.push(b"x"), "\u{fffd}x");
        assert_eq!(stream.push(b"\xf0\x9f"), "");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.finish(), "");
    }

    proptest! {
        #[test]
        fn equals_decoding_all_at_once(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80u8..0xc0, Just(0xe2u8), Just(0xf0u8)], 0..40),
            cuts in prop::collection::vec(1usize..5, 40),
        ) {
            let (mut stream, mut text, mut rest) = (Utf8Stream::new(), String::new(), bytes.as_slice());
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                text.push_str(&stream.push(chunk));
                rest = after;
            }
            text.push_str(&stream.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
