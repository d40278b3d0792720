"""The scheduler's rules, one at a time, with a fake kernel that evaluates arithmetic."""

from __future__ import annotations

from dataclasses import replace

from kernels_app import schedule as s
from kernels_app.scheduler import UNDECLARED_KEPT
from notebooks_app.facts import CellError, CellType, ErrorKind, Outcome
from tests.fake_notebook import FakeNotebook

CHAIN = ("a = 1", "b = a + 1", "c = b + 1")
DIAMOND = ("a = 1", "b = a + 1", "c = a + 2", "d = b + c")


def settled(*sources: str, mode: str = "auto") -> FakeNotebook:
    """A notebook that has run completely, with nothing in `ran` and `actions` yet."""
    notebook = FakeNotebook(*sources, mode=mode)
    notebook.run_all()
    notebook.settle()
    notebook.ran()
    notebook.actions.clear()
    return notebook


# --- Requests -------------------------------------------------------------------------------------


def test_running_a_cell_of_a_new_notebook_starts_the_kernel_and_runs_upstream_cell_and_downstream() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c2")
    assert notebook.done(s.StartKernel) == [s.StartKernel()]
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3"]
    assert notebook.shown("c3") == (3,)
    assert set(notebook.fresh().values()) == {"current"}


def test_a_chain_goes_to_the_kernel_as_one_plan() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    notebook.settle()
    (plan,) = notebook.done(s.RunPlan)
    assert [item.cell for item in plan.items] == ["c1", "c2", "c3"]
    assert plan.items[1].needs == {plan.items[0].attempt}
    assert notebook.done(s.Amend) == []


def test_a_diamond_runs_each_cell_once_in_page_order() -> None:
    notebook = settled(*DIAMOND)
    notebook.run("c1")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3", "c4"]


def test_in_lazy_mode_downstream_turns_stale_and_waits() -> None:
    notebook = settled(*CHAIN, mode="lazy")
    notebook.edit("c1", "a = 5")
    notebook.run("c1")
    notebook.settle()
    assert notebook.ran() == ["c1"]
    assert notebook.fresh() == {"c1": "current", "c2": "stale", "c3": "stale"}


def test_in_lazy_mode_a_stale_upstream_runs_first() -> None:
    notebook = settled(*CHAIN, mode="lazy")
    notebook.edit("c1", "a = 5")
    notebook.run("c3")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3"]
    assert notebook.shown("c3") == (7,)


def test_a_current_and_loaded_upstream_does_not_run_again() -> None:
    notebook = settled(*CHAIN)
    notebook.run("c3")
    notebook.settle()
    assert notebook.ran() == ["c3"]


def test_a_cell_that_never_ran_is_not_started_by_a_request_for_its_sibling() -> None:
    notebook = FakeNotebook("a = 1", "b = a + 1", "c = a + 2")
    notebook.run("c2")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2"]
    assert notebook.fresh("c3").freshness == "new"


def test_a_stale_sibling_follows_an_upstream_that_had_to_run() -> None:
    notebook = settled("a = 1", "b = a + 1", "c = a + 2")
    notebook.edit("c1", "a = 2")
    notebook.run("c2")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3"]


def test_editing_alone_runs_nothing_and_makes_only_dependents_stale() -> None:
    notebook = settled(*CHAIN, "z = 1")
    notebook.edit("c2", "b = a + 10")
    notebook.settle()
    assert notebook.ran() == []
    assert notebook.fresh() == {"c1": "current", "c2": "stale", "c3": "stale", "c4": "current"}


def test_run_stale_says_which_name_made_a_cell_stale() -> None:
    notebook = settled("a = 1", "b = a", "b + 1", mode="lazy")
    notebook.edit("c1", "a = 5")
    actions = notebook.run_stale()
    [queued] = [action for action in actions if isinstance(action, s.RecordQueued)]
    reasons = {item.cell: (item.reason.kind, item.reason.cell, item.reason.name) for item in queued.items}
    assert reasons == {"c1": ("run_stale", None, None), "c2": ("changed", "c1", "a"), "c3": ("changed", "c1", "a")}


