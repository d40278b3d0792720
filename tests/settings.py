"""The product's settings, in a folder of the test run's own, with a fast password hasher."""

import os
import tempfile

# Set before the product's settings read it; xdist's workers and child processes each have their own.
os.environ.setdefault("RILLBOOK_DATA_DIR", tempfile.mkdtemp(prefix="rillbook-test-"))

from notebook_project.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
KERNEL_POOL_SIZE = 1
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
