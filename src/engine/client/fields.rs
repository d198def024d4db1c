//! Header fields in the order in which they were written.

/// Names and values in one buffer: a head of any size is two allocations.
///
/// ```
/// use lute_net::engine::client::Fields;
///
/// let mut fields = Fields::default();
/// fields.push(b"Accept", b"text/plain");
/// assert_eq!(fields.get("accept"), Some(&b"text/plain"[..]));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    text: Vec<u8>,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Fields {
    /// None yet, with room for this many and their text.
    ///
    /// ```
    /// assert!(lute_net::engine::client::Fields::with_capacity(2, 64).is_empty());
    /// ```
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(count),
        }
    }

    /// Adds one behind the others.
    ///
    /// ```
    /// let mut fields = lute_net::engine::client::Fields::default();
    /// fields.push(b"Cookie", b"a=1");
    /// fields.push(b"Cookie", b"b=2");
    /// assert_eq!(fields.len(), 2);
    /// ```
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.text.extend_from_slice(name);
        let name_end = self.text.len();
        self.text.extend_from_slice(value);
        self.ends.push((name_end, self.text.len()));
    }

    /// How many there are.
    ///
    /// ```
    /// assert_eq!(lute_net::engine::client::Fields::default().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    ///
    /// ```
    /// let mut fields = lute_net::engine::client::Fields::default();
    /// assert!(fields.is_empty());
    /// fields.push(b"A", b"");
    /// assert!(!fields.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Names and values.
    ///
    /// ```
    /// let mut fields = lute_net::engine::client::Fields::default();
    /// fields.push(b"A", b"1");
    /// fields.push(b"B", b"2");
    /// let all: Vec<(&[u8], &[u8])> = fields.iter().collect();
    /// assert_eq!(all, [(&b"A"[..], &b"1"[..]), (b"B", b"2")]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, end)| {
            let field = (&self.text[start..name_end], &self.text[name_end..end]);
            start = end;
            field
        })
    }

    /// The first value of the field called `name`, in any case.
    ///
    /// ```
    /// let mut fields = lute_net::engine::client::Fields::default();
    /// fields.push(b"ETag", b"\"7\"");
    /// assert_eq!((fields.get("etag"), fields.get("age")), (Some(&b"\"7\""[..]), None));
    /// ```
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Whether there is a field called `name`, in any case.
    ///
    /// ```
    /// let mut fields = lute_net::engine::client::Fields::default();
    /// fields.push(b"ETag", b"\"7\"");
    /// assert!(fields.has("ETAG") && !fields.has("Age"));
    /// ```
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Those whose name `keeps` accepts.
    ///
    /// ```
    /// let mut fields = lute_net::engine::client::Fields::default();
    /// fields.push(b"Authorization", b"secret");
    /// fields.push(b"Accept", b"*/*");
    /// let open = fields.only(|name| !name.eq_ignore_ascii_case(b"authorization"));
    /// assert!(open.has("Accept") && !open.has("Authorization"));
    /// ```
    #[must_use]
    pub fn only(&self, keeps: impl Fn(&[u8]) -> bool) -> Self {
        let mut kept = Self::with_capacity(self.len(), self.text.len());
        for (name, value) in self.iter().filter(|(name, _)| keeps(name)) {
            kept.push(name, value);
        }
        kept
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let fields = self.iter();
        f.debug_list()
            .entries(fields.map(|(name, value)| (text(name), text(value))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_case_and_stay_in_order() {
        let mut fields = Fields::default();
        fields.push(b"Set-Cookie", b"a=1");
        fields.push(b"X", b"");
        fields.push(b"set-cookie", b"b=2");
        let all: Vec<_> = fields.iter().collect();
        let expected: [(&[u8], &[u8]); 3] = [
            (b"Set-Cookie", b"a=1"),
            (b"X", b""),
            (b"set-cookie", b"b=2"),
        ];
        assert_eq!(all, expected);
        assert_eq!(fields.get("SET-COOKIE"), Some(&b"a=1"[..]));
        assert_eq!(fields.get("x"), Some(&b""[..]));
        assert!(!fields.has("Y"));
        let rest = fields.only(|name| !name.eq_ignore_ascii_case(b"set-cookie"));
        assert_eq!(rest.iter().collect::<Vec<_>>(), [(&b"X"[..], &b""[..])]);
    }
}