def test_run_stale_runs_what_is_not_current() -> None:
    notebook = settled(*CHAIN)
    notebook.edit("c2", "b = a + 10")
    notebook.run_stale()
    notebook.settle()
    assert notebook.ran() == ["c2", "c3"]
    assert notebook.done(s.RunStarted)[-1].cells == ("c2", "c3")


def test_only_runs_neither_upstream_nor_downstream() -> None:
    notebook = settled(*CHAIN)
    notebook.edit("c1", "a = 5")
    notebook.run("c2", only=True)
    notebook.settle()
    assert notebook.ran() == ["c2"]
    assert notebook.fresh("c2").freshness == "stale"


def test_text_does_not_run_and_a_missing_cell_is_refused() -> None:
    notebook = FakeNotebook("a = 1")
    notebook.insert("text", "# Title", 5, type=CellType.MARKDOWN)
    actions = notebook.run("text", "nowhere")
    refused = [(action.cell, action.why) for action in actions if isinstance(action, s.Refused)]
    assert refused == [("text", s.Why.TEXT), ("nowhere", s.Why.MISSING)]
    assert s.RunFinished("run1", Outcome.ERROR) in actions
    assert notebook.fresh("text").freshness == "current"


def test_a_run_that_passes_over_broken_cells_does_not_end_well() -> None:
    notebook = FakeNotebook("a = 1", "a = 2", "b = 3")
    notebook.run_all()
    notebook.settle()
    assert notebook.ran() == ["c3"]
    assert [action.outcome for action in notebook.done(s.RunFinished)] == [Outcome.ERROR]


def test_a_value_that_is_the_same_again_keeps_everything_that_used_it_current() -> None:
    notebook = settled("a = 1", "b = a", "b + 1", mode="lazy")
    notebook.run("c1")
    notebook.settle()
    assert notebook.ran() == ["c1"]
    assert [notebook.fresh(cell).freshness for cell in ("c1", "c2", "c3")] == ["current"] * 3
    notebook.edit("c1", "a = 2")
    notebook.run("c1")
    notebook.settle()
    assert notebook.fresh("c2").freshness == "stale"
    notebook.edit("c1", "a = 1")
    notebook.run("c1")
    notebook.settle()
    assert notebook.fresh("c2").freshness == "stale"  # 2 is not what it used; that 1 is again was not compared


def test_a_name_that_a_caller_binds_for_the_function_that_declares_it_global_is_current_in_its_readers() -> None:
    notebook = FakeNotebook("f = 1", "f + 0\nbind(g)", "h = g")
    notebook.change("c1", definitions=frozenset({"f", "g"}))
    notebook.run_all()
    notebook.settle()
    assert [notebook.fresh(cell).freshness for cell in ("c1", "c2", "c3")] == ["current"] * 3
    notebook.run("c2", only=True)
    notebook.settle()
    assert notebook.fresh("c3").freshness == "stale"
    notebook.run("c3")
    notebook.settle()
    assert notebook.ran()[-1] == "c3"
    assert notebook.fresh("c3").freshness == "current"


def test_a_reader_above_the_caller_that_binds_its_name_is_not_current() -> None:
    notebook = FakeNotebook("f = 1", "h = g", "f + 0\nbind(g)")
    notebook.change("c1", definitions=frozenset({"f", "g"}))
    notebook.run("c3")
    notebook.settle()
    notebook.run("c2", only=True)
    notebook.settle()
    assert notebook.fresh("c2").freshness == "stale"


def test_an_empty_cell_runs_and_is_current() -> None:
    notebook = FakeNotebook("")
    notebook.run("c1")
    notebook.settle()
    assert notebook.fresh("c1").freshness == "current"


def test_a_run_says_what_it_will_run_and_when_it_is_over() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    assert notebook.done(s.RunStarted) == [s.RunStarted("run1", "ana", "requested", ("c1", "c2", "c3"))]
    notebook.settle()
    assert notebook.done(s.RunFinished) == [s.RunFinished("run1", Outcome.OK)]


