#!/usr/bin/env python3
"""Verifies Podwitness evidence: a second opinion, written from schemas/FORMAT.md and nothing else.

    python3 verify.py [--trusted-keys DIR] [--part] [--as-of TIME] [--pin CHAIN=HASH]... [-o json] ROOT

ROOT is a folder (a copy of the bucket). Needs Python 3.11, `cryptography` and `duckdb`. Exit code 0: the evidence is
good; 1: it is not; 2: the question could not be answered. Section numbers in comments are those of FORMAT.md.
"""
import argparse
import base64
import hashlib
import json
import math
import os
import re
import sys
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

import duckdb
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

# --- 1. Notation: what documents are made of, and their one form as bytes

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
GREATEST = 2**53 - 1
DEEPEST = 64  # lists and objects within each other
LONGEST = 256 << 20  # bytes of a document
MOST_ROWS = 2**28  # of a file
MINUTE = 60_000_000  # microseconds


def text(value): return isinstance(value, str)
def flag(value): return isinstance(value, bool)
def signed(value): return type(value) is int and abs(value) <= GREATEST
def number(value): return signed(value) and value >= 0
def digest(value): return text(value) and re.fullmatch("[0-9a-f]{64}", value) is not None
def null_or(shape): return lambda value: value is None or fits(value, shape)
def each_table(shape): return lambda value: isinstance(value, dict) and all(fits(v, shape) for v in value.values())
def of_table(shape): return lambda value: fits(value, shape) and (value["table"] == "verdicts") == (value["namespace"] is not None)


def time(value):
    try:
        return text(value) and len(value) == 27 and micros_as_time(micros(value)) == value
    except (ValueError, OverflowError):
        return False


def micros(value):
    return (datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc) - EPOCH) // timedelta(microseconds=1)


LAST_TIME = micros("9999-12-31T23:59:59.999999Z")


