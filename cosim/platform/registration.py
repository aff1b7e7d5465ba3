"""Where an entry sits: turns `@ …` into registrations on the system bus, or into the core it belongs to."""

from __future__ import annotations

from cosim.platform.model import Reference, Registration
from cosim.platform.place import Place
from cosim.platform.syntax import InlineObject, Point, Property, Range, Value

#: Renode's registration points and the parameters of theirs that say something here: (required, optional).
_POINTS = {
    "Bus.BusPointRegistration": (("address",), ("cpu",)),
    "Bus.BusRangeRegistration": (("address", "size"), ("cpu",)),
    "Bus.BusMultiRegistration": (("address", "size", "region"), ("cpu",)),
}
_UNDERSTOOD = (
    "an address, a range <begin, +size>, or new Bus.BusPointRegistration, Bus.BusRangeRegistration and "
    "Bus.BusMultiRegistration with address, size, region and cpu"
)
_TYPES: dict[str, type] = {"address": int, "size": int, "region": str, "cpu": Reference}


def registrations(points: tuple[Point, ...], place: Place) -> tuple[str | None, tuple[Registration, ...]]:
    """The name an entry is registered at and its places on the system bus; (None, ()) when it is registered nowhere.

    Raises `PlatformError` for a registration that is not understood; `place` is the entry.
    """
    parents = dict.fromkeys(point.register for point in points)
    if len(parents) > 1:
        raise place.error(f"registered at {' and '.join(parents)}", "register it at one of them", points[0].line)
    placed = [point for point in points if point.value is not None]
    for point in placed:
        if point.register != "sysbus":
            raise place.error(f"an address at {point.register}", "only sysbus takes an address", point.line)
    if placed and len(placed) < len(points):
        raise place.error("a registration without address beside others", "give it an address", points[0].line)
    return next(iter(parents), None), tuple(_registration(point, place) for point in placed)


def _registration(point: Point, place: Place) -> Registration:
    value = point.value
    if isinstance(value, Range):
        return Registration(value.begin, value.size)
    if isinstance(value, int) and not isinstance(value, bool):
        return Registration(value)
    kind = value.type if isinstance(value, InlineObject) else ""
    if not isinstance(value, InlineObject) or kind not in _POINTS:
        raise place.error("the registration is not understood", f"understood are {_UNDERSTOOD}", point.line)
    return _from_object(value, kind, point.line, place)


def _from_object(value: InlineObject, kind: str, line: int, place: Place) -> Registration:
    required, optional = _POINTS[kind]
    found: dict[str, Value] = {}
    for attribute in value.attributes:
        name = attribute.name if isinstance(attribute, Property) else ""
        if not isinstance(attribute, Property) or name not in (*required, *optional):
            what = f"'{name}'" if name else "an interrupt or section"
            raise place.error(f"{what} in a {kind}", f"understood are {', '.join((*required, *optional))}", line)
        if type(attribute.value) is not _TYPES[name]:
            raise place.error(
                f"'{name}' in a {kind} has a value of a wrong kind", "see the other entries", attribute.line
            )
        found[name] = attribute.value
    missing = [name for name in required if name not in found]
    if missing:
        raise place.error(f"a {kind} without {' and '.join(missing)}", "add it", line)
    cpu = found.get("cpu")
    region = found.get("region")
    return Registration(
        address=_integer(found["address"]),
        size=_integer(found["size"]) if "size" in found else None,
        cpu=cpu.name if isinstance(cpu, Reference) else None,
        region=region if isinstance(region, str) else None,
    )


def _integer(value: Value) -> int:
    return value if isinstance(value, int) else 0
