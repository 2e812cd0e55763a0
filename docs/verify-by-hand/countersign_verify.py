#!/usr/bin/env python3
"""Verifies an exported Countersign bundle. Python 3.8 or later, standard library only.

Written from docs/ledger-format.md alone, in another language than the server, so that nobody has to trust one
implementation. It shares no code with it and is meant to be read: the sections follow the document.

    python3 countersign_verify.py BUNDLE [--policy FILE] [--require-anchored] [--tenant UUID] [--json]
    python3 countersign_verify.py RECEIPT.tlog-proof --policy FILE [--require-anchored]
    python3 countersign_verify.py --vectors DIRECTORY

Exit codes: 0 integrity holds and what the policy demands is shown, 1 tampered, 2 integrity holds and what is
demanded is not shown, 3 could not read, 4 malformed input, 64 usage.
"""

import argparse
import base64
import hashlib
import json
import math
import os
import re
import subprocess
import sys

VERSION = 1
MAX_SAFE = 2**53 - 1
LINE_BYTES_MAX = 67108864
CONTENT_MAX = 1048576
FINDINGS_MAX = 100
DEPTH_MAX = 128
PROOF_BYTES_MAX = 16777216
PROOF_LINES_MAX = 1000
HASHES_MAX = 128
NOTE_BYTES_MAX = 1048576
SIGNATURES_MAX = 100
POLICY_BYTES_MAX = 262144
POLICY_LINES_MAX = 256
ANCHORED_MAX = 10000
RANGES_MAX = 1000000


class Malformed(Exception):
    """The input is not in the format."""


def tag(name):
    return "countersign.%s.v%d" % (name, VERSION)


# ---- Notation ------------------------------------------------------------------------------------------------------

HEX64 = re.compile(r"[0-9a-f]{64}\Z")
HEX32 = re.compile(r"[0-9a-f]{32}\Z")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
ACTION = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\Z")


def sha256(data):
    return hashlib.sha256(data).digest()


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SAFE


def is_text(value, length_max):
    return isinstance(value, str) and utf16_length(value) <= length_max


def utf16_length(text):
    return len(text) + sum(1 for c in text if ord(c) > 0xFFFF)


def utf16_order(text):
    return text.encode("utf-16-be", "surrogatepass")


def is_well_formed(text):
    return re.search("[\ud800-\udfff]", text) is None


def matches(pattern, value):
    return isinstance(value, str) and pattern.match(value) is not None


def from_base64url(text, length):
    """The bytes, or None unless text is the one way to write exactly that many."""
    if not isinstance(text, str) or not re.match(r"[A-Za-z0-9_-]*\Z", text):
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    same = base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") == text
    return raw if same and len(raw) == length else None


def parse_json(text):
    def no_constant(name):
        raise Malformed("%s is not JSON" % name)

    def integer(literal):
        # An integer may be written in any length; a double is what the format knows.
        return as_number(literal)

    try:
        return json.loads(text, parse_constant=no_constant, parse_int=integer, parse_float=as_number)
    except (ValueError, RecursionError) as error:
        raise Malformed("not JSON: %s" % type(error).__name__)


def as_number(literal):
    if len(literal) > 1100:
        raise Malformed("a number is too long")
    value = float(literal)
    if math.isinf(value):
        raise Malformed("a number is too large")
    if value == int(value) and abs(value) <= MAX_SAFE:
        return int(value)
    return value


def jcs(value, depth=0):
    """RFC 8785."""
    if depth > DEPTH_MAX:
        raise Malformed("nested too deeply")
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return jcs_string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return es_number(value)
    if isinstance(value, list):
        return "[" + ",".join(jcs(item, depth + 1) for item in value) + "]"
    names = sorted(value, key=utf16_order)
    return "{" + ",".join(jcs_string(name) + ":" + jcs(value[name], depth + 1) for name in names) + "}"


def jcs_string(text):
    if not is_well_formed(text):
        raise Malformed("a lone surrogate")
    return json.dumps(text, ensure_ascii=False)


