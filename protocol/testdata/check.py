"""A second reading of the golden vectors, by README.md alone and with a CBOR
library that is not ours (cbor2). It knows nothing of the Go code.

It decodes every vector that is not framed, derives the readings by the rules
of sections 7 to 10, compares them with the expectations, and writes each item
again in deterministic encoding, which must give the same bytes.
"""
import hashlib
import io
import json
import os
import struct
import sys

import cbor2

HERE = os.path.dirname(os.path.abspath(__file__))
QUALITY = {0: "good", 1: "uncertain", 2: "bad", 3: "not_read"}
TYPES = ["schema", "telemetry", "heartbeat", "dropped", "clock", "outage", "event", "reply"]
CLOCKS = ["unknown", "set", "synced", "recorded"]
checked = {}


def archive(name):
    """The vectors of a txtar archive: name, bytes, expected JSON."""
    files, current = {}, None
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        for line in f:
            if line.startswith("-- ") and line.rstrip().endswith(" --"):
                current = line.strip()[3:-3]
                files[current] = ""
            elif current:
                files[current] += line
    for key, text in files.items():
        if key.endswith(".hex"):
            yield key[:-4], bytes.fromhex("".join(text.split())), json.loads(files[key[:-4] + ".json"])


def expect(where, got, want):
    checked[where.split("/")[0]] = checked.get(where.split("/")[0], 0) + 1
    if got != want:
        sys.exit(f"{where}: got {got!r}, want {want!r}")


def sequence(data):
    """The items of a CBOR sequence (RFC 8742)."""
    f, items = io.BytesIO(data), []
    while f.tell() < len(data):
        items.append(cbor2.CBORDecoder(f).decode())
    return items


def deterministic(items):
    return b"".join(cbor2.dumps(i, canonical=True) for i in items)


def wrap(n):
    """Two's complement of 64 bits."""
    n &= 2**64 - 1
    return n - 2**64 if n >= 2**63 else n


def ranges(flat):
    out, last = [], 0
    for gap, more in zip(flat[::2], flat[1::2]):
        out.append((last + gap, last + gap + more))
        last += gap + more
    return out


def set_text(rs):
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in rs)


def ints(form, base, k):
    """Section 8.1: k integers from one of the forms of ints."""
    if isinstance(form, int):
        return [wrap(base + form)] * k
    if isinstance(form, dict):
        runs = form[0]
        form = [d for c, d in zip(runs[::2], runs[1::2]) for _ in range(c)]
    out = []
    for d in form:
        base = wrap(base + d)
        out.append(base)
    assert len(out) == k, (out, k)
    return out


def bits(f):
    return struct.unpack(">Q", struct.pack(">d", f))[0]


def widen(raw):
    """Section 7.1: the bits of the binary64 of a binary32."""
    b = raw & 0xFFFFFFFF
    sign, exponent, fraction = b >> 31, b >> 23 & 0xFF, b & 0x7FFFFF
    if exponent == 0xFF and fraction:
        return sign << 63 | 0x7FF << 52 | fraction << 29
    return bits(struct.unpack(">f", struct.pack(">I", b))[0])


def column(form, point, k):
    """The k values of a column: floats as their bits."""
    kind = point.get(3, 0)
    if kind == 3:
        return [form] * k if isinstance(form, str) else form
    if kind in (1, 2):
        out = ints(form, point.get(6, 0), k)
        return [bool(v) for v in out] if kind == 2 else out
    if isinstance(form, cbor2.CBORTag):
        assert form.tag == 86 and len(form.value) == 8 * k
        return [int.from_bytes(form.value[i : i + 8], "little") for i in range(0, 8 * k, 8)]
    if isinstance(form, dict) and 1 in form:
        return [bits(float(r) / 10.0 ** form[1]) for r in ints(form[2], 0, k)]
    raw = ints(form, point.get(6, 0), k)
    if point.get(5):
        return [widen(r) for r in raw]
    num, den, offset = (float(x) for x in point[4])
    return [bits(float(r) * num / den + offset) for r in raw]


