"""Drift of what devices see, and the trigger that starts the loop again."""
