#!/usr/bin/env python3
"""Makes the vectors of this directory, and reads them: an implementation of its own, in Python.

make.py writes the files; make.py --check opens every vector and compares. Both need python3-cryptography.
"""
import base64
import hashlib
import json
import re
import sys
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).parent
FAMILIES = {}
PASSPHRASE = "correct horse battery staple"
MEMBERS = ["v", "alg", "kdf", "salt", "iv", "ciphertext", "tag", "meta"]


def b64(data):
    return base64.b64encode(data).decode()


def derive(passphrase, salt):
    password = passphrase.encode()
    return hashlib.scrypt(password, salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32)


def seal(name, value, passphrase=PASSPHRASE, iv=12, salt=16, **meta):
    """An envelope. Its salt, IV and id are made of the name, so that the same vectors are the same bytes;
    whoever encrypts a key takes random ones."""
    stream = hashlib.shake_256(name.encode()).digest(salt + iv + 24)
    salt, iv, key_id = stream[:salt], stream[salt : salt + iv], stream[salt + iv :]
    sealed = AESGCM(derive(passphrase, salt)).encrypt(iv, value, None)
    return {
        "v": 1,
        "alg": "aes-256-gcm",
        "kdf": "scrypt",
        "salt": b64(salt),
        "iv": b64(iv),
        "ciphertext": b64(sealed[:-16]),
        "tag": b64(sealed[-16:]),
        "meta": {
            "id": base64.urlsafe_b64encode(key_id).decode(),
            "provider": "openai",
            "label": "Prod",
            "createdAt": "2026-01-02T03:04:05.678Z",
        }
        | meta,
    }


def add(family, name, envelope, expect="ok", value="sk-value", passphrase=PASSPHRASE, id=None, label=None, end=None):
    """A vector: an envelope, or the text or the bytes of a file that is to be taken for one."""
    vector = {"name": name, "id": id, "passphrase": passphrase}
    if isinstance(envelope, dict):
        vector["id"] = id or envelope["meta"]["id"]
        vector["file"] = json.dumps(envelope, ensure_ascii=False) + "\n"
    elif isinstance(envelope, str):
        vector["file"] = envelope
    else:
        vector["base64"] = b64(envelope)
    if end:
        vector["end"], vector["times"] = end
    vector["id"] = vector["id"] or "a" * 32
    vector["expect"] = expect
    if expect == "ok":
        vector |= {"value": value, "label": label or envelope["meta"]["label"]}
    FAMILIES.setdefault(family, []).append(vector)


