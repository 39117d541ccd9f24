"""All test vectors, by their path below tests/vectors."""

from vector_base import Cases
from vector_files import file_cases, geometry_cases, header_cases, slots_cases
from vector_journal import frame_cases, journal_cases
from vector_keys import key_cases, slot_cases, vault_cases
from vector_names import copy_cases, directory_cases, entry_cases, link_cases, name_cases, xattr_cases
from vector_recovery import recovery_cases, recovery_set_cases


def all_cases() -> "dict[str, str]":
    cases = Cases()
    for make in (key_cases, vault_cases, slot_cases, recovery_cases, recovery_set_cases, header_cases, slots_cases,
                 file_cases, geometry_cases, name_cases, directory_cases, link_cases, xattr_cases, entry_cases, copy_cases,
                 journal_cases, frame_cases):
        make(cases)
    return cases.texts
