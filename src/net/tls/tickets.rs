//! Session tickets: what a server must remember of a session, sealed and kept by the client
//! (RFC 8446, 4.6.1; RFC 5077).
//!
//! The keys are the whole instance's, so that a client may come back to any worker, and outlive
//! reloads. They are replaced in time: whoever gets hold of one can read what was sent in TLS 1.2
//! sessions of some hours, not of all.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

const HOUR: u64 = 60 * 60;

/// How long tickets are sealed with one key. At 20 000 tickets a second that is 2^29 of them:
/// random nonces allow 2^32 (NIST SP 800-38D, 8.3).
const SEALS_FOR: u64 = 6 * HOUR;

/// How long a client may come back with a ticket.
const LIFETIME: u64 = 12 * HOUR;

/// A key may open tickets that long: the last one it sealed has its whole life.
const OPENS_FOR: u64 = SEALS_FOR + LIFETIME;

/// The one that seals, and its predecessors.
const KEYS_MAX: usize = (OPENS_FOR / SEALS_FOR) as usize + 1;

/// A session holds the client's certificates. Of a longer one nothing is given out: the client
/// would send it in its first flight each time, and some cannot take two such tickets.
const SESSION_MAX: usize = 12 << 10;

const NAME: usize = 16;
const SECRET: usize = 32;
/// Of a key in an export: name, secret, when it was made.
const EXPORTED: usize = NAME + SECRET + 8;
const EXPORT_VERSION: u8 = 1;

/// Where a ticket is valid; in others it opens nothing.
pub(super) type Scope = [u8; 32];

/// The instance's keys, newest first.
pub struct TicketKeys {
    keys: ArcSwap<Vec<Arc<Key>>>,
    changing: Mutex<()>,
}

struct Key {
    name: [u8; NAME],
    secret: [u8; SECRET],
    aead: LessSafeKey,
    /// In seconds since 1970.
    made: u64,
}

impl TicketKeys {
    /// One new key.
    pub fn generate() -> Arc<Self> {
        let keys = vec![Arc::new(Key::generate(unix_now()))];
        Arc::new(Self { keys: ArcSwap::from_pointee(keys), changing: Mutex::new(()) })
    }

    /// The keys, for the process that takes over from this one. They are secret.
    pub fn export(&self) -> Vec<u8> {
        let mut bytes = vec![EXPORT_VERSION];
        for key in self.keys.load().iter() {
            bytes.extend_from_slice(&key.name);
            bytes.extend_from_slice(&key.secret);
            bytes.extend_from_slice(&key.made.to_be_bytes());
        }
        bytes
    }

    /// Goes on with the keys of another process.
    ///
    /// # Errors
    ///
    /// These bytes are no export of this version. Nothing has changed then.
    pub fn import(&self, export: &[u8]) -> Result<(), ImportError> {
        let (version, keys) = export.split_first().ok_or(ImportError)?;
        let (keys, rest) = keys.as_chunks::<EXPORTED>();
        let count = keys.len();
        if *version != EXPORT_VERSION || !rest.is_empty() || !(1..=KEYS_MAX).contains(&count) {
            return Err(ImportError);
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.keys.store(Arc::new(keys.iter().map(|key| Arc::new(Key::imported(key))).collect()));
        Ok(())
    }

    /// Seals `plain`; `None` if it is too long, or if the system has no randomness.
    fn seal(&self, scope: &Scope, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        if plain.len() > SESSION_MAX {
            return None;
        }
        let key = self.sealing_key(now);
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let (_, content) = ticket.split_at_mut(NAME + NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.aead.seal_in_place_separate_tag(nonce, Aad::from(scope), content).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    /// Opens what [`Self::seal`] sealed in the same scope, while its key lives.
    fn open(&self, scope: &Scope, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.name == *name && key.age(now) < OPENS_FOR)?;
        let mut content = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.aead.open_in_place(nonce, Aad::from(scope), &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
    }

    /// The newest key, or a newer one if its time is over.
    fn sealing_key(&self, now: u64) -> Arc<Key> {
        let newest =
            |keys: &[Arc<Key>]| keys.first().filter(|key| key.age(now) < SEALS_FOR).map(Arc::clone);
        if let Some(key) = newest(&self.keys.load()) {
            return key;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.keys.load();
        // Another worker may have been first.
        if let Some(key) = newest(&before) {
            return key;
        }
        let made = Arc::new(Key::generate(now));
        let alive = before.iter().filter(|key| key.age(now) < OPENS_FOR).map(Arc::clone);
        let keys = std::iter::once(Arc::clone(&made)).chain(alive).take(KEYS_MAX).collect();
        self.keys.store(Arc::new(keys));
        made
    }
}

impl Key {
    fn generate(now: u64) -> Self {
        let (mut name, mut secret) = ([0; NAME], [0; SECRET]);
        let random = rand::fill(&mut name).and_then(|()| rand::fill(&mut secret));
        random.expect("the kernel gives randomness to whoever has started");
        Self::new(name, secret, now)
    }

    fn imported(bytes: &[u8; EXPORTED]) -> Self {
        let (mut name, mut secret, mut made) = ([0; NAME], [0; SECRET], [0; 8]);
        name.copy_from_slice(&bytes[..NAME]);
        secret.copy_from_slice(&bytes[NAME..NAME + SECRET]);
        made.copy_from_slice(&bytes[NAME + SECRET..]);
        Self::new(name, secret, u64::from_be_bytes(made))
    }

    fn new(name: [u8; NAME], secret: [u8; SECRET], made: u64) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &secret).expect("the key has AES-256's length");
        Self { name, secret, aead: LessSafeKey::new(key), made }
    }

    /// In seconds. A clock that was set back makes a key young, not eternal: it ages again.
    fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.made)
    }
}

