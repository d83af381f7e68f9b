"""State objects (section 14): what policy adds to data."""

from primitive import Damaged, fields, pair, time, whole_integer

VAULT = ""  # stands for the vault itself where recovery points have their ids
STATUS, ARN, RESOURCE, CREATED, FLAGS, SIZE = 3, 4, 5, 6, 11, 30
_GENERATION, _OWNER, _DAMAGED = 2, 34, 37
_MAX_DAMAGED, _MAX_DAMAGED_TEXT = 100, 65_536
_PARENT = 4


def _pairs(values):
    return {key.decode(): value.decode() for key, value in map(pair, values)}


def _texts(values):
    return [value.decode() for value in values]


def _kinds(texts, integers, times, pairs, lists=()):
    """Returns how the values of a tag are decoded."""
    one = {tag: decode for tags, decode in ((texts, bytes.decode), (integers, whole_integer), (times, time))
           for tag in tags}
    return {**{tag: lambda values, decode=decode: decode(values[0]) for tag, decode in one.items()},
            **{tag: _pairs for tag in pairs}, **{tag: _texts for tag in lists}}


_OF_VAULT = _kinds(
    texts=(3, 4, 5, 11, 12, 14, 17, 18), integers=(2, 7, 8, 10, 19), times=(6, 9), pairs=(13, 15, 16, 20))
_OF_POINT = _kinds(
    texts=(3, 4, 5, *range(15, 23), 25, 26, 27), integers=(2, 7, 8, 11, 30, 31, 38, 39),
    times=(6, 9, 10, 12, 23, 24, 32, 33, 36), pairs=(13, 14, 28, 29, 35), lists=(37,))


def read(vault, name):
    """Returns the values of a state by their tags, without the ids, which have been compared."""
    values = fields(vault.open(name))
    if name[0] == "v":
        owner, kinds, generation = values[1][0] == vault.uuid, _OF_VAULT, name[2:]
    else:
        point, _, generation = name[2:].partition("-")
        owner, kinds = values[1][0].hex() == point and values[_OWNER][0] == vault.uuid, _OF_POINT
    out = {tag: kinds[tag](found) for tag, found in values.items() if tag in kinds}
    if len(values.get(_DAMAGED, ())) > _MAX_DAMAGED or sum(map(len, values.get(_DAMAGED, ()))) > _MAX_DAMAGED_TEXT:
        raise Damaged("names more damaged paths than a state may")
    if not owner or out[_GENERATION] != int(generation):
        raise Damaged("is of another name, generation or vault")
    return out


def newest(vault, point):
    """Returns the newest state of a recovery point, or of the vault, that can be read; None if there is none."""
    names = vault.generations("vault state") if point == VAULT else vault.generations("state", point)
    return vault.newest(names, lambda name: read(vault, name))[0]


def groups(vault):
    """Yields id and state of the recovery points that have no data: their states make them exist."""
    manifests = {groups[0] for groups in vault.names["manifest"].values()}
    for point in sorted({groups[0] for groups in vault.names["state"].values()} - manifests):
        found = newest(vault, point)
        if found and found.get(FLAGS, 0) & _PARENT:
            yield point, found
