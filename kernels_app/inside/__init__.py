"""What runs inside the kernel: the plan runner, attribution of output, display, names, limits.

Loaded by boot.py as the package `rillbook_inside`, in a process that has neither Django nor the server's
tree. Nothing here imports the server; data libraries are imported late. The wire contract is
docs/architecture.md, section 5.
"""
