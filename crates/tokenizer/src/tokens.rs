//! The bytes of each token, one after the other.

/// Tokens by id.
#[derive(Default)]
pub(crate) struct Tokens {
    bytes: Vec<u8>,
    /// Where the bytes of each token end.
    ends: Vec<usize>,
}

impl Tokens {
    pub fn push(&mut self, token: &[u8]) {
        self.bytes.extend_from_slice(token);
        self.ends.push(self.bytes.len());
    }

    /// Appends the concatenation of two tokens.
    pub fn push_pair(&mut self, left: u32, right: u32) {
        for half in [left, right] {
            let (start, end) = self.range(half);
            self.bytes.extend_from_within(start..end);
        }
        self.ends.push(self.bytes.len());
    }

    /// Takes the last token away.
    pub fn pop(&mut self) {
        self.ends.pop();
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    fn range(&self, id: u32) -> (usize, usize) {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        (start, self.ends[id])
    }

    /// The bytes of a token.
    pub fn get(&self, id: u32) -> &[u8] {
        let (start, end) = self.range(id);
        &self.bytes[start..end]
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Tokens {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        let mut tokens = Self::default();
        for token in iter {
            tokens.push(token.as_ref());
        }
        tokens
    }
}
