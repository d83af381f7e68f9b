"""An independent reader of the store, written from docs/format.md alone.

It lists the recovery points of a vault and restores one with nothing but the
store's directory and the root key file: no server, no control database, no code
of the program that wrote the store. It writes nothing into the store. Python 3.9
or later; with the packages `cryptography` and `zstandard` it is faster.

STORE is the directory of a store, or of one vault in it. Not restored: inode
flags, times of birth, access times. Streams are not read, parity is not used to
repair. Owners are restored by number, and only for root.

Exit status: 0 all is well, 1 something is damaged or missing (each named on
standard error, the rest is done), 2 nothing could be done.
"""

import argparse
import datetime
import json
import os
import sys

import state
from index import Index
from primitive import MALFORMED, Damaged
from restore import DRIVERS
from store import Report, RootKey, Vault
from tree import Point, printable, refset
from verify import verify


def _arguments():
    parser = argparse.ArgumentParser(
        prog="reader", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "list": "print one line per recovery point: id, time, driver, entries, bytes, state, resource, ARN, class",
        "states": "print what the states of the vault and of its recovery points say, as JSON by the tags of section 14",
        "restore": "restore a recovery point to a directory that is empty or new",
        "verify": "open every object and compare every digest and id",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("store", help="directory of the store, or of one vault in it")
        command.add_argument("key", help="root key file")
        command.add_argument("--cold", help="directory of the store of cold packs, or of one vault in it, as STORE")
        if name == "restore":
            command.add_argument("point", help="id of the recovery point, 32 hex digits")
            command.add_argument("target", help="directory to restore to")
    return parser.parse_args()


def _vaults(store):
    """Returns the directories of vaults: those that hold a format object."""
    def is_vault(path):
        return os.path.isdir(path) and any(n.split(".")[0] == "format" for n in os.listdir(path))

    if not os.path.isdir(store):
        raise Damaged("%s is not a directory" % store)
    if is_vault(store):
        return [store]
    below = [os.path.join(store, name) for name in sorted(os.listdir(store))]
    found = [path for path in below if is_vault(path)]
    if not found:
        raise Damaged("%s: there is no vault in it" % store)
    return found


def _points(vault):
    """Returns the manifests, oldest first; one whose refset names a missing pack does not count."""
    packs = {name[-32:] for name in vault.names["pack"]}
    points = []
    for point in sorted({groups[0] for groups in vault.names["manifest"].values()}):
        opened, name = vault.newest(vault.generations("manifest", point), lambda name: Point(vault, name))
        if opened is None:
            continue
        try:
            points.append(opened)
            missing = sorted(refset(vault, point) - packs)
            if missing:
                points[-1].state = "INCOMPLETE"
                vault.report.damage(name, "packs of its refset are missing: %s" % ", ".join(missing))
        except Damaged as err:
            vault.report.damage(name, err)
        except MALFORMED as err:
            vault.report.damage(name, "malformed: %r" % err)
    moved = {p.warm for p in points if p.state != "INCOMPLETE"}
    points = [p for p in points if p.id not in moved]
    return sorted(points, key=lambda p: (p.created, p.id))


def _line(point, created, *columns):
    when = datetime.datetime.fromtimestamp(created // 10**9, datetime.timezone.utc)
    print("\t".join((point, when.strftime("%Y-%m-%dT%H:%M:%SZ"), *(str(c) or "-" for c in columns))))


def _list(vault, _arguments):
    for p in _points(vault):
        _line(p.id, p.created, p.driver, p.entries, p.size, p.state, p.resource, p.arn, "COLD" if p.warm else "WARM")
        for path, reason in p.skipped:
            vault.report.note("%s: skipped by the backup: %s: %s" % (p.id, printable(path), printable(reason)))
        if p.further:
            vault.report.note("%s: %d further items were skipped by the backup" % (p.id, p.further))
    for point, found in state.groups(vault):
        _line(point, found.get(state.CREATED, 0), "", 0, found.get(state.SIZE, 0), found.get(state.STATUS, ""),
              found.get(state.RESOURCE, ""), found.get(state.ARN, ""), "GROUP")
    return True


def _states(vault, _arguments):
    found = {point: state.newest(vault, point) for point in (state.VAULT, *(p.id for p in _points(vault)))}
    found.update(state.groups(vault))
    print(json.dumps({point: values for point, values in found.items() if values}, indent=2))
    return True


def _restore(vault, arguments):
    for point in _points(vault):
        if point.id != arguments.point:
            continue
        if point.driver not in DRIVERS:
            raise Damaged("%s: driver %s is not known" % (point.id, point.driver))
        driver = DRIVERS[point.driver](Index(vault), point, arguments.target)
        driver.run()
        if driver.restored != point.entries:
            vault.report.damage(point.name, "%d of %d entries restored" % (driver.restored, point.entries))
        return True
    return False


def _verify(vault, _arguments):
    points = _points(vault)
    verify(vault, Index(vault), points)
    return True


def main():
    arguments = _arguments()
    report, done = Report(sys.stderr), False
    act = {"list": _list, "states": _states, "restore": _restore, "verify": _verify}[arguments.command]
    try:
        key = RootKey(arguments.key)
        for path in _vaults(arguments.store):
            try:
                cold = arguments.cold
                if cold and path != arguments.store:
                    cold = os.path.join(cold, os.path.basename(path))
                done = act(Vault(path, key, report, cold), arguments) or done
            except Damaged as err:
                report.damage(path, err)
    except (Damaged, OSError) as err:
        print("reader: %s" % err, file=sys.stderr)
        return 2
    if not done:
        print("reader: nothing found to %s" % arguments.command, file=sys.stderr)
        return 2
    return 1 if report.seen else 0


if __name__ == "__main__":
    sys.exit(main())
