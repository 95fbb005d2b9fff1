//! Configuration that is kept in other files: passwords, certificates, keys.
//!
//! A relative name is looked up among the credentials that systemd provides (`CREDENTIALS_DIRECTORY`), then in
//! the working directory. The rule: an error gives the reason, and never shows the content of a file. Not every
//! systemd shows a service's credentials to its `ExecReload` commands, so `headcount check` accepts a
//! credential that it cannot see, and says so.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::keys::{self, ValueType};
use super::model::StoreTls;
use super::reader::Reader;
use super::tls::Tls;
use super::{redact, value};

/// The size of the largest file that is read.
const LONGEST: u64 = 1 << 20;
/// The read permission for users who are neither the owner nor in the group.
const OTHERS_READ: u32 = 0o004;

/// Reads a file. Only regular files are read, since a pipe or a device may never end, or may wait for somebody
/// to write to it.
///
/// # Errors
/// The file cannot be read, is not a regular file, or is too long.
pub fn read_file(file: &Path) -> io::Result<Vec<u8>> {
    // Without this flag, opening a pipe that has no writer would already block.
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(file)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
    }
    Ok(bytes)
}

/// Returns the text of the file that a key names, without the line end.
pub fn password_file(reader: &mut Reader, path: &'static str) -> Option<String> {
    let Some(bytes) = file(reader, path) else {
        // A placeholder for a password that this process cannot see.
        return reader.unseen.iter().flatten().any(|unseen| *unseen == path).then(|| "unseen".to_owned());
    };
    match password_in(&bytes) {
        Ok(text) => return Some(text),
        Err(problem) => reader.reject(path, problem),
    }
    None
}

/// Returns the password that a file contains.
pub fn password_in(bytes: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(bytes).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    match text {
        Ok(text) if !text.is_empty() => Ok(text),
        Ok(_) => Err("is an empty file; it must contain the password"),
        Err(_) => Err("is not a text file; it must contain the password"),
    }
}

/// Returns the store's address with the password from its file.
pub fn redis_address(reader: &mut Reader) -> String {
    let url = reader.redis_url("redis.url");
    let password = password_file(reader, "redis.password_file");
    if password.is_some() && value::has_password(&url) {
        reader.reject("redis.password_file", "is one password too many: redis.url has one already");
    }
    value::with_password(url, password.as_deref())
}

/// Returns the files for our side of an encrypted connection to the store. Each is read now, so that a missing
/// file is reported as a configuration mistake, and again for each connection.
pub fn store_tls(reader: &mut Reader) -> StoreTls {
    let mut find = |path| file(reader, path).and_then(|_| reader.folder(path)).map(|name| handed_over(reader, name));
    let (ca, certificate, key) = (find("redis.ca"), find("redis.certificate"), find("redis.key"));
    match (&certificate, &key) {
        (Some(_), None) => reader.reject("redis.key", "must name the certificate's key file"),
        (None, Some(_)) => reader.reject("redis.certificate", "must name the key's certificate file"),
        _ => {}
    }
    StoreTls { ca, certificate, key }
}

/// Returns the path of a file: among the credentials that systemd provides if it is there, otherwise as it was
/// given.
fn handed_over(reader: &Reader, name: PathBuf) -> PathBuf {
    let credential = reader.credentials.as_ref().map(|folder| folder.join(&name)).filter(|file| file.exists());
    credential.unwrap_or(name)
}

/// Returns the password of the embedded store, from the configuration or from its file.
pub fn store_password(reader: &mut Reader) -> Option<String> {
    let (password, from_file) = (reader.secret("store.password"), password_file(reader, "store.password_file"));
    if password.is_some() && from_file.is_some() {
        reader.reject("store.password_file", "is one password too many: store.password is set already");
    }
    password.or(from_file)
}

/// Returns the certificate and key, if both are given.
pub fn tls(reader: &mut Reader, wanted: bool) -> Option<Tls> {
    const CERTIFICATE: &str = "tls.certificate";
    const KEY: &str = "tls.key";
    let (chain, key) = (file(reader, CERTIFICATE), file(reader, KEY));
    let given = [CERTIFICATE, KEY].map(|path| reader.get(path, value::text).is_some_and(|text| !text.is_empty()));
    match given {
        [true, false] => reader.reject(KEY, "must name the certificate's key file"),
        [false, true] => reader.reject(CERTIFICATE, "must name the key's certificate file"),
        [false, false] if wanted => {
            reader.reject("server.listen", "has an address with tls:, which needs tls.certificate and tls.key");
        }
        _ => {}
    }
    let (chain, key) = (chain?, key?);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().unwrap_or_default();
    if chain.is_empty() {
        reader.reject(CERTIFICATE, "contains no PEM certificate");
        return None;
    }
    let Ok(key) = PrivateKeyDer::from_pem_slice(&key) else {
        reader.reject(KEY, "contains no PEM private key");
        return None;
    };
    match Tls::new(chain, key) {
        Ok(tls) => Some(tls),
        Err(error) => {
            reader.reject(CERTIFICATE, &format!("cannot be used with the key in tls.key: {error}"));
            None
        }
    }
}

/// Reads the file that a key names. Returns `None` if there is none.
fn file(reader: &mut Reader, path: &'static str) -> Option<Vec<u8>> {
    let name = reader.folder(path)?;
    read(reader, path, name)
}

/// Reads a file that a key names.
pub fn read(reader: &mut Reader, path: &'static str, name: PathBuf) -> Option<Vec<u8>> {
    let file = handed_over(reader, name);
    let hidden = file.is_relative() && reader.credentials.as_ref().is_some_and(|dir| std::fs::read_dir(dir).is_err());
    match (read_file(&file), &mut reader.unseen) {
        (Ok(bytes), _) => {
            if let Some(ValueType::SecretFile | ValueType::SecretFiles | ValueType::Users) =
                keys::find(path).map(|key| key.kind)
            {
                warn_if_readable(reader, &file);
            }
            Some(bytes)
        }
        (Err(_), Some(unseen)) if hidden => {
            unseen.push(path);
            // The name may itself be the secret: no file of that name was seen.
            reader.effective.insert(path, value::quoted(redact::HIDDEN));
            None
        }
        (Err(error), _) => {
            // A relative name may itself be a secret, put into the wrong key.
            let file = if file.is_absolute() { file.display().to_string() } else { "the file".to_owned() };
            reader.reject(path, &format!("{file} cannot be read: {error}"));
            None
        }
    }
}

/// Warns about a secret that every user of this machine can read.
pub fn warn_if_readable(reader: &mut Reader, file: &Path) {
    if std::fs::metadata(file).is_ok_and(|file| file.permissions().mode() & OTHERS_READ != 0) {
        let file = file.display();
        reader.warn(format!("{file}: every user of this machine can read the secret in it; chmod o-r {file}"));
    }
}
