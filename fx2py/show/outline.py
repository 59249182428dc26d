"""The outline of generated code: the modules of the model as a tree, each with the lines that compute it."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from fx2py.artifact.manifest import Manifest, ModuleRow, TensorEntry
from fx2py.collector import collector_paused
from fx2py.emit.module import module_of_note
from fx2py.errors import ArtifactError, Fx2pyError, printable
from fx2py.program.ir import ENTRY
from fx2py.runtime.weight_tree import WeightTree, weight_tree
from fx2py.show.definitions import EACH, Definition, Span, Steps, definitions


@dataclass(frozen=True, slots=True)
class Module(ModuleRow):
    """One module of the model, or a part of a path that is none itself, as a ModuleList is, which has no ``cls``.

    ``function`` is the function whose text has its calls: its own, or with ``is_inline`` that of a module around it.
    ``spans`` are the lines there, none where they are not known.
    """

    depth: int = 0
    is_inline: bool = False
    spans: tuple[Span, ...] = ()
    children: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def class_name(self) -> str:
        """The class without its package."""
        return self.cls.rpartition(".")[2]

    def to_json(self) -> dict[str, object]:
        """The module as JSON data, without its place in the tree."""
        return {
            "path": self.path,
            "class": self.cls,
            "function": self.function,
            "inline": self.is_inline,
            "lines": [[span.first, span.last] for span in self.spans],
            "calls": self.calls,
            "operators": self.operators,
            "parameters": self.parameters,
            "inputs": self.inputs,
            "outputs": self.outputs,
        }


@dataclass(frozen=True, slots=True)
class Outline:
    """The modules of a model in the order of their first calls, parents before children, and the functions of the text.

    ``modules`` has them by path, the root first; without a record of modules there is only the root.
    """

    source: str
    modules: Mapping[str, Module]
    functions: Mapping[str, Definition]
    weights: tuple[TensorEntry, ...] = ()
    lines: tuple[str, ...] = field(default=(), repr=False)

    def text(self, spans: Sequence[Span]) -> str:
        """The text of some lines."""
        return "".join([f"{line}\n" for span in spans for line in self.lines[span.first - 1 : span.last]])

    def weights_of(self, module: Module) -> list[TensorEntry]:
        """The weights below a module."""
        prefix = f"{module.path}." if module.path else ""
        return [each for each in self.weights if each.name.startswith(prefix)]

    def instances(self, function: str) -> list[Module]:
        """The modules that a function stands for."""
        return [each for each in self.modules.values() if each.function == function and not each.is_inline]

    def held(self, module: Module) -> str:
        """A summary of the children, for a part of a path that is no module itself: ``12 × Block``."""
        counts: dict[str, int] = defaultdict(int)
        for path in module.children:
            counts[self.modules[path].class_name] += 1
        return ", ".join(
            [f"{count} × {name}" if count > 1 else name for name, count in counts.items() if name]
        )


@collector_paused()
def outline(source: str, manifest: Manifest, place: str) -> Outline:
    """The outline of a text; raises ArtifactError, naming the ``place``, where it was edited so that it is no Python."""
    try:
        found = definitions(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ArtifactError(
            f"{place} is not Python{where}: {printable(str(error.args[0]))}.",
            "Mend it, or generate the folder again.",
        ) from None
    return _Building(source, manifest, {each.name: each for each in found}).run()


@dataclass(slots=True)
class _Part:
    """A node of the tree of paths: its module if it is one, and the names below it."""

    called: ModuleRow | None = None
    below: dict[str, _Part] = field(default_factory=dict)


class _Building:
    def __init__(self, source: str, manifest: Manifest, functions: Mapping[str, Definition]) -> None:
        self.manifest, self.functions = manifest, functions
        self.source, self.lines = source, tuple(source.splitlines())
        self.called = {each.path: each for each in self.manifest.modules}
        self.tree = _tree(self.manifest.weights)
        self.noted = (
            {} if any(path and each.function for path, each in self.called.items()) else self._noted()
        )

    def run(self) -> Outline:
        modules: dict[str, Module] = {}
        pending = [("", 0, self._parts())]
        while pending:
            path, depth, part = pending.pop()
            below = {f"{path}.{name}" if path else name: each for name, each in part.below.items()}
            modules[path] = self._module(path, depth, part, tuple(below))
            pending += [(inner, depth + 1, each) for inner, each in reversed(below.items())]
        for path in reversed(modules):
            if not modules[path].cls and path:
                modules[path] = self._with_sums(modules, modules[path])
        return Outline(self.source, modules, self.functions, self.manifest.weights, self.lines)

    def _parts(self) -> _Part:
        root = _Part(self.called.get(""))
        for path, called in self.called.items():
            part = root
            for name in path.split(".") if path else ():
                part = part.below.setdefault(name, _Part())
            part.called = called
        return root

    def _module(self, path: str, depth: int, part: _Part, children: tuple[str, ...]) -> Module:
        called = part.called or ModuleRow(path, function="" if path else ENTRY)
        function, is_inline, spans = self._place(path, called) if part.called or not path else ("", False, ())
        own = {each.name: getattr(called, each.name) for each in fields(called)}
        place = {"function": function, "is_inline": is_inline, "spans": spans, "children": children}
        return Module(**own | place, depth=depth)

    def _with_sums(self, modules: Mapping[str, Module], module: Module) -> Module:
        inner = [modules[path] for path in module.children]
        operators = sum(each.operators for each in inner)
        return replace(module, operators=operators, parameters=sum(each.parameters for each in inner))

    def _place(self, path: str, called: ModuleRow) -> tuple[str, bool, tuple[Span, ...]]:
        """The function whose text has a module's calls, whether it is another's, and the lines."""
        if called.function:
            own = self.functions.get(called.function)
            return called.function, False, (own.span,) if own else ()
        outer = next(
            each for each in paths_around(path) if each in self.called and self.called[each].function
        )
        around = self.functions.get(self.called[outer].function)
        spans = () if around is None else tuple(self.noted.get(path) or self._read(path, outer, around))
        return self.called[outer].function, True, spans

    def _read(self, path: str, outer: str, around: Definition) -> list[Span]:
        """The statements of a function that read the weights of a module inside the one that it stands for."""
        try:
            inside = self.tree.place(path)[len(self.tree.place(outer)) :]
        except KeyError:
            return []
        found = [each.statement for each in around.readings if _leads_into(each.steps, inside)]
        return list(dict.fromkeys(found))

    def _noted(self) -> dict[str, list[Span]]:
        """The lines of each module in flat code, found by the comments that lead back to the model."""
        entry = self.functions.get(ENTRY)
        found: dict[str, list[Span]] = defaultdict(list)
        current, last = "", 0
        for statement in entry.statements if entry else ():
            first = statement.first
            while first - 1 > last and self.lines[first - 2].lstrip().startswith("#"):
                first -= 1
            for line in self.lines[first - 1 : statement.first - 1]:
                noted = module_of_note(line, self.called)
                current = current if noted is None else noted
            last = statement.last
            for path in (current, *paths_around(current)):
                spans = found[path]
                if spans and spans[-1].last == first - 1:
                    spans[-1] = Span(spans[-1].first, last)
                else:
                    spans.append(Span(first, last))
        return found


def paths_around(path: str) -> Iterator[str]:
    """The paths around one, from the inside, the root last."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def _leads_into(steps: Steps, inside: Steps) -> bool:
    return len(steps) >= len(inside) and all(
        one == other or (one == EACH and type(other) is int)
        for one, other in zip(steps, inside, strict=False)
    )


