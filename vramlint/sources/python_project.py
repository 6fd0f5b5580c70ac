"""Values of Python files that only several files together tell: base classes, imported constants, OpenMMLab base files.

No file is opened here: the caller's ``read`` answers with the document of a path from the project root. What
comes out is built of the nodes of those very documents: to edit a resolved value is to edit the file that spells it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field

from vramlint.errors import SourceError
from vramlint.sources.model import (
    Definition,
    Document,
    Entry,
    Import,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Span,
    Unknown,
)
from vramlint.sources.python_reader import read_module

Read = Callable[[str], Document | None]

MAX_FILES = 60
"""Files that one resolution may draw in; no chain of base files in mmdet 3.3.0 or mmsegmentation 1.2.2 comes near."""


@dataclass(slots=True, eq=False)
class Resolved:
    """A mapping with everything it takes over. Entries from elsewhere have ``merged`` set.

    ``missing`` names the base files and classes that could not be read: then the mapping says less than the run will.
    """

    mapping: Mapping
    documents: list[Document]
    missing: list[str] = field(default_factory=list)
    owners: dict[int, Document] = field(default_factory=dict)
    spelled: dict[int, Mapping] = field(default_factory=dict)

    def owner(self, entry: Entry) -> Document:
        """The document that spells ``entry``."""
        return self.owners.get(id(entry), self.documents[0])

    def original(self, mapping: Mapping) -> Mapping:
        """The mapping of the first document that ``mapping`` extends: where a new key can be inserted."""
        return self.spelled.get(id(mapping), mapping)


class PythonProject:
    """Resolves documents and classes against the other files of a project; each file is resolved once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._modules: dict[str, Resolved | None] = {}
        self._open: set[str] = set()

    def module(self, path: str) -> Resolved | None:
        """The settings of a Python config file with its base files merged in; None where it cannot be read."""
        path = posixpath.normpath(path)
        if path in self._modules:
            return self._modules[path]
        if path in self._open or len(self._open) > MAX_FILES:
            return None
        self._open.add(path)
        try:
            self._modules[path] = self._resolve(path)
        finally:
            self._open.discard(path)
        return self._modules[path]

    def class_(self, document: Document, definition: Definition) -> Resolved:
        """The attributes of a class with those of its base classes, wherever in the project they stand."""
        return self._class(document, definition, frozenset())

    def find(self, document: Document, name: str) -> tuple[Document, Definition] | None:
        """The class that ``name`` means in ``document``: its own or an imported one."""
        for found in document.definitions:
            if found.kind == "class" and found.name == name:
                return document, found
        head, _, rest = name.partition(".")
        for brought in document.imports:
            if brought.alias not in (head, name):
                continue
            wanted = brought.name if brought.name is not None and not rest else name.rsplit(".", 1)[-1]
            module = brought.module if brought.name is None or not rest else f"{brought.module}.{brought.name}"
            other = self._document(document.path, module)
            if other is not None:
                own = next((made for made in other.definitions if (made.kind, made.name) == ("class", wanted)), None)
                if own is not None:
                    return other, own
                if other.path not in self._open and len(self._open) < MAX_FILES and wanted:
                    return self._find_further(document, other, wanted)
        return None

    def _find_further(self, document: Document, other: Document, wanted: str) -> tuple[Document, Definition] | None:
        """A package that only passes a class on."""
        self._open.add(document.path)
        try:
            return self.find(other, wanted)
        finally:
            self._open.discard(document.path)

    # Modules

    def _resolve(self, path: str) -> Resolved | None:
        document = self._document_at(path)
        if document is None or not isinstance(document.root, Mapping):
            return None
        resolved = Resolved(Mapping(document.root.span, [], "module"), [document])
        base = Mapping(document.root.span, [], "module")
        for each in self._bases(document, resolved):
            _adopt(resolved, each)
            base.entries.extend(_fresh(each.mapping, resolved.owners).entries)
        own = self._with_context(document, base)
        merged = _Merger(resolved, _originals(document.root), base).merge(base, own)
        resolved.mapping.entries.extend(merged.entries)
        resolved.spelled[id(resolved.mapping)] = document.root
        return resolved

    def _bases(self, document: Document, resolved: Resolved) -> list[Resolved]:
        root = document.root
        listed = root.get("_base_") if isinstance(root, Mapping) else None
        items = listed.items if isinstance(listed, Sequence) else [listed] if listed is not None else []
        found: list[Resolved] = []
        for item in items:
            name = item.value if isinstance(item, Scalar) else None
            if not isinstance(name, str):
                resolved.missing.append("_base_")
                continue
            beside = posixpath.join(posixpath.dirname(document.path), name)
            base = self.module(name if "::" in name else beside)  # "mmdet::x.py" stands in an installed package
            if base is None:
                resolved.missing.append(name)
            else:
                resolved.missing.extend(base.missing)
                found.append(base)
        return found

    def _with_context(self, document: Document, base: Mapping) -> Mapping:
        """The module read again with what its imports and base files give, where that can tell more."""
        root = document.root
        assert isinstance(root, Mapping)
        imports = any(found.name == "*" or "_base_" in found.module for found in document.imports)
        uses_base = "_base_." in document.text or "_base_[" in document.text
        if not imports and not uses_base and not any("import" in found.reason for found in _unknowns(root)):
            return root
        again = read_module(document.text, document.path, self._importer(document), base)
        return again.root if isinstance(again.root, Mapping) else root

    def _importer(self, document: Document) -> Callable[[Import], Node | Definition | None]:
        def imported(brought: Import) -> Node | Definition | None:
            if brought.name is None:
                return None
            other = self._document(document.path, brought.module)
            if other is None:
                return None
            if brought.name != "*":
                found = self.find(other, brought.name)
                if found is not None:
                    members = self.class_(*found).mapping
                    return Definition("class", brought.alias, (), members, found[1].span)
            resolved = self.module(other.path)
            if resolved is None:
                return None
            fresh = _fresh(resolved.mapping, {})
            return fresh if brought.name == "*" else fresh.get(brought.name)

        return imported

    # Classes

    def _class(self, document: Document, definition: Definition, seen: frozenset[int]) -> Resolved:
        own = definition.members
        resolved = Resolved(Mapping(own.span, [], "class"), [document])
        overridden = own.keys()
        for name in reversed(definition.bases):
            found = self.find(document, name)
            if found is None or id(found[1]) in seen or len(seen) > MAX_FILES:
                if name.rsplit(".", 1)[-1] not in _PLAIN_BASES:
                    resolved.missing.append(name)
                continue
            base = self._class(*found, seen | {id(definition)})
            _adopt(resolved, base)
            resolved.missing.extend(base.missing)
            for entry in base.mapping.entries:
                if entry.key not in overridden:
                    taken = _taken_over(entry)
                    resolved.owners[id(taken)] = base.owner(entry)
                    resolved.mapping.entries.append(taken)
        resolved.mapping.entries.extend(own.entries)
        resolved.spelled[id(resolved.mapping)] = own
        return resolved

    # Files

    def _document(self, importer: str, module: str) -> Document | None:
        """The file that ``module`` means when ``importer`` imports it; a package stands for its ``__init__.py``."""
        for stem in _candidates(importer, module):
            document = self._document_at(f"{stem}.py") or self._document_at(f"{stem}/__init__.py")
            if document is not None:
                return document
        package, _, rest = module.partition(".configs.")
        return self._document_at(f"{package}::{rest.replace('.', '/')}.py") if rest else None

    def _document_at(self, path: str) -> Document | None:
        # What lies outside of the project is for ``read`` to refuse: paths may be relative to a folder inside it.
        try:
            return self._read(path)
        except SourceError:
            return None


