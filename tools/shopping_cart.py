"""A shopping cart with stock and a budget: a toolset whose state is one JSON object per episode.

State: {"stock": {item: count}, "prices": {item: whole dollars}, "cart": {item: count}, "budget": dollars,
"ordered": bool}. Nothing moves the budget but `checkout`.
"""

import copy
from typing import Any

from rayplay.toolbox import ToolError, tool

SHOP = {
    "stock": {"apples": 40, "bread": 12, "milk": 20, "cheese": 8, "coffee": 6, "tea": 15, "rice": 25, "eggs": 30},
    "prices": {"apples": 2, "bread": 4, "milk": 3, "cheese": 9, "coffee": 12, "tea": 5, "rice": 6, "eggs": 1},
    "cart": {},
    "budget": 100,
    "ordered": False,
}


class ShoppingCart:
    """One customer's cart. `state` is all there is; None starts a new one."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state = copy.deepcopy(SHOP) | (state or {})

    @tool(idempotent=False, deadline_s=2.0, memory_mb=256)
    def add_to_cart(self, item: str, count: int) -> str:
        """Put items into the cart.

        Args:
            item: e.g. milk
            count: how many
        """
        name = self._known(item)
        in_cart = self.state["cart"].get(name, 0)
        if count < 1:
            raise ToolError(f"count is {count}; it must be at least 1")
        if in_cart + count > self.state["stock"][name]:
            raise ToolError(f"only {self.state['stock'][name] - in_cart} {name} left")
        self.state["cart"][name] = in_cart + count
        return f"{in_cart + count} {name} in the cart"

    @tool(idempotent=False, deadline_s=2.0, memory_mb=256)
    def remove_from_cart(self, item: str, count: int) -> str:
        """Take items out of the cart.

        Args:
            item: e.g. milk
            count: how many
        """
        name = self._known(item)
        in_cart = self.state["cart"].get(name, 0)
        if not 1 <= count <= in_cart:
            raise ToolError(f"cannot remove {count}: {in_cart} {name} in the cart")
        self.state["cart"][name] = in_cart - count
        if in_cart == count:
            del self.state["cart"][name]
        return f"{in_cart - count} {name} in the cart"

    @tool(deadline_s=2.0, memory_mb=256)
    def view_cart(self) -> dict[str, Any]:
        """Show cart, total and budget."""
        return {"cart": self.state["cart"], "total": self._total(), "budget": self.state["budget"]}

    @tool(deadline_s=2.0, memory_mb=256)
    def check_item(self, item: str) -> dict[str, Any]:
        """Show price and stock.

        Args:
            item: e.g. milk
        """
        name = self._known(item)
        return {"item": name, "price": self.state["prices"][name], "stock": self.state["stock"][name]}

    @tool(idempotent=False, deadline_s=2.0, memory_mb=256)
    def checkout(self) -> str:
        """Pay for the cart."""
        total = self._total()
        if not self.state["cart"]:
            raise ToolError("the cart is empty")
        if total > self.state["budget"]:
            raise ToolError(f"the total is {total} but the budget is {self.state['budget']}")
        for name, count in self.state["cart"].items():
            self.state["stock"][name] -= count
        self.state |= {"budget": self.state["budget"] - total, "cart": {}, "ordered": True}
        return f"paid {total}, {self.state['budget']} left"

    def _known(self, item: str) -> str:
        name = item.strip().lower()
        if name not in self.state["stock"]:
            raise ToolError(f"no item {item[:40]!r}; there are: {', '.join(self.state['stock'])}")
        return name

    def _total(self) -> int:
        return sum(self.state["prices"][name] * count for name, count in self.state["cart"].items())