def test_the_reason_names_the_cell_and_the_name_that_made_a_cell_run() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c2")
    reasons = {item.cell: item.reason for item in notebook.done(s.RecordQueued)[0].items}
    assert (reasons["c1"].kind, reasons["c1"].cell, reasons["c1"].name) == ("needed", "c2", "a")
    assert (reasons["c2"].kind, reasons["c2"].by) == ("requested", "ana")
    assert (reasons["c3"].kind, reasons["c3"].cell, reasons["c3"].name) == ("changed", "c2", "b")


# --- Merging --------------------------------------------------------------------------------------


def test_a_request_while_running_joins_the_plan_without_doubling_a_cell() -> None:
    notebook = FakeNotebook(*CHAIN, "z = 1")
    notebook.run("c1")
    for _ in range(3):
        notebook.work()
    notebook.run("c3", "c4")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3", "c4"]
    assert notebook.done(s.RunFinished)[-1] == s.RunFinished("run2", Outcome.OK)


def running(notebook: FakeNotebook, cell: str) -> FakeNotebook:
    """Work until the cell runs."""
    while not (notebook.state.running and notebook.state.running.item.cell == cell):
        assert notebook.work()
    return notebook


def test_a_running_cell_requested_again_as_it_is_does_not_run_twice() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c1").run("c1")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3"]
    assert {action.run for action in notebook.done(s.RunFinished)} == {"run1", "run2"}


def test_a_running_cell_requested_with_a_newer_version_runs_again_before_its_dependents() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c1")
    notebook.edit("c1", "a = 7")
    notebook.run("c1")
    notebook.settle()
    assert notebook.ran() == ["c1", "c1", "c2", "c3"]
    assert notebook.shown("c3") == (9,)
    assert set(notebook.fresh().values()) == {"current"}


def test_a_running_cell_whose_upstream_is_requested_runs_again_after_it() -> None:
    notebook = settled(*CHAIN)
    notebook.run("c2")
    running(notebook, "c2").run("c1")
    notebook.settle()
    assert notebook.ran() == ["c2", "c1", "c2", "c3"]
    assert set(notebook.fresh().values()) == {"current"}


def test_a_cell_edited_while_queued_runs_its_new_source() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c1").edit("c3", "c = b + 100")
    (amend,) = notebook.done(s.Amend)
    assert [(item.cell, item.version) for item in amend.replace] == [("c3", 2)]
    notebook.settle()
    assert notebook.shown("c3") == (102,)
    assert notebook.fresh("c3").freshness == "current"


def test_a_cell_edited_while_running_is_stale_when_it_ends() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c2").edit("c2", "b = a + 50")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3"]
    assert notebook.fresh() == {"c1": "current", "c2": "stale", "c3": "stale"}


def test_an_edit_that_comes_too_late_only_makes_the_cell_stale() -> None:
    notebook = FakeNotebook(*CHAIN, lag=True)
    notebook.run("c1")
    notebook.hear()
    while notebook.kernel.work():
        pass
    notebook.edit("c3", "c = b + 100")
    notebook.settle()
    assert notebook.shown("c3") == (3,)
    assert notebook.fresh("c3").freshness == "stale"


def test_a_queued_cell_that_comes_to_need_a_new_cell_gets_it_first() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c1").insert("new", "n = 40", 50)
    notebook.edit("c3", "c = b + n")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "new", "c3"]
    assert notebook.shown("c3") == (42,)


def test_moving_a_cell_while_running_reorders_what_waits() -> None:
    notebook = FakeNotebook("a = 1", "x = 1", "y = 1")
    notebook.run_all()
    running(notebook, "c1").change("c3", position=15)
    notebook.settle()
    assert notebook.ran() == ["c1", "c3", "c2"]


# --- Failure --------------------------------------------------------------------------------------


