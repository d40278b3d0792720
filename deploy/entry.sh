#!/bin/sh
# What a container of the image does, by its first argument:
#   web      the server, joined to the Ray cluster where KERNEL_HOST is ray
#   migrate  brings the database to this version, and ends
#   head     Ray's head: knows who is where, runs no kernel
#   node     a member of the cluster on which kernels run
#   manage   manage.py with the other arguments
#   files    the same in a folder that comes from S3 and goes back there: files s3://BUCKET/PREFIX COMMAND …
set -eu
cd "$(dirname "$0")/.."

case "${1:-web}" in
web)
    case "${KERNEL_HOST:-}" in
    ray)
        # A driver needs a raylet on its own host; this one offers nothing, and joins again when the head was away.
        python manage.py raynode join --offer-nothing --block &
        ;;
    esac
    exec python manage.py serve --host 0.0.0.0 --port "${PORT:-8000}" --no-migrate
    ;;
migrate)
    exec python manage.py migrate --no-input
    ;;
head)
    exec python manage.py raynode head --block
    ;;
node)
    exec python manage.py raynode join --block
    ;;
manage)
    shift
    exec python manage.py "$@"
    ;;
files)
    shift
    exec python deploy/with_files.py "$@"
    ;;
*)
    echo "entry.sh: web, migrate, head, node, manage or files, not $1" >&2
    exit 64
    ;;
esac