/// Bytes that are no export of ticket keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportError;

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these are no ticket keys of this version")
    }
}

impl std::error::Error for ImportError {}

/// Tickets of one scope, for rustls.
pub(super) struct Ticketer {
    keys: Arc<TicketKeys>,
    scope: Scope,
}

impl Ticketer {
    pub(super) fn new(keys: &Arc<TicketKeys>, scope: Scope) -> Self {
        Self { keys: Arc::clone(keys), scope }
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.seal(&self.scope, plain, unix_now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.keys.open(&self.scope, cipher, unix_now())
    }
}

/// Without the keys.
impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer(…)")
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Scope = [1; 32];
    const ELSEWHERE: Scope = [2; 32];

    fn keys_made_at(now: u64) -> TicketKeys {
        let keys = vec![Arc::new(Key::generate(now))];
        TicketKeys { keys: ArcSwap::from_pointee(keys), changing: Mutex::new(()) }
    }

    #[test]
    fn a_ticket_opens_where_it_was_sealed_and_nowhere_else() {
        let keys = keys_made_at(0);
        let ticket = keys.seal(&HERE, b"session", 0).unwrap();
        assert_eq!(keys.open(&HERE, &ticket, 0).unwrap(), b"session");
        assert_eq!(keys.open(&ELSEWHERE, &ticket, 0), None);
    }

    #[test]
    fn a_session_that_is_too_long_gets_no_ticket() {
        let keys = keys_made_at(0);
        assert!(keys.seal(&HERE, &[0; SESSION_MAX], 0).is_some());
        assert_eq!(keys.seal(&HERE, &[0; SESSION_MAX + 1], 0), None);
    }

    #[test]
    fn what_is_no_ticket_opens_nothing() {
        let keys = keys_made_at(0);
        let ticket = keys.seal(&HERE, b"session", 0).unwrap();
        for length in 0..ticket.len() {
            assert_eq!(keys.open(&HERE, &ticket[..length], 0), None);
        }
        for position in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[position] ^= 1;
            assert_eq!(keys.open(&HERE, &changed, 0), None);
        }
    }

    #[test]
    fn a_ticket_lives_its_whole_life_and_not_longer_than_its_key() {
        let keys = keys_made_at(0);
        let last = keys.seal(&HERE, b"session", SEALS_FOR - 1).unwrap();
        keys.seal(&HERE, b"another", SEALS_FOR).unwrap();
        assert!(keys.open(&HERE, &last, SEALS_FOR - 1 + LIFETIME).is_some());
        assert!(keys.open(&HERE, &last, OPENS_FOR).is_none());
    }

    #[test]
    fn keys_are_replaced_in_time_and_few_are_kept() {
        let keys = keys_made_at(0);
        let mut names = std::collections::HashSet::new();
        for turn in 0..10 {
            let ticket = keys.seal(&HERE, b"session", turn * SEALS_FOR).unwrap();
            names.insert(ticket[..NAME].to_vec());
            assert!(keys.keys.load().len() <= KEYS_MAX);
        }
        assert_eq!(names.len(), 10);
    }

    #[test]
    fn another_process_goes_on_with_exported_keys() {
        let before = keys_made_at(0);
        before.seal(&HERE, b"x", SEALS_FOR).unwrap();
        let ticket = before.seal(&HERE, b"session", SEALS_FOR).unwrap();
        let after = keys_made_at(SEALS_FOR);
        assert_eq!(after.open(&HERE, &ticket, SEALS_FOR), None);
        after.import(&before.export()).unwrap();
        assert_eq!(after.open(&HERE, &ticket, SEALS_FOR).unwrap(), b"session");
        assert_eq!(after.export(), before.export());
    }

    #[test]
    fn what_is_no_export_changes_nothing() {
        let keys = keys_made_at(0);
        let export = keys.export();
        let longer = [&export[..], b"x"].concat();
        let mut other = export.clone();
        other[0] = 2;
        for bytes in [&b""[..], &[EXPORT_VERSION], &export[1..], &longer, &other] {
            assert_eq!(keys.import(bytes), Err(ImportError));
        }
        assert_eq!(keys.export(), export);
    }
}