def es_number(value):
    """A double as ECMAScript prints it (ECMA-262, Number::toString), from the same shortest digits that repr finds."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS * 10**point
    point = len(whole) + int(exponent or "0") - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        if len(digits) <= point:
            return sign + digits + "0" * (point - len(digits))
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    power = point - 1
    shown = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return "%s%se%s%d" % (sign, shown, "+" if power > 0 else "-", abs(power))


def parse_canonical(text):
    """The value of a text that is exactly the canonical form of what it says."""
    value = parse_json(text)
    if jcs(value) != text:
        raise Malformed("not canonical JSON")
    return value


# ---- Entry ---------------------------------------------------------------------------------------------------------


def parse_content(text):
    if utf16_length(text) > CONTENT_MAX:
        raise Malformed("content is too large")
    content = parse_canonical(text)
    required = {"v", "id", "nonce", "at", "actor", "action", "subject", "refs", "data", "state"}
    if not isinstance(content, dict) or not required <= set(content) <= required | {"counts", "body"}:
        raise Malformed("content has not the members it must have")
    good = (
        content["v"] == VERSION
        and not isinstance(content["v"], bool)
        and matches(UUID, content["id"])
        and matches(HEX32, content["nonce"])
        and is_count(content["at"])
        and is_actor(content["actor"])
        and matches(ACTION, content["action"])
        and is_reference(content["subject"])
        and isinstance(content["refs"], list)
        and all(is_reference(one) for one in content["refs"])
        and isinstance(content["data"], dict)
        and is_data(content["data"], 0)
        and is_state(content["state"])
        and ("counts" not in content or is_counts(content["counts"]))
        and ("body" not in content or is_commitment(content["body"]))
    )
    if not good:
        raise Malformed("a member of the content is not of its form")
    return content


def is_id(value):
    return is_text(value, 1024) and value != "" and "\0" not in value


def is_actor(value):
    return (
        isinstance(value, dict)
        and set(value) == {"type", "id", "humans"}
        and value["type"] in ("human", "agent", "service", "system")
        and is_id(value["id"])
        and isinstance(value["humans"], list)
        and all(is_id(one) for one in value["humans"])
    )


def is_reference(value):
    return isinstance(value, dict) and set(value) == {"type", "id"} and matches(NAME, value["type"]) and is_id(value["id"])


def is_data(value, depth):
    if isinstance(value, float):
        return False
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, (dict, list)):
        if depth > 16:
            return False
        if isinstance(value, list):
            return all(is_data(one, depth + 1) for one in value)
        if "id" in value and "nonce" in value:
            return False
        return all("\0" not in name and is_data(one, depth + 1) for name, one in value.items())
    return True


def is_state(value):
    if not isinstance(value, list):
        return False
    for one in value:
        if not (isinstance(one, list) and len(one) == 4 and matches(NAME, one[0]) and is_id(one[1])):
            return False
        if not (is_count(one[2]) and one[2] >= 1 and matches(HEX64, one[3])):
            return False
    return ascending([(utf16_order(one[0]), utf16_order(one[1])) for one in value])


def is_counts(value):
    if not isinstance(value, list) or not value:
        return False
    for one in value:
        if not (isinstance(one, list) and len(one) == 2 and is_id(one[0])):
            return False
        if isinstance(one[1], bool) or not isinstance(one[1], int):
            return False
    return ascending([utf16_order(one[0]) for one in value])


def ascending(keys):
    return all(a < b for a, b in zip(keys, keys[1:]))


def is_commitment(value):
    return isinstance(value, dict) and set(value) == {"commitment"} and matches(HEX64, value["commitment"])


def content_hash(content):
    return sha256(content.encode("utf-8", "surrogatepass")).hex()


def link_text(tenant, seq, time_ms, prev, hashed):
    return "%s\n%s\n%d\n%d\n%s\n%s\n" % (tag("entry"), tenant, seq, time_ms, prev, hashed)


def entry_hash(tenant, seq, time_ms, prev, hashed):
    link = link_text(tenant, seq, time_ms, prev, hashed)
    return sha256(b"\0" + link.encode("utf-8", "surrogatepass")).hex()


def commitment(salt, body_text):
    return sha256(tag("body").encode() + b"\0" + salt + body_text.encode("utf-8", "surrogatepass")).hex()


def row_digest(salt, row):
    return sha256(tag("row").encode() + b"\0" + salt + jcs(row).encode("utf-8")).hex()


# ---- Change-sets and votes -----------------------------------------------------------------------------------------


def tagged_digest(name, members):
    return sha256(tag(name).encode() + b"\0" + jcs(members).encode("utf-8")).hex()


def vote_bytes(tenant, change_set, digest, decision, voter, at_ms):
    fields = (tag("vote"), tenant, change_set, digest, decision, voter, str(at_ms))
    return ("".join(field + "\n" for field in fields)).encode("utf-8")


# Ed25519, RFC 8032 §6, on extended coordinates. Slow and not secret-safe: it only verifies.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
SMALL_ORDER_Y = {0, 1, P - 1, ORDER_8_Y, P - ORDER_8_Y}


def point_add(a, b):
    s = (a[1] - a[0]) * (b[1] - b[0]) % P
    t = (a[1] + a[0]) * (b[1] + b[0]) % P
    u = 2 * a[3] * b[3] * D % P
    v = 2 * a[2] * b[2] % P
    e, f, g, h = t - s, v - u, v + u, t + s
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            result = point_add(result, point)
        point = point_add(point, point)
        scalar >>= 1
    return result


def recover_x(y, sign):
    if y >= P:
        return None
    squared = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if squared == 0:
        return None if sign else 0
    x = pow(squared, (P + 3) // 8, P)
    if (x * x - squared) % P != 0:
        x = x * SQRT_M1 % P
    if (x * x - squared) % P != 0:
        return None
    return P - x if (x & 1) != sign else x


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def compress(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | ((x & 1) << 255)).to_bytes(32, "little")


def public_key_point(raw):
    """The point, or None if the bytes are not a public key as the document demands."""
    number = int.from_bytes(raw, "little")
    y = number & ((1 << 255) - 1)
    if y >= P or y in SMALL_ORDER_Y:
        return None
    x = recover_x(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % P)


def signature_verifies(raw_key, point, message, signature):
    s = int.from_bytes(signature[32:], "little")
    if s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + raw_key + message).digest(), "little") % L
    minus_a = (P - point[0], point[1], point[2], P - point[3])
    return compress(point_add(point_multiply(s, BASE), point_multiply(k, minus_a))) == signature[:32]


class Votes:
    """Keys the ledger enrolled so far; says of an entry: None, "good", "unchecked" or why it is forged."""

    def __init__(self, tenant):
        self.tenant = tenant
        self.keys = {}

    def take(self, seq, content):
        action, data, subject = content["action"], content["data"], content["subject"]
        if action == "principal.key_enrolled":
            return self.enrol(subject, data)
        if action == "principal.key_revoked":
            known = self.keys.get(data.get("key")) if isinstance(data.get("key"), str) else None
            if known is None:
                return None
            if subject["type"] != "principal" or known["owner"] != subject["id"]:
                return "the revoked key belongs to another principal"
            known.setdefault("revoked", seq)
            return None
        return self.check(content) if action == "change_set.vote_cast" else None

    def enrol(self, subject, data):
        raw = from_base64url(data.get("publicKey"), 32)
        point = public_key_point(raw) if raw is not None else None
        if subject["type"] != "principal":
            return "the enrolment is not about a principal"
        if not isinstance(data.get("key"), str) or data.get("algorithm") != "Ed25519" or point is None:
            return "the enrolment holds no good key"
        if data["key"] in self.keys:
            return "the key is enrolled a second time"
        self.keys[data["key"]] = {"owner": subject["id"], "raw": raw, "point": point}
        return None

    def check(self, content):
        data, subject, actor = content["data"], content["subject"], content["actor"]
        whole = (
            subject["type"] == "change_set"
            and matches(UUID, subject["id"])
            and matches(HEX64, data.get("digest"))
            and data.get("decision") in ("APPROVED", "REJECTED", "ABSTAINED")
            and matches(UUID, data.get("voter"))
            and isinstance(data.get("key"), str)
            and is_count(data.get("atMs"))
            and isinstance(data.get("signature"), str)
        )
        if not whole:
            return "the entry does not hold a whole vote"
        if actor["type"] != "human" or actor["id"] != data["voter"]:
            return "the voter is not the human who acted"
        known = self.keys.get(data["key"])
        if known is None:
            return "unchecked"
        if known["owner"] != data["voter"]:
            return "the key belongs to another principal"
        if "revoked" in known:
            return "the key was revoked by entry %d" % known["revoked"]
        signature = from_base64url(data["signature"], 64)
        signed = vote_bytes(self.tenant, subject["id"], data["digest"], data["decision"], data["voter"], data["atMs"])
        if signature is None or not signature_verifies(known["raw"], known["point"], signed, signature):
            return "the signature does not verify"
        return "good"


# ---- Tree ----------------------------------------------------------------------------------------------------------


def node_hash(left, right):
    return sha256(b"\1" + left + right)


class RightEdge:
    """The roots of the complete subtrees of the first `size` leaves."""

    def __init__(self, size=0, hashes=()):
        self.size, self.hashes = size, list(hashes)

    def append(self, leaf_hash):
        left = self.size
        while left & 1:
            leaf_hash = node_hash(self.hashes.pop(), leaf_hash)
            left >>= 1
        self.hashes.append(leaf_hash)
        self.size += 1

    def root(self):
        if not self.hashes:
            return sha256(b"")
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def inclusion_holds(index, size, leaf_hash, proof, root):
    """RFC 9162 2.1.3.2."""
    if index >= size:
        return False
    fn, sn, computed = index, size - 1, leaf_hash
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            computed = node_hash(sibling, computed)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            computed = node_hash(computed, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and computed == root


def consistency_holds(old, old_root, new, new_root, proof):
    """RFC 9162 2.1.4.2."""
    if old > new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == sha256(b"")
    path = ([old_root] if old & (old - 1) == 0 else []) + list(proof)
    if not path:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    was = now = path[0]
    for one in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            was, now = node_hash(one, was), node_hash(one, now)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            now = node_hash(now, one)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and was == old_root and now == new_root


# ---- Signed notes --------------------------------------------------------------------------------------------------

# White space of ECMAScript's \s, the plus sign, and what does not show or turns direction.
NOT_IN_NAMES = re.compile(
    "[\\s\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\ufeff+"
    "\x00-\x1f\x7f-\x9f\ud800-\udfff\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def is_key_name(name):
    return 0 < utf16_length(name) <= 256 and NOT_IN_NAMES.search(name) is None


def from_base64(text):
    """The bytes, or None unless text is the one way to write them (RFC 4648 4, padded)."""
    if len(text) % 4 or not re.match(r"[A-Za-z0-9+/]*={0,2}\Z", text):
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return raw if base64.b64encode(raw).decode("ascii") == text else None


def key_id(name, kind, raw_key):
    return sha256(name.encode("utf-8") + b"\n" + bytes([kind]) + raw_key)[:4]


class Note:
    def __init__(self, text, signatures, whole):
        self.text, self.signatures, self.whole = text, signatures, whole

    def times_signed(self, name, kind, raw_key):
        """For each good signature of the key: its time (cosignatures), or 0."""
        point = public_key_point(raw_key)
        if point is None:
            return []
        times, wanted = [], key_id(name, kind, raw_key)
        for signer, identity, signature in self.signatures:
            if signer != name or identity != wanted or len(signature) != (64 if kind == 1 else 72):
                continue
            time, message = 0, self.text.encode("utf-8")
            if kind == 4:
                time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
                if time > 253402300799:
                    continue
                message = b"cosignature/v1\ntime %d\n" % time + message
            if signature_verifies(raw_key, point, message, signature):
                times.append(time)
        return times


def parse_note(text):
    if len(text.encode("utf-8", "surrogatepass")) > NOTE_BYTES_MAX:
        raise Malformed("the note is too long")
    if re.search("[\x00-\x09\x0b-\x1f\ud800-\udfff]", text):
        raise Malformed("a control character in a note")
    end = text.rfind("\n\n")
    if end < 1 or not text.endswith("\n"):
        raise Malformed("a note without signatures")
    lines = text[end + 2 : -1].split("\n", SIGNATURES_MAX)
    if len(lines) > SIGNATURES_MAX:
        raise Malformed("too many signatures")
    signatures = []
    for line in lines:
        parts = line.split(" ")
        raw = from_base64(parts[2]) if len(parts) == 3 and parts[0] == "\u2014" and is_key_name(parts[1]) else None
        if raw is None or len(raw) < 5:
            raise Malformed("a line of a note that is no signature")
        signatures.append((parts[1], raw[:4], raw[4:]))
    return Note(text[: end + 1], signatures, text)


def parse_vkey(text, kind):
    """(name, raw key), or None."""
    parts = text.split("+", 2)
    raw = from_base64(parts[2]) if len(parts) == 3 else None
    if raw is None or len(raw) != 33 or raw[0] != kind or not is_key_name(parts[0]):
        return None
    good = parts[1] == key_id(parts[0], kind, raw[1:]).hex() and public_key_point(raw[1:]) is not None
    return (parts[0], raw[1:]) if good else None


def decimal(text):
    if re.match(r"(0|[1-9][0-9]{0,15})\Z", text) and int(text) <= MAX_SAFE:
        return int(text)
    raise Malformed("not a decimal below 2^53")


# ---- Checkpoints ---------------------------------------------------------------------------------------------------

DEPLOYMENT = re.compile(r"[!-*,-.0-~]([!-*,-~]{0,198}[!-*,-.0-~])?\Z")


class Checkpoint:
    def __init__(self, note, origin, size, root):
        self.note, self.origin, self.size, self.root = note, origin, size, root


def parse_checkpoint(text):
    note = parse_note(text)
    lines = note.text[:-1].split("\n")
    root = from_base64(lines[2]) if len(lines) >= 3 else None
    if root is None or len(root) != 32 or not 0 < utf16_length(lines[0]) <= 300 or len(lines) > 19 or "" in lines[3:]:
        raise Malformed("not a checkpoint")
    return Checkpoint(note, lines[0], decimal(lines[1]), root)


def parse_origin(origin):
    """(deployment, tenant, incarnation), or None."""
    parts = origin.split("/")
    incarnation = 0
    if re.match(r"[1-9][0-9]{0,8}\Z", parts[-1]):
        incarnation = int(parts.pop())
    tenant = parts.pop() if parts else ""
    deployment = "/".join(parts)
    if not matches(UUID, tenant) or DEPLOYMENT.match(deployment) is None:
        return None
    return deployment, tenant, incarnation


# ---- Receipts ------------------------------------------------------------------------------------------------------


def parse_receipt(text):
    """(index, proof, extra or None, checkpoint)."""
    if len(text.encode("utf-8")) > NOTE_BYTES_MAX:
        raise Malformed("the receipt is too long")
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Malformed("not a receipt")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = from_base64(lines.pop(0)[6:])
        if extra is None:
            raise Malformed("extra data that is not base64")
    if not lines or not lines[0].startswith("index "):
        raise Malformed("a receipt without index")
    index = decimal(lines.pop(0)[6:])
    proof = [from_base64(line) for line in lines]
    if len(proof) > 63 or any(one is None or len(one) != 32 for one in proof):
        raise Malformed("a path that is none")
    return index, proof, extra, parse_checkpoint(note)


LINK = re.compile(
    rb"countersign\.entry\.v%d\n([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\n"
    rb"(0|[1-9][0-9]{0,15})\n(0|[1-9][0-9]{0,15})\n[0-9a-f]{64}\n[0-9a-f]{64}\n" % VERSION
)
STATEMENT_LENGTH = re.compile(rb"([1-9][0-9]{0,6})\n")


def read_extra(extra):
    """(link, its tenant, its seq, key statements): the link is hashed, the statements are somebody's word."""
    found = LINK.match(extra or b"")
    if found is None or int(found.group(2)) > MAX_SAFE or int(found.group(3)) > MAX_SAFE:
        raise Malformed("a receipt without the entry's link")
    statements, at = [], found.end()
    while at < len(extra):
        length = STATEMENT_LENGTH.match(extra, at)
        end = length.end() + int(length.group(1)) if length is not None else 0
        if length is None or end > len(extra) or len(statements) == PROOF_LINES_MAX:
            raise Malformed("what follows the link is not key statements, each after its length in bytes")
        try:
            statements.append(extra[length.end() : end].decode("utf-8"))
        except UnicodeDecodeError:
            raise Malformed("a key statement that is not UTF-8")
        at = end
    return found.group(0), found.group(1).decode(), int(found.group(2)), statements


