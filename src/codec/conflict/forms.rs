//! The suffixes that sync clients append to conflict copies, as their
//! documentation, their sources or the programs themselves have them.

use super::Client;

/// A piece of a suffix's form.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// These bytes.
    Text(&'static str),
    /// Any bytes, or none.
    Any,
    /// So many digits.
    Digits(usize),
    /// One digit or more.
    Number,
    /// A space and a number, or nothing.
    Counter,
    /// So many of `A-Z 0-9`.
    Code(usize),
    /// `YYYY-MM-DD`
    Day,
    /// `YYYYMMDD`
    CompactDay,
    /// `HHMMSS`
    Clock,
    /// `HH-MM-SS`
    DashedClock,
}

use Part::{Any, Clock, Code, CompactDay, Counter, DashedClock, Day, Digits, Number, Text};

/// One form of a client.
type Form = (Client, &'static [Part]);

/// All of them, in the order in which they are tried.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = &[
    (Client::Syncthing, &[Text(".sync-conflict-"), CompactDay, Text("-"), Clock, Text("-"), Code(7)]),
    (Client::Syncthing, &[Text(".sync-conflict-"), CompactDay, Text("-"), Clock]),
    (Client::Nextcloud, &[Text(" (conflicted copy "), Day, Text(" "), Clock, Text(")")]),
    (Client::Nextcloud, &[Text(" (conflicted copy "), Any, Text(" "), Day, Text(" "), Clock, Text(")")]),
    (Client::Nextcloud, &[Text(" (case clash from "), Day, Text(" "), Clock, Text(")")]),
    (Client::Nextcloud, &[Text("_conflict-"), CompactDay, Text("-"), Clock]),
    (Client::Nextcloud, &[Text("_conflict_"), Any, Text("-"), CompactDay, Text("-"), Clock]),
    (Client::Dropbox, &[Text(" (conflicted copy "), Day, Counter, Text(")")]),
    (Client::Dropbox, &[Text(" ("), Any, Text(" conflicted copy "), Day, Counter, Text(")")]),
    (Client::Dropbox, &[Text(" (In Konflikt stehende Kopie von "), Any, Text(" "), Day, Counter, Text(")")]),
    (Client::Dropbox, &[Text(" ("), Any, Text(" in Konflikt stehende Kopie "), Day, Counter, Text(")")]),
    (Client::Dropbox, &[Text(" (Copie en conflit de "), Any, Text(" "), Day, Counter, Text(")")]),
    (Client::Dropbox, &[Text(" (Copia conflictiva de "), Any, Text(" "), Day, Counter, Text(")")]),
    (Client::Dropbox, &[Text(" (Case Conflict"), Counter, Text(")")]),
    (Client::Dropbox, &[Text(" (Selective Sync Conflict"), Counter, Text(")")]),
    (Client::Dropbox, &[Text(" (Unicode Encoding Conflict"), Counter, Text(")")]),
    (Client::Rclone, &[Text(".conflict"), Number]),
    (Client::Rclone, &[Text(".path"), Number]),
    (Client::Rclone, &[Text("..path"), Number]),
    (Client::OneDrive, &[Text("-"), Any, Text("-safeBackup-"), Digits(4)]),
    (Client::GoogleDrive, &[Text(" ("), Number, Text(")")]),
    (Client::Unison, &[Text(" (conflict_on_"), Day, Text(")")]),
    (Client::Unison, &[Text(" (conflict_on_"), Day, Text("_was_deleted)")]),
    (Client::Unison, &[Text(" (conflict #"), Number, Text("_on_"), Day, Text(")")]),
    (Client::Unison, &[Text(" (conflict #"), Number, Text("_on_"), Day, Text("_was_deleted)")]),
    (Client::Seafile, &[Text(" (SFConflict "), Any, Day, Text("-"), DashedClock, Text(")")]),
    (Client::Seafile, &[Text(" (SFConflict "), Any, Text(")")]),
    (Client::Seafile, &[Text(" ("), Day, Text("-"), DashedClock, Text(")")]),
    (Client::Seafile, &[Text(" ("), Any, Text(" "), Day, Text("-"), DashedClock, Text(")")]),
    (Client::PCloud, &[Text(" (conflicted"), Counter, Text(")")]),
    (Client::PCloud, &[Text("(conflicted"), Counter, Text(")")]),
    (Client::PCloud, &[Text(" [conflicted"), Counter, Text("]")]),
    (Client::PCloud, &[Text(".conflicted")]),
    (Client::Resilio, &[Text(".Conflict")]),
    (Client::Resilio, &[Text(".Conflict"), Number]),
];
