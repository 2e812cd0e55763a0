#!/usr/bin/env python3
"""Verifies an exported Countersign bundle. Python 3.8 or later, standard library only.

Written from docs/ledger-format.md alone, in another language than the server, so that nobody has to trust one
implementation. It shares no code with it and is meant to be read: the sections follow the document.

    python3 countersign_verify.py BUNDLE [--tenant UUID] [--json]
    python3 countersign_verify.py --vectors DIRECTORY

Exit codes: 0 integrity holds, 1 tampered, 3 could not read, 4 malformed input, 64 usage.
"""

import argparse
import base64
import hashlib
import json
import math
import re
import sys

VERSION = 1
MAX_SAFE = 2**53 - 1
LINE_BYTES_MAX = 67108864
CONTENT_MAX = 1048576
FINDINGS_MAX = 100
DEPTH_MAX = 128


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


def read_header(value):
    members = {"format", "deployment", "tenant", "from", "to", "head", "bodies", "exportedAtMs"}
    good = (
        set(value) == members
        and value["format"] == tag("bundle")
        and is_text(value["deployment"], 256)
        and matches(UUID, value["tenant"])
        and is_count(value["from"])
        and (is_count(value["to"]) or value["to"] == -1)
        and value["to"] >= value["from"] - 1
        and value["bodies"] in ("included", "withheld")
        and is_count(value["exportedAtMs"])
        and is_head(value["head"], value["to"] < value["from"])
    )
    if not good:
        raise Malformed("the header is not one of %s" % tag("bundle"))
    return value


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
    def __init__(self, tenant, first, last, head_hash):
        self.tenant, self.first, self.last, self.head_hash = tenant, first, last, head_hash
        self.next = first
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
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append({"class": name, "seq": seq, "detail": why})

    def take(self, entry):
        self.entries += 1
        seq, content = entry["seq"], entry["content"]
        holds = False
        if content is None:
            self.find("ERASED_WITHOUT_ENTRY", seq, "the content is gone")
        elif content_hash(content) != entry["contentHash"]:
            self.find("CONTENT_MISMATCH", seq, "the content is not the one that was hashed")
        else:
            holds = True
        self.take_place(entry)
        if holds:
            self.take_meaning(seq, content, entry.get("body"))

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
        elif outcome == "unchecked" and self.first > 0:
            self.unchecked_votes += 1
        elif outcome is not None:
            self.find("VOTE_FORGED", seq, "the key was never enrolled" if outcome == "unchecked" else outcome)
        if body is not None:
            self.check_body(seq, content, body)

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
        self.close()
        if self.next <= self.last:
            self.gap(self.next, self.last)
        elif self.before is not None and self.before["seq"] == self.last and self.before["computed"] != self.head_hash:
            self.find("LINK_BROKEN", self.last, "not the head the header names")
        if not digest_holds and self.total == 0:
            self.find("CONTENT_MISMATCH", None, "the bundle's bytes are not those its last line names")


def verify_bundle(stream, demanded_tenant):
    """(header or None, verifier or None); findings are in the verifier."""
    digest = hashlib.sha256()
    header, verifier, ended, digest_holds = None, None, False, False
    try:
        for number, line in read_lines(stream):
            if ended:
                raise Malformed("something follows the last line")
            value = parse_line(number, line)
            if header is None:
                header = read_header(value)
                head_hash = header["head"]["hash"] if header["head"] else None
                verifier = Verifier(demanded_tenant or header["tenant"], header["from"], header["to"], head_hash)
                if header["tenant"] != verifier.tenant:
                    verifier.find("FOREIGN_ENTRY", None, "the bundle is of tenant %s" % header["tenant"])
            elif "sha256" in value:
                if set(value) != {"entries", "sha256"} or not is_count(value["entries"]) or not matches(HEX64, value["sha256"]):
                    raise Malformed("line %d is not a last line" % number)
                ended = True
                digest_holds = value["sha256"] == digest.hexdigest() and value["entries"] == verifier.entries
            else:
                check_entry_form(number, value, header)
                verifier.take(value)
            digest.update(line + b"\n")
        if not ended:
            raise Malformed("the bundle is cut off: its last line is missing")
    except Malformed as error:
        verifier = verifier or Verifier(demanded_tenant or "", 0, -1, None)
        verifier.find("MALFORMED", None, str(error))
        return header, verifier
    verifier.end(digest_holds)
    return header, verifier


def exit_code(verifier):
    if verifier.tampered:
        return 1
    return 4 if verifier.total > 0 else 0


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
    parser = Parser(description="Verifies an exported Countersign bundle without the server.")
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("--tenant", help="the tenant the bundle must be of")
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
        with open(options.bundle, "rb") as stream:
            header, verifier = verify_bundle(stream, options.tenant)
    except OSError as error:
        print("could not read: %s" % error, file=sys.stderr)
        return 3
    report(header, verifier, options.json)
    return exit_code(verifier)


def report(header, verifier, as_json):
    code = exit_code(verifier)
    integrity = {0: "ok", 1: "tampered", 4: "undecided"}[code]
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
        }
        print(json.dumps(summary))
        return
    print("integrity     %s" % integrity)
    print("completeness  not shown: compare the head with one you noted outside the server's reach")
    print("tenant        %s" % shown(verifier.tenant))
    print("entries       %d, from %s" % (verifier.entries, header["from"] if header else "?"))
    if verifier.before is not None:
        print("head          %d %s" % (verifier.before["seq"], verifier.before["computed"]))
    print("votes         %d good, %d unchecked" % (verifier.good_votes, verifier.unchecked_votes))
    print("bodies        %d checked" % verifier.bodies)
    for finding in findings[:20]:
        place = "" if finding["seq"] is None else " seq=%d" % finding["seq"]
        print("%s%s: %s" % (finding["class"], place, shown(finding["detail"])))
    if verifier.total > 20:
        print("… %d findings in all" % verifier.total)


if __name__ == "__main__":
    sys.exit(main())