_PLAIN_BASES = frozenset({"object", "BaseModel", "NamedTuple", "TypedDict", "Enum", "ABC", "Protocol", "BaseSettings"})


def _candidates(importer: str, module: str) -> list[str]:
    """Paths without suffix that may hold ``module``: beside the importing file, then in each folder above it."""
    folder = posixpath.dirname(importer)
    level = len(module) - len(module.lstrip("."))
    inside = module[level:].replace(".", "/")
    if level:
        for _ in range(level - 1):
            folder = posixpath.dirname(folder)
        return [posixpath.join(folder, inside) if inside else folder or "."]
    stems = [posixpath.join(folder, inside)]
    while folder not in ("", "/"):
        folder = posixpath.dirname(folder)
        stems.append(posixpath.join(folder, inside))
    return stems


def _adopt(resolved: Resolved, other: Resolved) -> None:
    """What is known of the entries of ``other`` holds in ``resolved`` too."""
    for document in other.documents:
        if document not in resolved.documents:
            resolved.documents.append(document)
    resolved.owners.update(other.owners)
    own = other.documents[0]
    pending: list[Node] = [other.mapping]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            for entry in node.entries:
                resolved.owners.setdefault(id(entry), own)
                pending.append(entry.value)
        elif isinstance(node, Sequence):
            pending.extend(node.items)