# ---- Policy file ---------------------------------------------------------------------------------------------------


class Policy:
    def __init__(self):
        self.logs, self.witnesses, self.anchors, self.groups, self.quorum = [], [], [], [], None

    def pinned(self, origin):
        """Raw keys that logs of this origin may sign with."""
        return [raw for name, raw in self.logs if origin == name or origin.startswith(name + "/")]

    def pinned_for(self, deployment, tenant):
        """Those of the tenant: of any origin it has had."""
        origin = "%s/%s" % (deployment, tenant)
        return self.pinned(origin) + [raw for name, raw in self.logs if name.startswith(origin + "/")]

    def quorum_size(self, confirmed):
        sizes = dict(confirmed)
        for name, threshold, members in self.groups:
            reached = sorted((sizes[member] for member in members if member in sizes), reverse=True)
            sizes.pop(name, None)
            if len(reached) >= threshold:
                sizes[name] = reached[threshold - 1]
        return sizes.get(self.quorum)


def parse_policy(data):
    if len(data) > POLICY_BYTES_MAX:
        raise Malformed("the policy file is too long")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the policy file is not UTF-8")
    policy, names, grouped, quorums = Policy(), set(), set(), 0
    for number, line in enumerate(text.split("\n"), 1):

        def need(good, why):
            if not good:
                raise Malformed("line %d of the policy file: %s" % (number, why))

        def define(name):
            need(name not in names and name != "none", "the name is taken")
            names.add(name)

        need(re.search("[\x00-\x08\x0b-\x1f\x7f]", line) is None, "a control character")
        words = [word for word in re.split("[ \t]+", line) if word]
        if not words or words[0].startswith("#"):
            continue
        shown_to_be = re.sub("[ \t]", "", line)
        need(NOT_IN_NAMES.search(shown_to_be.replace("+", "")) is None, "a character that does not show")
        keyword, rest = words[0], words[1:]
        if keyword == "log":
            key = parse_vkey(rest[0], 1) if 1 <= len(rest) <= 2 else None
            need(key is not None and key[1] not in [raw for _, raw in policy.logs], "not a log's key, or listed already")
            policy.logs.append(key)
        elif keyword == "witness":
            key = parse_vkey(rest[1], 4) if 2 <= len(rest) <= 3 else None
            need(key is not None and key[1] not in [raw for _, _, raw in policy.witnesses], "not a witness's key")
            define(rest[0])
            policy.witnesses.append((rest[0], key[0], key[1]))
        elif keyword == "anchor":
            # The location is the rest of the line: folders have spaces in their names.
            parts = line.strip(" \t").split(None, 3) if len(rest) >= 3 else []
            need(len(parts) == 4 and re.match(r"[a-z][a-z0-9-]{0,31}\Z", rest[1]), "write: anchor NAME KIND LOCATION")
            define(rest[0])
            policy.anchors.append((rest[0], rest[1], parts[3]))
        elif keyword == "group":
            need(len(rest) >= 3, "write: group NAME all|any|K MEMBER")
            members = rest[2:]
            count = {"all": str(len(members)), "any": "1"}.get(rest[1], rest[1])
            need(re.match(r"[1-9][0-9]{0,3}\Z", count) and int(count) <= len(members), "not a number of members")
            for member in members:
                need(member in names and member not in grouped, "a member that is not defined, or in a group already")
                grouped.add(member)
            define(rest[0])
            policy.groups.append((rest[0], int(count), members))
        elif keyword == "quorum":
            quorums += 1
            need(quorums == 1 and len(rest) == 1 and (rest[0] == "none" or rest[0] in names), "not a quorum")
            policy.quorum = None if rest[0] == "none" else rest[0]
        else:
            need(False, "an unknown word")
        lists = (policy.logs, policy.witnesses, policy.anchors, policy.groups)
        need(all(len(one) <= POLICY_LINES_MAX for one in lists), "too many lines of a kind")
    if quorums != 1:
        raise Malformed("the policy file has no quorum line")
    return policy


# ---- Statements about keys and restores ----------------------------------------------------------------------------


def follow_key_statements(notes, deployment):
    """The keys of the good chain, oldest first: {raw key: [number, atMs, revoked at or None]}; and how many follow."""
    keys, current, previous, followed = {}, None, "0" * 64, 0
    for number, text in enumerate(notes[:PROOF_LINES_MAX]):
        try:
            note = parse_note(text)
            lines = note.text[:-1].split("\n")
            if len(lines) != 7 or lines[0] != tag("log-key") or lines[1] != deployment or decimal(lines[2]) != number:
                break
            key, at_ms = from_base64(lines[5]), decimal(lines[6])
        except Malformed:
            break
        if lines[3] != previous or key is None or len(key) != 32 or public_key_point(key) is None:
            break

        def signed(raw):
            return raw is not None and note.times_signed(deployment, 1, raw) != []

        kind = lines[4]
        if kind == "root" and number == 0 and signed(key):
            keys[key], current = [number, at_ms, None], key
        elif kind == "rotate" and key not in keys and signed(current) and signed(key):
            keys[key], current = [number, at_ms, None], key
        elif kind == "revoke" and key in keys and key != current and keys[key][2] is None and signed(current):
            keys[key][2] = at_ms
        else:
            break
        previous = sha256(note.text.encode("utf-8")).hex()
        followed += 1
    return keys, followed


class LogKeys:
    """Which signatures of the log count."""

    def __init__(self, deployment, tenant, policy, statements):
        chain, self.followed = follow_key_statements(statements, deployment)
        self.pinned = policy is not None
        pins = policy.pinned_for(deployment, tenant) if policy is not None else []
        trusted = not self.pinned or any(raw in pins for raw in chain)
        self.keys = {raw: None for raw in pins}
        if trusted:
            self.keys.update({raw: revoked for raw, (_, _, revoked) in chain.items()})
        self.signers = {}

    def signer(self, checkpoint):
        """The raw key that signed it, or None."""
        whole = checkpoint.note.whole
        if whole not in self.signers:
            good = [raw for raw in self.keys if checkpoint.note.times_signed(checkpoint.origin, 1, raw)]
            self.signers[whole] = good[0] if good else None
        return self.signers[whole]


