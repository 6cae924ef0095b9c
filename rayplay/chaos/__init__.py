"""Faults at random times in real runs: what a run promises to survive, tried."""
