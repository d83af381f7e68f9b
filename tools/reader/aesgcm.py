"""AES-256-GCM, opening only, in plain Python: for machines without `cryptography`.

Slow, and its time depends on the data: fit for getting data back, not for a
service that others can watch.
"""

import hmac
import struct


def _tables():
    exp, log, x = [0] * 256, [0] * 256, 1
    for i in range(255):
        exp[i], log[x] = x, i
        x ^= (x << 1) ^ (0x11B if x & 0x80 else 0)
    box = [0x63] * 256
    for value in range(1, 256):
        inverse = exp[-log[value] % 255]
        for turn in range(5):
            box[value] ^= (inverse << turn | inverse >> 8 - turn) & 0xFF
    first = []
    for s in box:
        double = s << 1 ^ (0x11B if s & 0x80 else 0)
        first.append(double << 24 | s << 16 | s << 8 | double ^ s)
    rotated = [[t >> r | (t << 32 - r) & 0xFFFFFFFF for t in first] for r in (0, 8, 16, 24)]
    return box, rotated


_BOX, (_T0, _T1, _T2, _T3) = _tables()


def _expand(key):
    words, constant = list(struct.unpack(">8I", key)), 1
    for i in range(8, 60):
        t = words[-1]
        if i % 8 == 0:
            t = (t << 8 | t >> 24) & 0xFFFFFFFF
        if i % 4 == 0:
            t = _BOX[t >> 24] << 24 | _BOX[t >> 16 & 255] << 16 | _BOX[t >> 8 & 255] << 8 | _BOX[t & 255]
        if i % 8 == 0:
            t ^= constant << 24
            constant <<= 1
        words.append(words[-8] ^ t)
    return [words[i:i + 4] for i in range(0, 60, 4)]


def _encrypt(rounds, block):
    a, b, c, d = (w ^ k for w, k in zip(block, rounds[0]))
    for ka, kb, kc, kd in rounds[1:-1]:
        a, b, c, d = (
            _T0[a >> 24] ^ _T1[b >> 16 & 255] ^ _T2[c >> 8 & 255] ^ _T3[d & 255] ^ ka,
            _T0[b >> 24] ^ _T1[c >> 16 & 255] ^ _T2[d >> 8 & 255] ^ _T3[a & 255] ^ kb,
            _T0[c >> 24] ^ _T1[d >> 16 & 255] ^ _T2[a >> 8 & 255] ^ _T3[b & 255] ^ kc,
            _T0[d >> 24] ^ _T1[a >> 16 & 255] ^ _T2[b >> 8 & 255] ^ _T3[c & 255] ^ kd,
        )
    ring, out = (a, b, c, d, a, b, c), []
    for i, k in enumerate(rounds[-1]):
        w, x, y, z = ring[i:i + 4]
        out.append((_BOX[w >> 24] << 24 | _BOX[x >> 16 & 255] << 16 | _BOX[y >> 8 & 255] << 8 | _BOX[z & 255]) ^ k)
    return struct.pack(">4I", *out)


def _multiples(h):
    """Returns, for each place of a byte in a block, the products of its values with h."""
    tables = []
    for _ in range(16):
        table = [0] * 256
        for bit in (128, 64, 32, 16, 8, 4, 2, 1):
            for low in range(bit, 256, 2 * bit):
                for value in range(low, low + bit):
                    table[value] ^= h
            h = h >> 1 ^ (0xE1 << 120 if h & 1 else 0)
        tables.append(table)
    return tables


def _ghash(h, *parts):
    tables, y = _multiples(h), 0
    for part in parts:
        for i in range(0, len(part), 16):
            y ^= int.from_bytes(part[i:i + 16].ljust(16, b"\0"), "big")
            product = 0
            for table, byte in zip(tables, y.to_bytes(16, "big")):
                product ^= table[byte]
            y = product
    return y


def open_sealed(key, nonce, sealed, additional):
    """Returns the plain text, or None when the tag does not fit."""
    if len(sealed) < 16:
        return None
    text, tag = sealed[:-16], sealed[-16:]
    rounds = _expand(key)
    start = struct.unpack(">3I", nonce)
    h = int.from_bytes(_encrypt(rounds, (0, 0, 0, 0)), "big")
    lengths = struct.pack(">2Q", 8 * len(additional), 8 * len(text))
    mask = int.from_bytes(_encrypt(rounds, (*start, 1)), "big")
    want = (_ghash(h, additional, text, lengths) ^ mask).to_bytes(16, "big")
    if not hmac.compare_digest(want, tag):
        return None
    stream = b"".join(_encrypt(rounds, (*start, 2 + i)) for i in range((len(text) + 15) // 16))[:len(text)]
    return (int.from_bytes(text, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(text), "big")