def restore_text(data):
    fields = (tag("restore"), data["previousOrigin"], data["incarnation"], data["size"], data["root"])
    return "".join("%s\n" % one for one in fields + (data["lostSize"], data["lostRoot"], data["atMs"]))


def is_restore(data):
    return (
        all(is_count(data.get(name)) for name in ("incarnation", "size", "lostSize", "atMs"))
        and all(matches(HEX64, data.get(name)) for name in ("root", "lostRoot"))
        and isinstance(data.get("previousOrigin"), str)
        and parse_origin(data["previousOrigin"]) is not None
        and from_base64url(data.get("key"), 32) is not None
        and from_base64url(data.get("signature"), 64) is not None
    )


# ---- Bundle --------------------------------------------------------------------------------------------------------


def read_lines(stream):
    """Whole lines, bounded; (number, bytes without the line feed)."""
    number = 0
    while True:
        line = stream.readline(LINE_BYTES_MAX + 1)
        if line == b"":
            return
        number += 1
        if not line.endswith(b"\n"):
            raise Malformed("line %d does not end, or is too long" % number)
        yield number, line[:-1]


def parse_line(number, line):
    try:
        value = parse_json(line.decode("utf-8"))
    except (UnicodeDecodeError, Malformed):
        raise Malformed("line %d is not JSON in UTF-8" % number)
    if not isinstance(value, dict):
        raise Malformed("line %d is not a JSON object" % number)
    return value


FORMATS = ("countersign.bundle.v1", "countersign.bundle.v2")


def read_header(value):
    """Of either version; one of version 1 is read as a range whose head is its last entry."""
    members = {"format", "deployment", "tenant", "from", "to", "head", "bodies", "exportedAtMs"}
    second = value.get("format") == FORMATS[1]
    if second:
        members = members | {"selection"} | ({"about"} & set(value))
    good = (
        set(value) == members
        and value["format"] in FORMATS
        and is_text(value["deployment"], 256)
        and matches(UUID, value["tenant"])
        and is_count(value["from"])
        and (is_count(value["to"]) or value["to"] == -1)
        and value["to"] >= value["from"] - 1
        and value["bodies"] in ("included", "withheld")
        and is_count(value["exportedAtMs"])
    )
    if good and second:
        head = value["head"]
        good = value["selection"] in ("range", "entries") and is_head(head, head is None)
        good = good and value["to"] <= (head["seq"] if head is not None else -1) and is_about(value.get("about", {}))
    elif good:
        good = is_head(value["head"], value["to"] < value["from"])
    if not good:
        raise Malformed("the header is not one of %s" % " or ".join(FORMATS))
    return dict(value, version=2 if second else 1, selection=value.get("selection", "range"))


def is_about(value):
    return (
        isinstance(value, dict)
        and len(value) <= 8
        and all(len(name) <= 40 and is_text(text, 1024) and is_well_formed(text) for name, text in value.items())
    )


def read_hashes(value):
    if not isinstance(value, list) or len(value) > HASHES_MAX or not all(matches(HEX64, one) for one in value):
        raise Malformed("not a list of hashes")
    return [bytes.fromhex(one) for one in value]


class Proofs:
    """The lines between header and entries: edge, key statements, checkpoints, in this order."""

    def __init__(self):
        self.edge, self.statements, self.checkpoints, self.consistency, self.bytes = None, [], [], {}, 0

    def take(self, value, header, length):
        self.bytes += length
        if self.bytes > PROOF_BYTES_MAX:
            raise Malformed("the proofs are too large")
        names = set(value)
        if names == {"edge"}:
            wanted = bin(header["from"]).count("1")
            self.need(self.edge is None and not self.statements and not self.checkpoints, "an edge out of place")
            self.edge = read_hashes(value["edge"])
            self.need(header["selection"] == "range" and len(self.edge) == wanted, "an edge of another size")
        elif names == {"keyStatement"} and isinstance(value["keyStatement"], str):
            self.need(not self.checkpoints and len(self.statements) < PROOF_LINES_MAX, "a key statement out of place")
            self.statements.append(value["keyStatement"])
        elif names in ({"checkpoint"}, {"checkpoint", "consistency"}) and isinstance(value["checkpoint"], str):
            self.need(len(self.checkpoints) < PROOF_LINES_MAX, "too many checkpoints")
            checkpoint = parse_checkpoint(value["checkpoint"])
            of = parse_origin(checkpoint.origin)
            mine = of is not None and of[:2] == (header["deployment"], header["tenant"])
            ascending_sizes = not self.checkpoints or checkpoint.size >= self.checkpoints[-1].size
            self.need(mine and ascending_sizes, "a checkpoint of another ledger, or out of order")
            beyond = header["selection"] == "range" and checkpoint.size > header["to"] + 1
            self.need(beyond == ("consistency" in value), "a checkpoint beyond the range needs its proof, others none")
            if beyond:
                self.consistency[checkpoint.size] = read_hashes(value["consistency"])
            self.checkpoints.append(checkpoint)
        else:
            raise Malformed("not an entry, edge, key statement or checkpoint")

    @staticmethod
    def need(good, why):
        if not good:
            raise Malformed(why)


def is_head(head, empty):
    if empty or head is None:
        return empty and head is None
    return (
        isinstance(head, dict)
        and set(head) == {"seq", "hash", "timeMs"}
        and is_count(head["seq"])
        and matches(HEX64, head["hash"])
        and is_count(head["timeMs"])
    )


def check_entry_form(number, value, header):
    members = {"seq", "timeMs", "prev", "hash", "contentHash", "content"}
    if header["selection"] == "entries":
        members = members | {"proof"}
        read_hashes(value.get("proof"))
    good = (
        set(value) - {"body"} == members
        and is_count(value["seq"])
        and value["seq"] < MAX_SAFE
        and is_count(value["timeMs"])
        and all(isinstance(value[name], str) and utf16_length(value[name]) == 64 for name in ("prev", "hash", "contentHash"))
        and (value["content"] is None or (is_text(value["content"], CONTENT_MAX) and is_well_formed(value["content"])))
    )
    if good and "body" in value:
        body = value["body"]
        good = (
            header["bodies"] == "included"
            and isinstance(body, dict)
            and set(body) == {"salt", "text"}
            and isinstance(body["salt"], str)
            and isinstance(body["text"], str)
            and is_well_formed(body["text"])
        )
    if not good:
        raise Malformed("line %d is not an entry" % number)


# ---- Verification --------------------------------------------------------------------------------------------------