def _fresh(mapping: Mapping, owners: dict[int, Document]) -> Mapping:
    """``mapping`` with containers and entries of its own: the file that builds on it may change them in place."""
    made: dict[int, Node] = {}

    def copy(node: Node) -> Node:
        if isinstance(node, (Scalar, Unknown)):
            return node
        if id(node) in made:
            return made[id(node)]
        if isinstance(node, Sequence):
            listed = Sequence(node.span, [], node.style, node.shared)
            made[id(node)] = listed
            listed.items.extend(copy(item) for item in node.items)
            return listed
        copied = made[id(node)] = Mapping(node.span, [], node.style, node.shared)
        for entry in node.entries:
            twin = Entry(entry.key, entry.key_span, copy(entry.value), entry.span, entry.merged)
            if id(entry) in owners:
                owners[id(twin)] = owners[id(entry)]
            copied.entries.append(twin)
        return copied

    fresh = copy(mapping)
    assert isinstance(fresh, Mapping)
    return fresh


def _taken_over(entry: Entry) -> Entry:
    return Entry(entry.key, entry.key_span, entry.value, entry.span, merged=True)


class _Merger:
    """Lays a module over its base files as mmengine 0.10 ``Config._merge_a_into_b`` does.

    Mappings merge, everything else replaces. ``own`` are the nodes of the document as its reader gave them.
    """

    def __init__(self, resolved: Resolved, own: dict[Span, Node], base: Mapping) -> None:
        self._resolved = resolved
        self._own = own
        self._foreign = {id(node) for node in _all_nodes(base)}

    def merge(self, base: Mapping, over: Mapping) -> Mapping:
        inherited = {entry.key: entry for entry in base.entries}
        spelled = {entry.key: entry for entry in over.entries if entry.key != "_delete_"}
        merged = Mapping(over.span, [], over.style, over.shared)
        for key, entry in inherited.items():
            if key not in spelled and key != "_base_":
                merged.entries.append(self._owned(_taken_over(entry), entry))
        for key, entry in spelled.items():
            merged.entries.append(self._entry(entry, inherited.get(key)))
        original = None if id(over) in self._foreign else self._own.get(over.span)
        if isinstance(original, Mapping):
            self._resolved.spelled[id(merged)] = original
        return merged

    def _entry(self, entry: Entry, below: Entry | None) -> Entry:
        value = entry.value
        if isinstance(value, Mapping):
            under = Mapping(value.span, [])
            if below is not None and isinstance(below.value, Mapping) and not _replaces(value):
                under = below.value
            value = self.merge(under, value)
        elif id(value) not in self._foreign and isinstance(original := self._own.get(value.span), Scalar):
            value = original
        return self._owned(Entry(entry.key, entry.key_span, value, entry.span, entry.merged), entry)

    def _owned(self, made: Entry, origin: Entry) -> Entry:
        owner = self._resolved.owners.get(id(origin))
        if owner is not None:
            self._resolved.owners[id(made)] = owner
        return made


def _replaces(mapping: Mapping) -> bool:
    flag = mapping.get("_delete_")
    return isinstance(flag, Scalar) and flag.value is True


def _originals(root: Node) -> dict[Span, Node]:
    """The nodes of a document by their place: reading it again makes new ones, and an edit wants the old."""
    return {node.span: node for node in _all_nodes(root)}


def _all_nodes(root: Node) -> list[Node]:
    found: list[Node] = []
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        found.append(node)
        if isinstance(node, Mapping):
            pending.extend(entry.value for entry in node.entries)
        elif isinstance(node, Sequence):
            pending.extend(node.items)
    return found


def _unknowns(root: Node) -> list[Unknown]:
    return [node for node in _all_nodes(root) if isinstance(node, Unknown)]
