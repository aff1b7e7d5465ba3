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
#: Collections that are complete when their owner was made.
_FIXED = (
    "Antmicro.Renode.Core.Structure.Registers.BaseRegisterCollection`2",
    "System.Collections.ObjectModel.ReadOnlyDictionary`2",
)
#: Types in them that are not: the machine as a whole, and what only describes the fields of registers.
_LEFT_OUT = ("Antmicro.Renode.Core.Machine", f"{_REGISTER}+", "Antmicro.Renode.Core.Structure.Registers.Tag")
#: Fields of such types belong to threads, which come and go with each run.
_OF_THREADS = ("System.Threading.", "System.Diagnostics.")


@dataclass(frozen=True)
class _Herd:
    """Many objects of one type, which the CLR goes through by itself."""

    targets: Net  # Object[]
    read: Net  # from an object to the values of its fields
    write: Net  # puts them back


@dataclass(frozen=True)
class Memento:
    """What objects and arrays held."""

    objects: tuple[tuple[Net, Net, Net], ...]  # object, its fields, their values
    arrays: tuple[tuple[Net, Net], ...]  # array, copy of it
    herds: tuple[tuple[_Herd, Net], ...]  # with the values of each object's fields

    def restore(self) -> None:
        """Write everything back. No thread of Renode may run meanwhile."""
        from System import Array, Object
        from System.Linq import Enumerable
        from System.Runtime.Serialization import FormatterServices

        for target, fields, values in self.objects:
            FormatterServices.PopulateObjectMembers(target, fields, values)
        for array, copy in self.arrays:
            Array.Copy(copy, array, copy.Length)
        for herd, values in self.herds:
            written = Enumerable.Zip[Object, Array[Object], Object](herd.targets, values, herd.write)
            Enumerable.Count[Object](written)


@dataclass(frozen=True)
class _Plan:
    """What is done with the objects of one type: the fields to keep, and those whose values are walked into."""

    kept: Net  # MemberInfo[], or None for no field
    walked: Net  # likewise
    is_value: bool = False
    is_array: bool = False
    is_fixed: bool = False


class MementoMaker:
    """Makes mementos of what can be reached from `roots`, and of the numbers in `outer` objects around them.

    What hangs only on register collections and read-only dictionaries is there from the beginning to the end (of the
    GIC some 10,000 objects): it is walked through once.
    """

    def __init__(self, roots: Iterable[Net], outer: Iterable[Net]) -> None:
        self._roots = tuple(roots)
        self._plans: dict[type, _Plan | None] = {}
        for root in self._roots:
            self._plans[type(root)] = _plan(_clr_type(type(root)))
        self._outer = tuple((target, _members(_number_fields(_clr_type(type(target))))) for target in outer)
        self._herds: tuple[_Herd, ...] | None = None

    def make(self) -> Memento:
        """The memento of now. No thread of Renode may run meanwhile."""
        from System import Array, Object
        from System.Runtime.Serialization import FormatterServices, ObjectIDGenerator

        seen, fixed = ObjectIDGenerator(), list[Net]()
        found = [*self._outer]
        arrays: list[tuple[Net, Net]] = []
        for target, plan in self._walk(self._roots, seen, fixed):
            if plan.is_array:
                arrays.append((target, target.Clone()))
            elif plan.kept is not None:
                found.append((target, plan.kept))
        if self._herds is None:
            self._herds = tuple(self._gather(fixed, seen))
        objects = ((target, fields, FormatterServices.GetObjectData(target, fields)) for target, fields in found)
        herds = ((herd, Array.ConvertAll[Object, Array[Object]](herd.targets, herd.read)) for herd in self._herds)
        return Memento(tuple(objects), tuple(arrays), tuple(herds))

    def _walk(self, starts: Iterable[Net], seen: Net, fixed: list[Net] | None) -> Iterator[tuple[Net, _Plan]]:
        """The objects and arrays on all ways from `starts`, once each; those that are `fixed` are only listed."""
        from System import Array, Object
        from System.Runtime.Serialization import FormatterServices

        waiting = list(starts)
        while waiting:
            target = waiting.pop()
            plan = self._plan_of(type(target))
            if plan is None:
                continue
            if plan.is_fixed and fixed is not None:
                fixed.append(target)
                continue
            if not plan.is_value:
                if not seen.GetId(target, False)[1]:
                    continue
                yield target, plan
            if plan.walked is None:
                continue
            if plan.is_array:
                values = Array[Object](target.Length)
                Array.Copy(target, values, target.Length)
            else:
                values = FormatterServices.GetObjectData(target, plan.walked)
            waiting.extend(value for value in values if value is not None)

    def _gather(self, fixed: Iterable[Net], seen: Net) -> Iterator[_Herd]:
        """What hangs on the fixed collections, by type; the collections themselves do not change."""
        by_type: dict[type, list[Net]] = {}
        for target, plan in self._walk(fixed, seen, None):
            if plan.kept is not None and not _is_collection(_clr_type(type(target))):
                by_type.setdefault(type(target), []).append(target)
        for kind, targets in by_type.items():
            plan_of_kind = self._plans[kind]
            if plan_of_kind is not None:
                yield _herd(targets, plan_of_kind.kept)

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
        return _Plan(None, None if _is_plain(kind.GetElementType()) else True, is_array=True)
    if _derives(kind, _REGISTER):
        return _Plan(_members(_number_fields(kind)), None)
    fields = [field for field in _fields(kind) if not field.FieldType.FullName.startswith(_OF_THREADS)]
    kept = _members(field for field in fields if not field.IsInitOnly)
    walked = _members(field for field in fields if not _is_plain(field.FieldType))
    is_fixed = any(_derives(kind, name) for name in _FIXED)
    return _Plan(kept, walked, is_value=bool(kind.IsValueType), is_fixed=is_fixed)


def _herd(targets: list[Net], fields: Net) -> _Herd:
    from System import Array, Converter, Func, Object
    from System.Linq.Expressions import Expression, ParameterExpression
    from System.Runtime.Serialization import FormatterServices

    service = _clr_type(FormatterServices)
    target, values = Expression.Parameter(_clr_type(Object)), Expression.Parameter(_clr_type(Array[Object]))
    constant = Expression.Constant(fields)
    read = Expression.Call(service.GetMethod("GetObjectData"), target, constant)
    write = Expression.Call(service.GetMethod("PopulateObjectMembers"), target, constant, values)
    return _Herd(
        Array[Object](targets),
        Expression.Lambda[Converter[Object, Array[Object]]](read, Array[ParameterExpression]([target])).Compile(),
        Expression.Lambda[Func[Object, Array[Object], Object]](
            write, Array[ParameterExpression]([target, values])
        ).Compile(),
    )


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


def _is_collection(kind: Net) -> bool:
    return str(kind.Namespace).startswith("System.Collections")


def _derives(kind: Net, name: str) -> bool:
    """Whether the type, or one of its base classes, is the one of that name; of generic ones the beginning."""
    while kind is not None:
        if str(kind.FullName).partition("[")[0] == name:
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
