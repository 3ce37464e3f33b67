//! Passwords and keys that plays need: named in the configuration, read when a run is prepared, handed over as files that
//! only the user may read, and gone when the play has ended.
//!
//! No secret is ever an argument or an environment variable: those name files. What a play prints of a secret all the
//! same is masked before anybody is shown it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::bytes::{NoExpand, Regex};

use crate::act::artifacts::MOST_FILES;
use crate::act::files::{FileError, create_json, create_private, read_capped, read_json};
use crate::act::job::names;
use crate::act::settings::AnsibleSettings;
use crate::act::vars::{Value, document};
use crate::model::matcher::is_label_name;
use crate::secret::{SecretError, SecretRef};

/// The extra variable with `ansible.secrets`.
pub const VARIABLE: &str = "davylamp_secrets";
/// Most secrets of each sort.
pub const MAX_SECRETS: usize = 64;
/// What is shorter is no secret worth the name, and masking it would make the output unreadable.
const LEAST_MASKED: usize = 4;
/// Most patterns, and longest file that is masked, in bytes.
const MAX_MASKS: usize = 2000;
const MAX_MASKED: u64 = 64 << 20;
const MASKS: &str = "masks.json";
/// What stands in place of a secret.
const MASK: &[u8] = b"<redacted>";

/// Where each secret stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The vault password without a label.
    pub vault_password: Option<SecretRef>,
    /// Vault passwords by their id.
    pub vault_ids: BTreeMap<String, SecretRef>,
    /// `become`'s password.
    pub become_password: Option<SecretRef>,
    /// The connection's password.
    pub connection_password: Option<SecretRef>,
    /// ssh's private key.
    pub private_key: Option<SecretRef>,
    /// Values for playbooks: `davylamp_secrets.NAME`.
    pub secrets: BTreeMap<String, SecretRef>,
}

/// Why the secrets of a run could not be written. Holds no part of them.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// One cannot be read.
    #[error("ansible.{name}: {source}")]
    Read {
        /// Which key of the configuration.
        name: String,
        /// Cause.
        source: SecretError,
    },
    /// One is empty.
    #[error("ansible.{name} is empty")]
    Empty {
        /// Which key of the configuration.
        name: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What names the files: environment variables, and a file of variables.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) env: Vec<(&'static str, String)>,
    pub(super) vars: Option<PathBuf>,
}

/// What is wrong with the names of secrets and with the quota: path below `ansible`, and what to do.
pub(super) fn mistakes(written: &AnsibleSettings) -> Vec<(String, String)> {
    let mut mistakes = Vec::new();
    for (section, names) in [("vault_ids", &written.vault_ids), ("secrets", &written.secrets)] {
        for name in names.keys().filter(|name| !is_label_name(name)) {
            let text = format!("{name:?} is not a name here: letters, digits and _, not beginning with a digit");
            mistakes.push((format!("{section}.{name}"), text));
        }
        if names.len() > MAX_SECRETS {
            mistakes.push((section.to_string(), format!("at most {MAX_SECRETS}")));
        }
    }
    if written.artifacts.max_files > MOST_FILES {
        let text = format!("{} is too many; at most {MOST_FILES}", written.artifacts.max_files);
        mistakes.push(("artifacts.max_files".to_string(), text));
    }
    mistakes
}

impl Keys {
    /// What the configuration names.
    pub(super) fn of(written: &AnsibleSettings) -> Keys {
        Keys {
            vault_password: written.vault_password_file.clone(),
            vault_ids: written.vault_ids.clone(),
            become_password: written.become_password_file.clone(),
            connection_password: written.connection_password_file.clone(),
            private_key: written.private_key_file.clone(),
            secrets: written.secrets.clone(),
        }
    }

