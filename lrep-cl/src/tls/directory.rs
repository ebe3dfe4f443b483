// SPDX-License-Identifier: MIT OR Apache-2.0

//! A directory with a certificate authority and what it has issued.
//!
//! `ca.pem` and `ca.key` are the authority, `NAME.pem` and `NAME.key` what it has issued to NAME.
//! Keys can be read by their owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::authority::{Authority, AuthorityError, Pair, Subject};
use super::certificate::Certificate;

/// Name of the authority's files.
const AUTHORITY: &str = "ca";

/// Why something could not be done in the directory.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file or directory cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It would be overwritten.
    #[error("{}: is there already{advice}", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do instead.
        advice: &'static str,
    },
    /// There is no authority.
    #[error("{}: is not there: make a CA with `lrep-cl tls init` first", .0.display())]
    NoAuthority(PathBuf),
    /// It was not issued here.
    #[error("{}: is not there: make it with `lrep-cl tls issue`", .0.display())]
    NotIssued(PathBuf),
    /// A file that holds no certificate.
    #[error("{}: holds no certificate that can be read", .0.display())]
    Unreadable(PathBuf),
    /// No certificate of a host or a controller.
    #[error("{}: is neither of a host nor of a controller", .0.display())]
    NoRole(PathBuf),
    /// The authority cannot.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

type Result<T> = std::result::Result<T, DirectoryError>;

/// A certificate in the directory.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Its file.
    pub path: PathBuf,
    /// What it says.
    pub certificate: Certificate,
}

/// A directory with an authority.
pub struct Directory {
    path: PathBuf,
    authority: Authority,
}

impl Directory {
    /// Makes a directory, if need be, and an authority in it.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Exists`] when there is one.
    pub fn init(path: &Path, now: SystemTime, valid: Duration) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| file(path, error))?;
        for path in [certificate_of(path, AUTHORITY), key_of(path, AUTHORITY)] {
            if path.exists() {
                let advice = ": a new CA needs a directory of its own";
                return Err(DirectoryError::Exists { path, advice });
            }
        }
        write(path, AUTHORITY, &Authority::create(now, valid)?)?;
        Self::open(path)
    }

    /// Opens a directory that has an authority.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NoAuthority`], or when it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let read = |path: PathBuf| match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(DirectoryError::NoAuthority(path))
            }
            text => text.map_err(|error| file(&path, error)),
        };
        let pair = Pair {
            certificate: read(certificate_of(path, AUTHORITY))?,
            key: read(key_of(path, AUTHORITY))?,
        };
        Ok(Self {
            path: path.to_owned(),
            authority: Authority::load(&pair)?,
        })
    }

    /// The authority itself.
    ///
    /// # Errors
    ///
    /// When it is no longer there.
    pub fn authority(&self) -> Result<Issued> {
        read(certificate_of(&self.path, AUTHORITY))
    }

    /// Issues a certificate; its files have the subject's first name.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Exists`] when there is one of this name, or a bad name.
    pub fn issue(&self, subject: &Subject, now: SystemTime, valid: Duration) -> Result<Issued> {
        let name = subject.names.first().map_or("", String::as_str);
        let path = certificate_of(&self.path, name);
        if path.exists() {
            let advice = ": `lrep-cl tls renew` makes a new one for the same names";
            return Err(DirectoryError::Exists { path, advice });
        }
        let pair = self.authority.issue(subject, now, valid)?;
        write(&self.path, name, &pair)?;
        read(path)
    }

    /// Issues a certificate and key anew, for the same names, and replaces the files.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotIssued`] when there is none.
    pub fn renew(&self, name: &str, now: SystemTime, valid: Duration) -> Result<Issued> {
        let path = certificate_of(&self.path, name);
        if name == AUTHORITY || !path.exists() {
            return Err(DirectoryError::NotIssued(path));
        }
        let Issued { path, certificate } = read(path)?;
        let Some(role) = certificate.roles.first().copied() else {
            return Err(DirectoryError::NoRole(path));
        };
        let subject = Subject {
            role,
            names: certificate.names,
            addresses: certificate.addresses,
        };
        write(
            &self.path,
            name,
            &self.authority.issue(&subject, now, valid)?,
        )?;
        read(path)
    }

    /// Everything in the directory, the authority first, then by name.
    pub fn list(path: &Path) -> Result<Vec<Issued>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| file(path, error))? {
            let found = entry.map_err(|error| file(path, error))?.path();
            if found.extension().is_some_and(|end| end == "pem") {
                paths.push(found);
            }
        }
        paths.sort_by_key(|path| (name_of(path) != AUTHORITY, path.clone()));
        paths.into_iter().map(read).collect()
    }
}

impl Issued {
    /// The name of its files.
    pub fn file_name(&self) -> &str {
        name_of(&self.path)
    }

    /// The file of its key.
    pub fn key(&self) -> PathBuf {
        self.path.with_extension("key")
    }
}

fn name_of(path: &Path) -> &str {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default()
}

// The name may have dots of its own, so it is no matter of `with_extension`.
fn certificate_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.pem"))
}

fn key_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.key"))
}

fn file(path: &Path, error: io::Error) -> DirectoryError {
    DirectoryError::File {
        path: path.to_owned(),
        error,
    }
}

fn read(path: PathBuf) -> Result<Issued> {
    let text = fs::read_to_string(&path).map_err(|error| file(&path, error))?;
    match Certificate::from_pem(&text) {
        Some(certificate) => Ok(Issued { path, certificate }),
        None => Err(DirectoryError::Unreadable(path)),
    }
}

/// Puts a pair into its files, the key first. Who reads them in between finds two that do not
/// belong together, and takes neither.
fn write(directory: &Path, name: &str, pair: &Pair) -> Result<()> {
    replace(&key_of(directory, name), &pair.key, 0o600)?;
    replace(&certificate_of(directory, name), &pair.certificate, 0o644)
}

fn replace(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&new)?;
        // One left behind by an interrupted run may have others.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().map_err(|error| file(path, error))
}
