//! `-o LIST` in the manner of mount(8): names and `name=value`, separated by
//! commas; a backslash keeps a comma or a backslash inside a value.

use std::path::PathBuf;
use std::time::Duration;

use super::size;

/// What an option list asks for. `None`: it does not say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `ro`, `rw`
    pub read_only: Option<bool>,
    /// `exec`, `noexec`
    pub exec: Option<bool>,
    /// `suid`, `nosuid`
    pub suid: Option<bool>,
    /// `dev`, `nodev`
    pub dev: Option<bool>,
    /// `atime`, `noatime`
    pub atime: Option<bool>,
    /// `diratime`, `nodiratime`
    pub dir_atime: Option<bool>,
    /// `allow_other`
    pub allow_other: Option<bool>,
    /// `strict`
    pub strict: Option<bool>,
    /// `nonempty`
    pub non_empty: Option<bool>,
    /// `writeback`, `no_writeback`
    pub writeback: Option<bool>,
    /// `journal`, `no_journal`
    pub journal: Option<bool>,
    /// `cache_timeout=`
    pub cache_timeout: Option<Duration>,
    /// `fsname=`
    pub fs_name: Option<String>,
    /// `passfile=`
    pub passfile: Option<PathBuf>,
    /// `credential=`
    pub credential: Option<String>,
    /// `keyfile=`
    pub keyfile: Option<PathBuf>,
    /// `slot=`
    pub slot: Option<String>,
}

/// The options that take a value.
const VALUED: &[&str] = &[
    "cache_timeout",
    "credential",
    "fsname",
    "keyfile",
    "passfile",
    "slot",
];

/// What to do with an option that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Refuse the list.
    Refused,
    /// Pass over it (`mount -s`).
    Ignored,
}

/// Why a list was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Nobody knows this option.
    #[error("unknown mount option {0}; keepfs mount --help lists those there are")]
    Unknown(String),
    /// The option needs `=VALUE`.
    #[error("the mount option {0} needs a value: {0}=...")]
    ValueMissing(String),
    /// The option takes no value.
    #[error("the mount option {0} takes no value")]
    ValueUnwanted(String),
    /// The value is wrong.
    #[error("the mount option {name}={value} is wrong: {why}")]
    BadValue {
        /// Name of the option.
        name: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

impl MountOptions {
    /// Reads one list into what earlier lists said; the last word counts.
    ///
    /// # Errors
    /// The first option that is wrong.
    pub fn read(&mut self, list: &str, unknown: Unknown) -> Result<(), OptionError> {
        for option in split(list) {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option.as_str(), None),
            };
            if is_for_others(name) {
                continue;
            }
            match self.set(name, value) {
                Err(OptionError::Unknown(_)) if unknown == Unknown::Ignored => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), OptionError> {
        if let Some((switch, to)) = self.switch(name) {
            if value.is_some() {
                return Err(OptionError::ValueUnwanted(name.to_owned()));
            }
            *switch = Some(to);
            return Ok(());
        }
        if !VALUED.contains(&name) {
            return Err(OptionError::Unknown(name.to_owned()));
        }
        let value = value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| OptionError::ValueMissing(name.to_owned()))?;
        let bad_value = |why| OptionError::BadValue {
            name: name.to_owned(),
            value: value.to_owned(),
            why,
        };
        match name {
            "fsname" => self.fs_name = Some(value.to_owned()),
            "passfile" => self.passfile = Some(value.into()),
            "credential" => self.credential = Some(value.to_owned()),
            "keyfile" => self.keyfile = Some(value.into()),
            "slot" => self.slot = Some(size::slot_digits(value).map_err(bad_value)?),
            _ => self.cache_timeout = Some(size::seconds(value).map_err(bad_value)?),
        }
        Ok(())
    }

    /// The field that a plain option sets, and to what.
    fn switch(&mut self, name: &str) -> Option<(&mut Option<bool>, bool)> {
        Some(match name {
            "ro" => (&mut self.read_only, true),
            "rw" => (&mut self.read_only, false),
            "exec" => (&mut self.exec, true),
            "noexec" => (&mut self.exec, false),
            "suid" => (&mut self.suid, true),
            "nosuid" => (&mut self.suid, false),
            "dev" => (&mut self.dev, true),
            "nodev" => (&mut self.dev, false),
            "atime" => (&mut self.atime, true),
            "noatime" => (&mut self.atime, false),
            "diratime" => (&mut self.dir_atime, true),
            "nodiratime" => (&mut self.dir_atime, false),
            "allow_other" => (&mut self.allow_other, true),
            "strict" => (&mut self.strict, true),
            "nonempty" => (&mut self.non_empty, true),
            "writeback" => (&mut self.writeback, true),
            "no_writeback" => (&mut self.writeback, false),
            "journal" => (&mut self.journal, true),
            "no_journal" => (&mut self.journal, false),
            _ => return None,
        })
    }
}

