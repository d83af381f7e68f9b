"""What the format is made of: integers, fields, checksums, key derivation, AEAD, codecs."""

import ctypes
import ctypes.util
import hashlib
import hmac
import os

import aesgcm

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    AESGCM = None
if os.environ.get("LOCKFAST_READER_PURE"):
    AESGCM = None
try:
    from compression import zstd as _zstd  # Python 3.14
except ImportError:
    try:
        import zstandard as _zstd
    except ImportError:
        _zstd = None


class Damaged(Exception):
    """An object is not what the format says; the text names it."""


# What decoding can raise on bytes that are authentic and yet not what they should be.
MALFORMED = (KeyError, IndexError, ValueError, OverflowError)


class WrongKey(Damaged):
    """A key file is not the one that an object was wrapped by."""


class Cursor:
    """Reads encoded values one after the other; every shortage is damage."""

    def __init__(self, data):
        self.data, self.pos = data, 0

    def done(self):
        return self.pos == len(self.data)

    def take(self, n):
        if n > len(self.data) - self.pos:
            raise Damaged("ends early")
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def rest(self):
        return self.take(len(self.data) - self.pos)

    def integer(self, n):
        return int.from_bytes(self.take(n), "little")

    def reserved(self, n):
        if any(self.take(n)):
            raise Damaged("reserved bytes are not zero")

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.integer(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if value >> 64 or (shift and not byte):
            raise Damaged("integer is too large or not in its shortest form")
        return value

    def varint(self):
        value = self.uvarint()
        return value >> 1 ^ -(value & 1)

    def bytes(self):
        return self.take(self.uvarint())


def fields(data):
    """Decodes a list of fields (section 10) to the values of each tag, in order."""
    cursor, out, last = Cursor(data), {}, 0
    while not cursor.done():
        tag = cursor.uvarint()
        if tag < last:
            raise Damaged("field tags descend")
        last = tag
        out.setdefault(tag, []).append(cursor.bytes())
    return out


def whole_integer(data):
    cursor = Cursor(data)
    value = cursor.uvarint()
    if not cursor.done():
        raise Damaged("bytes follow an integer")
    return value


def time(data):
    if len(data) != 8:
        raise Damaged("time is not of 8 bytes")
    return int.from_bytes(data, "little", signed=True)


def pair(data):
    cursor = Cursor(data)
    value = cursor.bytes(), cursor.bytes()
    if not cursor.done():
        raise Damaged("bytes follow a pair")
    return value


def _castagnoli():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _castagnoli()


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 255]
    return value ^ 0xFFFFFFFF


def hkdf(secret, salt, info, n):
    key = hmac.new(salt, secret, hashlib.sha256).digest()
    out, block, i = b"", b"", 1
    while len(out) < n:
        block = hmac.new(key, block + info + bytes([i]), hashlib.sha256).digest()
        out, i = out + block, i + 1
    return out[:n]


def open_sealed(key, nonce, sealed, additional):
    """Opens AES-256-GCM; a tag that does not fit is damage."""
    if AESGCM is None:
        plain = aesgcm.open_sealed(key, nonce, sealed, additional)
    else:
        try:
            plain = AESGCM(key).decrypt(nonce, sealed, additional)
        except (InvalidTag, ValueError):
            plain = None
    if plain is None:
        raise Damaged("does not open: it was changed, or sealed under another key or name")
    return plain


def decode(codec, stored, length):
    """Decodes stored bytes; any other length than the noted one is damage."""
    if codec == 0:
        plain = stored
    elif codec == 1:
        plain = _unzstd(stored, length)
    else:
        raise Damaged("codec %d is not known" % codec)
    if len(plain) != length:
        raise Damaged("decodes to %d bytes, not to %d" % (len(plain), length))
    return plain


def _unzstd(stored, length):
    if _zstd is None:
        return _libzstd(stored, length)
    decoder = _zstd.ZstdDecompressor()
    try:
        if hasattr(decoder, "stream_reader"):
            with decoder.stream_reader(stored) as reader:
                return reader.read(length + 1)
        return decoder.decompress(stored, max_length=length + 1)
    except _zstd.ZstdError as err:
        raise Damaged("zstd: %s" % err) from err


def _libzstd(stored, length):
    library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    out = ctypes.create_string_buffer(max(length, 1))
    n = library.ZSTD_decompress(out, length, stored, len(stored))
    if library.ZSTD_isError(n):
        raise Damaged("zstd: the frame does not decode to %d bytes" % length)
    return out.raw[:n]