def test_a_failed_cell_blocks_its_descendants_and_siblings_go_on() -> None:
    notebook = FakeNotebook("a = 1", "b = a / 0", "c = b + 1", "d = a + 1")
    notebook.run("c1")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c4"]
    assert notebook.fresh() == {"c1": "current", "c2": "failed", "c3": "blocked", "c4": "current"}
    assert notebook.fresh("c3").blocked_by == (("c2", "b"),)
    assert notebook.done(s.RunFinished) == [s.RunFinished("run1", Outcome.ERROR)]
    assert notebook.done(s.Amend) == []


def test_names_bound_before_a_failure_leave_the_kernel() -> None:
    notebook = FakeNotebook("a = 1\nb = a / 0")
    notebook.run("c1")
    notebook.settle()
    assert notebook.kernel.namespace == {}


def test_a_failed_upstream_is_tried_again() -> None:
    notebook = settled("a = 1 / 0", "b = a + 1")
    notebook.run("c2")
    notebook.settle()
    assert notebook.ran() == ["c1"]
    notebook.edit("c1", "a = 1")
    notebook.run("c2")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2"]


def test_a_failed_cell_is_not_tried_again_for_a_cell_that_was_only_carried_along() -> None:
    notebook = settled("a = 1", "f = 1 / 0", "c = a + f", "d = a + 1")
    notebook.run("c1")
    notebook.settle()
    assert notebook.ran() == ["c1", "c4"]
    assert notebook.fresh("c3").freshness == "blocked"


def test_a_duplicate_is_an_error_on_exactly_those_cells() -> None:
    notebook = FakeNotebook("a = 1", "x = 1", "x = 2", "y = x", "b = a + 1")
    notebook.run_all()
    notebook.settle()
    assert notebook.ran() == ["c1", "c5"]
    assert notebook.fresh() == {
        "c1": "current",
        "c2": "failed",
        "c3": "failed",
        "c4": "blocked",
        "c5": "current",
    }
    refused = [action for action in notebook.run("c4", "c2") if isinstance(action, s.Refused)]
    assert [(action.cell, action.why) for action in refused] == [("c4", s.Why.BLOCKED), ("c2", s.Why.ERROR)]
    assert set(refused[0].cells) == {"c2", "c3"}


def test_a_cycle_does_not_run_and_the_rest_does() -> None:
    notebook = FakeNotebook("a = b", "b = a", "c = b", "d = 1")
    notebook.run_all()
    notebook.settle()
    assert notebook.ran() == ["c4"]
    assert notebook.fresh() == {"c1": "failed", "c2": "failed", "c3": "blocked", "c4": "current"}


def test_a_waiting_cell_that_stops_parsing_leaves_the_queue_with_its_dependents() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c1").change("c2", errors=(CellError(ErrorKind.SYNTAX, "invalid syntax"),))
    notebook.settle()
    assert notebook.ran() == ["c1"]
    assert notebook.fresh() == {"c1": "current", "c2": "failed", "c3": "blocked"}


# --- Stop, take out, restart, death ---------------------------------------------------------------


def test_stop_interrupts_the_running_cell_and_returns_the_queued_ones() -> None:
    notebook = settled(*CHAIN)
    notebook.edit("c1", "a = 5")
    notebook.run("c1")
    running(notebook, "c1").send(s.Stop())
    assert notebook.queued() == []
    notebook.settle()
    assert notebook.ran() == ["c1"]
    assert notebook.outcome("c1") is Outcome.INTERRUPTED
    assert notebook.fresh() == {"c1": "failed", "c2": "blocked", "c3": "blocked"}
    assert notebook.shown("c2") == (2,)
    assert notebook.done(s.RunFinished) == [s.RunFinished("run2", Outcome.INTERRUPTED)]


def test_stop_drops_the_rest_of_the_plan_before_it_interrupts() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    actions = running(notebook, "c1").send(s.Stop())
    kinds = [type(action) for action in actions if isinstance(action, s.Amend | s.Interrupt)]
    assert kinds == [s.Amend, s.Interrupt]


def test_a_cell_that_started_too_late_to_be_stopped_is_interrupted_too() -> None:
    notebook = FakeNotebook(*CHAIN, lag=True)
    notebook.run("c1")
    notebook.hear()
    for _ in range(3):
        notebook.work()
    notebook.send(s.Stop())
    notebook.hear()
    notebook.settle()
    assert notebook.ran() == ["c1", "c2"]
    assert notebook.outcome("c2") is Outcome.INTERRUPTED


