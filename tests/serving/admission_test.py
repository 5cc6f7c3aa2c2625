from collections.abc import Awaitable, Callable

import anyio
import pytest

from serving.admission import BusyError, Turns


def run(scene: Callable[[], Awaitable[None]]) -> None:
    anyio.run(scene)


def lined_up(turns: Turns, clients: str, worked: list[str]) -> Callable[[], Awaitable[None]]:
    """All clients ask in this order before the first one ends; `worked` tells in which order they had their turns."""

    async def scene() -> None:
        everyone_asked = anyio.Event()

        async def work(client: str) -> None:
            async with turns.turn(client):
                worked.append(client)
                await everyone_asked.wait()

        async with anyio.create_task_group() as group:
            for client in clients:
                group.start_soon(work, client)
                await anyio.wait_all_tasks_blocked()
            everyone_asked.set()

    return scene


def turns_of(capacity: int = 1, waiting: int = 100, by_client: int = 100, wait_s: float = 5.0) -> Turns:
    return Turns(capacity=capacity, max_waiting=waiting, max_waiting_by_client=by_client, max_wait_s=wait_s)


def test_clients_take_turns_however_many_requests_each_has_in_line() -> None:
    worked: list[str] = []
    run(lined_up(turns_of(), "aaaaabbc", worked))
    assert "".join(worked) == "aabcabaa"  # the first one found nobody at work


def test_no_more_than_the_capacity_work_at_once() -> None:
    turns, at_work, seen = turns_of(capacity=2), 0, []

    async def work(client: str) -> None:
        nonlocal at_work
        async with turns.turn(client):
            at_work += 1
            seen.append(at_work)
            await anyio.sleep(0.001)
            at_work -= 1

    async def scene() -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(work, str(number % 3))

    run(scene)
    assert max(seen) == 2
    assert len(seen) == 20


def refusals(turns: Turns, clients: str) -> str:
    """Who is told to come back later, while the first one holds its turn."""
    refused: list[str] = []

    async def ask(client: str) -> None:
        try:
            async with turns.turn(client):
                pass
        except BusyError:
            refused.append(client)

    async def scene() -> None:
        async with turns.turn("holder"), anyio.create_task_group() as group:
            for client in clients:
                group.start_soon(ask, client)
            await anyio.sleep(0.05)
            group.cancel_scope.cancel()

    run(scene)
    return "".join(refused)


def test_one_client_cannot_fill_the_line() -> None:
    assert refusals(turns_of(by_client=2), "aaaab") == "aa"


def test_full_line_takes_nobody() -> None:
    assert refusals(turns_of(waiting=3), "abcde") == "de"


def test_who_waits_too_long_is_told_so() -> None:
    assert refusals(turns_of(wait_s=0.01), "ab") == "ab"


@pytest.mark.parametrize("give_up", ["cancelled", "timeout"])
def test_who_gave_up_keeps_no_turn(give_up: str) -> None:
    turns = turns_of(wait_s=0.01 if give_up == "timeout" else 5)
    refusals(turns, "aab")
    worked: list[str] = []
    run(lined_up(turns, "ab", worked))
    assert worked == ["a", "b"]
    assert not turns._lines


def test_failure_at_work_passes_the_turn_on() -> None:
    turns, worked = turns_of(), []

    async def scene() -> None:
        with pytest.raises(RuntimeError):
            async with turns.turn("a"):
                raise RuntimeError
        async with turns.turn("b"):
            worked.append("b")

    run(scene)
    assert worked == ["b"]
