"""BLAKE3 in plain Python: the hash and the keyed hash, 32 bytes of output.

Python is slow per operation but not per bit: an integer of 64 n bits holds the
same word of n chunks, each in a lane of 64 bits of which the low 32 count, so
one pass over the rounds compresses the blocks of n chunks at once.
"""

import struct
import sys
from array import array

_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_CHUNK_START, _CHUNK_END, _PARENT, _ROOT, _KEYED = 1, 2, 4, 8, 16
_CHUNK, _BLOCK = 1024, 64
_LANES = 512

_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_MIXES = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)


def _schedule():
    rounds = [tuple(range(16))]
    while len(rounds) < 7:
        rounds.append(tuple(rounds[-1][i] for i in _PERMUTATION))
    return [[(*mix, s[2 * i], s[2 * i + 1]) for i, mix in enumerate(_MIXES)] for s in rounds]


_ROUNDS = _schedule()


def _compress(cv, words, counter, length, flags, ones):
    """Returns the 8 words of the next chaining value, in every lane of ones."""
    mask = 0xFFFFFFFF * ones
    v = list(cv) + [word * ones for word in _IV[:4]] + [counter, 0, length * ones, flags * ones]
    for steps in _ROUNDS:
        for a, b, c, d, x, y in steps:
            va = (v[a] + v[b] + words[x]) & mask
            vd = v[d] ^ va
            vd = (vd >> 16 | vd << 16) & mask
            vc = (v[c] + vd) & mask
            vb = v[b] ^ vc
            vb = (vb >> 12 | vb << 20) & mask
            va = (va + vb + words[y]) & mask
            vd ^= va
            vd = (vd >> 8 | vd << 24) & mask
            vc = (vc + vd) & mask
            vb ^= vc
            v[a], v[b], v[c], v[d] = va, (vb >> 7 | vb << 25) & mask, vc, vd
    return [v[i] ^ v[i + 8] for i in range(8)]


def _pack(lanes):
    return int.from_bytes(lanes.tobytes(), sys.byteorder)


def _unpack(value, count):
    lanes = array("Q")
    lanes.frombytes(value.to_bytes(8 * count, sys.byteorder))
    return lanes


def _ones(count):
    return _pack(array("Q", [1]) * count)


def _single(key, chunk, counter, flags, last):
    """Returns the chaining value of one chunk of any length up to a whole one."""
    cv = key
    starts = range(0, max(len(chunk), 1), _BLOCK)
    for start in starts:
        block = chunk[start:start + _BLOCK]
        f = flags | (_CHUNK_START if start == 0 else 0) | (_CHUNK_END | last if start == starts[-1] else 0)
        cv = _compress(cv, struct.unpack("<16I", block.ljust(_BLOCK, b"\0")), counter, len(block), f, 1)
    return cv


def _whole(key, data, counter, flags):
    """Returns the chaining values of whole chunks, 8 arrays with a lane each."""
    words = array("I", data)
    if sys.byteorder == "big":
        words.byteswap()
    count = len(data) // _CHUNK
    ones = _ones(count)
    cv = [word * ones for word in key]
    counters = _pack(array("Q", range(counter, counter + count)))
    for block in range(16):
        m = [_pack(array("Q", words[16 * block + i::256])) for i in range(16)]
        f = flags | (_CHUNK_START if block == 0 else 0) | (_CHUNK_END if block == 15 else 0)
        cv = _compress(cv, m, counters, _BLOCK, f, ones)
    return [_unpack(word, count) for word in cv]


def _merge(key, cvs, flags):
    """Joins neighbours in pairs; the last of an odd number rises as it is."""
    while len(cvs[0]) > 1:
        pairs = len(cvs[0]) // 2
        m = [_pack(cv[side:2 * pairs:2]) for side in (0, 1) for cv in cvs]
        ones = _ones(pairs)
        f = flags | _PARENT | (_ROOT if len(cvs[0]) == 2 else 0)
        parents = _compress([word * ones for word in key], m, 0, _BLOCK, f, ones)
        cvs = [_unpack(parent, pairs) + cv[2 * pairs:] for parent, cv in zip(parents, cvs)]
    return [cv[0] for cv in cvs]


def blake3(data, key=None):
    """Returns the 32 bytes of BLAKE3 of data, keyed when a key of 32 bytes is given."""
    flags = 0 if key is None else _KEYED
    key = _IV if key is None else struct.unpack("<8I", key)
    if len(data) <= _CHUNK:
        return struct.pack("<8I", *_single(key, data, 0, flags, _ROOT))
    cvs = [array("Q") for _ in range(8)]
    whole = len(data) // _CHUNK
    for start in range(0, whole, _LANES):
        end = min(start + _LANES, whole)
        for cv, more in zip(cvs, _whole(key, data[start * _CHUNK:end * _CHUNK], start, flags)):
            cv.extend(more)
    if len(data) % _CHUNK:
        for cv, word in zip(cvs, _single(key, data[whole * _CHUNK:], whole, flags, 0)):
            cv.append(word)
    return struct.pack("<8I", *_merge(key, cvs, flags))