class Verifier:
    def __init__(self, tenant, header=None, proofs=None, trust=None):
        self.tenant, self.header, self.proofs = tenant, header, proofs or Proofs()
        self.trust = trust or Trust()
        head = header["head"] if header is not None else None
        self.selected = header is not None and header["selection"] == "entries"
        self.first = header["from"] if header is not None and not self.selected else 0
        self.last = header["to"] if header is not None and not self.selected else -1
        self.head_hash = head["hash"] if head is not None and head["seq"] == self.last else None
        self.version = header["version"] if header is not None else 2
        self.reaches_end = not self.selected and (self.version == 1 or self.last == (head["seq"] if head else -1))
        self.read_at_ms = header["exportedAtMs"] if header is not None else 0
        self.next = self.first
        self.edge = RightEdge() if self.first == 0 else None
        if self.proofs.edge is not None:
            self.edge = RightEdge(self.first, self.proofs.edge)
        self.anchors = self.trust.anchors_of(header["deployment"], tenant) if header is not None else []
        claimed = self.proofs.checkpoints + [one for view in self.anchors for one, _ in view.checkpoints]
        self.wanted = {one.size for one in claimed} | {self.last + 1}
        self.roots = {}
        self.differs = [None] * len(self.anchors)
        self.damaged_from = None
        self.notes = []
        self.gone = {"content": [], "body": []}
        self.pruned, self.restores = [], []
        self.complete, self.undecided = None, False
        self.note_root()
        self.before = None  # {"seq", "time", "computed", "stored"}
        self.missing = []  # [first, last] of each gap
        self.votes = Votes(tenant)
        self.findings = []
        self.total = 0
        self.tampered = False
        self.entries = 0
        self.good_votes = 0
        self.unchecked_votes = 0
        self.bodies = 0

    def find(self, name, seq, why):
        self.total += 1
        self.tampered = self.tampered or name != "MALFORMED"
        if name in CHAIN_DAMAGE and seq is not None:
            before = seq - 1 if name == "LINK_BROKEN" and seq > self.first else seq
            self.damaged_from = before if self.damaged_from is None else min(before, self.damaged_from)
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append({"class": name, "seq": seq, "detail": why})

    def take(self, entry):
        self.entries += 1
        seq, content = entry["seq"], entry["content"]
        holds = False
        if content is None:
            self.miss("content", seq)
        elif content_hash(content) != entry["contentHash"]:
            self.find("CONTENT_MISMATCH", seq, "the content is not the one that was hashed")
        else:
            holds = True
        if self.selected:
            self.take_selected(entry)
        else:
            self.take_place(entry)
        if holds:
            self.take_meaning(seq, content, entry.get("body"))

    def miss(self, what, seq):
        """Gone; an entry that says so comes later. Kept as ranges."""
        ranges = self.gone[what]
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1][1] = seq
        elif len(ranges) < RANGES_MAX:
            ranges.append([seq, seq])

    def take_selected(self, entry):
        """An entry of a selection stands for itself: in the tree of the last checkpoint line."""
        seq = entry["seq"]
        computed = entry_hash(self.tenant, seq, entry["timeMs"], entry["prev"], entry["contentHash"])
        if seq < self.next:
            self.find("DUPLICATE_SEQ" if seq == self.next - 1 else "ORDER_BROKEN", seq, "out of order")
        if computed != entry["hash"]:
            self.find("LINK_BROKEN", seq, "the stored hash is not that of the entry")
        tree = self.proofs.checkpoints[-1]
        proof = [bytes.fromhex(one) for one in entry["proof"]]
        if not inclusion_holds(seq, tree.size, bytes.fromhex(computed), proof, tree.root):
            self.find("LINK_BROKEN", seq, "its proof does not lead to the root of %d entries" % tree.size)
        if self.before is not None and self.before["seq"] == seq - 1 and self.before["computed"] != entry["prev"]:
            self.find("LINK_BROKEN", seq, "does not follow entry %d" % (seq - 1))
        self.before = {"seq": seq, "time": entry["timeMs"], "computed": computed, "stored": entry["hash"]}
        self.next = max(self.next, seq + 1)

    def follow(self, seq, leaf_hash):
        """The tree up to the entry, and the leaf hashes that anchors kept."""
        for place, view in enumerate(self.anchors):
            kept = view.leaf(seq) if self.differs[place] is None else None
            if kept is not None and kept != leaf_hash:
                self.differs[place] = seq
        if self.edge is not None and self.edge.size == seq:
            self.edge.append(leaf_hash)
            self.note_root()

    def note_root(self):
        if self.edge is not None and self.edge.size in self.wanted:
            self.roots[self.edge.size] = self.edge.root()

    def take_place(self, entry):
        seq, time_ms, prev = entry["seq"], entry["timeMs"], entry["prev"]
        computed = entry_hash(self.tenant, seq, time_ms, prev, entry["contentHash"])
        if seq < self.next:
            return self.take_earlier(seq, computed, entry["hash"])
        if seq > self.next:
            self.close()
            self.gap(self.next, seq - 1)
            self.before = None
        elif self.before is not None:
            if time_ms < self.before["time"]:
                self.find("TIME_REGRESSION", seq, "%d after %d" % (time_ms, self.before["time"]))
            if prev != self.before["computed"]:
                self.find("LINK_BROKEN", seq, "does not follow entry %d: one of the two was altered" % (seq - 1))
            elif self.before["computed"] != self.before["stored"]:
                self.find("COLUMN_MISMATCH", seq - 1, "the stored hash is not that of the entry")
        elif seq == 0 and prev != "0" * 64:
            self.find("LINK_BROKEN", seq, "the first entry follows something")
        self.before = {"seq": seq, "time": time_ms, "computed": computed, "stored": entry["hash"]}
        self.next = seq + 1
        self.follow(seq, bytes.fromhex(computed))

    def take_earlier(self, seq, computed, stored):
        for gap in self.missing:
            if gap[0] <= seq <= gap[1]:
                self.find("ORDER_BROKEN", seq, "entry %d comes late" % seq)
                if computed != stored:
                    self.find("LINK_BROKEN", seq, "the stored hash is not that of the entry")
                return
        self.find("DUPLICATE_SEQ", seq, "entry %d comes again" % seq)

    def gap(self, first, last):
        self.find("GAP", first, "missing up to %d" % last)
        if len(self.missing) < 10000:
            self.missing.append([first, last])

    def close(self):
        """An entry without successor: its stored hash must be the computed one."""
        if self.before is not None and self.before["computed"] != self.before["stored"]:
            self.find("LINK_BROKEN", self.before["seq"], "the stored hash is not that of the entry")

    def take_meaning(self, seq, text, body):
        try:
            content = parse_content(text)
        except Malformed as error:
            return self.find("MALFORMED", seq, str(error))
        outcome = self.votes.take(seq, content)
        if outcome == "good":
            self.good_votes += 1
        elif outcome == "unchecked" and (self.first > 0 or self.selected):
            self.unchecked_votes += 1
        elif outcome is not None:
            self.find("VOTE_FORGED", seq, "the key was never enrolled" if outcome == "unchecked" else outcome)
        self.take_record(seq, content)
        if body is not None:
            self.check_body(seq, content, body)
        elif self.version == 2 and self.header["bodies"] == "included" and "body" in content:
            self.miss("body", seq)

    def take_record(self, seq, content):
        """Entries by which the ledger speaks of itself."""
        action, data = content["action"], content["data"]
        if action == "subject.erased":
            seqs = data.get("seqs")
            if not isinstance(seqs, list) or not all(is_count(one) and one < seq for one in seqs):
                return self.find("MALFORMED", seq, "an erasure names no earlier entries")
            self.excuse("body", seq, sorted(set(seqs)))
        elif action == "ledger.pruned":
            if not is_count(data.get("upTo")) or data["upTo"] > seq or not isinstance(data.get("archive"), str):
                return self.find("MALFORMED", seq, "a pruning names no end and no archive")
            self.prune(seq, data)
        elif action == "ledger.restored":
            if not is_restore(data):
                return self.find("MALFORMED", seq, "not a whole restore statement")
            root = self.edge.root() if self.edge is not None and data["size"] == seq == self.edge.size - 1 else None
            self.restores.append((seq, data, root))

    def excuse(self, what, by, seqs):
        kept, found = [], 0
        for first, last in self.gone[what]:
            inside = [one for one in seqs if first <= one <= last]
            found += len(inside)
            for one in inside:
                if first < one:
                    kept.append([first, one - 1])
                first = one + 1
            if first <= last:
                kept.append([first, last])
        self.gone[what] = kept
        if found:
            self.notes.append({"class": "ERASED", "seq": None, "by": by, "detail": "%d bodies erased" % found})

    def prune(self, by, data):
        end, found = data["upTo"], 0
        for what in ("content", "body"):
            ranges = self.gone[what]
            found += sum(min(last + 1, end) - first for first, last in ranges if first < end)
            self.gone[what] = [[max(first, end), last] for first, last in ranges if last >= end]
        if found:
            why = "contents before entry %d were pruned; the archive's SHA-256 is %s" % (end, data["archive"][:64])
            self.notes.append({"class": "PRUNED", "seq": 0, "by": by, "detail": why})

    def settle(self):
        """What is gone and no entry excused."""
        for what in ("content", "body"):
            for first, last in self.gone[what]:
                if self.reaches_end:
                    self.find("ERASED_WITHOUT_ENTRY", first, "the %s is gone up to entry %d, and no entry says so" % (what, last))
                else:
                    self.notes.append({"class": "ERASED", "seq": first, "detail": "the %s is gone; its entry is not here" % what})

    def check_body(self, seq, content, body):
        self.bodies += 1
        expected = content.get("body", {}).get("commitment")
        salt = bytes.fromhex(body["salt"]) if matches(HEX64, body["salt"]) else None
        if salt is None or commitment(salt, body["text"]) != expected:
            return self.find("REFERENCE_MISMATCH", seq, "the body is not the one committed to")
        try:
            parse_canonical(body["text"])
        except Malformed as error:
            self.find("MALFORMED", seq, "body: %s" % error)

    def end(self, digest_holds):
        if not self.selected:
            self.close()
            if self.next <= self.last:
                self.gap(self.next, self.last)
            elif self.before is not None and self.before["seq"] == self.last and self.head_hash not in (None, self.before["computed"]):
                self.find("LINK_BROKEN", self.last, "not the head the header names")
        self.settle()
        judgement = Judgement(self)
        judgement.judge()
        self.complete = judgement.completeness()
        self.undecided = judgement.is_selection_undecided()
        if not digest_holds and self.total == 0:
            self.find("CONTENT_MISMATCH", None, "the bundle's bytes are not those its last line names")
            if self.complete["status"] == "shown":
                self.complete["status"] = "not_shown"
        if self.entries == 0 and self.total == 0 and not self.undecided:
            self.complete["status"] = "not_shown"  # nothing is there that could hold


# ---- What is known elsewhere ---------------------------------------------------------------------------------------

CHAIN_DAMAGE = ("GAP", "DUPLICATE_SEQ", "ORDER_BROKEN", "LINK_BROKEN", "COLUMN_MISMATCH", "TIME_REGRESSION")


