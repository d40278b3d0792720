#!/bin/sh
# What a container of the image does, by its first argument:
#   web      the server, joined to the Ray cluster where KERNEL_HOST is ray
#   migrate  brings the database to this version, and ends
#   head     Ray's head: knows who is where, runs no kernel
#   node     a member of the cluster on which kernels run
#   manage   manage.py with the other arguments
set -eu
cd "$(dirname "$0")/.."

# One raylet has an address of its own in each deployment, so that ports can be the same everywhere:
# terraform/modules/security opens these and no others.
ray_ports="--node-manager-port=10000 --object-manager-port=10001 --runtime-env-agent-port=10002
    --dashboard-agent-grpc-port=10003 --dashboard-agent-listen-port=10004 --metrics-export-port=10005
    --min-worker-port=10100 --max-worker-port=10999"
# A node that is gone is noticed within some 4 s.
export RAY_health_check_period_ms="${RAY_health_check_period_ms:-1000}"
export RAY_health_check_timeout_ms="${RAY_health_check_timeout_ms:-1000}"
export RAY_health_check_failure_threshold="${RAY_health_check_failure_threshold:-3}"
export RAY_health_check_initial_delay_ms="${RAY_health_check_initial_delay_ms:-2000}"

case "${1:-web}" in
web)
    case "${KERNEL_HOST:-}" in
    *[rR]ay*)
        # A driver needs a raylet on its own host; this one offers nothing.
        # shellcheck disable=SC2086
        ray start --address="$RAY_ADDRESS" --num-cpus=0 --num-gpus=0 --object-store-memory=100000000 \
            --disable-usage-stats $ray_ports
        ;;
    esac
    exec python manage.py serve --host 0.0.0.0 --port "${PORT:-8000}" --no-migrate
    ;;
migrate)
    exec python manage.py migrate --no-input
    ;;
head)
    # shellcheck disable=SC2086
    exec ray start --head --port=6379 --num-cpus=0 --num-gpus=0 --object-store-memory=100000000 \
        --include-dashboard=false --disable-usage-stats --block $ray_ports
    ;;
node)
    # shellcheck disable=SC2086
    exec ray start --address="$RAY_ADDRESS" --disable-usage-stats --block $ray_ports
    ;;
manage)
    shift
    exec python manage.py "$@"
    ;;
*)
    echo "entry.sh: web, migrate, head, node or manage, not $1" >&2
    exit 64
    ;;
esac