/// Options that other programs act on (mount(8), systemd), and those that ask
/// for what keepfs does anyway.
fn is_for_others(name: &str) -> bool {
    let common = [
        "defaults",
        "async",
        "relatime",
        "norelatime",
        "nostrictatime",
        "default_permissions",
        "auto",
        "noauto",
        "nofail",
        "user",
        "nouser",
        "users",
        "owner",
        "group",
        "_netdev",
        "comment",
    ];
    common.contains(&name) || name.starts_with("x-") || name.starts_with("X-")
}

/// The options of a list; empty ones are passed over.
fn split(list: &str) -> Vec<String> {
    let mut options = vec![String::new()];
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = letters.next_if(|&next| letter == '\\' && matches!(next, ',' | '\\'));
        match (letter, escaped) {
            (_, Some(escaped)) => last(&mut options).push(escaped),
            (',', None) => options.push(String::new()),
            (letter, None) => last(&mut options).push(letter),
        }
    }
    options.retain(|option| !option.is_empty());
    options
}

fn last(options: &mut [String]) -> &mut String {
    options.last_mut().expect("begins with one and only grows")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    fn read(list: &str) -> Result<MountOptions, OptionError> {
        let mut options = MountOptions::default();
        options.read(list, Unknown::Refused)?;
        Ok(options)
    }

    #[test]
    fn a_line_of_fstab_is_understood() {
        let options = read(
            "rw,exec,nodev,noatime,nofail,_netdev,x-systemd.automount,x-gvfs-name=A,\
             comment=b,passfile=/k,,allow_other",
        );
        assert_eq!(
            options.unwrap(),
            MountOptions {
                read_only: Some(false),
                exec: Some(true),
                dev: Some(false),
                atime: Some(false),
                passfile: Some("/k".into()),
                allow_other: Some(true),
                ..MountOptions::default()
            }
        );
    }

    #[test]
    fn the_last_word_counts() {
        assert_eq!(read("ro,rw").unwrap().read_only, Some(false));
        let mut options = read("suid,cache_timeout=5").unwrap();
        options
            .read("nosuid,cache_timeout=0.5", Unknown::Refused)
            .unwrap();
        assert_eq!(options.suid, Some(false));
        assert_eq!(options.cache_timeout, Some(Duration::from_millis(500)));
    }

    #[test]
    fn commas_can_be_part_of_a_value() {
        assert_eq!(
            read(r"fsname=a\,b\\c\d,ro").unwrap().fs_name.unwrap(),
            r"a,b\c\d"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            read("ro,nosuch"),
            Err(OptionError::Unknown("nosuch".into()))
        );
        assert_eq!(read("uid=3"), Err(OptionError::Unknown("uid".into())));
        assert_eq!(
            read("fsname"),
            Err(OptionError::ValueMissing("fsname".into()))
        );
        assert_eq!(
            read("passfile="),
            Err(OptionError::ValueMissing("passfile".into()))
        );
        assert_eq!(read("ro=1"), Err(OptionError::ValueUnwanted("ro".into())));
        assert!(matches!(
            read("cache_timeout=x"),
            Err(OptionError::BadValue { .. })
        ));
    }

    #[test]
    fn a_sloppy_mount_passes_over_the_unknown_but_not_the_wrong() {
        let mut options = MountOptions::default();
        options.read("nosuch,ro", Unknown::Ignored).unwrap();
        assert_eq!(options.read_only, Some(true));
        assert!(options.read("cache_timeout=x", Unknown::Ignored).is_err());
    }
}
