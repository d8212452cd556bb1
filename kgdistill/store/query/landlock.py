"""Landlock, the Linux kernel's fence that a process puts up around itself."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

# The numbers are the same on every kind of machine.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GIVE_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# By the version that brought them: 13 rights to files, then moving, truncating and controlling devices.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_TCP_SINCE, _TCP_RIGHTS = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def confine(readable: Iterable[Path]) -> bool:
    """From now on this thread and those it starts open no file but to read below `readable`, and no TCP.

    What is open stays open. Whether a path exists can still be asked of the system.

    Args:
        readable: folders that exist.

    Returns:
        Whether the system has this fence; where it has not, nothing changes.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_GIVE_VERSION))
    if version < 1:
        return False
    rights = sum(right for since, right in _FILE_RIGHTS.items() if since <= version)
    tcp = _TCP_RIGHTS if version >= _TCP_SINCE else 0
    rules = _Ruleset(rights, tcp, _SCOPES if version >= _SCOPES_SINCE else 0)
    # An older kernel knows fewer fields, and takes the others where they are 0.
    size = ctypes.c_size_t(ctypes.sizeof(rules))
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        for folder in readable:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                rule = _Beneath(_READ_FILE | _READ_DIR, handle)
                if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0)):
                    return False
            finally:
                os.close(handle)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            return False
        return int(libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0))) == 0
    finally:
        os.close(ruleset)