    /// Writes every secret into the run's folder of secrets, which must exist and be empty.
    pub(super) fn write(&self, folder: &Path) -> Result<Written, KeysError> {
        let folder = folder.join(names::SECRETS);
        let mut files = Files { folder: &folder, masks: Vec::new() };
        let mut written = Written::default();
        let singles = [
            ("become_password_file", "ANSIBLE_BECOME_PASSWORD_FILE", &self.become_password),
            ("connection_password_file", "ANSIBLE_CONNECTION_PASSWORD_FILE", &self.connection_password),
            ("private_key_file", "ANSIBLE_PRIVATE_KEY_FILE", &self.private_key),
        ];
        for (name, variable, reference) in singles {
            if let Some(reference) = reference {
                written.env.push((variable, files.write(name, name, reference)?));
            }
        }
        let mut vaults = Vec::new();
        if let Some(reference) = &self.vault_password {
            vaults.push(format!("default@{}", files.write("vault_password_file", "vault", reference)?));
        }
        for (index, (id, reference)) in self.vault_ids.iter().enumerate() {
            let path = files.write(&format!("vault_ids.{id}"), &format!("vault-{index}"), reference)?;
            vaults.push(format!("{id}@{path}"));
        }
        if !vaults.is_empty() {
            written.env.push(("ANSIBLE_VAULT_IDENTITY_LIST", vaults.join(",")));
        }
        if !self.secrets.is_empty() {
            let mut values = BTreeMap::new();
            for (name, reference) in &self.secrets {
                values.insert(name.clone(), Value::text(files.read(&format!("secrets.{name}"), reference)?));
            }
            let path = folder.join("vars.yml");
            create_private(&path, document(VARIABLE, &Value::Map(values)).as_bytes())?;
            written.vars = Some(path);
        }
        create_json(&folder.join(MASKS), &files.masks)?;
        Ok(written)
    }
}

struct Files<'a> {
    folder: &'a Path,
    masks: Vec<String>,
}

impl Files<'_> {
    fn read(&mut self, name: &str, reference: &SecretRef) -> Result<String, KeysError> {
        let secret = reference.read().map_err(|source| KeysError::Read { name: name.into(), source })?;
        if secret.expose().is_empty() {
            return Err(KeysError::Empty { name: name.into() });
        }
        // Ansible prints text as it is, or as JSON; a key of many lines may be printed in part.
        for line in secret.expose().lines().map(str::trim).filter(|line| line.len() >= LEAST_MASKED) {
            let json = serde_json::Value::from(line).to_string();
            let inner = json.trim_start_matches('"').strip_suffix('"').unwrap_or(&json).to_string();
            if inner != line {
                self.masks.push(inner);
            }
            self.masks.push(line.to_string());
        }
        Ok(secret.expose().to_string())
    }

    fn write(&mut self, name: &str, file: &str, reference: &SecretRef) -> Result<String, KeysError> {
        // ssh refuses a key without a line end; for passwords Ansible cuts it off.
        let content = self.read(name, reference)? + "\n";
        let path = self.folder.join(file);
        create_private(&path, content.as_bytes())?;
        Ok(path.to_string_lossy().into_owned())
    }
}

/// Finds the secrets of one run in text.
#[derive(Debug, Default)]
pub(super) struct Masks(Option<Regex>);

impl Masks {
    /// The masks of a run folder; none when its secrets are gone, because then its output has been masked.
    pub(super) fn load(folder: &Path) -> Result<Masks, FileError> {
        let path = folder.join(names::SECRETS).join(MASKS);
        let Some(mut masks) = read_json::<Vec<String>>(&path)? else { return Ok(Masks(None)) };
        // The longest first, so that a secret that begins with another is masked whole.
        masks.sort_by_key(|mask| std::cmp::Reverse(mask.len()));
        masks.dedup();
        let pattern = masks.iter().take(MAX_MASKS).map(|mask| regex::escape(mask)).collect::<Vec<_>>().join("|");
        if pattern.is_empty() {
            return Ok(Masks(None));
        }
        let bad = |error| FileError::on("understand", &path)(std::io::Error::other(error));
        Ok(Masks(Some(Regex::new(&pattern).map_err(bad)?)))
    }

    /// The text with every secret masked.
    pub(super) fn apply(&self, text: Vec<u8>) -> Vec<u8> {
        match &self.0 {
            Some(regex) => regex.replace_all(&text, NoExpand(MASK)).into_owned(),
            None => text,
        }
    }
}

