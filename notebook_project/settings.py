"""Settings: wiring only, every value from the environment, with defaults that run on a fresh clone.

README.md lists each variable. A malformed value stops the start; bad combinations are system checks
(notebooks_app/checks.py) with a hint.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP

from notebook_project import oidc, outputs, production, redis_iam
from notebook_project.env import (
    env_address,
    env_bool,
    env_choice,
    env_database,
    env_float,
    env_hosts,
    env_ids,
    env_int,
    env_mailer,
    env_origins,
    env_own,
    env_path,
    env_resource,
    env_secret,
    env_str,
    env_targets,
    env_url,
    kept_key,
    made_folder,
)
from notebooks_app import logs

BASE_DIR = Path(__file__).resolve().parent.parent
# Everything the server writes: database, output files, kernels' work folders, its own secret key.
DATA_DIR = Path(env_str("RILLBOOK_DATA_DIR") or BASE_DIR / ".data").resolve()

# --- Mode -----------------------------------------------------------------------------------------------------
RILLBOOK_MODE = env_choice("RILLBOOK_MODE", ("single", "multi"), "single")
DEBUG = env_bool("DEBUG", False)
SIGNUP_OPEN = env_bool("SIGNUP_OPEN", RILLBOOK_MODE == "multi")


def _secret_key() -> str:
    """The SECRET_KEY of the environment; in single mode one made at the first start and kept in the data folder."""
    key = env_secret("SECRET_KEY")
    if key:
        return key
    if RILLBOOK_MODE == "multi":
        raise ImproperlyConfigured("SECRET_KEY (or SECRET_KEY_FILE) must be set in multi mode.")
    return kept_key(made_folder(DATA_DIR) / "secret_key")


SECRET_KEY = _secret_key()
# Keys before it, comma-separated: what they signed is still believed (docs/operations.md, Keys and passwords).
SECRET_KEY_FALLBACKS = [key.strip() for key in env_secret("SECRET_KEY_FALLBACKS").split(",") if key.strip()]
ALLOWED_HOSTS = env_hosts("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env_origins("CSRF_TRUSTED_ORIGINS", [])
# Browsers' origins (scheme://host:port) that may open a socket, besides the page's own.
SOCKET_ORIGINS = env_origins("SOCKET_ORIGINS", CSRF_TRUSTED_ORIGINS)

# --- Applications ---------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "notebooks_app",
    "kernels_app",
]

MIDDLEWARE = [
    "notebooks_app.probes.probes",
    "notebooks_app.middleware.observed",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "notebooks_app.middleware.headers",  # behind WhiteNoise: static files may be cached
    "django.contrib.sessions.middleware.SessionMiddleware",
    "notebooks_app.middleware.storable",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "notebooks_app.middleware.guests",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "notebook_project.urls"
ASGI_APPLICATION = "notebook_project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "notebooks_app.context.product",
            ],
        },
    },
]

# --- Database and channel layer -------------------------------------------------------------------------------
DATABASES = {"default": env_database("DATABASE_URL", DATA_DIR / "rillbook.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env_url("REDIS_URL", ("redis", "rediss", "unix"))
REDIS_IAM_USER = env_str("REDIS_IAM_USER")


def _redis_login() -> dict[str, object]:
    """As the AWS identity of this machine where REDIS_IAM_USER is set; else REDIS_URL says user and password."""
    if not REDIS_IAM_USER:
        return {}
    named = {name: env_str(name) for name in ("REDIS_IAM_CACHE", "AWS_REGION")}
    for name, value in named.items():
        if not value:
            raise ImproperlyConfigured(f"REDIS_IAM_USER needs {name}.")
    return {"credential_provider": redis_iam.IamCredentials(REDIS_IAM_USER, *named.values())}


CHANNEL_LAYERS = {
    "default": (
        {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [{"address": REDIS_URL} | _redis_login()]},
        }
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}

# --- Accounts -------------------------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = [
    "notebooks_app.accounts.PasswordBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "notebooks_app.accounts.AccountAdapter"
ACCOUNT_FORMS = {
    "reset_password": "notebooks_app.accounts.ResetPasswordForm",
    "change_password": "notebooks_app.accounts.ChangePasswordForm",
}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = env_choice("ACCOUNT_EMAIL_VERIFICATION", ("none", "optional", "mandatory"), "none")
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_PREVENT_ENUMERATION = "strict"  # also of addresses that nobody verified: several accounts may claim one
# A second factor: codes of an app, with recovery codes.
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Rillbook"
# Signing in at an OpenID Connect provider (OIDC_*, docs/operations.md).
OIDC = oidc.from_environment()
SOCIALACCOUNT_ADAPTER = "notebooks_app.accounts.ProviderAdapter"
SOCIALACCOUNT_ONLY = False
SOCIALACCOUNT_PROVIDERS = {"openid_connect": oidc.provider(OIDC)}
# Passwords are counted by notebooks_app/sign_in_limits.py; `login_failed` is left for codes of the second factor, whose
# attempts need the password first.
ACCOUNT_RATE_LIMITS = {"login_failed": "10/15m/key", "login": "300/m/ip"}
SIGN_IN_ACCOUNT_ATTEMPTS, SIGN_IN_ACCOUNT_SECONDS = 10, 900
SIGN_IN_ADDRESS_ATTEMPTS = env_int("SIGN_IN_ADDRESS_ATTEMPTS", 100, least=1)  # wrong passwords an hour from one address
# Django's cache holds what allauth counts (mails, sign-ups, codes): in the database, so that all processes share it.
CACHES = {
    "default": {"BACKEND": "notebooks_app.counting_cache.CountingCache", "LOCATION": "rillbook_cache", "TIMEOUT": 3600}
}
MAILERS = {"default": env_mailer("EMAIL_URL")}
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env_str("EMAIL_FROM", "rillbook@localhost")

# --- Security -------------------------------------------------------------------------------------------------
HTTPS = env_bool("HTTPS", RILLBOOK_MODE == "multi")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_ENGINE = "notebooks_app.session_store"
SESSION_COOKIE_NAME = "__Host-rillbook" if HTTPS else "rillbook"
CSRF_COOKIE_NAME = "__Host-rillbook-csrf" if HTTPS else "rillbook-csrf"
if RILLBOOK_MODE == "multi":
    _origins = {"CSRF_TRUSTED_ORIGINS": CSRF_TRUSTED_ORIGINS, "SOCKET_ORIGINS": SOCKET_ORIGINS}
    if refused := production.refusals(
        debug=DEBUG,
        secret_key=SECRET_KEY,
        fallbacks=SECRET_KEY_FALLBACKS,
        allowed_hosts=ALLOWED_HOSTS,
        origins=_origins,
        https=HTTPS,
    ):
        raise ImproperlyConfigured("Multi mode does not start like this:\n- " + "\n- ".join(refused))
DEVICE_COOKIE_NAME = "__Host-rillbook-device" if HTTPS else "rillbook-device"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # a cookie of their own anybody could set
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = HTTPS and env_bool("SSL_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$", r"^metrics$"]  # asked from behind the proxy
SECURE_HSTS_SECONDS = env_int("HSTS_SECONDS", 31_536_000 if HTTPS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
BEHIND_PROXY = env_bool("BEHIND_PROXY", False)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# How many proxies append to X-Forwarded-For between browsers and this server.
PROXY_COUNT = env_int("PROXY_COUNT", 1, least=1) if BEHIND_PROXY else 0
# Where Rillbook lives on its host: "" or "/a/path".
BASE_PATH = env_path("BASE_PATH")
FORCE_SCRIPT_NAME = BASE_PATH or None
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, CSP.NONCE],
    "style-src": [CSP.SELF, CSP.NONCE],
    # Outputs on S3: our URL of a file redirects there.
    "img-src": [CSP.SELF, "data:", "blob:", *outputs.origins()],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF, *outputs.origins()],
    "frame-src": [CSP.SELF],
    "form-action": [CSP.SELF, *oidc.origins(OIDC)],  # browsers hold the redirect after a form to it too
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
    "object-src": [CSP.NONE],
}
DATA_UPLOAD_MAX_MEMORY_SIZE = env_int("UPLOAD_MAX_BYTES", 64 * 1024 * 1024, least=1)
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# Keys that encrypt connections: base64 of 32 bytes each, the first encrypts, all decrypt. None, in single mode: made
# from SECRET_KEY.
CONNECTION_KEYS = [key.strip() for key in env_secret("CONNECTION_KEYS").split(",") if key.strip()]
if RILLBOOK_MODE == "multi" and not CONNECTION_KEYS:
    raise ImproperlyConfigured(
        "CONNECTION_KEYS (or CONNECTION_KEYS_FILE) must be set in multi mode: make a key with openssl rand -base64 32"
    )
if RILLBOOK_MODE == "multi" and (why := production.weakness_of_connection_key(CONNECTION_KEYS[0])):
    raise ImproperlyConfigured(
        f"CONNECTION_KEYS: the first key {why}, so that it can be guessed: put one of openssl rand -base64 32 in "
        "front of it, and run manage.py rotate_connection_keys"
    )
# Where connections may lead although it is refused by default: `loopback`, addresses, networks, hosts; each perhaps
# with `:port`, which alone allows the server's own database (notebooks_app/targets.py).
CONNECTION_ALLOW = env_targets("CONNECTION_ALLOW", ["loopback"] if RILLBOOK_MODE == "single" else [])
# Databases of the server besides DATABASE_URL's, as the one behind a pooler: connections never lead there.
CONNECTION_OWN = env_own("CONNECTION_OWN")

# --- Files ----------------------------------------------------------------------------------------------------
STATIC_URL = f"{BASE_PATH}/static/"
# An image names a folder that `collectstatic` has filled; without one, files are served from where they lie.
STATIC_ROOT = Path(env_str("STATIC_ROOT", str(DATA_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not env_str("STATIC_ROOT")
WHITENOISE_AUTOREFRESH = DEBUG
# Large outputs: on S3 if there is a bucket, else files in the data folder (notebook_project/outputs.py).
OUTPUTS_BUCKET = outputs.BUCKET
OUTPUTS_TIMEOUT_S = outputs.TIMEOUT_S
OUTPUTS_REGION = outputs.REGION
OUTPUTS_URL_SECONDS = env_int("OUTPUTS_URL_SECONDS", 300, least=1, most=300)  # life of a signed URL
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": DATA_DIR / "files"},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "outputs": outputs.storage(DATA_DIR / "outputs"),
}

# --- Limits ---------------------------------------------------------------------------------------------------
SOURCE_MAX_BYTES = env_int("SOURCE_MAX_BYTES", 16 * 1024 * 1024, least=1)
ANALYSIS_MAX_BYTES = env_int("ANALYSIS_MAX_BYTES", 512 * 1024, least=1)
NAME_MAX_LENGTH = 200
NOTEBOOK_MAX_CELLS = env_int("NOTEBOOK_MAX_CELLS", 20_000, least=1)
OUTPUT_INLINE_LIMIT = env_int("OUTPUT_INLINE_LIMIT", 64 * 1024, least=1)
OUTPUT_CELL_MAX_BYTES = env_int("OUTPUT_CELL_MAX_BYTES", 128 * 1024 * 1024, least=1)
# How much of a notebook's large outputs the database holds while their storage takes nothing.
OUTPUT_HELD_MAX_BYTES = env_int("OUTPUT_HELD_MAX_BYTES", 128 * 1024 * 1024)

# All large outputs of one notebook, those that were replaced a moment ago included.
OUTPUT_NOTEBOOK_MAX_BYTES = env_int("OUTPUT_NOTEBOOK_MAX_BYTES", 4 * 1024**3)
# What one kernel may print and show for long, a second, after 8 s' worth at once. 0: no limit.
OUTPUT_RATE_BYTES = env_int("OUTPUT_RATE_BYTES", 8 * 1024 * 1024)

# --- Kernels --------------------------------------------------------------------------------------------------
# Where runtimes live: in this process, or as actors of a Ray cluster (docs/cluster.md).
KERNEL_HOST = env_choice("KERNEL_HOST", ("local", "ray"), "local")
RAY_ADDRESS = env_address("RAY_ADDRESS")
# How long members go on without the head. They must end where the next one knows nothing of them; where its tables are
# in Redis they need not.
RAY_HEAD_AWAY_S = env_int("RAY_HEAD_AWAY_S", 600 if env_str("RAY_REDIS_ADDRESS") else 60, least=1)
# What a notebook reserves on its node; 0: nothing of it. A place is waited for this long.
KERNEL_RAY_CPUS = env_resource("KERNEL_RAY_CPUS", 0.1)
if KERNEL_RAY_CPUS == 0:  # web servers' members of the cluster offer none, which keeps kernels away from them
    raise ImproperlyConfigured("KERNEL_RAY_CPUS must be above 0, if little: it decides which machines run kernels.")
KERNEL_RAY_GPUS = env_resource("KERNEL_RAY_GPUS", 0.0, is_whole_above_one=True)
KERNEL_RAY_MEMORY_BYTES = env_int("KERNEL_RAY_MEMORY_BYTES", 512 * 1024**2)
KERNEL_RAY_WAIT_S = env_int("KERNEL_RAY_WAIT_S", 20)
# Ids of notebooks whose kernels are given the cluster's token and the network: their code may do all that Ray can.
RAY_TRUSTED_NOTEBOOKS = env_ids("RAY_TRUSTED_NOTEBOOKS")
KERNEL_PYTHON = env_str("KERNEL_PYTHON")  # empty: the server's own interpreter
KERNEL_SANDBOX = env_choice("KERNEL_SANDBOX", ("auto", "bubblewrap", "landlock", "none"), "auto")
KERNEL_POOL_SIZE = env_int("KERNEL_POOL_SIZE", 1)
KERNEL_MEMORY_BYTES = env_int("KERNEL_MEMORY_BYTES", 2 * 1024**3)
KERNEL_NETWORK = env_bool("KERNEL_NETWORK", False)
# Multi mode without a sandbox, for a server whose every user may do all that it can.
RILLBOOK_ALLOW_UNSANDBOXED = env_bool("RILLBOOK_ALLOW_UNSANDBOXED", False)
# Limits of one kernel (0: none), kept by what the machine offers: docs/security.md. The admin may set a person's own.
KERNEL_CPUS = env_float("KERNEL_CPUS", 0.0)
KERNEL_CPU_SECONDS = env_int("KERNEL_CPU_SECONDS", 0)
# Threads count: the pools of numpy, pyarrow, DuckDB and polars each have one for every processor.
# A process a processor, each with a thread a processor (a pool of workers that load NumPy), and what else there is.
KERNEL_PROCESSES = env_int("KERNEL_PROCESSES", max(256, 128 + (os.cpu_count() or 1) * ((os.cpu_count() or 1) + 6)))
KERNEL_FILES = env_int("KERNEL_FILES", 4096)
KERNEL_DISK_BYTES = env_int("KERNEL_DISK_BYTES", 8 * 1024**3)
KERNEL_RUN_SECONDS = env_int("KERNEL_RUN_SECONDS", 0)
KERNEL_IDLE_SECONDS = env_int("KERNEL_IDLE_SECONDS", 4 * 3600 if RILLBOOK_MODE == "multi" else 0)
KERNEL_CGROUPS = env_bool("KERNEL_CGROUPS", True)
KERNELS_PER_USER = env_int("KERNELS_PER_USER", 10 if RILLBOOK_MODE == "multi" else 0)
# A cluster has as much room as its nodes.
KERNELS_MAX = env_int("KERNELS_MAX", 200 if RILLBOOK_MODE == "multi" and KERNEL_HOST == "local" else 0)
KERNEL_WORK_DIR = DATA_DIR / "work"
SAMPLE_DATABASE = DATA_DIR / "sample" / "sample.duckdb"
LEASE_SECONDS = 7
LEASE_LOST_KILL_S = env_int("LEASE_LOST_KILL_S", 300, least=1)
DRAIN_S = env_int("DRAIN_S", 5)
SQL_ROW_CAP = env_int("SQL_ROW_CAP", 10_000, least=1)
SQL_TIMEOUT_S = env_int("SQL_TIMEOUT_S", 60, least=1)

# --- API ------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "notebooks_app.authentication.TokenAuthentication",
        "notebooks_app.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["notebooks_app.parsers.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "notebooks_app.api_errors.api_exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Rillbook",
    "DESCRIPTION": "Notebooks, cells, runs.",
    "VERSION": "1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        "MemberRoleEnum": ["viewer", "runner", "editor"],
        "RoleEnum": ["viewer", "runner", "editor", "owner"],
        "OutputKindEnum": ["stream", "display_data", "execute_result", "error"],
        "NotebookKindEnum": ["normal", "blank", "demo"],
    },
}

# --- Language, time, logs -------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
# What may be logged at which level: notebooks_app/logs.py. Never sources, outputs or secrets.
LOGGING = logs.configuration(
    form=env_choice("LOG_FORMAT", ("lines", "json"), "lines"),
    level=env_choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "INFO"),
    requests=env_bool("LOG_REQUESTS", RILLBOOK_MODE == "multi"),
)
# Whoever sends it as a bearer may read /metrics; without it, this machine only.
METRICS_TOKEN = env_secret("METRICS_TOKEN")
