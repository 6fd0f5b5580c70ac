"""The fixpoint, with a check made by hand."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fix.support import document, reading, repair, root, slot
from vramlint.findings import Finding, Fix
from vramlint.fix import loop
from vramlint.fix.edits import location_of, plan_fix
from vramlint.fix.loop import Fixable, repair_all
from vramlint.rule import Confidence, Repair, Safety, Severity
from vramlint.sources.model import Span

TEXT = b"batch: 8 # b\naccum: 1\nqueue: 10\n"


class Check:
    """Re-reads ``a.yml`` each time and asks the ``rules`` (functions from plain data to repairs) what to do."""

    def __init__(self, *rules: object, text: bytes = TEXT) -> None:
        self.rules = rules
        self.text = text
        self.passes = 0

    def __call__(self, now: Mapping[str, bytes]) -> list[Fixable]:
        self.passes += 1
        found = document("a.yml", now.get("a.yml", self.text).decode())
        values = {entry.key: getattr(entry.value, "value", None) for entry in root(found).entries}
        slots = {key: slot(found, root(found), key) for key in ("batch", "accum", "queue")}
        read = reading(found, **slots)
        place = location_of(found, Span(0, 1))
        found_fixables = []
        for number, rule in enumerate(self.rules):
            repairs: list[Repair] = rule(values)  # type: ignore[operator]
            if repairs:
                fixes = tuple(plan_fix(each, read) for each in repairs)
                finding = Finding(
                    f"T{number}", f"rule-{number}", Severity.ERROR, Confidence.HIGH, place, "broken", fixes=fixes
                )
                found_fixables.append(Fixable(finding, read))
        return found_fixables


def halve(values: dict[str, int]) -> list[Repair]:
    if values["batch"] <= 2:
        return []
    return [repair(batch=values["batch"] // 2, accum=values["accum"] * 2)]


def round_queue(values: dict[str, int]) -> list[Repair]:
    if values["queue"] % values["batch"] == 0:
        return []
    return [repair(queue=values["queue"] // values["batch"] * values["batch"] or values["batch"])]


def test_until_nothing_is_left() -> None:
    check = Check(halve, round_queue)
    done = repair_all(check)
    assert [file.new for file in done.files] == [b"batch: 2 # b\naccum: 4\nqueue: 10\n"]
    assert [file.old for file in done.files] == [TEXT]
    assert done.converged
    assert [each.code for each in done.applied] == ["T0", "T0"]
    again = repair_all(Check(halve, round_queue, text=done.files[0].new))
    assert (again.files, again.applied, again.passes) == ((), (), 1)


def test_one_repair_a_run_and_pass() -> None:
    """Repairs of one run were worked out for the same plan: the second waits for what the first makes of it."""
    done = repair_all(Check(round_queue, halve))
    assert [each.name for each in done.applied][:2] == ["rule-0", "rule-1"]
    assert done.files[0].new == b"batch: 2 # b\naccum: 4\nqueue: 8\n"


def test_only_what_is_allowed_and_the_first_of_it() -> None:
    def offers(values: dict[str, int]) -> list[Repair]:
        if values["batch"] != 8:
            return []
        return [repair(Safety.DISPLAY, batch=7), repair(Safety.UNSAFE, batch=6), repair(Safety.SAFE, batch=5)]

    assert repair_all(Check(offers)).files[0].new.startswith(b"batch: 5")
    assert repair_all(Check(offers), unsafe=True).files[0].new.startswith(b"batch: 6")
    assert repair_all(Check(lambda _: [repair(Safety.UNSAFE, batch=1)])).files == ()
    assert repair_all(Check(lambda _: [repair(Safety.DISPLAY, batch=1)]), unsafe=True).files == ()


def test_repairs_that_undo_each_other_leave_the_file_alone() -> None:
    check = Check(lambda values: [repair(batch=9 - values["batch"])])
    done = repair_all(check)
    assert (done.files, done.applied, done.converged) == ((), (), True)
    assert [(each.title, each.reason) for each in done.refused] == [("batch = 1", "another repair undoes this one")]
    assert check.passes == 3


def test_what_led_into_the_circle_stays_done() -> None:
    """8 -> 4 -> 3 -> 4: the file stays at 4, and the next invocation, which begins there, leaves it there."""
    steps = {8: 4, 4: 3, 3: 4}
    done = repair_all(Check(lambda values: [repair(batch=steps[values["batch"]])]))
    assert [file.new[:8] for file in done.files] == [b"batch: 4"]
    assert [each.title for each in done.applied] == ["batch = 4"]
    assert done.converged
    again = repair_all(Check(lambda values: [repair(batch=steps[values["batch"]])], text=done.files[0].new))
    assert again.files == ()


def test_repairs_without_end_are_stopped() -> None:
    check = Check(lambda values: [repair(batch=values["batch"] + 1)])
    done = repair_all(check)
    assert not done.converged
    assert done.passes == loop.MOST_PASSES == check.passes


def test_a_repair_that_cannot_be_proven_is_refused_with_its_reason() -> None:
    text = b"batch: &b 8\nother: *b\naccum: 1\nqueue: 8\n"

    class Meddled(Check):
        def __call__(self, now: Mapping[str, bytes]) -> list[Fixable]:
            found = super().__call__(now)
            made = []
            for each in found:
                # What the editor would refuse by itself reaches the proof here: the scalar claims to be its own.
                each.reading.slots["batch"].node.shared = False  # type: ignore[union-attr]
                fix = plan_fix(repair(batch=4), each.reading)
                made.append(each._replace(finding=each.finding._replace(fixes=(fix,))))
            return made

    done = repair_all(Meddled(lambda _: [repair(batch=4)], text=text))
    assert done.files == ()
    assert not done.applied
    (refused,) = done.refused
    assert (refused.path, refused.code) == ("a.yml", "T0")
    assert refused.reason


def test_findings_without_fixes_are_passed_over() -> None:
    done = repair_all(Check(lambda _: []))
    assert (done.files, done.passes, done.converged) == ((), 1, True)


def test_a_fix_without_edits_is_none() -> None:
    fix = Fix(Safety.SAFE, "nothing", (), repair(batch=1))
    finding = Finding(
        "T", "t", Severity.ERROR, Confidence.HIGH, location_of(document("a.yml", "a: 1"), Span(0, 1)), "m"
    )

    def check(_: Mapping[str, bytes]) -> list[Fixable]:
        found = document("a.yml", "batch: 1\n")
        return [Fixable(finding._replace(fixes=(fix,)), reading(found))]

    assert repair_all(check).applied == ()


def test_overlapping_repairs_of_two_runs_wait_for_each_other() -> None:
    """Two runs read from the same lines (a config that two scripts launch): one repair a pass, the second on top."""

    class TwoRuns(Check):
        def __call__(self, now: Mapping[str, bytes]) -> list[Fixable]:
            return [*super().__call__(now), *super().__call__(now)]

    check = TwoRuns(halve)
    done = repair_all(check)
    assert [file.new for file in done.files] == [b"batch: 2 # b\naccum: 4\nqueue: 10\n"]
    assert [each.title for each in done.applied] == ["batch = 4, accum = 2", "batch = 2, accum = 4"]
    assert check.passes == 6, "three passes, each asking for both runs"
