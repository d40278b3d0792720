"""The product's settings, in a folder of the test run's own, with a fast password hasher."""

import atexit
import os
import shutil
import tempfile

# Set before the product's settings read it, whatever the shell says: tests never touch anybody's data. xdist's workers
# and child processes each make their own.
_DATA_DIR = os.environ["RILLBOOK_DATA_DIR"] = tempfile.mkdtemp(prefix="rillbook-test-")
_MAKER = os.getpid()

from notebook_project.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
KERNEL_POOL_SIZE = 0
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
STATIC_ROOT.mkdir()  # noqa: F405  WhiteNoise warns at every request of a test without it


@atexit.register
def _remove_data() -> None:
    if os.getpid() == _MAKER:  # a forked child leaves its parent's folder alone
        shutil.rmtree(_DATA_DIR, ignore_errors=True)
