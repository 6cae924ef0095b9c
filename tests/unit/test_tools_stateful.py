"""Stateful toolsets: all that a method changes is in `state`, which survives JSON; wrong requests change nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from rayplay.toolbox import ToolError
from tools.booking_calendar import BookingCalendar
from tools.file_system import FileSystem
from tools.shopping_cart import ShoppingCart

TOOLSETS = (ShoppingCart, FileSystem, BookingCalendar)


@pytest.mark.parametrize("toolset", TOOLSETS)
def test_a_state_survives_json_and_restores_the_same_object(toolset: type) -> None:
    state = toolset().state
    assert toolset(json.loads(json.dumps(state))).state == state
    assert toolset(None).state == state


@pytest.mark.parametrize("toolset", TOOLSETS)
def test_two_episodes_share_nothing(toolset: type) -> None:
    fresh = json.dumps(toolset().state)
    used = toolset()
    used.state[next(iter(used.state))].clear()
    assert json.dumps(toolset().state) == fresh


def test_a_purchase_moves_stock_and_budget() -> None:
    cart = ShoppingCart()
    cart.add_to_cart("Milk", 4)
    cart.remove_from_cart("milk", 1)
    cart.add_to_cart("tea", 2)
    assert cart.view_cart() == {"cart": {"milk": 3, "tea": 2}, "total": 19, "budget": 100}
    assert cart.checkout() == "paid 19, 81 left"
    assert cart.state["stock"]["milk"] == 17 and cart.state["cart"] == {} and cart.state["ordered"]
    assert cart.check_item("milk") == {"item": "milk", "price": 3, "stock": 17}


def test_a_given_state_overrides_only_what_it_names() -> None:
    cart = ShoppingCart({"budget": 5})
    cart.add_to_cart("cheese", 1)
    with pytest.raises(ToolError, match="the total is 9 but the budget is 5"):
        cart.checkout()


def test_files_move_and_go() -> None:
    files = FileSystem({"files": {"/a/x.txt": "one"}})
    files.write_file("b/y.txt", "two")
    assert files.list_files() == ["/a/x.txt", "/b/y.txt"]
    files.move_file("/a/x.txt", "/b/z.txt")
    assert files.list_files("/b") == ["/b/y.txt", "/b/z.txt"]
    assert files.read_file("/b/../b/./z.txt") == "one"
    files.delete_file("/b/y.txt")
    assert files.state == {"files": {"/b/z.txt": "one"}}


def test_bookings_never_overlap() -> None:
    calendar = BookingCalendar({"bookings": {}})
    calendar.book("Gym", "2026-06-01", 8, 10)
    with pytest.raises(ToolError, match="Gym is booked on 2026-06-01 8-10"):
        calendar.book("Call", "2026-06-01", 9, 11)
    calendar.book("Call", "2026-06-01", 10, 11)
    calendar.reschedule("gym", "2026-06-02", 8, 10)
    assert calendar.list_bookings("2026-06-01") == ["10-11 Call"]
    calendar.cancel("GYM")
    assert calendar.list_bookings("2026-06-02") == []


@pytest.mark.parametrize(
    ("toolset", "wrong"),
    [
        (ShoppingCart, lambda s: s.add_to_cart("gold", 1)),
        (ShoppingCart, lambda s: s.add_to_cart("milk", 0)),
        (ShoppingCart, lambda s: s.add_to_cart("milk", 1000)),
        (ShoppingCart, lambda s: s.remove_from_cart("milk", 1)),
        (ShoppingCart, lambda s: s.checkout()),
        (FileSystem, lambda s: s.read_file("/none")),
        (FileSystem, lambda s: s.write_file("/notes", "a folder")),
        (FileSystem, lambda s: s.write_file("/notes/todo.txt/x", "below a file")),
        (FileSystem, lambda s: s.write_file("/../../etc/passwd", "out")),
        (FileSystem, lambda s: s.write_file("/big", "x" * 20_000)),
        (FileSystem, lambda s: s.move_file("/notes/todo.txt", "/work/plan.txt")),
        (FileSystem, lambda s: s.list_files("/nowhere")),
        (BookingCalendar, lambda s: s.book("Dentist", "2026-08-01", 9, 10)),
        (BookingCalendar, lambda s: s.book("Late", "2026-08-01", 10, 9)),
        (BookingCalendar, lambda s: s.book("", "2026-08-01", 9, 10)),
        (BookingCalendar, lambda s: s.book("X", "soon", 9, 10)),
        (BookingCalendar, lambda s: s.cancel("Nothing")),
        (BookingCalendar, lambda s: s.reschedule("Dentist", "2026-05-04", 12, 13)),
    ],
)
def test_wrong_requests_are_told_and_change_nothing(toolset: type, wrong: Callable[[Any], Any]) -> None:
    one = toolset()
    before = json.dumps(one.state)
    with pytest.raises(ToolError):
        wrong(one)
    assert json.dumps(one.state) == before