def test_a_run_after_a_stop_runs_the_interrupted_cell_again() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c1").send(s.Stop())
    notebook.run("c2")
    notebook.settle()
    assert notebook.ran() == ["c1", "c1", "c2", "c3"]
    assert set(notebook.fresh().values()) == {"current"}


def test_taking_a_cell_out_takes_what_waits_because_of_it_and_leaves_the_rest() -> None:
    notebook = settled("z = 1", *CHAIN)
    notebook.edit("c2", "a = 3")
    notebook.run("c1", "c2")
    running(notebook, "c1").send(s.TakeOut("c2"))
    notebook.settle()
    assert notebook.ran() == ["c1"]
    assert notebook.fresh("c2").freshness == "stale"


def test_taking_the_running_cell_out_interrupts_it() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c1").send(s.TakeOut("c1"))
    notebook.settle()
    assert notebook.outcome("c1") is Outcome.INTERRUPTED
    assert notebook.ran() == ["c1"]


def test_a_restart_unloads_everything_and_keeps_outputs_and_freshness() -> None:
    notebook = settled(*CHAIN)
    assert notebook.loaded("c1")
    notebook.send(s.Restart())
    notebook.settle()
    assert set(notebook.fresh().values()) == {"current"}
    assert not notebook.loaded("c1")
    notebook.run("c3")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3"]


def test_a_kernel_that_dies_takes_the_running_cell_along_and_returns_the_queue() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c2").die()
    assert notebook.outcome("c2") is Outcome.DIED
    assert notebook.fresh() == {"c1": "current", "c2": "failed", "c3": "blocked"}
    assert notebook.queued() == []
    assert notebook.done(s.RunFinished) == [s.RunFinished("run1", Outcome.DIED)]
    notebook.run("c2")
    notebook.settle()
    assert set(notebook.fresh().values()) == {"current"}


def test_restart_and_run_all_in_one_batch() -> None:
    notebook = settled(*CHAIN)
    notebook.send(s.Restart(), s.RunAll("again", kind="restart"))
    assert notebook.done(s.StartKernel) == [s.StartKernel(restart=True)]
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3"]


def test_while_held_nothing_more_starts_and_the_running_cell_ends() -> None:
    notebook = FakeNotebook(*CHAIN)
    notebook.run("c1")
    running(notebook, "c1").send(s.Hold(True))
    notebook.settle()
    assert notebook.ran() == ["c1"]
    assert notebook.queued() == ["c2", "c3"]
    notebook.send(s.Hold(False))
    notebook.settle()
    assert notebook.ran() == ["c2", "c3"]


# --- Names ----------------------------------------------------------------------------------------


def test_deleting_a_cell_removes_its_names_and_makes_former_dependents_stale() -> None:
    notebook = settled(*CHAIN)
    actions = notebook.send(s.CellsDeleted(("c1",)))
    assert s.Unload(frozenset({"a"})) in actions
    assert notebook.fresh() == {"c2": "stale", "c3": "stale"}
    assert "a" not in notebook.kernel.namespace


def test_a_name_that_a_cell_stops_defining_leaves_the_kernel() -> None:
    notebook = settled("a = 1\nx = 2", "b = x")
    actions = notebook.edit("c1", "a = 1")
    assert s.Unload(frozenset({"x"})) in actions
    assert notebook.fresh("c2").freshness == "stale"


def test_a_disabled_cell_disables_its_descendants_and_its_names_leave() -> None:
    notebook = settled(*CHAIN)
    notebook.change("c1", disabled=True)
    assert "a" not in notebook.kernel.namespace
    actions = notebook.run("c3")
    assert s.Refused("run2", "c3", s.Why.DISABLED, ("c1",)) in actions
    notebook.run_all()
    notebook.settle()
    assert notebook.ran() == []
    assert notebook.fresh("c3").disabled_by == ("c1",)


