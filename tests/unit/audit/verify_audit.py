"""Verifies an audit directory independently of Mayfly's own code: docs/audit-format.md and hashlib, nothing else.

usage: verify_audit.py DIRECTORY FIRST_KEY

FIRST_KEY is a file with the chain's first key: its 32 bytes, or a whole first.key (128 bytes).
Prints one line for each record, "SEQ EPOCH MAC", then "ok SEQ MAC"; or says what is wrong and exits 1.
"""
import hashlib
import json
import pathlib
import re
import sys

NEXT = b"mayfly audit next"
TAIL = re.compile(rb',"mac":"([0-9a-f]{64})"}\Z')
FRONT = re.compile(rb'{"seq":(0|[1-9][0-9]*),"time":"[^"]*","boot":"[^"]*","uptime_ms":(?:0|[1-9][0-9]*),"epoch":(0|[1-9][0-9]*),')


class Wrong(Exception):
    pass


def read_key(path):
    data = path.read_bytes()
    if len(data) == 32:
        return data
    if len(data) != 128 or data[:16] != b"mayfly audit key":
        raise Wrong(f"{path.name}: no key")
    if hashlib.blake2b(data[:96], digest_size=32).digest() != data[96:]:
        raise Wrong(f"{path.name}: damaged")
    return data[64:96]


def segments(directory):
    older = sorted(path for path in directory.iterdir() if re.fullmatch(r"audit-[0-9]{20}\.jsonl", path.name))
    present = directory / "audit.jsonl"
    return older + ([present] if present.exists() else [])


def records(path):
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        raise Wrong(f"{path.name}: the last line is not whole")
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        front, tail = FRONT.match(line), TAIL.search(line)
        if not front or not tail or any(byte < 0x20 or byte > 0x7e for byte in line):
            raise Wrong(f"{path.name}, line {number}: no record")
        parsed = json.loads(line)
        if (parsed["seq"], parsed["epoch"]) != (int(front[1]), int(front[2])):
            raise Wrong(f"{path.name}, line {number}: a member twice")
        yield number, line[:tail.start()], parsed


def verify(directory, key):
    mac, seq, epoch = bytes(32), 0, 0
    for path in segments(directory):
        name = re.fullmatch(r"audit-([0-9]{20})\.jsonl", path.name)
        if name and int(name[1]) != seq + 1:
            raise Wrong(f"{path.name}: expected a segment from {seq + 1}")
        for number, body, record in records(path):
            place = f"{path.name}, line {number}"
            if record["seq"] != seq + 1:
                raise Wrong(f"{place}: seq {record['seq']} behind {seq}")
            if record["epoch"] < epoch:
                raise Wrong(f"{place}: an older epoch")
            if record["epoch"] > epoch + 10_000_000:
                raise Wrong(f"{place}: an epoch out of reach")
            while epoch < record["epoch"]:
                key = hashlib.blake2b(NEXT, key=key, digest_size=32).digest()
                epoch += 1
            mac = hashlib.blake2b(mac + body, key=key, digest_size=32).digest()
            if mac.hex() != record["mac"]:
                raise Wrong(f"{place}: the mac does not fit")
            seq += 1
            print(seq, epoch, mac.hex())
    print("ok", seq, mac.hex())


if __name__ == "__main__":
    try:
        verify(pathlib.Path(sys.argv[1]), read_key(pathlib.Path(sys.argv[2])))
    except (Wrong, OSError, ValueError, KeyError) as error:
        sys.exit(f"wrong: {error}")
