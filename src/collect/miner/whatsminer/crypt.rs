//! The secrets of WhatsMiners' write APIs: md5-crypt, AES-256 in blocks, and the tokens made with them.
//!
//! None of it is good cryptography; it is what the devices speak. md5-crypt is FreeBSD's, as `openssl passwd -1` makes it.

use aes::Aes256;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha2::Sha256;

/// The alphabet of crypt's base 64.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Longest salt that counts.
const MAX_SALT: usize = 8;

/// The hash alone, without `$1$salt$`.
pub fn md5_crypt(password: &str, salt: &str) -> String {
    let (password, salt) = (password.as_bytes(), &salt.as_bytes()[..salt.len().min(MAX_SALT)]);
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut hash = Md5::new().chain_update(password).chain_update(b"$1$").chain_update(salt);
    hash.update(inner.iter().copied().cycle().take(password.len()).collect::<Vec<u8>>());
    let mut length = password.len();
    while length > 0 {
        // An old slip that became the standard: a zero byte, or the password's first one.
        hash.update(if length & 1 == 1 { &[0][..] } else { &password[..1] });
        length >>= 1;
    }
    let mut digest = hash.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round & 1 == 1 { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round & 1 == 1 { &digest[..] } else { password });
        digest = next.finalize();
    }
    let d = |index: usize| u32::from(digest[index]);
    let mut text = String::new();
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        put(&mut text, d(a) << 16 | d(b) << 8 | d(c), 4);
    }
    put(&mut text, d(11), 2);
    text
}

fn put(text: &mut String, mut bits: u32, letters: usize) {
    for _ in 0..letters {
        text.push(char::from(ALPHABET[(bits & 63) as usize]));
        bits >>= 6;
    }
}

/// AES-256 of zero-padded text, block by block, as base 64. The key is the SHA-256 of `secret`.
pub fn encrypt(text: &str, secret: &str) -> String {
    let cipher = Aes256::new(&Sha256::digest(secret.as_bytes()));
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    for block in bytes.chunks_exact_mut(16) {
        cipher.encrypt_block(block.into());
    }
    STANDARD.encode(bytes)
}

/// Text with the padding of PKCS #7 behind it, which API 3 wants.
pub fn padded(text: &str) -> String {
    let count = 16 - text.len() % 16;
    let letter = char::from(u8::try_from(count).unwrap_or_default());
    text.chars().chain(std::iter::repeat_n(letter, count)).collect()
}

/// What [`encrypt`] hid; `None` when it is no text.
pub fn decrypt(sealed: &str, secret: &str) -> Option<String> {
    let cipher = Aes256::new(&Sha256::digest(secret.as_bytes()));
    let mut bytes = STANDARD.decode(sealed.replace('\n', "")).ok()?;
    for block in bytes.chunks_exact_mut(16) {
        cipher.decrypt_block(block.into());
    }
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim_end_matches('\0').to_string())
}

/// API 3: the first eight letters of the base 64 of SHA-256 over command, password, salt and time.
pub fn token(command: &str, password: &str, salt: &str, seconds: u64) -> String {
    let digest = Sha256::digest(format!("{command}{password}{salt}{seconds}").as_bytes());
    STANDARD.encode(digest).chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `openssl passwd -1 -salt SALT PASSWORD` has them.
    #[test]
    fn md5_crypt_is_that_of_openssl() {
        for (salt, password, expected) in [
            ("saltsalt", "password", "qjXMvbEw8oaL.CzflDtaK/"),
            ("BQ5hoXV9", "admin", "RxmaDUO33TS7O26yeMHZ81"),
            ("a", "verylongpasswordmorethansixteenbytes", "YPHtX60lDK0NqNeLm7/KZ."),
        ] {
            assert_eq!(md5_crypt(password, salt), expected);
        }
    }

    /// As `printf %s TEXT | openssl enc -aes-256-ecb -nopad -K $(printf %s SECRET | sha256sum)` has it, zero-padded.
    #[test]
    fn encryption_is_that_of_openssl() {
        assert_eq!(encrypt(r#"{"cmd":"reboot"}"#, "secret"), "ChLHcxWJ3gDVVPYPJ5bYmQ==");
        assert_eq!(decrypt(&encrypt("seventeen letters", "secret"), "secret").unwrap(), "seventeen letters");
        assert_eq!(encrypt("seventeen letters", "secret"), "S7b0qTpIqbihObowH2mwbM+rOBqWtNbQw3CrrqtSnPM=");
    }

    /// As `printf %s set.system.rebootpwsalt1700000000 | openssl dgst -sha256 -binary | base64 | cut -c-8` has it.
    #[test]
    fn tokens_are_eight_letters() {
        assert_eq!(token("set.system.reboot", "pw", "salt", 1_700_000_000), "bOt8j7Hg");
    }
}