def telemetry(body, time, schema):
    """Section 8: for each point its readings as (time, quality, reason, value)."""
    points, n = schema[1], body[2]
    groups = schema.get(2, [len(points)])
    group_of = [g for g, size in enumerate(groups) for _ in range(size)]
    items = sequence(body[3])
    assert len(items) == 1 + len(points)
    times = ints(items[0], time, n * len(groups))
    marks = [{} for _ in points]
    for point, count, quality, reason, scans in body.get(4, []):
        for p in range(point, point + count):
            for first, last in ranges(scans):
                for scan in range(first - 1, last):
                    assert scan not in marks[p]
                    marks[p][scan] = (quality, body[5][reason - 1] if reason else "")
    out = {}
    for p, point in enumerate(points):
        otherwise = 3 if items[1 + p] is None else 0
        quality = [marks[p].get(s, (otherwise, "")) for s in range(n)]
        k = sum(q < 2 for q, _ in quality)
        values = iter(column(items[1 + p], point, k) if k else [])
        out[point[1]] = [
            (times[s * len(groups) + group_of[p]], QUALITY[q], reason, next(values) if q < 2 else None)
            for s, (q, reason) in enumerate(quality)
        ]
    return out


def expected_reading(text, kind):
    """What the vectors write as "TIME QUALITY(REASON) VALUE"."""
    time, rest = text.split(" ", 1)
    quality, _, value = rest.partition(" ")
    quality, _, reason = quality.partition("(")
    if quality in ("bad", "not_read"):
        value = None
    elif kind != 0:
        value = json.loads(value)
    elif value.startswith("nan:"):
        value = int(value[4:], 16)
    else:
        value = bits(float(value))
    return int(time), quality, reason.rstrip(")"), value


def numbered(m, before):
    """Fills in what a message leaves out (section 5)."""
    return {**{k: before[k] for k in (1, 4, 6) if k in before}, **m}


def seqs_of(m):
    seqs, flat = [m[2]], m.get(9, [])[1:]
    for i in range(0, len(flat), 4):
        seqs.append(seqs[-1] + flat[i])
    rs = []
    for q in seqs:
        if rs and rs[-1][1] == q - 1:
            rs[-1] = (rs[-1][0], q)
        else:
            rs.append((q, q))
    return set_text(rs)


def check_bundle(name, data, want, schemas):
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return  # zstd is another library's matter
    messages, before = sequence(data), {}
    if not name.startswith("bundle/other-"):
        expect(name, deterministic(messages).hex(), data.hex())
    expect(name, len(messages), len(want))
    for m, w in zip(messages, want):
        if m[0] == 0:
            id = hashlib.sha256(cbor2.dumps(m[8], canonical=True)).digest()[:8]
            expect(name, id.hex(), w["id"])
            continue
        before = m = numbered(m, before)
        expect(name, f"{m[1]:016x}", w["epoch"])
        expect(name, seqs_of(m), w["seqs"])
        expect(name, (m.get(3, 0), f"{m[4]:016x}", m.get(5, 0), CLOCKS[m[6]]), (w["time"], w["boot"], w["mono"], w["clock"]))
        trace = m[7][:16].hex() if 7 in m else f"{m[1]:016x}{m[2]:016x}"
        expect(name, f"00-{trace}-{m[2]:016x}-01", w["traceparent"])
        expect(name, TYPES[m[0]] if m[0] < len(TYPES) else f"type_{m[0]}", w["type"])
        if m[0] != 1:
            continue
        schema = schemas[m[8][1]]
        got = telemetry(m[8], m.get(3, 0), schema)
        kinds = {p[1]: p.get(3, 0) for p in schema[1]}
        readings = {p: [expected_reading(t, kinds[p]) for t in r] for p, r in w["telemetry"]["readings"].items()}
        expect(name, got, readings)
        if not name.startswith("bundle/other-"):
            expect(name, deterministic(sequence(m[8][3])).hex(), m[8][3].hex())


def main():
    schemas = {}
    for name, data, want in archive("schemas.txtar"):
        (schema,) = sequence(data)
        id = hashlib.sha256(data).digest()[:8]
        expect(name, id.hex(), want["id"])
        expect(name, [p[1] for p in schema[1]], [p["Name"] for p in want["points"]])
        expect(name, deterministic([schema]).hex(), data.hex())
        schemas[id] = schema
    for name, data, want in archive("bundles.txtar"):
        check_bundle(name, data, want, schemas)
    for name, data, want in archive("bodies.txtar"):
        (body,) = sequence(data)
        expect(name, deterministic([body]).hex(), data.hex())
        if name.startswith("ack/"):
            expect(name, (f"{body[1]:016x}", set_text(ranges(body[2]))), (want["epoch"], want["committed"]))
        if name.startswith("dropped/"):
            expect(name, set_text(ranges(body[1])), want["ranges"])
    for name, data, want in archive("sets.txtar"):
        if name.startswith("set/"):
            expect(name, set_text(ranges(sequence(data)[0])), want)
    print(json.dumps(checked))


main()