def test_enabling_a_cell_runs_nothing() -> None:
    notebook = settled(*CHAIN)
    notebook.change("c1", disabled=True)
    notebook.change("c1", disabled=False)
    notebook.settle()
    assert notebook.ran() == []
    notebook.run("c2")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3"]


def test_deleting_a_queued_cell_takes_it_from_the_queue() -> None:
    notebook = FakeNotebook("a = 1", "b = 2", "c = 3")
    notebook.run_all()
    running(notebook, "c1").send(s.CellsDeleted(("c2",)))
    notebook.settle()
    assert notebook.ran() == ["c1", "c3"]


def test_deleting_the_running_cell_interrupts_it_and_nothing_of_it_stays() -> None:
    notebook = FakeNotebook("a = 1", "b = 2")
    notebook.run_all()
    running(notebook, "c1").send(s.CellsDeleted(("c1",)))
    notebook.settle()
    assert len(notebook.done(s.Interrupt)) == 1
    assert notebook.kernel.namespace == {"b": 2}


def test_a_name_that_moved_to_another_cell_is_not_removed_after_that_cell_bound_it() -> None:
    notebook = settled("x = 1", "y = 2", "z = x")
    notebook.lag = True
    notebook.edit("c2", "y = 2\nx = 5")
    notebook.edit("c1", "w = 1")
    notebook.run("c2")
    while notebook.kernel.work():
        pass
    notebook.edit("c1", "v = 1")
    notebook.settle()
    assert notebook.kernel.namespace["x"] == 5
    assert notebook.shown("c3") == (5,)
    assert notebook.fresh("c3").freshness == "current"


def test_a_name_bound_behind_the_back_of_analysis_leaves_with_its_cell() -> None:
    notebook = settled("bind(h)", "b = h")
    assert notebook.kernel.namespace["h"] == -1
    assert notebook.fresh("c2").freshness == "stale"
    notebook.edit("c1", "a = 1")
    assert "h" not in notebook.kernel.namespace


