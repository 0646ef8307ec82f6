"""Looks for planted values wherever they could have been left: files, streams, texts, processes' memory.

A value is looked for in pieces, so that a copy whose beginning was overwritten (as free() does) is found too, and in
every spelling that software gives it: as it is, in base64 at each of the three places of its first byte, in hex.
JSON escapes nothing in the pieces, so they are found in JSON too.
"""

import base64
import contextlib
import os
import pathlib
import re
import secrets
import stat
import string

PIECE = 12  # bytes that are looked for together
CHUNK = 1 << 24
PAGE = os.sysconf("SC_PAGESIZE")
SHADOW = 1 << 40
SKIPPED_MAPS = ("[vvar]", "[vsyscall]", "[vvar_vclock]")


def marker():
    """Letters and digits that are nowhere else."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(PIECE))


def pieces_of(value):
    """Pieces that together cover VALUE. What repeats itself needs one piece only."""
    return sorted({value[i : i + PIECE] for i in range(0, max(1, len(value) - PIECE + 1), PIECE)})


def spellings(piece):
    """(name, bytes) for each form in which PIECE could stand somewhere."""
    found = [("raw", piece), ("hex", piece.hex().encode()), ("HEX", piece.hex().upper().encode())]
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + piece)
        # Without the characters that also depend on what is in front and behind.
        text = text[(0, 2, 3)[shift] : len(text) - (4 if (shift + len(piece)) % 3 else 0)]
        found.append((f"base64+{shift}", text))
        url = text.replace(b"+", b"-").replace(b"/", b"_")
        if url != text:
            found.append((f"base64url+{shift}", url))
    return found


class Hunt:
    """VALUES: name -> bytes. Names, never values, are in what is reported."""

    def __init__(self, values):
        self.patterns = [
            (f"{name} ({form})", text)
            for name, value in values.items()
            for piece in pieces_of(value)
            for form, text in spellings(piece)
        ]
        self.longest = max(len(text) for _, text in self.patterns)

    def in_bytes(self, data, where):
        return {f"{where}: {name}" for name, text in self.patterns if text in data}

    def in_stream(self, stream, where):
        found, kept = set(), b""
        while block := stream.read(CHUNK):
            found |= self.in_bytes(kept + block, where)
            kept = block[-self.longest :]
        return found

    def in_file(self, path):
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0) as file:
            return self.in_stream(file, str(path))

    def below(self, directory, leave_out=()):
        """Every regular file below DIRECTORY (links are not followed), its names, and where links point to."""
        found, count = set(), 0
        for top, directories, files in os.walk(directory):
            directories[:] = [d for d in directories if os.path.join(top, d) not in leave_out]
            for name in files:
                path = os.path.join(top, name)
                found |= self.in_bytes(os.fsencode(path), f"name {path}")
                with contextlib.suppress(FileNotFoundError):
                    mode = os.lstat(path).st_mode
                    if stat.S_ISLNK(mode):
                        found |= self.in_bytes(os.fsencode(os.readlink(path)), f"link {path}")
                    elif stat.S_ISREG(mode) and path not in leave_out:
                        found |= self.in_file(path)
                        count += 1
        return found, count

    def in_commands(self):
        """Arguments and environment of every process of the machine."""
        found = set()
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    found |= self.in_bytes((directory / name).read_bytes(), f"{directory}/{name}")
        return found

    def in_memory(self, pid):
        """All writable memory of PID that has pages. Returns what was found and how many bytes were read."""
        found, read = set(), 0
        name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, open(
            f"/proc/{pid}/pagemap", "rb", buffering=0
        ) as pages:
            for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
                start, end, modes, what = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)", line).groups()
                is_shadow = (
                    int(end, 16) - int(start, 16) > SHADOW
                )  # of AddressSanitizer, which holds no bytes of the program
                if "w" in modes and what not in SKIPPED_MAPS and not is_shadow:
                    for at, length in populated(pages, int(start, 16), int(end, 16)):
                        memory.seek(at)
                        data = memory.read(length)
                        read += len(data)
                        found |= self.in_bytes(data, f"memory of {name} at {at:#x} {what}")
        return found, read


def populated(pages, start, end):
    """The runs of pages in [START, END) that are in memory: reading others would make them."""
    os.lseek(pages.fileno(), start // PAGE * 8, os.SEEK_SET)
    flags = os.read(pages.fileno(), (end - start) // PAGE * 8)
    run = None
    for i in range(len(flags) // 8 + 1):
        present = i < len(flags) // 8 and flags[8 * i + 7] & 0xC0  # present, or swapped
        if present and run is None:
            run = i
        elif not present and run is not None:
            yield start + run * PAGE, (i - run) * PAGE
            run = None