def _tree(weights: Sequence[TensorEntry]) -> WeightTree:
    """The records of structured code; an empty one where the paths are no places in one tree."""
    try:
        return weight_tree([each.name for each in weights])
    except ValueError:
        return weight_tree(())


def abbreviated(count: int) -> str:
    """A count in three digits and a unit: ``1.24 M``."""
    for unit, scale in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}" if count < 999.5 * scale else f"{count // scale} {unit}"
    return str(count)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a printed outline: a module, or modules of a list that are alike, of which ``module`` is the first.

    ``name`` and ``what`` say so; ``calls`` and ``parameters`` are those of all.
    """

    depth: int
    name: str
    what: str
    module: Module
    calls: int
    parameters: int


def rows(found: Outline) -> Iterator[Row]:
    """The modules, outer ones first; those of a list that are alike in one row, and what is inside the first of them."""
    pending = [("", 0)]
    while pending:
        path, depth = pending.pop()
        module = found.modules[path]
        inner = [found.modules[each] for each in module.children]
        is_list = bool(path) and not module.cls
        if (
            is_list
            and len(inner) > 1
            and len({(each.cls, each.function) for each in inner}) == 1
            and inner[0].cls
        ):
            calls = sum(each.calls for each in inner)
            yield Row(depth, module.name, found.held(module), inner[0], calls, module.parameters)
            inner = [found.modules[each] for each in inner[0].children]
        else:
            what = module.class_name or found.held(module)
            yield Row(depth, module.name, what, module, module.calls, module.parameters)
        pending += [(each.path, depth + 1) for each in reversed(inner)]


# -- one module ----------------------------------------------------------------------------------------------------

_CLOSEST = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """The modules of one path or class that a name means, and the functions whose text computes them."""

    modules: tuple[Module, ...]
    functions: tuple[str, ...]
    spans: tuple[Span, ...]


def select(found: Outline, name: str, label: str) -> Selection:
    """The module of a path, or those of a class or function; Fx2pyError with the closest names where there is none."""
    module = found.modules.get(name)
    if module is not None and (module.cls or not name):
        return _selection(found, (module,))
    modules = tuple(
        [each for each in found.modules.values() if each.cls and name in (each.cls, each.class_name)]
    )
    if modules:
        return _selection(found, modules)
    if name in found.functions:
        return Selection(tuple(found.instances(name)), (name,), (found.functions[name].span,))
    raise _no_such(found, name, label)


def _selection(found: Outline, modules: tuple[Module, ...]) -> Selection:
    """The functions that stand for modules; of modules that none stands for, the lines of the first."""
    own = dict.fromkeys(each.function for each in modules if not each.is_inline)
    functions = tuple(own) or (modules[0].function,)
    spans = () if own else modules[0].spans
    whole = tuple([found.functions[each].span for each in functions if each in found.functions])
    return Selection(modules, functions, spans or whole)


def _no_such(found: Outline, name: str, label: str) -> Fx2pyError:
    known = [*found.modules, *(each.class_name for each in found.modules.values()), *found.functions]
    names = list(dict.fromkeys(filter(None, known)))
    closest = difflib.get_close_matches(name, names, _CLOSEST, 0.4)
    listed = ", ".join(map(printable, closest or names[:_CLOSEST]))
    what = "Close to it" if closest else "It has, for example,"
    return Fx2pyError(f"{label} has no module, class or function {printable(name)!r}.", f"{what}: {listed}.")
