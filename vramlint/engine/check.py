"""The check: files in, runs, findings and failures out.

What looks at every file (the byte search, the bookkeeping) is here and imports next to nothing; what judges the few
that are training configs is in ``session`` and imported for the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vramlint.dialects.prefilter import prefilter
from vramlint.engine.options import CheckOptions
from vramlint.project.discovery import Candidate, contents, discover, display_path
from vramlint.project.settings import SettingsFinder
from vramlint.results import CheckResult, Failure

if TYPE_CHECKING:
    from vramlint.engine.session import Session

_NOTHING: Mapping[str, bytes] = {}
_LINKING_SUFFIXES = (".py", ".sh", ".bash", ".slurm", ".sbatch")
"""Files that may choose a config without being one: a script by its import, a launch line by its words."""
_JOB_KEYS = (b"run:", b"command:", b"args:", b"entrypoint:")
_TEXT_SUFFIXES = (*_LINKING_SUFFIXES, ".yaml", ".yml", ".json", ".jsonc", ".toml")
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MOST_BYTES = 1024 * 1024 + 1
"""One more than a config may have (``vramlint.sources.decode``): data sets are not read to their end."""
DEFAULTS = CheckOptions()


def check(
    paths: Sequence[str], options: CheckOptions = DEFAULTS, overlay: Mapping[str, bytes] = _NOTHING
) -> CheckResult:
    """Check files and folders.

    ``overlay`` gives bytes that stand for files' contents, by path as results spell it: the fixer checks its own
    repairs so before anything is written. Raises UsageError for a path that does not exist or an unknown rule,
    SettingsError, TargetError for the command line's GPU, PluginError.
    """
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    return check_candidates(discover(paths, finder, force_exclude=options.force_exclude), finder, options, overlay)


def check_source(path: str, data: bytes, options: CheckOptions = DEFAULTS) -> CheckResult:
    """Check ``data`` as if it were the file ``path``, which need not exist: standard input, rule cases, editors.

    Raises as ``check`` does.
    """
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    shown = display_path(path)
    return check_candidates((Candidate(shown, explicit=True),), finder, options, {shown: data})


def check_candidates(
    candidates: Sequence[Candidate],
    finder: SettingsFinder,
    options: CheckOptions,
    overlay: Mapping[str, bytes],
) -> CheckResult:
    """Check files that were already chosen."""
    session: Session | None = None
    for name in options.gpu:
        _expect_gpu(name)
    if options.select or options.ignore:
        session = _session(finder, options, overlay, candidates)
        session.validate()
    failures = []
    for candidate in candidates:
        try:
            data = _data(candidate.path, overlay) if session is None else session.glance(candidate.path)
        except OSError as error:
            failures.append(Failure(candidate.path, f"cannot be read: {error.strerror}"))
            continue
        may_be_config = prefilter(candidate.path, _narrowed(data))
        if may_be_config or (candidate.explicit and _may_link(candidate.path, data)):
            session = session or _session(finder, options, overlay, candidates)
            session.look(candidate, data, may_be_config=may_be_config)
        elif candidate.explicit and _is_wide(candidate.path, data):
            failures.append(
                Failure(candidate.path, "the file is UTF-16 or UTF-32, not UTF-8", help="Save it as UTF-8.")
            )
        else:
            finder.for_file(candidate.path)  # broken settings are said even where nothing needs them
    found = CheckResult((), (), (), 0, 0) if session is None else session.result()
    return found._replace(failures=(*failures, *found.failures), files_seen=len(candidates))


def _expect_gpu(name: str) -> None:
    """Raises TargetError where no card is called ``name``."""
    from vramlint.hardware.catalogue import find_gpu

    find_gpu(name)


def _narrowed(data: bytes) -> bytes:
    """``data``, or as UTF-8 where its mark says UTF-16: words are looked for in bytes."""
    if data[:2] not in _WIDE_MARKS:
        return data
    from vramlint.engine.unreadable import narrow

    return narrow(data)


def _may_link(path: str, data: bytes) -> bool:
    """Whether a named file may choose a config: a script always, a job's YAML where a command can stand in it."""
    if path.endswith(_LINKING_SUFFIXES):
        return True
    return path.endswith((".yaml", ".yml")) and any(key in data for key in _JOB_KEYS)


def _is_wide(path: str, data: bytes) -> bool:
    """Whether a text of the kinds that are read holds two or four bytes a character: no search finds a word in it."""
    return path.endswith(_TEXT_SUFFIXES) and (data[:2] in _WIDE_MARKS or b"\0" in data[:4])


def _data(path: str, overlay: Mapping[str, bytes]) -> bytes:
    if path in overlay:
        return overlay[path]
    return contents(path, _MOST_BYTES)


def _session(
    finder: SettingsFinder, options: CheckOptions, overlay: Mapping[str, bytes], candidates: Sequence[Candidate]
) -> Session:
    from vramlint.engine.session import Session

    return Session(finder, options, overlay, [candidate.path for candidate in candidates])