def micros_as_time(value):
    return (EPOCH + timedelta(microseconds=value)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def fits(value, shape):
    """Whether a value has the keys and types of a shape."""
    if callable(shape):
        return shape(value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(key in value and fits(value[key], of) for key, of in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(element, shape[0]) for element in value)
    return (text(value) and value in shape) if isinstance(shape, set) else type(value) is type(shape) and value == shape


def refuse(what):
    raise ValueError(f"{what} is no number that can stand here")


def integer(digits):
    return int(digits) if len(digits) < 20 and abs(int(digits)) <= GREATEST else refuse(digits)


def finite(digits):
    value = float(digits)
    return refuse(digits) if math.isinf(value) else int(digits) if digits.lstrip("-").isdigit() else value


def is_nested_within(value, depth):
    if not isinstance(value, (dict, list)):
        return True
    return depth > 0 and all(is_nested_within(of, depth - 1) for of in (value.values() if isinstance(value, dict) else value))


def canonical_object(bytes_):
    """The JSON object in these bytes, which must be its canonical form (RFC 8785); ValueError where they are not."""
    def in_order(pairs):
        return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be")))

    try:
        value = json.loads(bytes_.decode(), object_pairs_hook=in_order, parse_int=integer, parse_float=refuse, parse_constant=refuse)
        again = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() if is_nested_within(value, DEEPEST) else None
    except RecursionError:
        again = None
    if again is None:
        raise ValueError("nested too deeply")
    if again != bytes_ or not isinstance(value, dict):
        raise ValueError("not in canonical form")
    return value


# --- 4, 5, 6. Seals and deletions

TABLES = {"verdicts", "coverage", "policies"}
AROUND = {"before": number, "after": number}
RETENTION = {"namespace": text, "seconds": number, "hold": flag, "addresses": {"full", "truncate", "hmac"}}
KERNEL = {"ring": text, "spooled": each_table(number)} | {key: AROUND for key in ("events_accepted", "denied_attempts", "records_lost")} | {
    key: number for key in ("events_offered", "events_refused", "events_read", "denied_recorded", "denied_lost", "lost_recorded", "lost_unattributed")}
SEAL = {
    "type": "podwitness-seal", "version": 1, "cluster": text, "node": text, "boot": text, "seal": number,
    "chain": {"begins", "continues", "resumed", "unknown"}, "previous_sha256": null_or(digest),
    "window": {"start": time, "end": time}, "interval_seconds": number, "last": flag,
    "sealer": {"version": text, "started": time, "after_crash": flag},
    "clock": null_or({"synchronised": flag, "offset_us": signed, "error_us": number}),
    "objects": [of_table({
        "path": text, "sha256": digest, "bytes": number, "table": TABLES, "namespace": null_or(text), "boot": text,
        "schema_version": number, "rows": number, "first_seq": number, "last_seq": number, "first_time": time,
        "last_time": time, "retain_until": time, "locked_until": null_or(time)})],
    "gaps": [of_table({"table": TABLES, "namespace": null_or(text), "boot": text, "first_seq": number, "last_seq": number, "cause": text})],
    "balance": {"rows": each_table({"spooled": number, "written": number, "sealed": number}), "damaged_bytes": number, "kernel": null_or(KERNEL)},
    "policy": null_or({"revision": number, "sha256": digest}), "agent_version": null_or(text),
    "object_sha256": null_or(digest), "retention": [RETENTION], "key_id": digest, "next_key_id": null_or(digest)}
DELETION = {
    "type": "podwitness-deletion", "version": 1, "cluster": text, "deletion": number, "previous_sha256": null_or(digest),
    "time": time, "tool_version": text, "minimum_seconds": number, "default_seconds": number, "retention": [RETENTION],
    "objects": [{"path": text, "sha256": digest, "bytes": number, "rows": number, "retain_until": time, "seal": text}],
    "key_id": digest, "next_key_id": null_or(digest)}

# --- 2. Objects and their paths

# A name that ends with # and digits is a put that was not finished, and no object.
UNFINISHED = re.compile(".*#[0-9]+", re.DOTALL)
NAME, NUMBER = "(?:[A-Za-z0-9._-]|%[0-9A-F]{2})+", "([0-9]{12}|[1-9][0-9]{12,15})"
DATE = "date=([0-9]{4}-[0-9]{2}-[0-9]{2})"
FILE = re.compile(f"(?:verdicts/cluster={NAME}/namespace={NAME}/{DATE}/hour=([01][0-9]|2[0-3])|(?:coverage|policies)/cluster={NAME}/{DATE})"
                  fr"/{NAME}-{NAME}-{NUMBER}\.parquet")
DOCUMENT = re.compile(fr"(seals/cluster={NAME}/node={NAME})/{NAME}-{NUMBER}\.json|(deletions/cluster={NAME})/{NUMBER}\.json")
KEY = re.compile(r"keys/([0-9a-f]{64})\.pem")


def encode(name): return quote(name, safe="").replace("~", "%7E")


def is_name(encoded):
    try:
        return encode(unquote(encoded, errors="strict")) == encoded
    except UnicodeDecodeError:
        return False


def is_evidence(path):
    """Whether section 2 has such a path."""
    if KEY.fullmatch(path):
        return True
    file, document = FILE.fullmatch(path), DOCUMENT.fullmatch(path.removesuffix(".sig"))
    if not file and not document:
        return False
    number = int(file[4] if file else document[2] or document[4])
    is_dated = document or time(f"{file[1] or file[3]}T00:00:00.000000Z")
    return bool(1 <= number <= GREATEST and is_dated and all(is_name(part) for part in re.split("[/=]", path)))


def walk(folder):
    """What is below a folder, each by its path and whether it is a regular file; OSError where a folder cannot be read."""
    folders = [folder]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif not UNFINISHED.fullmatch(entry.path):
                yield entry.path, entry.is_file(follow_symlinks=False)


def is_file(path): return os.path.isfile(path) and not os.path.islink(path)


def file_path(of, date, hour):
    folder = f"/namespace={encode(of['namespace'] or '')}/date={date}/hour={hour}" if of["table"] == "verdicts" else f"/date={date}"
    return f"{of['table']}/cluster={encode(of['cluster'])}{folder}/{encode(of['node'])}-{encode(of['boot'])}-{of['first_seq']:012}.parquet"


# --- 3. Keys and signatures

KEY_HEAD = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519, without the key
PRIME = 2**255 - 19
SMALL_ORDER = {0, 1, PRIME - 1} | {int.from_bytes(bytes.fromhex(point), "little") for point in (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")}


def is_point(raw):
    """Whether these bytes are a point of the curve: its x can be found (RFC 8032, section 5.1.3)."""
    y = (int.from_bytes(raw, "little") & (2**255 - 1)) % PRIME
    square = (y * y - 1) * pow(-121665 * pow(121666, -1, PRIME) * y * y + 1, -1, PRIME) % PRIME
    return len(raw) == 32 and (square == 0 or pow(square, (PRIME - 1) // 2, PRIME) == 1)


def is_small_order(point): return (int.from_bytes(point, "little") & (2**255 - 1)) % PRIME in SMALL_ORDER
def key_id(raw): return hashlib.sha256(KEY_HEAD + raw).hexdigest()
def key_file(raw):
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(KEY_HEAD + raw) + b"\n-----END PUBLIC KEY-----\n"


def is_signed(raw, bytes_, signature):
    if len(signature) != 64 or is_small_order(raw) or is_small_order(signature[:32]):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, bytes_)
        return True
    except (InvalidSignature, ValueError):
        return False


# --- 2.1 What is in a file

NUMBERS = ("schema_version", "first_seq", "last_seq")
TIME = "TIMESTAMP WITH TIME ZONE"
COMMON = {"time": TIME, "seq": "BIGINT"} | dict.fromkeys(("cluster", "node", "boot", "event"), "VARCHAR")
COLUMNS = {"verdicts": COMMON | {"last_time": TIME, "namespace": "VARCHAR"}, "coverage": COMMON | {"balance": "VARCHAR"},
           "policies": COMMON | {"text": "VARCHAR", "text_sha256": "VARCHAR"}}
COMPRESSIONS = {"UNCOMPRESSED", "ZSTD"}
CLAIMS = ("table", "cluster", "namespace", "node", "boot", "first_time", "last_time", "retain_until", *NUMBERS)


@cache
def db():
    # Rows are what a file has, and not what statistics in its footer say that it has.
    unread = {"disabled_optimizers": "statistics_propagation,filter_pushdown"}
    return duckdb.connect(config=unread | {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})


class File:
    """A file: what its metadata state (`own`), and what its rows show (`found`). ValueError where it cannot be read."""

    def __init__(self, path):
        try:
            self.read(path)
        except (duckdb.Error, KeyError, OverflowError, TypeError) as error:
            raise ValueError(str(error).splitlines()[0]) from error

    def read(self, path):
        if db().execute("SELECT num_rows FROM parquet_file_metadata(?)", [path]).fetchone()[0] > MOST_ROWS:
            raise ValueError(f"it has more than {MOST_ROWS} rows")
        metadata = db().execute("SELECT decode(key), decode(value) FROM parquet_kv_metadata(?)", [path]).fetchall()
        stated = {"table": "verdicts"} | {key.removeprefix("podwitness."): value for key, value in metadata if key.startswith("podwitness.")}
        stated["namespace"] = stated["namespace"] if stated["table"] == "verdicts" else None
        self.own = {key: int(stated[key]) if key in NUMBERS else stated[key] for key in CLAIMS}
        table = self.own["table"]
        if table not in TABLES or any(str(self.own[key]) != stated[key] for key in NUMBERS) or not time(self.own["retain_until"]):
            raise ValueError("its metadata are not what they must be")
        if others := {kind for kind, in db().execute("SELECT DISTINCT compression FROM parquet_metadata(?)", [path]).fetchall()} - COMPRESSIONS:
            raise ValueError(f"it is compressed with {', '.join(sorted(others))}")
        if db().execute("SELECT count(*) FROM parquet_metadata(?) WHERE path_in_schema IN (SELECT unnest(?)) AND least(total_compressed_size, data_page_offset) < 0",
                        [path, list(COLUMNS[table])]).fetchone()[0]:
            raise ValueError("a column of it would begin or end before the file does")
        source = f"FROM read_parquet('{path}', file_row_number = true, hive_partitioning = false)"  # FILE lets no quote through, and no `*`
        types = {name: kind for name, kind, *_ in db().execute(f"DESCRIBE SELECT * {source}").fetchall()}
        if wrong := {name for name, kind in COLUMNS[table].items() if types.get(name, kind if name == "balance" else None) != kind}:
            raise ValueError(f"its columns lack {', '.join(sorted(wrong))}, or have them with other types")
        places = ["cluster", "node", "boot"] + ["namespace"] * (table == "verdicts")
        rows, seqs, times, first_seq, last_seq, opening, least, most, low, high, self.losses, self.crashes, *where = db().execute(f"""
            SELECT count(*), count(seq), count(time), arg_min(seq, file_row_number), arg_max(seq, file_row_number),
                   arg_min(epoch_us(time), file_row_number), min(epoch_us(time)),
                   max({"greatest(epoch_us(time), epoch_us(last_time))" if table == "verdicts" else "epoch_us(time)"}),
                   min(seq - file_row_number), max(seq - file_row_number),
                   count(*) FILTER (event IN ('loss', 'records-lost', 'names-lost')), count(*) FILTER (event = 'agent-crashed')
                   {"".join(f", min({name}), max({name}), count({name})" for name in places)} {source}""").fetchone()
        if not rows or seqs != rows or times != rows:
            raise ValueError("it has no rows, or some without a time or a place in the sequence")
        self.rows, self.opening = rows, micros_as_time(opening)
        self.found = {"first_seq": first_seq, "last_seq": last_seq, "first_time": micros_as_time(least), "last_time": micros_as_time(most)}
        for name, first, last, count in zip(places, where[::3], where[1::3], where[2::3]):
            self.found[name] = first if first == last and count == rows else [first, last]
        # Where a row does not follow the one before.
        self.breaks = [] if low == high else db().execute(f"""
            SELECT before, seq FROM (SELECT seq, lag(seq) OVER (ORDER BY file_row_number) AS before {source}) WHERE seq <> before + 1""").fetchall()
        self.balances = [text for text, in db().execute(f"SELECT balance {source} WHERE event = 'balance'").fetchall()] if "balance" in types else []
        self.texts = db().execute(f"SELECT DISTINCT text, text_sha256 {source}").fetchall() if table == "policies" else []

    def contradictions(self, path, entry):
        """What differs between the file, its path and `entry`, which is what its seal says of it."""
        own = self.own
        wrong = {key for key in CLAIMS if own[key] != entry[key] and not (key == "retain_until" and own[key] < entry[key])}
        wrong |= {key for key, value in self.found.items() if value != entry[key]}
        if path != file_path(own, self.opening[:10], self.opening[11:13]):
            wrong.add("path")
        if any((hashlib.sha256(text.encode()).hexdigest() if text is not None else None) != hash_ for text, hash_ in self.texts):
            wrong.add("text_sha256")
        return sorted(wrong)


# --- 7. The checks

COUNTS = ("seals", "objects", "bytes", "rows")


class Document:
    """A seal or deletion as it stands at a path. Where it is malformed or misplaced `content` is None, and no more of it
    is used than its path and its hash."""

    def __init__(self, path):
        in_path = DOCUMENT.fullmatch(path)
        self.path, self.chain, self.number = path, in_path[1] or in_path[3], int(in_path[2] or in_path[4])
        self.is_seal = path.startswith("seals/")
        self.bytes = read(path, LONGEST)
        self.hash, self.content, self.signed = hashlib.sha256(self.bytes).hexdigest(), None, False

    def parse(self):
        """Reads what it says; gives the code and the sentence of what is wrong with it, or None."""
        try:
            content = canonical_object(self.bytes)
        except ValueError as error:
            return "document-malformed", f"it is no document: {error}"
        if not fits(content, SEAL if self.is_seal else DELETION):
            return "document-malformed", "a key is missing, or has another type"
        cluster, number = encode(content["cluster"]), content["seal" if self.is_seal else "deletion"]
        proper = f"deletions/cluster={cluster}/{number:012}.json"
        if self.is_seal:
            proper = f"seals/cluster={cluster}/node={encode(content['node'])}/{encode(content['boot'])}-{number:012}.json"
        if self.path != proper:
            return "document-misplaced", f"by what it says it is {proper}"
        self.content, self.key, self.next_key = content, content["key_id"], content["next_key_id"]
        if self.is_seal:
            self.start, self.end = micros(content["window"]["start"]), micros(content["window"]["end"])
            self.interval = content["interval_seconds"] * 1_000_000
            self.allowed = 2 * self.interval + MINUTE
        return None

    def follows(self, before):
        """Whether it is what must come behind the document `before`."""
        if self.content["previous_sha256"] != before.hash:
            return False
        return before.content is None or (self.key == (before.next_key or before.key) and
                                          (not self.is_seal or self.content["window"]["start"] == before.content["window"]["end"]))

    def begins(self):
        """Whether it says that it is the first: True, False, or None where it contradicts itself."""
        says = {self.number == 1, self.content["previous_sha256"] is None}
        if self.is_seal:
            says.add(self.content["chain"] in ("begins", "unknown"))
        return says.pop() if len(says) == 1 else None


def span_within(spans, first, last):
    """How many numbers from `first` to `last` are in the spans."""
    count = 0
    for start, end in sorted(spans):
        start, end = max(start, first), min(end, last)
        count += max(0, end - start + 1)
        first = max(first, end + 1)
    return count


class Verifier:
    def __init__(self, trusted, part, as_of):
        self.given, self.part, self.as_of = trusted, part, as_of
        self.findings, self.admissions, self.notes = {}, {}, {}
        paths = []
        for path, is_regular in (found for top in (*sorted(TABLES), "seals", "deletions", "keys") for found in walk(top)):
            if is_regular and is_evidence(path):
                paths.append(path)
            else:
                self.find("stray", os.fsencode(path).decode(errors="replace"), "nothing of this name or kind stands here")
        self.paths = dict.fromkeys(sorted(paths))
        # By folder: all documents by number, those that can be used in order, and what is told of a chain of seals.
        self.chains, self.usable, self.checked = defaultdict(lambda: defaultdict(list)), {}, {}
        self.gaps, self.ends, self.kernels = defaultdict(list), defaultdict(int), {}
        self.listed, self.deleted = defaultdict(list), set()  # by path, each entry with its seal

    def find(self, code, object_, message, seal=None):
        self.findings.setdefault((object_, code), {"code": code, "object": object_, "seal": seal, "message": message})

    def note(self, code, object_, message):
        note = self.notes.setdefault(code, {"code": code, "object": object_, "count": 0, "message": message})
        note["count"] += 1

    def admit(self, code, seal, object_, message, times=1):
        content = seal.content
        admission = {"code": code, "cluster": content["cluster"], "node": content["node"], "count": 0, "first": object_, "message": message}
        self.admissions.setdefault((code, seal.chain), admission)["count"] += times

    def run(self):
        self.check_layout()
        self.check_keys()
        self.check_documents()
        for chain in self.chains.values():
            self.check_links(chain)
        for seal in self.documents("seals/"):
            self.check_seal(seal)
        self.check_signatures_alone()
        self.check_deletions()
        self.check_sealed()
        self.check_unsealed()

    def documents(self, top):
        """Those that can be used, by chain and number."""
        return [document for folder, chain in self.usable.items() if folder.startswith(top) for document in chain]

    def check_layout(self):
        try:
            if not is_file("podwitness.json"):
                raise ValueError("it is not there")
            marker = json.loads(read("podwitness.json", 1 << 20).decode(), parse_int=finite, parse_float=finite, parse_constant=refuse)
            json.dumps(marker, ensure_ascii=False).encode()  # ValueError where a text is no Unicode
            if not isinstance(marker, dict) or type(marker.get("layout")) is not int or marker["layout"] != 1:
                raise ValueError("it does not say layout 1")
        except (ValueError, RecursionError) as error:
            self.find("layout", "podwitness.json", f"it cannot be said what this root is: {error}")

    def check_keys(self):
        self.keys = dict(self.given or {})
        for path in (path for path in self.paths if path.startswith("keys/")):
            name, bytes_, raw = KEY.fullmatch(path), read(path, 1 << 16), b""
            try:
                raw = base64.b64decode(bytes_.split(b"\n")[1])[-32:]
            except (ValueError, IndexError):
                pass
            if bytes_ != key_file(raw) or key_id(raw) != name[1] or not is_point(raw):
                self.find("key-unreadable", path, "it is not the public key of its name")
            else:
                self.keys[name[1]] = raw
        self.trusted = self.keys if self.given is None else self.given

    def check_documents(self):
        for path in (path for path in self.paths if path.startswith(("seals/", "deletions/"))):
            if not path.endswith(".sig"):
                document = Document(path)
                self.chains[document.chain][document.number].append(document)
                self.check_document(document)
        self.usable = {folder: [document for number in sorted(chain) for document in chain[number] if document.content]
                       for folder, chain in self.chains.items()}

    def check_document(self, document):
        path, signature = document.path, document.path + ".sig"
        if signature not in self.paths:
            self.find("signature-missing", path, "it has no signature", path)
        if wrong := document.parse():
            self.find(*wrong[:1], path, wrong[1], path)
            return
        if document.key not in self.keys:
            self.find("key-missing", path, f"the key {document.key} is nowhere", path)
        elif signature in self.paths:
            document.signed = is_signed(self.keys[document.key], document.bytes, read(signature, 65))
            if not document.signed:
                self.find("signature-wrong", path, "its signature is not one of these bytes by its key", path)

    def check_links(self, chain):
        handed_over, lowest = set(), min(chain)
        for number in sorted(chain):
            here, before = chain[number], chain.get(number - 1, [])
            path = here[0].path
            if len(here) > 1:
                for document in here:
                    self.find("chain-forked", document.path, f"{len(here)} documents have the number {number}", document.path)
            if number == lowest > 1:
                self.find("chain-begins-late", path, f"the lowest number is {number}", path)
            elif number != lowest and not before:
                first = max(known for known in chain if known < number) + 1
                missing = f"{here[0].chain}/{'*-' if here[0].is_seal else ''}{first:012}.json"
                self.find("seal-missing" if here[0].is_seal else "deletion-missing", missing, f"the numbers {first} to {number - 1} are missing")
            for document in (document for document in here if document.content):
                begins = document.begins()
                if begins is None or before and not any(document.follows(one) for one in before):
                    self.find("chain-broken", document.path, "it does not follow from the document before", document.path)
                is_trusted = document.key in self.trusted or document.key in handed_over
                if document.key in self.keys and not is_trusted:
                    self.find("key-untrusted", document.path, f"the key {document.key} was neither given nor handed over", document.path)
                if document.signed and is_trusted and document.next_key:
                    handed_over.add(document.next_key)
        newest = self.newest(here[0].chain)
        if newest and newest.is_seal and not newest.content["last"] and self.is_overdue(newest):
            self.find("chain-ends-early", newest.path, f"nothing was sealed since {newest.content['window']['end']}", newest.path)

    def newest(self, folder):
        return (self.usable.get(folder) or [None])[-1]

    def is_overdue(self, seal):
        return self.as_of > seal.end + seal.allowed

    def goes_on(self, folder):
        """The newest seal of a chain that goes on, else None."""
        newest = self.newest(folder)
        return newest if newest and not newest.content["last"] and not self.is_overdue(newest) else None

    def check_seal(self, document):
        """What a seal says of itself, and takes what it lists."""
        seal, path, window = document.content, document.path, document.content["window"]
        chain = {"cluster": seal["cluster"], "node": seal["node"], "start": window["start"]} | dict.fromkeys(COUNTS, 0)
        chain = self.checked.setdefault(document.chain, chain)
        chain["seals"] += 1
        chain.update(end=window["end"], last=seal["last"], newest_sha256=document.hash)
        before = next((one for one in self.chains[document.chain].get(document.number - 1, []) if one.content), None)
        for wrong in unbalanced(seal):
            self.find("balance", path, wrong, path)
        kernel, earlier = seal["balance"]["kernel"], self.kernels.get(document.chain)
        more = kernel and lost(kernel) > (lost(earlier) if earlier and earlier["ring"] == kernel["ring"] else 0)
        if seal["gaps"] or seal["balance"]["damaged_bytes"] or more:
            self.admit("loss", document, path, "records were lost, and are counted")
        self.kernels[document.chain] = kernel or earlier
        other_sealer = not before or before.content["sealer"]["started"] != seal["sealer"]["started"]
        if seal["sealer"]["after_crash"] and other_sealer:
            self.admit("crash", document, path, "the sealer before had not ended in good order")
        if document.end - document.start > document.allowed:
            self.admit("silence", document, path, f"nothing was sealed from {window['start']} to {window['end']}")
        if document.end < document.start or seal["clock"] and not seal["clock"]["synchronised"]:
            self.admit("clock", document, path, "the clock was not synchronised, or was set back")
        if seal["chain"] in ("resumed", "unknown"):
            self.admit("chain-resumed", document, path, f"the chain is {seal['chain']} here")
        if before and not before.content["last"] and (other_sealer or before.content["boot"] != seal["boot"]):
            self.admit("not-clean", document, path, "the seal before is not the last of a clean stop")
        for gap in seal["gaps"]:
            self.gaps[gap["table"], seal["cluster"], gap["namespace"], seal["node"], gap["boot"]].append((gap["first_seq"], gap["last_seq"]))
        for entry in sorted(seal["objects"], key=lambda entry: entry["first_seq"]):
            entry = entry | {"cluster": seal["cluster"], "node": seal["node"]}
            if entry["path"] in self.listed:
                self.find("object-twice", entry["path"], "it is listed twice", path)
            self.listed[entry["path"]].append((entry, document))
            self.check_entry(entry, document)

    def check_entry(self, entry, seal):
        """What a seal says of an object: its place, its rows, how it goes on in its sequence, how long it is kept."""
        path, first, last = entry["path"], entry["first_seq"], entry["last_seq"]
        in_path, where = FILE.fullmatch(path), sequence_of(entry)
        if not in_path or path != file_path(entry, in_path[1] or in_path[3], in_path[2]):
            self.find("object-contradicts", path, "its place is not the one that follows from its seal", seal.path)
        due = last - first + 1 - span_within(self.gaps[where], first, last)
        expected = self.ends[where] + 1
        if entry["rows"] > due or first < expected:
            self.find("sequence-overlap", path, f"it has {entry['rows']} records from {first} to {last}, and those before {expected} were there", seal.path)
        if entry["rows"] < due or first > expected and span_within(self.gaps[where], expected, first - 1) < first - expected:
            self.find("sequence-gap", path, f"it has {entry['rows']} records from {first} to {last}, and {expected} is the next", seal.path)
        self.ends[where] = max(self.ends[where], last)
        for of in seal.content["retention"]:
            if of["namespace"] == entry["namespace"] and micros(entry["retain_until"]) < later(micros(entry["last_time"]), of["seconds"]):
                self.find("retention-shortened", path, f"it is kept until {entry['retain_until']} alone", seal.path)

    def check_signatures_alone(self):
        for path in (path for path in self.paths if path.endswith(".sig") and path.removesuffix(".sig") not in self.paths):
            if in_path := DOCUMENT.fullmatch(path.removesuffix(".sig")):
                folder, number = in_path[1] or in_path[3], int(in_path[2] or in_path[4])
                if number == max(self.chains.get(folder, [0])) + 1 and (folder.startswith("deletions/") or self.goes_on(folder)):
                    self.note("signature-ahead", path, "its document is to come")
                else:
                    self.find("signature-stray", path, "its document is not there")

    def check_deletions(self):
        latest = {}  # the latest time in what a deletion lists, by it, chain and namespace
        for document in self.documents("deletions/"):
            content, at = document.content, micros(document.content["time"])
            time = min(at, self.as_of + MINUTE)
            default = max(content["minimum_seconds"], content["default_seconds"])
            for entry in content["objects"]:
                same = (listing for listing in self.listed.get(entry["path"], []) if is_listed_so(entry, content["cluster"], *listing))
                sealed, seal = next(same, (None, None))
                if not sealed or micros(entry["retain_until"]) > time or keeps(content["retention"], default, sealed["namespace"], micros(sealed["last_time"]), time):
                    self.find("retention-early", entry["path"], "it must not be deleted, or not by these words", document.path)
                if sealed:
                    of = document, seal.chain, sealed["namespace"]
                    latest[of] = max(latest.get(of, -2**63), micros(sealed["last_time"]))
                if entry["path"] in self.paths and entry["path"] not in self.deleted:
                    self.note("not-deleted-yet", entry["path"], "a deletion lists it, and it is still there")
                self.deleted.add(entry["path"])
        for (document, folder, namespace), last_time in latest.items():
            if is_kept_throughout(self.usable[folder], micros(document.content["time"]), namespace, last_time):
                self.find("retention-disregarded", document.path, f"{folder} asks before and after it to keep what it lists of {namespace}")

    def check_sealed(self):
        for path, entry, seal in ((path, *listing) for path, listings in self.listed.items() for listing in listings):
            if path not in self.paths or path.split("/")[0] not in TABLES:
                if path not in self.deleted and self.part:
                    self.note("not-in-part", path, "seals list it, and this part lacks it")
                elif path not in self.deleted:
                    self.find("object-missing", path, "it is gone, and no deletion lists it", seal.path)
                continue
            size = os.path.getsize(path)
            if size != entry["bytes"] or hash_of(path) != entry["sha256"]:
                self.find("object-altered", path, "its bytes are not those that were sealed", seal.path)
            else:
                self.checked[seal.chain]["objects"] += 1
                self.checked[seal.chain]["bytes"] += size
                self.check_content(path, entry, seal)

    def check_content(self, path, entry, seal):
        try:
            file = File(path)
        except ValueError as error:
            self.find("object-contradicts", path, f"it cannot be read: {error}", seal.path)
            return
        wrong = file.contradictions(path, entry) + (["rows"] if file.rows != entry["rows"] else [])
        if not wrong:
            self.checked[seal.chain]["rows"] += file.rows
        else:
            self.find("object-contradicts", path, f"it differs from its seal or its path in {', '.join(wrong)}", seal.path)
        for before, seq in file.breaks:
            if seq <= before:
                self.find("sequence-overlap", path, f"the record {seq} comes behind {before}", seal.path)
            elif span_within(self.gaps[sequence_of(entry)], before + 1, seq - 1) < seq - before - 1:
                self.find("sequence-gap", path, f"the records {before + 1} to {seq - 1} are missing", seal.path)
        for text in file.balances:
            try:
                kernel = canonical_object((text or "").encode())
                wrong = list(unbalanced_kernel(kernel)) if fits(kernel, KERNEL) else ["it is no balance"]
            except ValueError:
                wrong = ["it is no balance"]
            if wrong:
                self.find("balance", path, wrong[0], seal.path)
        if file.losses:
            self.admit("loss", seal, path, "rows of it say that records were lost")
        if file.crashes:
            self.admit("crash", seal, path, "the agent began without having ended", file.crashes)

    def check_unsealed(self):
        found = []
        for path in (path for path in self.paths if path.split("/")[0] in TABLES and path not in self.listed):
            try:
                file = File(path)
                found.append((file.own["first_seq"], path, None if file.contradictions(path, file.own) else file.own))
            except ValueError:
                found.append((0, path, None))
        for first, path, own in sorted(found, key=lambda one: one[:2]):
            if own:
                where, newest = sequence_of(own), self.goes_on(f"seals/cluster={encode(own['cluster'])}/node={encode(own['node'])}")
                expected = self.ends[where] + 1
                goes_on = first == expected or first > expected and span_within(self.gaps[where], expected, first - 1) == first - expected
                if goes_on and first <= own["last_seq"] and newest and (newest.end < micros(own["last_time"]) or self.as_of - newest.end < 2 * newest.interval):
                    self.ends[where] = own["last_seq"]
                    self.note("not-sealed-yet", path, "the next seal is to list it")
                    continue
            self.find("object-unsealed", path, "no seal lists it")

    def check_told(self, nodes, pins):
        for node in nodes:
            if not self.newest(node_folder(node)):
                self.find("chain-missing", node_folder(node), "this node has no seal")
        for node, hash_ in pins:
            if not any(seal.hash == hash_ for seal in self.usable.get(node_folder(node), [])):
                self.find("pin-missing", node_folder(node), f"no seal of this chain has the hash {hash_}")

    def what_was_checked(self):
        chains = sorted(self.checked.values(), key=lambda chain: (chain["cluster"], chain["node"]))
        return {key: sum(chain[key] for chain in chains) for key in COUNTS} | {
            "deletions": len(self.documents("deletions/")), "start": min((chain["start"] for chain in chains), default=None),
            "end": max((chain["end"] for chain in chains), default=None), "chains": chains}


def sequence_of(entry): return tuple(entry[key] for key in ("table", "cluster", "namespace", "node", "boot"))
def node_folder(node): return "seals/cluster={}/node={}".format(*map(encode, node.split("/")))
def hash_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lost(kernel): return kernel["denied_lost"] + kernel["lost_recorded"] + kernel["lost_unattributed"]
def later(time, seconds): return min(time + seconds * 1_000_000, LAST_TIME)


def read(path, most):
    with open(path, "rb") as file:
        return file.read(most)


def is_listed_so(entry, cluster, sealed, seal):
    """Whether an entry of a deletion in this cluster is what this seal says of the object."""
    return entry["seal"] == seal.path and sealed["cluster"] == cluster and all(entry[key] == sealed[key] for key in ("sha256", "bytes", "rows", "retain_until"))


def keeps(retention, default, namespace, last_time, time):
    """Whether what namespaces ask for keeps what has its last time at `last_time` from being deleted at `time` (section 6)."""
    of_all = namespace in (None, "_unknown")
    asked = [of for of in retention if of_all or of["namespace"] == namespace]
    seconds = [of["seconds"] for of in asked] or [default]
    return any(of["hold"] for of in asked) or later(last_time, max(seconds + [default] * of_all)) > time


def is_kept_throughout(seals, time, namespace, last_time):
    """Whether the newest seal that ended by `time`, and those behind it up to one that lists what was all made later, keep it."""
    before = next((at for at in reversed(range(len(seals))) if seals[at].end <= time), len(seals))
    for seal in seals[before:]:
        if not keeps(seal.content["retention"], 0, namespace, last_time, time):
            return False
        if seal is not seals[before] and any(micros(entry["first_time"]) > time for entry in seal.content["objects"]):
            return True
    return False


def unbalanced(seal):
    """What does not hold of a seal's balance (section 5), a sentence each."""
    listed = defaultdict(int)
    for entry in seal["objects"]:
        listed[entry["table"]] += entry["rows"]
    rows = seal["balance"]["rows"]
    for table in sorted(rows.keys() | listed.keys()):
        counts = [rows[table][place] for place in ("spooled", "written", "sealed")] if table in rows else [0, 0, 0]
        if len({*counts, listed[table]}) > 1:
            yield f"{table}: {counts[0]} rows spooled, {counts[1]} written, {counts[2]} sealed, {listed[table]} listed"
    yield from unbalanced_kernel(seal["balance"]["kernel"]) if seal["balance"]["kernel"] else ()


def unbalanced_kernel(kernel):
    for around, count in (("events_accepted", kernel["events_offered"] - kernel["events_refused"]), ("events_accepted", kernel["events_read"]),
                          ("denied_attempts", kernel["denied_recorded"] + kernel["denied_lost"]),
                          ("records_lost", kernel["lost_recorded"] + kernel["lost_unattributed"])):
        if not kernel[around]["before"] <= count <= kernel[around]["after"]:
            yield f"{around}: {count} is not from {kernel[around]['before']} to {kernel[around]['after']}"


def given_keys(folder):
    keys = {}
    for name in (name for name in sorted(os.listdir(folder)) if name.endswith(".pem")):
        key = load_pem_public_key(Path(folder, name).read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError(f"{name} is no Ed25519 key")
        keys[key_id(key.public_bytes_raw())] = key.public_bytes_raw()
    if not keys:
        raise ValueError(f"{folder} has no file that ends in .pem")
    return keys


def show(answer):
    def print(line):  # what is no letter is told, not done: names in the evidence come from anybody
        sys.stdout.write("".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line) + "\n")

    sys.stdout.reconfigure(errors="backslashreplace")
    if answer["keys"] == "from-evidence":
        print("THE KEYS ARE THOSE OF THE EVIDENCE ITSELF: they prove nothing about who signed it (--trusted-keys).")
    for finding in answer["findings"]:
        print(f"finding: {finding['code']}: {finding['object']}: {finding['message']}")
    for said in answer["admissions"]:
        print(f"admission: {said['code']}: {said['cluster']}/{said['node']}: {said['count']} times, first at {said['first']}: {said['message']}")
    for note in answer["notes"]:
        print(f"note: {note['code']}: {note['object']} and {note['count'] - 1} more: {note['message']}")
    print("{seals} seals and {deletions} deletions; {objects} objects with {bytes} bytes and {rows} rows".format(**answer["checked"]))
    print(f"{answer['result']}: {len(answer['findings'])} findings")


def main():
    parser = argparse.ArgumentParser(description="Verifies Podwitness evidence, as schemas/FORMAT.md says.")
    parser.add_argument("root", metavar="ROOT", help="a folder with evidence")
    parser.add_argument("--trusted-keys", metavar="DIR", help="public keys (*.pem) that may sign; else those of the evidence")
    parser.add_argument("--part", action="store_true", help="ROOT is a part: what seals list and it lacks is only counted")
    parser.add_argument("--as-of", metavar="TIME", help="verify as at this time, in RFC 3339; else now")
    parser.add_argument("--nodes", metavar="FILE", default="", help="nodes that must have a chain: CLUSTER/NODE, one a line, or such a list with commas")
    parser.add_argument("--pin", metavar="CLUSTER/NODE=HASH", action="append", default=[], help="a seal that was in this chain")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    try:
        as_of = datetime.fromisoformat(options.as_of) if options.as_of else datetime.now(timezone.utc)
        nodes = Path(options.nodes).read_text(encoding="utf-8") if os.path.isfile(options.nodes) else options.nodes
        nodes, pins = [node.strip() for node in re.split("[,\n]", nodes) if node.strip()], [pin.rpartition("=")[::2] for pin in options.pin]
        if as_of.tzinfo is None or not all(digest(hash_) for _, hash_ in pins) or any(node.count("/") != 1 for node in nodes + [node for node, _ in pins]):
            raise ValueError("a time needs its zone, such as Z; a node is CLUSTER/NODE; a pin is CLUSTER/NODE=HASH")
        trusted = given_keys(options.trusted_keys) if options.trusted_keys else None
        os.chdir(options.root)  # from here on all paths are those of the evidence
        verifier = Verifier(trusted, options.part, (as_of - EPOCH) // timedelta(microseconds=1))
        verifier.run()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    verifier.check_told(nodes, pins)
    answer = {
        "result": "bad" if verifier.findings else "good", "keys": "from-evidence" if trusted is None else "trusted",
        "as_of": micros_as_time(verifier.as_of), "checked": verifier.what_was_checked(),
        "findings": [finding for _, finding in sorted(verifier.findings.items())],
        "admissions": [admission for _, admission in sorted(verifier.admissions.items())],
        "notes": [note for _, note in sorted(verifier.notes.items())]}
    print(json.dumps(answer, indent=2)) if options.output == "json" else show(answer)
    return 1 if verifier.findings else 0


if __name__ == "__main__":
    sys.exit(main())
