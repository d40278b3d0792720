"""The program between the server and a kernel. It runs with nothing but the standard library (`python -I -S`), sets
what can be set before anything of the kernel runs, and becomes the kernel or its sandbox. What to do is decided by
kernels_app/provisioner.py and told as a recipe.
"""