class AnchorView:
    """What one anchor holds of a ledger: [(checkpoint, received ms)] ascending by size, and leaf hashes."""

    def __init__(self, name, kind, location):
        self.name, self.kind, self.location = name, kind, location
        self.checkpoints, self.unreadable, self.tiles, self.read_tile = [], None, {}, None

    def leaf(self, seq):
        if self.read_tile is None:
            return None
        index, place = divmod(seq, 256)
        if index not in self.tiles:
            self.tiles = {index: self.read_tile(index)}
        hashes = self.tiles[index]
        return hashes[place * 32 : place * 32 + 32] if hashes is not None and len(hashes) >= place * 32 + 32 else None


class Trust:
    """What the verifier brings along."""

    def __init__(self, policy=None, require_anchored=False):
        self.policy, self.require_anchored = policy, require_anchored

    def anchors_of(self, deployment, tenant):
        named = self.policy.anchors if self.policy is not None else []
        return [read_anchor(name, kind, location, deployment, tenant) for name, kind, location in named]


def read_anchor(name, kind, location, deployment, tenant):
    view = AnchorView(name, kind, location)
    if kind not in ("file", "git"):
        view.unreadable = "this program does not know the kind %s" % kind
        return view
    read = read_from_folder(location) if kind == "file" else read_from_git(location)
    try:
        # The name of an origin's folder: as encodeURIComponent writes it.
        folder = "%s/%s" % (deployment, tenant)
        names = [one for one in read("") if one == quoted(folder) or one.startswith(quoted(folder + "/"))]
        for one in names:
            view.checkpoints += parse_records(read(one + "/checkpoints"))
        view.checkpoints.sort(key=lambda pair: pair[0].size)
        del view.checkpoints[ANCHORED_MAX:]
        if len(names) == 1:
            view.read_tile = lambda index: newest_tile(read, names[0], index)
    except (OSError, Malformed, ValueError) as error:
        view.unreadable = str(error)
    return view


def quoted(text):
    kept = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()")
    return "".join(c if c in kept else "".join("%%%02X" % byte for byte in c.encode("utf-8")) for c in text)


def read_from_folder(location):
    def read(path):
        full = os.path.join(location, path)
        if path == "" or path.endswith("/"):
            return os.listdir(full)
        with open(full, "rb") as file:
            return file.read(64 * 1024 * 1024)

    return read


def read_from_git(location):
    def git(*words):
        command = ["git", "-c", "core.hooksPath=/dev/null", "-C", location] + list(words)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        if done.returncode != 0:
            raise OSError(done.stderr.decode("utf-8", "replace").strip()[:200])
        return done.stdout

    def read(path):
        if path == "" or path.endswith("/"):
            return git("ls-tree", "--name-only", "-z", "HEAD:" + path.rstrip("/")).decode("utf-8").rstrip("\0").split("\0")
        return git("cat-file", "blob", "HEAD:" + path)

    return read


def parse_records(data):
    """Each note after a line with its length and when it was received."""
    records, at = [], 0
    while at < len(data):
        end = data.find(b"\n", at)
        found = re.match(rb"(0|[1-9][0-9]{0,6}) (0|[1-9][0-9]{0,15})\Z", data[at:end]) if end >= 0 else None
        if found is None:
            break  # a record that was being written
        length = int(found.group(1))
        text = data[end + 1 : end + 1 + length]
        if len(text) < length:
            break
        records.append((parse_checkpoint(text.decode("utf-8")), int(found.group(2))))
        at = end + 1 + length
    return records


def newest_tile(read, folder, index):
    """The leaf tile of a number, the widest there is."""
    groups = ["%03d" % (index % 1000)]
    while index >= 1000:
        index //= 1000
        groups.insert(0, "x%03d" % (index % 1000))
    path = "%s/tile/0/%s" % (folder, "/".join(groups))
    try:
        return read(path)
    except OSError:
        pass
    try:
        widths = [int(one) for one in read(path + ".p/") if re.match(r"[1-9][0-9]{0,2}\Z", one)]
        return read("%s.p/%d" % (path, max(widths))) if widths else None
    except OSError:
        return None


class Claim:
    """One origin, size and root, and who holds a checkpoint of it."""

    def __init__(self, checkpoint, incarnation):
        self.origin, self.size, self.root, self.incarnation = checkpoint.origin, checkpoint.size, checkpoint.root, incarnation
        self.notes, self.own, self.held, self.state, self.trust = [], False, [], "unknown", None


