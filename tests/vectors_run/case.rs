//! One vector: reading it, and holding an outcome against what it expects.

use std::collections::BTreeMap;
use std::path::Path;

use keepfs::codec::geometry::Geometry;
use keepfs::codec::kdf::KdfCaps;
use keepfs::codec::keys::{FileKeys, KeyTree};
use keepfs::codec::vault::VaultFile;
use keepfs::codec::vault::credential::{Credential, KeyFile};
use keepfs::codec::vault::slot::Slot;
use keepfs::types::FileId;

/// A machine with 16 GiB, where a case does not say otherwise.
pub(crate) const RAM_KIB: u64 = 16 << 20;

pub(crate) struct Case {
    pub(crate) path: String,
    fields: Vec<(String, String)>,
}

impl Case {
    pub(crate) fn read(path: &Path, name: String) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let field = |line: &str| {
            let (key, value) = line.split_once(':').expect("every line is `key: value`");
            (key.to_owned(), value.trim_start().to_owned())
        };
        Self {
            path: name,
            fields: text.lines().map(field).collect(),
        }
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let mine = self.fields.iter().filter(move |(k, _)| k == key);
        mine.map(|(_, value)| value.as_str())
    }

    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(k, _)| k == key)?;
        Some(value)
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.find(key)
            .unwrap_or_else(|| panic!("{}: no field {key}", self.path))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> T
    where
        T::Err: std::fmt::Debug,
    {
        self.text(key).parse().unwrap()
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        unhex(self.text(key))
    }

    pub(crate) fn array<const N: usize>(&self, key: &str) -> [u8; N] {
        self.bytes(key).try_into().unwrap()
    }

    pub(crate) fn keys(&self) -> KeyTree {
        open_vault(self.text("keys"))
    }

    pub(crate) fn file_keys(&self) -> FileKeys {
        self.keys().file_keys(FileId::new(self.array("file_id")))
    }

    pub(crate) fn geometry(&self) -> Geometry {
        Geometry::from_log2(self.number("chunk_log2")).unwrap()
    }

    /// Holds an outcome against `expect`: the value if both say so, `None` if
    /// it failed in the layer that the case names.
    pub(crate) fn judge<T>(&self, outcome: Result<T, Refusal>) -> Result<Option<T>, String> {
        match (self.text("expect"), outcome) {
            ("ok", Ok(value)) => Ok(Some(value)),
            ("ok", Err(Refusal(found))) => Err(format!("refused: {}", found.join(" or "))),
            (wanted, Ok(_)) => Err(format!("accepted instead of {wanted}")),
            (wanted, Err(Refusal(found))) if found.contains(&wanted) => Ok(None),
            (wanted, Err(Refusal(found))) => {
                Err(format!("refused as {}, not {wanted}", found.join(" or ")))
            }
        }
    }
}

/// What `expect` may say about an error; several where the codec has one
/// variant for them.
pub(crate) struct Refusal(pub(crate) &'static [&'static str]);

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    got: &T,
    want: &T,
) -> Result<(), String> {
    if got == want {
        Ok(())
    } else {
        Err(format!("{what} is {got:?}, not {want:?}"))
    }
}

pub(crate) fn cases(kind: &str) -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(kind);
    let mut found = BTreeMap::new();
    for item in std::fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        let name = format!("{kind}/{}", path.file_stem().unwrap().to_str().unwrap());
        found.insert(name.clone(), Case::read(&path, name));
    }
    found.into_values().collect()
}

/// Runs all cases of a kind and names every one that fails.
pub(crate) fn run(kind: &str, check: fn(&Case) -> Result<(), String>) {
    let cases = cases(kind);
    assert!(!cases.is_empty(), "no vectors of kind {kind}");
    let faults: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            assert_eq!(case.text("kind"), kind, "{}", case.path);
            let fault = check(case).err()?;
            Some(format!("{} ({}): {fault}", case.path, case.text("about")))
        })
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {} failed:\n{}",
        faults.len(),
        cases.len(),
        faults.join("\n")
    );
}

pub(crate) fn open_vault(name: &str) -> KeyTree {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/keys/{name}.txt"));
    open_vault_of(&Case::read(&path, format!("keys/{name}")))
}

pub(crate) fn open_vault_of(case: &Case) -> KeyTree {
    let vault = VaultFile::parse(&case.bytes("vault")).unwrap();
    let slot = Slot::parse(&case.bytes("slot")).unwrap();
    let credential = Credential::KeyFile(KeyFile::from_bytes(case.bytes("key_file")).unwrap());
    let caps = KdfCaps { ram_kib: RAM_KIB };
    let master = slot.unwrap(&vault, &credential, &caps).unwrap();
    KeyTree::derive(vault.vault_id(), &master)
}