def flip(text, bit):
    data = bytearray(base64.b64decode(text))
    data[bit // 8] ^= 1 << (bit % 8)
    return b64(data)


def make():
    def good(name, value="sk-value", passphrase=PASSPHRASE, **meta):
        envelope = seal(name, value.encode(), passphrase, **meta)
        add("good", name, envelope, value=value, passphrase=passphrase)

    good("a value of one byte", "x")
    good("a value of 64 KiB", "0123456789abcdef" * 4096)
    good("a value of two lines", "first\nsecond\n")
    good("a value with NUL, ESC and DEL", "a\0b\x1bc\x7f")
    good("a value of four-byte characters", "\U0001f511" * 5)
    good("a value that begins with a byte order mark", "\ufeffsk-value")
    good("an empty passphrase", passphrase="")
    good("a passphrase of one character", passphrase="x")
    good("a passphrase of blanks", passphrase=" " * 16)
    good("a passphrase in NFC", passphrase="p\u00e4ssword-p\u00e4ssword")
    good("a passphrase in NFD", passphrase="pa\u0308ssword-pa\u0308ssword")
    good("a passphrase of a kibibyte", passphrase="0123456789abcdef" * 64)
    good("an id of 20 characters", id="-_" * 10)
    good("an id of 40 characters", id="Az09" * 10)
    good("a provider of 2 characters", provider="ab")
    good("a provider of 32 characters", provider="a" + "9-_z" * 7 + "abc")
    good("the first moment", createdAt="1970-01-01T00:00:00.000Z")
    good("the last moment", createdAt="9999-12-31T23:59:59.999Z")
    good("a leap day", createdAt="2024-02-29T23:59:59.000Z")

    base = seal("wrong passphrase", b"sk-value", "p\u00e4ssword-p\u00e4ssword")
    for name, passphrase in [
        ("another passphrase", "another passphrase"),
        ("another case", "P\u00e4ssword-p\u00e4ssword"),
        ("a newline at the end", "p\u00e4ssword-p\u00e4ssword\n"),
        ("a blank at the end", "p\u00e4ssword-p\u00e4ssword "),
        ("NFD in place of NFC", "pa\u0308ssword-pa\u0308ssword"),
        ("one character less", "p\u00e4ssword-p\u00e4sswor"),
        ("none", ""),
    ]:
        add("wrong-passphrase", name, base, "decryption_failed", passphrase=passphrase)

    base, other = (seal(f"changed bytes {n}", b"sk-value") for n in (1, 2))
    for member, bits in [("salt", (0, 127)), ("iv", (0, 95)), ("ciphertext", (0, 63)), ("tag", (0, 127))]:
        for bit in bits:
            changed = base | {member: flip(base[member], bit)}
            add("changed-bytes", f"bit {bit} of {member}", changed, "decryption_failed")
        changed = base | {member: other[member]}
        add("changed-bytes", f"the {member} of another envelope", changed, "decryption_failed")
    data = base64.b64decode(base["ciphertext"])
    for name, ciphertext in [
        ("a ciphertext that is a byte short", data[:-1]),
        ("a ciphertext that is a byte long", data + b"\0"),
        ("a ciphertext with the tag behind it", data + base64.b64decode(base["tag"])),
    ]:
        add("changed-bytes", name, base | {"ciphertext": b64(ciphertext)}, "decryption_failed")
    # Version 1 authenticates the value and nothing else.
    renamed = base | {"meta": base["meta"] | {"label": "Another", "provider": "google"}}
    add("changed-bytes", "another label and provider", renamed)
    moved = base | {"meta": base["meta"] | {"id": "another-id-of-this-file"}}
    add("changed-bytes", "another id, and the file named after it", moved)

    base = seal("shape", b"sk-value")
    text = json.dumps(base)
    key_id = base["meta"]["id"]

    def shape(name, file, expect="corrupt_envelope", end=None):
        add("shape", name, file, expect, id=key_id, label="Prod", end=end)

    for name, file in [
        ("an empty file", ""),
        ("null", "null"),
        ("an array", "[]"),
        ("an empty object", "{}"),
        ("an envelope in an array", f"[{text}]"),
        ("an envelope in a string", json.dumps(text)),
        ("a file cut in the middle", text[: len(text) // 2]),
        ("a file cut before its last brace", text[:-1]),
        ("one brace too many", text + "}"),
        ("two envelopes", text + "\n" + text),
        ("a byte order mark before it", "\ufeff" + text),
        ("a NUL behind it", text + "\0"),
        ("a comma before the last brace", text[:-1] + ",}"),
        ("single quotes", text.replace('"', "'")),
        ("a comment", "// an envelope\n" + text),
    ]:
        shape(name, file)
    shape("200,000 open brackets", "", end=("[", 200_000))
    shape("256 KiB with the blanks behind it", text, "ok", end=(" ", 2**18 - len(text)))
    shape("one blank more than that", text, end=(" ", 2**18 - len(text) + 1))
    shape("blanks, tabs and newlines between all", re.sub(r"([{}:,])(?= |\{|\"|\}|$)", "\r\n\t \\1 ", text), "ok")
    backwards = {member: base[member] for member in reversed(MEMBERS)}
    shape("the members in another order", json.dumps(backwards), "ok")
    shape("escapes for letters", text.replace("aes-256", "\\u0061es-256").replace('"meta"', '"\\u006deta"'), "ok")
    shape("bytes that are not UTF-8", text.encode().replace(b"Prod", b"Pr\xffd"))
    shape("UTF-16", text.encode("utf-16"))
    for member in MEMBERS:
        without = {name: value for name, value in base.items() if name != member}
        shape(f"no {member}", json.dumps(without))
        shape(f"{member} is null", json.dumps(base | {member: None}))
        shape(f"{member} is an array", json.dumps(base | {member: [base[member]]}))
        shape(f"{member} is a number", json.dumps(base | {member: 7}))
        shape(f"{member.upper()} in upper case", json.dumps(without | {member.upper(): base[member]}))
    for v in ["2", "0", "-1", '"1"', "true", "1e99", "18446744073709551617"]:
        shape(f"v is {v}", text.replace('"v": 1', f'"v": {v}'))
    for alg in ["aes-128-gcm", "AES-256-GCM", "aes-256-gcm ", ""]:
        shape(f"alg is {alg!r}", json.dumps(base | {"alg": alg}))
    for kdf in ["argon2id", "SCRYPT", ""]:
        shape(f"kdf is {kdf!r}", json.dumps(base | {"kdf": kdf}))

    base = seal("base64", b"sk-value!")
    tag = base["tag"]
    for name, member, changed in [
        ("no padding", "tag", tag.rstrip("=")),
        ("one padding character of two", "tag", tag[:-1]),
        ("one padding character too many", "tag", tag + "="),
        ("padding in the middle", "tag", tag[:4] + "==" + tag[4:]),
        ("the alphabet of base64url", "tag", "-_" + tag[2:]),
        ("a blank before it", "tag", " " + tag),
        ("a newline behind it", "tag", tag + "\n"),
        ("a newline within it", "ciphertext", base["ciphertext"][:4] + "\n" + base["ciphertext"][4:]),
        ("a character of no alphabet", "ciphertext", "!" + base["ciphertext"][1:]),
        ("a character that is not ASCII", "ciphertext", "\u00e4" + base["ciphertext"][1:]),
        ("bits that the padding leaves over", "tag", tag[:-3] + chr(ord(tag[-3]) + 1) + "=="),
        ("hexadecimal", "iv", base64.b64decode(base["iv"]).hex()),
    ]:
        add("base64", name, base | {member: changed}, "corrupt_envelope")

    base = seal("lengths", b"sk-value")
    for member, lengths in [
        ("salt", (0, 15, 17, 32)),
        ("iv", (0, 11, 13, 16)),
        ("tag", (0, 12, 15, 17)),
        ("ciphertext", (0, 65537)),
    ]:
        for length in lengths:
            changed = base | {member: b64(bytes(length))}
            add("lengths", f"{member} of {length} bytes", changed, "corrupt_envelope")
    # These would open, if an implementation allowed their lengths.
    add("lengths", "sealed with an IV of 16 bytes", seal("long iv", b"sk-value", iv=16), "corrupt_envelope")
    add("lengths", "sealed with a salt of 32 bytes", seal("long salt", b"sk-value", salt=32), "corrupt_envelope")
    add("lengths", "an empty value, sealed", seal("empty", b""), "corrupt_envelope")
    add("lengths", "a value that is not UTF-8", seal("not text", b"sk-\xff"), "corrupt_envelope")
    add("lengths", "a value that is half a surrogate pair", seal("half", b"\xed\xa0\x80"), "corrupt_envelope")

    base = seal("meta", b"sk-value")
    bad = {
        "id": ["", "a" * 19, "a" * 41, "../../../../etc/passwd0", "a" * 20 + ".", "a" * 20 + "/", "\u00e4" * 20, "a" * 20 + "\n"],
        "provider": ["", "a", "OpenAI", "1password", "-a", "open ai", "a" * 33, "\u00f6penai", "a.b"],
        "label": ["", "x" * 65, "\U0001f510" * 65],
        "createdAt": [
            "", "2026-01-02", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.67Z", "2026-01-02T03:04:05.6789Z",
            "2026-01-02 03:04:05.678Z", "2026-01-02T03:04:05.678+00:00", "2026-01-02t03:04:05.678z",
            "2026-13-02T03:04:05.678Z", "2026-02-30T03:04:05.678Z", "2026-01-02T24:00:00.000Z",
            "2026-01-02T03:04:60.678Z", "1969-12-31T23:59:59.999Z", " 2026-01-02T03:04:05.678Z", "+010000-01-01T00:00:00.000Z",
        ],
    }
    for member, texts in bad.items():
        for text in texts:
            changed = base | {"meta": base["meta"] | {member: text}}
            shown = text if len(text) < 33 else f"{text[0]} times {len(text)}"
            add("meta", f"{member} is {shown!r}", changed, "corrupt_envelope", id=base["meta"]["id"])
        for text in [None, 7, ["x"]]:
            changed = base | {"meta": base["meta"] | {member: text}}
            add("meta", f"{member} is {text!r}", changed, "corrupt_envelope", id=base["meta"]["id"])
        without = {name: value for name, value in base["meta"].items() if name != member}
        add("meta", f"no {member}", base | {"meta": without}, "corrupt_envelope", id=base["meta"]["id"])
    add("meta", "the id of another file", base, "corrupt_envelope", id="b" * 32)
    add("meta", "the id in another case", base, "corrupt_envelope", id=base["meta"]["id"].swapcase())

    base = seal("unknown members", b"sk-value")
    moment = "2026-06-07T08:09:10.111Z"
    for name, members in [
        ("rotatedAt and expiresAt", {"rotatedAt": moment, "expiresAt": moment}),
        ("rotatedAt and expiresAt are null", {"rotatedAt": None, "expiresAt": None}),
        ("expiresAt is in the past", {"expiresAt": "1999-01-01T00:00:00.000Z"}),
        ("expiresAt is no time", {"expiresAt": "never", "rotatedAt": 7}),
        ("lastUsedAt, tags and a note", {"lastUsedAt": moment, "tags": ["a", "b"], "note": "\u00fc\n"}),
        ("names of JavaScript's", {"__proto__": {"label": "x"}, "constructor": None, "toString": 1}),
        ("an empty name", {"": ""}),
    ]:
        add("unknown-members", "in meta: " + name, base | {"meta": base["meta"] | members})
    deep = json.loads("[" * 100 + "]" * 100)
    for name, members in [
        ("a list, a number and an object", {"x": [1, -2.5e3, True, None], "n": 1e300, "o": {"v": 2}}),
        ("meta's members", {"id": "b" * 32, "label": "another"}),
        ("100 arrays in one another", {"deep": deep}),
        ("rotatedAt", {"rotatedAt": moment}),
        ("names in upper case", {"V": 2, "Meta": None}),
    ]:
        add("unknown-members", "beside meta: " + name, base | members)
    add("unknown-members", "beside meta: before all", {"aad": "x", "version": 2} | base)

    base = seal("labels", b"sk-value")

    def label(name, text, written=None, read=None):
        file = json.dumps(base | {"meta": base["meta"] | {"label": "@"}}, ensure_ascii=False)
        file = file.replace('"@"', written or json.dumps(text)) + "\n"
        add("labels", name, file, id=base["meta"]["id"], label=read or text)

    label("64 characters of four bytes each", "\U0001f510" * 64)
    label("written as it is, not escaped", "\u00dc \U0001f510", '"\u00dc \U0001f510"')
    label("every control character", "".join(map(chr, [*range(32), *range(127, 159)])))
    label("a terminal's escape sequences", "\x1b[2J\x1b]0;x\x07\x9b31m")
    label("lines", "first\nsecond\r\nthird\u2028\u2029\u0085")
    label("text that is turned round", "a\u202eb\u2066c\u200fd")
    label("a byte order mark, a soft hyphen and tags", "\ufeffa\u00adb\U000e0041")
    label("blanks alone", " \u00a0\u3000")
    label("quotes and backslashes", "\"'`\\/$(x) {} %s")
    label("characters that no plane has", "\ufffe\uffff\U0010ffff")
    label("escapes in both cases", "\u00e9\u00e9", '"\\u00E9\\u00e9"')
    label("a pair of surrogates", "\U0001f600", '"\\uD83D\\ude00"')
    # JavaScript writes half a pair as an escape; U+FFFD is read in its place.
    half = "\ufffd"
    label("the first half of a pair", None, '"a\\ud83d"', "a" + half)
    label("the second half of a pair", None, '"\\ude00a"', half + "a")
    label("the halves the wrong way round", None, '"\\ude00\\ud83d"', half * 2)
    label("two first halves and a second one", None, '"\\ud83d\\ud83d\\ude00"', half + "\U0001f600")
    label("a half before another escape", None, '"\\ud83d\\n\\u0041"', half + "\nA")
    label("64 halves", None, '"' + "\\udfff" * 64 + '"', half * 64)
    label("a backslash before what looks like a half", "\\ud83d", '"\\\\ud83d"')
    label("a half behind a backslash", None, '"\\\\\\ud83d"', "\\" + half)


def read(vector):
    """What an implementation makes of the file: the value and the label, or the code of an error."""
    data = vector["file"].encode() if "file" in vector else base64.b64decode(vector["base64"])
    data += (vector.get("end", "") * vector.get("times", 0)).encode()
    if len(data) > 2**18:
        return "corrupt_envelope"
    try:
        envelope = json.loads(data.decode("utf-8"), parse_constant=str)
        meta, sealed = envelope["meta"], {}
        for member, lengths in {"salt": [16], "iv": [12], "ciphertext": range(1, 65537), "tag": [16]}.items():
            sealed[member] = base64.b64decode(envelope[member], validate=True)
            assert b64(sealed[member]) == envelope[member] and len(sealed[member]) in lengths
        # A pair in two escapes is one character, and half of one is U+FFFD.
        label = meta["label"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert type(envelope["v"]) is int and envelope["v"] == 1
        assert (envelope["alg"], envelope["kdf"]) == ("aes-256-gcm", "scrypt")
        assert re.fullmatch(r"[A-Za-z0-9_-]{20,40}", meta["id"]) and meta["id"] == vector["id"]
        assert re.fullmatch(r"[a-z][a-z0-9_-]{1,31}", meta["provider"])
        assert 1 <= len(label) <= 64
        assert re.fullmatch(r"[0-9]{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", meta["createdAt"], re.ASCII)
        assert datetime.fromisoformat(meta["createdAt"].rstrip("Z")).year >= 1970
        key = derive(vector["passphrase"], sealed["salt"])
        return AESGCM(key).decrypt(sealed["iv"], sealed["ciphertext"] + sealed["tag"], None).decode(), label
    except InvalidTag:
        return "decryption_failed"
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return "corrupt_envelope"


if sys.argv[1:] == ["--check"]:
    count = 0
    for path in sorted(HERE.glob("envelopes/*.json")):
        for vector in json.loads(path.read_text()):
            ok = vector["expect"] == "ok"
            expected = (vector["value"], vector["label"]) if ok else vector["expect"]
            found = read(vector)
            assert found == expected, f"{path.name}: {vector['name']}: {found!r:.80}"
            count += 1
    print(f"{count} vectors are as they say")
else:
    make()
    (HERE / "envelopes").mkdir(exist_ok=True)
    for family, vectors in FAMILIES.items():
        text = json.dumps(vectors, indent=1)
        (HERE / "envelopes" / f"{family}.json").write_text(text + "\n")
