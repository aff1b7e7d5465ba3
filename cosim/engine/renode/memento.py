"""A memento of Renode's own objects: what their fields hold, to be written back later into the same objects.

Renode saves an emulation by serializing all of it, which fails with objects of Python in it. This looks only at what
changes while guests run: it walks from some roots along their fields, as far as `_WALKED` goes, and keeps the values of
all fields that can change and copies of all arrays. References stay what they are, so everything outside (bus,
memories, hooks, threads, locks) is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cosim.engine.renode.host import Net

#: Namespaces whose objects are walked into; of all others only the roots are.
_WALKED = frozenset(
    {
        "System.Collections.Generic",
        "System.Collections.Concurrent",
        "System.Collections.ObjectModel",
        "Antmicro.Renode.Core",
        "Antmicro.Renode.Core.Structure.Registers",
        "Antmicro.Renode.Peripherals.IRQControllers",
        "Antmicro.Renode.Peripherals.Timers",
        "Antmicro.Renode.Time",
    }
)
_REGISTER = "Antmicro.Renode.Core.Structure.Registers.PeripheralRegister"
#: Types in them that are not: the machine as a whole, and what only describes the fields of registers.
_LEFT_OUT = ("Antmicro.Renode.Core.Machine", f"{_REGISTER}+", "Antmicro.Renode.Core.Structure.Registers.Tag")
#: Fields of such types belong to threads, which come and go with each run.
_OF_THREADS = ("System.Threading.", "System.Diagnostics.")


@dataclass(frozen=True)
class Memento:
    """What objects and arrays held."""

    objects: tuple[tuple[Net, Net, Net], ...]  # object, its fields, their values
    arrays: tuple[tuple[Net, Net], ...]  # array, copy of it

    def restore(self) -> None:
        """Write everything back. No thread of Renode may run meanwhile."""
        from System import Array
        from System.Runtime.Serialization import FormatterServices

        for target, fields, values in self.objects:
            FormatterServices.PopulateObjectMembers(target, fields, values)
        for array, copy in self.arrays:
            Array.Copy(copy, array, copy.Length)


@dataclass(frozen=True)
class _Plan:
    """What is done with the objects of one type: the fields to keep, and those whose values are walked into."""

    kept: Net  # MemberInfo[], or None for no field
    walked: Net  # likewise
    is_value: bool
    is_array: bool


class MementoMaker:
    """Makes mementos of what can be reached from `roots`, and of the numbers in `outer` objects around them."""

    def __init__(self, roots: Iterable[Net], outer: Iterable[Net]) -> None:
        self._roots = tuple(roots)
        self._plans: dict[type, _Plan | None] = {}
        for root in self._roots:
            self._plans[type(root)] = _plan(_clr_type(type(root)))
        self._outer = tuple((target, _members(_number_fields(_clr_type(type(target))))) for target in outer)

    def make(self) -> Memento:
        """The memento of now. No thread of Renode may run meanwhile."""
        from System import Array, Object
        from System.Runtime.Serialization import FormatterServices, ObjectIDGenerator

        seen = ObjectIDGenerator()
        objects = [(t, fields, FormatterServices.GetObjectData(t, fields)) for t, fields in self._outer]
        arrays: list[tuple[Net, Net]] = []
        waiting: list[Net] = list(self._roots)
        while waiting:
            target = waiting.pop()
            plan = self._plan_of(type(target))
            if plan is None or not (plan.is_value or seen.GetId(target, False)[1]):
                continue
            if plan.is_array:
                arrays.append((target, target.Clone()))
                if plan.walked is not None:
                    elements = Array[Object](target.Length)
                    Array.Copy(target, elements, target.Length)
                    waiting.extend(element for element in elements if element is not None)
                continue
            if plan.kept is not None and not plan.is_value:
                objects.append((target, plan.kept, FormatterServices.GetObjectData(target, plan.kept)))
            if plan.walked is not None:
                values = FormatterServices.GetObjectData(target, plan.walked)
                waiting.extend(value for value in values if value is not None)
        return Memento(tuple(objects), tuple(arrays))

    def _plan_of(self, kind: type) -> _Plan | None:
        if kind not in self._plans:
            clr_type = _clr_type(kind)
            self._plans[kind] = _plan(clr_type) if _is_walked(clr_type) else None
        return self._plans[kind]


def _clr_type(kind: type) -> Net:
    import clr

    return clr.GetClrType(kind)


def _plan(kind: Net) -> _Plan:
    if kind.IsArray:
        return _Plan(None, None if _is_plain(kind.GetElementType()) else True, is_value=False, is_array=True)
    if _is_register(kind):
        return _Plan(_members(_number_fields(kind)), None, is_value=False, is_array=False)
    fields = [field for field in _fields(kind) if not field.FieldType.FullName.startswith(_OF_THREADS)]
    kept = _members(field for field in fields if not field.IsInitOnly)
    walked = _members(field for field in fields if not _is_plain(field.FieldType))
    return _Plan(kept, walked, is_value=bool(kind.IsValueType), is_array=False)


def _members(fields: Iterable[Net]) -> Net:
    from System import Array
    from System.Reflection import MemberInfo

    chosen = list(fields)
    return Array[MemberInfo](chosen) if chosen else None


def _number_fields(kind: Net) -> Iterator[Net]:
    return (field for field in _fields(kind) if not field.IsInitOnly and _is_number(field.FieldType))


def _fields(kind: Net) -> Iterator[Net]:
    """All instance fields, those of the base classes too."""
    from System.Reflection import BindingFlags

    flags = BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.DeclaredOnly
    while kind is not None:
        yield from kind.GetFields(flags)
        kind = kind.BaseType


def _is_walked(kind: Net) -> bool:
    if kind.IsArray:
        return True
    name = str(kind.FullName)
    return str(kind.Namespace) in _WALKED and not name.startswith(_LEFT_OUT) and not _is_plain(kind)


def _is_register(kind: Net) -> bool:
    while kind is not None:
        if str(kind.FullName) == _REGISTER:
            return True
        kind = kind.BaseType
    return False


def _is_number(kind: Net) -> bool:
    return bool(kind.IsPrimitive or kind.IsEnum)


def _is_plain(kind: Net) -> bool:
    """Whether a value of this type refers to nothing that could be walked into."""
    from System import Delegate

    if _is_number(kind) or kind.IsPointer or str(kind.FullName) == "System.String":
        return True
    if kind.IsValueType:
        return all(_is_plain(field.FieldType) for field in _fields(kind))
    return bool(_clr_type(Delegate).IsAssignableFrom(kind))
