"""The program on the device: answers all the while, and updates itself through a table of states.

Imports nothing heavy: no torch, pandas, web framework or database server's driver; numpy and a
runtime only once a slot is loaded.
"""