class Judgement:
    """Holds what was read against the bundle's checkpoints and the anchors."""

    def __init__(self, verifier):
        self.v = verifier
        self.policy = verifier.trust.policy
        self.deployment = verifier.header["deployment"]
        self.keys = LogKeys(self.deployment, verifier.tenant, self.policy, verifier.proofs.statements)
        self.sees_all = verifier.first == 0 and not verifier.selected
        self.claims = self.collect() if verifier.version == 2 or self.policy is not None else []
        self.restores = [one for one in verifier.restores if self.restore_holds(*one)]
        newest = max([data["incarnation"] for _, data, _ in self.restores] or [0])
        if not self.sees_all:
            newest = max([newest] + [one.incarnation for one in self.claims if one.own and self.trusts(one) == "trusted"])
        self.incarnation = newest
        for claim in self.claims:
            claim.state = self.compare(claim)

    def collect(self):
        claims = {}
        listed = [(one, None, None) for one in self.v.proofs.checkpoints]
        for place, view in enumerate(self.v.anchors):
            listed += [(one, place, at_ms) for one, at_ms in view.checkpoints]
        for checkpoint, place, at_ms in listed:
            of = parse_origin(checkpoint.origin)
            if of is None or of[:2] != (self.deployment, self.v.tenant):
                continue
            claim = claims.setdefault((checkpoint.origin, checkpoint.size, checkpoint.root), Claim(checkpoint, of[2]))
            claim.notes.append(checkpoint)
            claim.own = claim.own or place is None
            if place is not None:
                claim.held.append((place, at_ms))
        return sorted(claims.values(), key=lambda claim: claim.size)

    def restore_holds(self, by, data, root):
        """Stated of this ledger, true of it as far as can be seen, and signed by a key that counts."""
        if parse_origin(data["previousOrigin"])[:2] != (self.deployment, self.v.tenant):
            return False
        raw = from_base64url(data["key"], 32)
        if raw not in self.keys.keys or data["size"] > by:
            return False
        for known in (root, self.v.roots.get(data["size"])):
            if known is not None and known.hex() != data["root"]:
                return False
        point, signature = public_key_point(raw), from_base64url(data["signature"], 64)
        if point is None or not signature_verifies(raw, point, restore_text(data).encode("utf-8"), signature):
            return False
        return self.keys.keys[raw] is None or any(
            one.size > by and self.compare_roots(one) == "agrees" and self.trusts(one) == "trusted" for one in self.claims
        )

    def compare(self, claim):
        plain = self.compare_roots(claim)
        if claim.incarnation >= self.incarnation or plain in ("agrees", "unknown"):
            return plain
        if not self.sees_all:
            return "unknown"
        later = [data for _, data, _ in self.restores if data["incarnation"] > claim.incarnation]
        if not later or claim.size <= min(data["size"] for data in later):
            return plain
        direct = [data for data in later if parse_origin(data["previousOrigin"])[2] == claim.incarnation]
        return "lost" if not direct or claim.size <= direct[0]["lostSize"] else plain

    def compare_roots(self, claim):
        v = self.v
        if v.selected:
            tree = v.proofs.checkpoints[-1]
            return "unknown" if tree.size != claim.size else ("agrees" if tree.root == claim.root else "contradicts")
        if claim.size > v.next:
            proof = v.proofs.consistency.get(claim.size)
            if proof is None or not claim.own:
                return "ahead"
            root = v.roots.get(v.next)
            if root is None or (v.damaged_from is not None and v.damaged_from < v.next):
                return "unknown"
            if not consistency_holds(v.next, root, claim.size, claim.root, proof):
                return "contradicts"
            return "ahead" if v.reaches_end else "agrees"
        root = v.roots.get(claim.size)
        if root is None:
            return "unknown"
        if root == claim.root:
            return "agrees"
        return "unknown" if v.damaged_from is not None and claim.size > v.damaged_from else "contradicts"

    def cosigned_ms(self, claim, name, raw):
        times = [time for note in claim.notes for time in note.note.times_signed(name, 4, raw)]
        return min(times) * 1000 if times else None

    def trusts(self, claim):
        """trusted, revoked, undecided or untrusted."""
        if claim.trust is None:
            claim.trust = self.ask_trust(claim)
        return claim.trust

    def ask_trust(self, claim):
        if self.policy is not None and not self.policy.pinned(claim.origin):
            return "untrusted"
        order = ["trusted", "undecided", "revoked", "untrusted"]
        return min((self.trusts_note(claim, note) for note in claim.notes), key=order.index)

    def trusts_note(self, claim, note):
        signer = self.keys.signer(note)
        if signer is None:
            return "untrusted"
        revoked = self.keys.keys[signer]
        if revoked is None:
            return "trusted"
        cosigned = self.cosigned_first(claim)
        times = [at_ms for _, at_ms in claim.held] + ([cosigned] if cosigned is not None else [])
        if times and min(times) < revoked:
            return "trusted"
        return "undecided" if cosigned is None else "revoked"

    def cosigned_first(self, claim):
        witnesses = self.policy.witnesses if self.policy is not None else []
        times = [self.cosigned_ms(claim, name, raw) for _, name, raw in witnesses]
        times = [time for time in times if time is not None]
        return min(times) if times else None

    def judge(self):
        self.check_equivocation()
        self.check_own_keys()
        trusted = [claim for claim in self.claims if self.trusts(claim) == "trusted"]
        outside = [claim for claim in trusted if claim.held]
        own = [claim for claim in trusted if claim.own]
        for claims in (outside, own):
            contradicting = [claim for claim in claims if claim.state == "contradicts"]
            if contradicting:
                return self.diverged(contradicting[0], claims, own if claims is outside else [])
        self.check_end(outside, own)
        for by, data, _ in self.restores:
            lost = "entries %d to %d were given up" % (data["size"], data["lostSize"] - 1)
            self.v.notes.append({"class": "RESTORED", "seq": by, "incarnation": data["incarnation"], "detail": lost})

    def check_equivocation(self):
        seen = {}
        for claim in self.claims:
            if self.trusts(claim) != "trusted":
                continue
            other = seen.setdefault((claim.origin, claim.size), claim)
            if other is not claim:
                self.v.find("EQUIVOCATION", None, "two signed trees of %d entries" % claim.size)

    def check_own_keys(self):
        trusted_up_to = 0
        for claim in self.claims:
            if not claim.own or not self.keys.keys:
                continue
            trust = self.trusts(claim)
            if trust == "trusted":
                trusted_up_to = claim.size
            elif trust == "untrusted":
                return self.v.find("KEY_UNTRUSTED", trusted_up_to, "a checkpoint of %d entries signed by no key that counts" % claim.size)
            elif trust == "revoked" and not self.is_covered(claim):
                return self.v.find("KEY_REVOKED", claim.size, "a checkpoint signed after its key was revoked")

    def is_covered(self, claim):
        """Signed too late, and yet nothing is wrong: a later checkpoint that counts has the same tree."""
        return claim.state == "agrees" and any(
            other.size >= claim.size and other.state == "agrees" and self.trusts(other) == "trusted" for other in self.claims)

    def diverged(self, differs, claims, own):
        agrees = max([self.v.first] + [one.size for one in claims if one.state == "agrees" and one.size < differs.size])
        leaves = [one for one in self.v.differs if one is not None and agrees <= one < differs.size]
        first = min(leaves) if leaves else None
        supports = any(one.state == "agrees" and one.size > (first if first is not None else differs.size - 1) for one in own)
        where = "entry %d is the first that differs" % first if first is not None else "between %d and %d" % (agrees, differs.size)
        self.v.find("ANCHOR_MISMATCH" if supports else "HISTORY_REWRITTEN", agrees if first is None else first, where)

    def check_end(self, outside, own):
        if not self.v.reaches_end:
            return
        ahead = [claim for claim in outside if claim.state == "ahead"]
        held = [claim for claim in ahead if self.is_held_against(claim)]
        if len(held) < len(ahead):
            self.v.notes.append({"class": "ANCHOR_AHEAD", "seq": None, "detail": "an anchor holds more than this older bundle"})
        known = held or [claim for claim in own if claim.state == "ahead"]
        if known:
            size = known[-1].size
            self.v.find("TRUNCATED", self.v.next, "have=%d anchored=%d" % (self.v.next, size))

    def is_held_against(self, claim):
        if any(at_ms + 1000 < self.v.read_at_ms for _, at_ms in claim.held):
            return True
        cosigned = self.cosigned_first(claim)
        return cosigned is not None and cosigned + 10000 < self.v.read_at_ms

    def is_selection_undecided(self):
        """A selection stands on its checkpoint alone."""
        if not self.v.selected:
            return False
        size = self.v.proofs.checkpoints[-1].size
        of = [one for one in self.claims if one.own and one.size == size and one.state == "agrees"]
        return any(self.trusts(one) == "undecided" for one in of)

    def note_unknown_keys(self):
        """An anchor holds later checkpoints of another or a longer ledger, by keys that no statement brings."""
        if self.policy is None or not self.keys.keys:
            return False
        for place, view in enumerate(self.v.anchors):
            later = []
            for claim in self.claims:
                if not any(where == place for where, _ in claim.held):
                    continue
                later = later + [claim] if self.trusts(claim) == "untrusted" else []
            covered = [one for one in later if one.state in ("ahead", "contradicts") and self.policy.pinned(one.origin)]
            if any(self.is_held_against(one) for one in covered):
                why = "anchor %s holds later checkpoints signed by a key that is not known" % view.name
                self.v.notes.append({"class": "KEY_UNKNOWN", "seq": None, "detail": why})
                return True
        return False

    def completeness(self):
        v, policy = self.v, self.policy
        unknown = self.note_unknown_keys()
        confirmed = {}
        good = [claim for claim in self.claims if claim.state == "agrees" and self.trusts(claim) == "trusted"]
        for claim in good:
            for place, _ in claim.held:
                confirmed[v.anchors[place].name] = claim.size
            for name, key_name, raw in policy.witnesses if policy is not None else []:
                if self.cosigned_ms(claim, key_name, raw) is not None:
                    confirmed[name] = claim.size
        if policy is not None and policy.quorum is not None:
            anchored = policy.quorum_size(confirmed)
        else:
            anchored = max(confirmed.values()) if confirmed else None
        size = v.proofs.checkpoints[-1].size if v.selected else v.next
        covered = max(min(anchored or 0, size), v.first)
        unanchored = 0 if v.selected and anchored is not None else max(0, size - covered)
        keys_matter = policy is None or bool(self.keys.keys)
        own_word = v.trust.require_anchored and policy is None
        demanded = v.trust.require_anchored or unknown or (policy is not None and (policy.quorum is not None or not keys_matter))
        beyond = any(claim.state == "ahead" and claim.held for claim in self.claims)
        whole = unanchored == 0 and not (beyond and v.reaches_end)
        enough = anchored is not None and (not v.trust.require_anchored or whole)
        shown_to_be = enough and not unknown and keys_matter and not own_word and v.total == 0
        status = "not_demanded" if not demanded else "shown" if shown_to_be else "not_shown"
        return {"status": status, "anchored": anchored, "unanchored": unanchored}


# ---- Reading a bundle ----------------------------------------------------------------------------------------------


def verify_bundle(stream, demanded_tenant, trust=None):
    """(header or None, verifier); findings are in the verifier."""
    digest = hashlib.sha256()
    header, verifier, proofs, ended, digest_holds = None, None, Proofs(), False, False

    def begin():
        """The first line that is no proof."""
        made = Verifier(demanded_tenant or header["tenant"], header, proofs, trust)
        if header["tenant"] != made.tenant:
            made.find("FOREIGN_ENTRY", None, "the bundle is of tenant %s" % header["tenant"])
        if header["selection"] == "entries" and not proofs.checkpoints:
            raise Malformed("a selection without a checkpoint")
        return made

    try:
        for number, line in read_lines(stream):
            if ended:
                raise Malformed("something follows the last line")
            value = parse_line(number, line)
            if header is None:
                header = read_header(value)
            elif "sha256" in value:
                if set(value) != {"entries", "sha256"} or not is_count(value["entries"]) or not matches(HEX64, value["sha256"]):
                    raise Malformed("line %d is not a last line" % number)
                verifier = verifier or begin()
                ended = True
                digest_holds = value["sha256"] == digest.hexdigest() and value["entries"] == verifier.entries
            elif "seq" not in value and header["version"] == 2:
                if verifier is not None:
                    raise Malformed("line %d: a proof behind entries" % number)
                proofs.take(value, header, len(line))
            else:
                check_entry_form(number, value, header)
                verifier = verifier or begin()
                verifier.take(value)
            digest.update(line + b"\n")
        if not ended:
            raise Malformed("the bundle is cut off: its last line is missing")
    except Malformed as error:
        verifier = verifier or Verifier(demanded_tenant or "")
        verifier.find("MALFORMED", None, str(error))
        return header, verifier
    verifier.end(digest_holds)
    return header, verifier


