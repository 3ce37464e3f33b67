//! A walk over the fields of a protobuf message that builds nothing: to count before anything is built.

use super::WireError;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// A number; its value where it is a varint.
    Number(u64),
    /// A text, a message or packed numbers; with where it begins in the message.
    Bytes(usize, &'a [u8]),
}

/// The fields of a message, with their numbers. Ends at the first that cannot be read, with an error.
pub(super) struct Fields<'a> {
    message: &'a [u8],
    at: usize,
    name: &'static str,
}

impl<'a> Fields<'a> {
    /// `name` is the message's, for errors.
    pub(super) fn of(message: &'a [u8], name: &'static str) -> Self {
        Fields { message, at: 0, name }
    }

    fn fail<T>(&mut self, reason: &'static str) -> Result<T, WireError> {
        self.at = self.message.len();
        Err(WireError::Protobuf { message: self.name, reason })
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (index, byte) in self.message[self.at..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32).unwrap_or(0);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok(value);
            }
        }
        self.fail("a number does not end")
    }

    fn skip(&mut self, length: u64) -> Result<Field<'a>, WireError> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        match end.filter(|end| *end <= self.message.len()) {
            Some(end) => {
                let begin = std::mem::replace(&mut self.at, end);
                Ok(Field::Bytes(begin, &self.message[begin..end]))
            }
            None => self.fail("a field is longer than its message"),
        }
    }

    fn field(&mut self) -> Result<(u32, Field<'a>), WireError> {
        let key = self.varint()?;
        let Ok(tag) = u32::try_from(key >> 3) else { return self.fail("a field's number is too large") };
        let field = match key & 7 {
            0 => self.varint().map(Field::Number),
            1 => self.skip(8).map(|_| Field::Number(0)),
            2 => {
                let length = self.varint()?;
                self.skip(length)
            }
            5 => self.skip(4).map(|_| Field::Number(0)),
            _ => self.fail("a field has no type that proto3 knows"),
        }?;
        if tag == 0 { self.fail("a field has the number 0") } else { Ok((tag, field)) }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.at < self.message.len()).then(|| self.field())
    }
}
