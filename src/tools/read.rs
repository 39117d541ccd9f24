//! Contents of regular files without a mount.

use super::{Located, PlainPath, ToolError, kind_in_words};
use crate::types::{Access, FileKind, PlainOff};
use crate::vault::Vault;
use crate::vault::file::{File, FileError};

/// Read at once.
const PIECE: usize = 1 << 20;

/// Hands out the bytes `from..from + len` of a regular file, or as many as
/// there are, in pieces. Every byte was authenticated with its whole chunk.
///
/// # Errors
/// It is no regular file, or damaged: what came before the damaged chunk has
/// been handed out. What `each` says.
pub fn read<E: From<ToolError>>(
    vault: &Vault,
    path: &PlainPath,
    from: u64,
    len: u64,
    each: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let found = path.locate(vault)?;
    let (Some(FileKind::Regular), Located::Entry { parent, entry, .. }) = (found.kind(), &found)
    else {
        let what = kind_in_words(found.kind());
        let path = path.shown();
        return Err(ToolError::NotAFile { path, what }.into());
    };
    let failed = |error| ToolError::File {
        path: path.shown(),
        error,
    };
    let store = parent.store().open_file(entry, Access::Read);
    let store = store.map_err(|error| failed(FileError::Io(error)))?;
    let (file, _) = File::open(vault, store).map_err(failed)?;
    let end = from.saturating_add(len).min(file.size().get());
    let chunk = vault.geometry().chunk_size();
    let mut at = from;
    let mut piece = Vec::new();
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let wanted = left.min(PIECE);
        if let Err(error) = file.read(PlainOff::new(at), wanted, &mut piece) {
            // Chunk by chunk up to the one that is damaged.
            let one = chunk - usize::try_from(at).unwrap_or(0) % chunk;
            if wanted <= one {
                return Err(failed(error).into());
            }
            file.read(PlainOff::new(at), one, &mut piece)
                .map_err(failed)?;
        }
        if piece.is_empty() {
            break;
        }
        each(&piece)?;
        at += u64::try_from(piece.len()).unwrap_or(0);
    }
    Ok(())
}