def verify_receipt(text, trust):
    """A verifier like that of a bundle: a receipt is a selection of one entry, of which only the hash is known."""
    index, proof, extra, checkpoint = parse_receipt(text)
    of = parse_origin(checkpoint.origin)
    if of is None:
        raise Malformed("a receipt of no ledger")
    link, tenant, seq, statements = read_extra(extra)
    proofs = Proofs()
    proofs.statements, proofs.checkpoints = statements, [checkpoint]
    header = {"version": 2, "deployment": of[0], "tenant": of[1], "selection": "entries", "from": 0, "to": -1}
    header.update({"head": None, "bodies": "withheld", "exportedAtMs": math.inf})
    verifier = Verifier(of[1], header, proofs, trust)
    if not inclusion_holds(index, checkpoint.size, sha256(b"\0" + link), proof, checkpoint.root):
        verifier.find("LINK_BROKEN", seq, "the path does not lead to the root")
    if seq != index:
        verifier.find("ORDER_BROKEN", seq, "the receipt is of another entry")
    if tenant != of[1]:
        verifier.find("FOREIGN_ENTRY", seq, "the entry was chained for another tenant")
    judgement = Judgement(verifier)
    judgement.judge()
    verifier.complete = judgement.completeness()
    why = None
    if trust.policy is None:
        why = "no policy was given, so nobody's signature on the checkpoint could be checked"
    elif judgement.keys.followed < len(statements):
        why = "key statement %d does not follow: what it said of the key is not known" % judgement.keys.followed
    elif judgement.is_selection_undecided():
        why = "the checkpoint is signed by a revoked key, and nobody says whether before the revocation"
    verifier.undecided = why is not None
    found = verifier.findings[0] if verifier.findings else None
    detail = found["detail"] if found else why or "entry %d is in the ledger of %d entries" % (index, checkpoint.size)
    name = found["class"] if found else None
    return {"class": name, "detail": detail, "completeness": verifier.complete, "exit": exit_code(verifier)}


def exit_code(verifier):
    if verifier.tampered:
        return 1
    if verifier.total > 0:
        return 4
    if verifier.undecided:
        return 3
    return 2 if verifier.complete is not None and verifier.complete["status"] == "not_shown" else 0


# ---- Vectors -------------------------------------------------------------------------------------------------------


def check_vectors(directory):
    """Computes every worked example of the document; the names of those that differ."""

    def load(name):
        with open("%s/%s" % (directory, name), encoding="utf-8") as file:
            return json.load(file)

    wrong = []

    def check(name, *pairs):
        for computed, expected in pairs:
            if computed != expected:
                wrong.append("%s: computed %s, expected %s" % (name, computed, expected))

    for name in ("entry-0.json", "entry-1.json"):
        v = load(name)
        parse_content(v["content"])
        fields = (v["tenant"], v["seq"], v["timeMs"], v["prev"], v["contentHash"])
        check(name, (content_hash(v["content"]), v["contentHash"]), (link_text(*fields), v["link"]), (entry_hash(*fields), v["hash"]))
    v = load("node.json")
    check("node.json", (sha256(b"\1" + bytes.fromhex(v["left"]) + bytes.fromhex(v["right"])).hex(), v["hash"]))
    v = load("body.json")
    check("body.json", (jcs(v["body"]), v["text"]), (commitment(bytes.fromhex(v["salt"]), v["text"]), v["commitment"]))
    v = load("row.json")
    check("row.json", (row_digest(bytes.fromhex(v["salt"]), v["row"]), v["digest"]))
    for name in ("revision", "approval"):
        v = load(name + ".json")
        digest = v.pop("digest")
        check(name + ".json", (tagged_digest(name, v), digest))
    v = load("vote.json")
    signed = vote_bytes(v["tenant"], v["changeSetId"], v["approvalDigest"], v["decision"], v["voterId"], v["atMs"])
    raw = from_base64url(v["publicKey"], 32)
    verifies = signature_verifies(raw, public_key_point(raw), signed, from_base64url(v["signature"], 64))
    check("vote.json", (signed.decode(), v["bytes"]), (verifies, True))
    with open("%s/policy.txt" % directory, "rb") as file:
        trust = Trust(parse_policy(file.read()))
    trust.policy.anchors, trust.policy.quorum = [], None
    for name in ("receipt.tlog-proof", "receipt-after-rotation.tlog-proof"):
        with open("%s/%s" % (directory, name), encoding="utf-8", newline="") as file:
            check(name, (verify_receipt(file.read(), trust)["exit"], 0))
    with open("%s/bundle.jsonl" % directory, "rb") as file:
        check("bundle.jsonl", (exit_code(verify_bundle(file, None)[1]), 0))
    return wrong


# ---- Command -------------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(64, "%s\n" % message)


def shown(text):
    """Foreign text without anything a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def main():
    parser = Parser(
        description="Verifies an exported Countersign bundle, or a receipt, without the server.",
        epilog="Exit codes: 0 integrity holds and what the policy demands is shown, 1 tampered, 2 demanded and not shown, "
        "3 could not read, 4 malformed input, 64 called wrongly.",
    )
    parser.add_argument("bundle", nargs="?", metavar="FILE", help="a bundle, or a receipt (tlog-proof)")
    parser.add_argument("--tenant", help="the tenant the bundle must be of")
    parser.add_argument("--policy", metavar="FILE", help="the auditor's own policy file: keys, witnesses, anchors, quorum")
    parser.add_argument("--require-anchored", action="store_true", help="the quorum must cover the last entry")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--vectors", metavar="DIRECTORY", help="check this program against the document's examples")
    options = parser.parse_args()
    if (options.bundle is None) == (options.vectors is None):
        parser.error("give a bundle, or --vectors")
    try:
        if options.vectors is not None:
            wrong = check_vectors(options.vectors)
            print("\n".join(wrong) if wrong else "all vectors agree")
            return 1 if wrong else 0
        trust = Trust(None if options.policy is None else read_policy(parser, options.policy), options.require_anchored)
        with open(options.bundle, "rb") as stream:
            if stream.read(22) == b"c2sp.org/tlog-proof@v1":
                stream.seek(0)
                return report_receipt(verify_receipt(stream.read(NOTE_BYTES_MAX + 1).decode("utf-8"), trust), options.json)
            stream.seek(0)
            header, verifier = verify_bundle(stream, options.tenant, trust)
    except OSError as error:
        print("could not read: %s" % error, file=sys.stderr)
        return 3
    except (Malformed, UnicodeDecodeError) as error:
        print("malformed: %s" % shown(error), file=sys.stderr)
        return 4
    report(header, verifier, options.json)
    return exit_code(verifier)


def read_policy(parser, path):
    try:
        with open(path, "rb") as file:
            return parse_policy(file.read(POLICY_BYTES_MAX + 1))
    except (OSError, Malformed, UnicodeDecodeError) as error:
        parser.error("the policy cannot be used: %s" % shown(error))


def report_receipt(result, as_json):
    if as_json:
        print(json.dumps(result))
    else:
        verdict = result["class"] or {0: "ok", 2: "not shown", 3: "undecided"}[result["exit"]]
        print("%s: %s" % (verdict, shown(result["detail"])))
    return result["exit"]


def report(header, verifier, as_json):
    code = exit_code(verifier)
    integrity = {0: "ok", 1: "tampered", 2: "ok", 3: "undecided", 4: "undecided"}[code]
    findings = sorted(verifier.findings, key=lambda finding: -1 if finding["seq"] is None else finding["seq"])
    if as_json:
        summary = {
            "integrity": integrity,
            "tenant": verifier.tenant,
            "entries": verifier.entries,
            "first": findings[0] if findings else None,
            "findings": findings,
            "findingsTotal": verifier.total,
            "votes": {"checked": verifier.good_votes, "unchecked": verifier.unchecked_votes},
            "bodies": {"checked": verifier.bodies},
            "completeness": verifier.complete,
            "notes": verifier.notes,
        }
        print(json.dumps(summary))
        return
    print("integrity     %s" % integrity)
    empty = code == 2 and verifier.entries == 0
    print("completeness  %s" % ("not shown: there are no entries in it" if empty else completeness_text(verifier.complete)))
    print("tenant        %s" % shown(verifier.tenant))
    print("entries       %d, from %s" % (verifier.entries, header["from"] if header else "?"))
    if verifier.before is not None:
        print("head          %d %s" % (verifier.before["seq"], verifier.before["computed"]))
    print("votes         %d good, %d unchecked" % (verifier.good_votes, verifier.unchecked_votes))
    print("bodies        %d checked" % verifier.bodies)
    for note in verifier.notes[:20]:
        print("note %s: %s" % (note["class"], shown(note["detail"])))
    for finding in findings[:20]:
        place = "" if finding["seq"] is None else " seq=%d" % finding["seq"]
        print("%s%s: %s" % (finding["class"], place, shown(finding["detail"])))
    if verifier.total > 20:
        print("… %d findings in all" % verifier.total)


def completeness_text(complete):
    if complete is None:
        return "not looked at"
    if complete["status"] == "not_demanded":
        return "not demanded: no policy, or one that asks for nothing; compare the head with one you noted out of the server's reach"
    return "%s: confirmed up to %s entries, %d later ones are not" % (
        complete["status"].replace("_", " "),
        "no" if complete["anchored"] is None else complete["anchored"],
        complete["unanchored"],
    )


if __name__ == "__main__":
    sys.exit(main())