/// Masks secrets in what a play wrote and removes their files: the end of every run that had any. A file that cannot be
/// masked is removed.
///
/// # Errors
/// [`FileError`], when the secrets could not be removed.
pub(super) fn clean_up(folder: &Path) -> Result<(), FileError> {
    let secrets = folder.join(names::SECRETS);
    if !secrets.exists() {
        return Ok(());
    }
    let masks = Masks::load(folder);
    for name in names::OUTPUTS.iter().chain(&[names::EVENTS]) {
        let path = folder.join(name);
        let masked = masks.as_ref().ok().and_then(|masks| mask_file(masks, &path).ok());
        if masked.is_none() {
            // What cannot be masked must not be seen; that it is gone is seen.
            let _ = std::fs::remove_file(&path);
        }
    }
    std::fs::remove_dir_all(&secrets).map_err(FileError::on("remove", &secrets))
}

fn mask_file(masks: &Masks, path: &Path) -> Result<(), FileError> {
    let Some(text) = read_capped(path, MAX_MASKED)?.filter(|_| masks.0.is_some()) else { return Ok(()) };
    let masked = masks.apply(text.clone());
    if masked == text {
        return Ok(());
    }
    std::fs::write(path, masked).map_err(FileError::on("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(folder: &Path, name: &str, text: &str) -> SecretRef {
        std::fs::write(folder.join(name), text).unwrap();
        SecretRef::File(folder.join(name))
    }

    #[test]
    fn files_are_private_and_the_output_is_masked_before_they_go() {
        use std::os::unix::fs::PermissionsExt;
        let source = tempfile::tempdir().unwrap();
        let run = tempfile::tempdir().unwrap();
        std::fs::create_dir(run.path().join(names::SECRETS)).unwrap();
        let keys = Keys {
            vault_password: Some(secret(source.path(), "v", "vault-pass\n")),
            vault_ids: BTreeMap::from([("prod".into(), secret(source.path(), "p", "prod-pass"))]),
            private_key: Some(secret(source.path(), "k", "-----BEGIN KEY-----\nAAAABBBB\n-----END KEY-----\n")),
            secrets: BTreeMap::from([("pdu".into(), secret(source.path(), "s", "say \"hi\" {{ x }}"))]),
            ..Keys::default()
        };
        let written = keys.write(run.path()).unwrap();
        let text = format!("{written:?}");
        assert!(!text.contains("pass\"") && !text.contains("AAAA") && text.contains("prod@"), "{text}");
        for entry in std::fs::read_dir(run.path().join(names::SECRETS)).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
        let vars = std::fs::read_to_string(written.vars.unwrap()).unwrap();
        assert!(vars.contains("!unsafe \"say \\\"hi\\\" {{ x }}\""), "{vars}");
        std::fs::write(run.path().join("stdout"), "a vault-pass b\n\"say \\\"hi\\\" {{ x }}\"\nAAAABBBB prod-passed")
            .unwrap();
        clean_up(run.path()).unwrap();
        let stdout = std::fs::read_to_string(run.path().join("stdout")).unwrap();
        assert_eq!(stdout, "a <redacted> b\n\"<redacted>\"\n<redacted> <redacted>ed");
        assert!(!run.path().join(names::SECRETS).exists());
        clean_up(run.path()).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_named_and_not_shown() {
        let run = tempfile::tempdir().unwrap();
        std::fs::create_dir(run.path().join(names::SECRETS)).unwrap();
        let keys = Keys { become_password: Some(secret(run.path(), "b", "\n")), ..Keys::default() };
        let error = keys.write(run.path()).unwrap_err().to_string();
        assert_eq!(error, "ansible.become_password_file is empty");
        let missing = SecretRef::File("/nonexistent/secret".into());
        let keys = Keys { vault_ids: BTreeMap::from([("prod".into(), missing)]), ..Keys::default() };
        let error = keys.write(run.path()).unwrap_err().to_string();
        assert!(error.starts_with("ansible.vault_ids.prod: cannot read the secret /nonexistent/secret"), "{error}");
    }
}
