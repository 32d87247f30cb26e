//! GPT-2's way to write any bytes as printable characters, used by `tokenizer.json`.
//!
//! Printable Latin-1 bytes stand for themselves, the other 68 for U+0100 and up, in byte order.

/// Whether the byte is written as the Latin-1 character of the same number.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character that stands for each byte.
pub(crate) fn alphabet() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if is_printable(byte) {
            char::from(byte)
        } else {
            next += 1;
            char::from_u32(next - 1).expect("U+0100 to U+0143 are characters")
        }
    })
}

/// The byte that `character` stands for, given the [`alphabet`].
pub(crate) fn byte_of(alphabet: &[char; 256], character: char) -> Option<u8> {
    match u8::try_from(character) {
        Ok(byte) if is_printable(byte) => Some(byte),
        _ => alphabet
            .iter()
            .position(|&candidate| candidate == character)
            .map(|byte| byte as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_letters_and_back() {
        let alphabet = alphabet();
        assert_eq!(alphabet[b' ' as usize], 'Ġ');
        assert_eq!(alphabet[b'\n' as usize], 'Ċ');
        assert_eq!(alphabet[0xAD], 'Ń');
        for byte in 0..=255 {
            assert_eq!(byte_of(&alphabet, alphabet[byte as usize]), Some(byte));
        }
        assert_eq!(byte_of(&alphabet, ' '), None);
        assert_eq!(byte_of(&alphabet, '中'), None);
    }
}