def test_undeclared_names_are_known_up_to_a_bound_whatever_the_cells_bind() -> None:
    notebook = FakeNotebook(*(f"a{number} = 1" for number in range(UNDECLARED_KEPT // 1000 + 5)), lag=True)
    notebook.run_all()
    notebook.hear()
    items = notebook.done(s.RunPlan)[0].items
    for item in items[:-1]:
        hidden = frozenset(f"{item.cell}-{number}" for number in range(1000))
        notebook.send(s.Finished(item.attempt, Outcome.OK, item.definitions, hidden))
    assert len(notebook.state.loaded) == UNDECLARED_KEPT + len(items) - 1
    notebook.send(s.Finished(items[-1].attempt, Outcome.ERROR, frozenset(), frozenset({"one more"})))
    assert not notebook.state.leftover and not notebook.state.doubt


def test_a_name_overwritten_behind_the_back_of_its_cell_is_made_again_when_needed() -> None:
    notebook = settled("a = 1", "bind(a)", "c = a")
    assert not notebook.loaded("c1")
    notebook.run("c3")
    notebook.settle()
    assert notebook.ran() == ["c1", "c3"]
    assert notebook.shown("c3") == (1,)


def test_half_made_names_are_not_removed_after_the_next_attempt_bound_them() -> None:
    notebook = FakeNotebook("a = 1\nb = a / 0", lag=True)
    notebook.run("c1")
    notebook.hear()
    notebook.work()
    notebook.hear()
    notebook.edit("c1", "a = 2")
    notebook.run("c1")
    while notebook.kernel.work():
        pass
    notebook.hear(1)
    assert notebook.outcome("c1") is Outcome.ERROR
    notebook.settle()
    assert notebook.kernel.namespace == {"a": 2}
    assert notebook.loaded("c1")


def test_a_cell_that_may_have_used_a_name_just_before_it_was_removed_is_stale() -> None:
    notebook = settled("a = 1", "b = a + 1")
    notebook.lag = True
    notebook.run("c2")
    while notebook.kernel.work():
        pass
    notebook.send(s.CellsDeleted(("c1",)))
    notebook.settle()
    assert notebook.shown("c2") == (2,)
    assert notebook.fresh("c2").freshness == "stale"


def test_a_name_bound_behind_the_back_of_analysis_is_removed_before_its_cell_runs_again() -> None:
    notebook = settled("bind(h)")
    notebook.run("c1")
    (item,) = notebook.done(s.RunPlan)[0].items
    assert item.unload == {"h"}


def test_an_end_without_a_start_of_an_amended_cell_leaves_it_stale() -> None:
    notebook = FakeNotebook("a = 1", "b = a")
    notebook.run_all()
    running(notebook, "c1").edit("c2", "b = a + 1")
    attempt = notebook.done(s.Amend)[0].replace[0].attempt
    first = notebook.done(s.RunPlan)[0].items[0].attempt
    names = frozenset({"a", "b"})
    notebook.send(s.Finished(first, Outcome.OK, names), s.Finished(attempt, Outcome.OK, names))
    assert notebook.fresh() == {"c1": "current", "c2": "stale"}


def test_a_waiting_cell_that_comes_to_need_a_waiting_one_is_skipped_if_that_fails() -> None:
    notebook = FakeNotebook("a = 1", "b = 1 / 0", "c = a")
    notebook.run_all()
    running(notebook, "c1").edit("c3", "c = b")
    amended = notebook.done(s.Amend)[0].replace[0]
    assert amended.needs == {item.attempt for item in notebook.done(s.RunPlan)[0].items if item.cell == "c2"}
    notebook.settle()
    assert notebook.ran() == ["c1", "c2"]


def test_a_waiting_cell_whose_name_comes_to_be_made_by_another_waiting_one_needs_it() -> None:
    notebook = FakeNotebook("a = 1", "x = 1", "c = b")
    notebook.run_all()
    running(notebook, "c1").edit("c2", "b = 1 / 0")
    assert [item.cell for item in notebook.done(s.Amend)[0].replace] == ["c2", "c3"]
    notebook.settle()
    assert notebook.ran() == ["c1", "c2"]


def test_a_requested_upstream_takes_a_current_cell_between_along() -> None:
    notebook = settled(*CHAIN, mode="lazy")
    notebook.run("c1", "c3")
    notebook.settle()
    assert notebook.ran() == ["c1", "c2", "c3"]


# --- SQL on a connection --------------------------------------------------------------------------


def sql_notebook() -> FakeNotebook:
    notebook = FakeNotebook("a = 1", "q = a + 1", "b = q + 1")
    notebook.change("c2", type=CellType.SQL, on_connection=True)
    return notebook


def test_a_plan_ends_before_a_query_on_a_connection_and_goes_on_after_it() -> None:
    notebook = sql_notebook()
    notebook.run("c1")
    notebook.settle()
    assert [[item.cell for item in plan.items] for plan in notebook.done(s.RunPlan)] == [["c1"], ["c3"]]
    assert [action.item.cell for action in notebook.done(s.RunSql)] == ["c2"]
    assert notebook.ran() == ["c1", "c2", "c3"]
    assert notebook.shown("c3") == (3,)
    assert set(notebook.fresh().values()) == {"current"}


def test_stopping_a_query_interrupts_it_and_blocks_what_needs_its_result() -> None:
    notebook = sql_notebook()
    notebook.run("c1")
    running(notebook, "c2").send(s.Stop())
    (interrupt,) = notebook.done(s.Interrupt)
    assert interrupt.kind is s.Kind.SQL
    notebook.settle()
    assert notebook.fresh() == {"c1": "current", "c2": "failed", "c3": "blocked"}


# --- Reports that lie, or come late or not at all -------------------------------------------------


def test_reports_of_attempts_that_were_never_sent_change_nothing() -> None:
    notebook = settled(*CHAIN)
    before = notebook.state
    forged = (s.Started("x", 1), s.Finished("x", Outcome.OK, frozenset({"a"})), s.PlanEnded("x"))
    assert notebook.send(*forged) == []
    assert notebook.state == before


def test_a_report_of_a_version_that_was_never_sent_is_ignored() -> None:
    notebook = FakeNotebook("a = 1")
    notebook.run("c1")
    notebook.hear()
    attempt = notebook.done(s.RunPlan)[0].items[0].attempt
    assert notebook.send(s.Started(attempt, 99)) == []


def test_an_end_reported_twice_counts_once() -> None:
    notebook = FakeNotebook("a = 1")
    notebook.run("c1")
    notebook.settle()
    attempt = notebook.done(s.RunPlan)[0].items[0].attempt
    assert notebook.send(s.Finished(attempt, Outcome.ERROR), s.Started(attempt, 1)) == []


def test_an_end_without_a_start_counts() -> None:
    notebook = FakeNotebook("a = 1")
    notebook.run("c1")
    notebook.hear()
    plan = notebook.done(s.RunPlan)[0]
    notebook.send(s.Finished(plan.items[0].attempt, Outcome.OK, frozenset({"a"})), s.PlanEnded(plan.plan))
    assert notebook.fresh("c1").freshness == "current"


def test_a_plan_that_ends_with_cells_left_is_continued_by_another() -> None:
    notebook = FakeNotebook("a = 1", "b = 2")
    notebook.run_all()
    running(notebook, "c1")
    notebook.kernel.waiting.clear()
    notebook.settle()
    assert notebook.ran() == ["c1", "c2"]
    assert len(notebook.done(s.RunPlan)) == 2


def test_a_kernel_that_answers_plans_without_running_them_does_not_loop_for_ever() -> None:
    notebook = FakeNotebook("a = 1")
    notebook.run_all()
    notebook.hear()
    for _ in range(3):
        notebook.kernel.plan = None
        notebook.send(s.PlanEnded(notebook.done(s.RunPlan)[-1].plan))
    assert len(notebook.done(s.RunPlan)) == 3
    assert notebook.queued() == []


def test_a_cell_whose_end_got_lost_counts_as_interrupted_when_the_plan_ends() -> None:
    notebook = FakeNotebook("a = 1", "b = a")
    notebook.run_all()
    running(notebook, "c1").send(s.PlanEnded(notebook.done(s.RunPlan)[0].plan))
    assert notebook.outcome("c1") is Outcome.INTERRUPTED
    assert notebook.queued() == []


# --- The whole ------------------------------------------------------------------------------------


def test_the_same_events_give_the_same_states_and_actions() -> None:
    from kernels_app.scheduler import decide

    notebook = FakeNotebook(*DIAMOND)
    notebook.run_all()
    notebook.settle()
    state, actions = notebook.initial, []
    for events in notebook.log:
        state, more = decide(state, *events)
        actions += more
    assert state == notebook.state and actions == notebook.actions


def test_a_change_of_mode_counts_from_the_next_request_on() -> None:
    notebook = settled(*CHAIN)
    notebook.send(s.SetMode(s.Mode.LAZY))
    notebook.run("c1")
    notebook.settle()
    assert notebook.ran() == ["c1"]


def test_a_deleted_cell_that_comes_back_has_the_last_attempt_it_is_given() -> None:
    notebook = settled(*CHAIN)
    gone = notebook.state.cells["c1"]
    notebook.send(s.CellsDeleted(("c1",)))
    notebook.send(s.CellsChanged((replace(gone, position=10),)))
    assert notebook.fresh("c1").freshness == "current"
    assert not notebook.loaded("c1")


def test_a_cell_deleted_while_it_runs_and_brought_back_before_its_names_have_left_is_not_loaded() -> None:
    notebook = settled("a = 1", "b = 2")
    notebook.lag = True
    notebook.run("c1")
    while notebook.kernel.work():  # the kernel has done what it was told; little of that is heard yet
        pass
    notebook.hear(1)
    notebook.send(s.Stop())
    notebook.run("c1", only=True)
    notebook.send(s.CellsDeleted(("c1",)))
    notebook.hear(1)
    notebook.insert("c1", "a = 1", 5)
    assert "a" not in notebook.state.loaded
    notebook.settle()
    assert "a" not in notebook.kernel.namespace
