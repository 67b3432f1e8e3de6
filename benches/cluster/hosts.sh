#!/usr/bin/env bash
# Trains over three network namespaces as over three hosts, and cuts one off in the middle of a step.
#
#   sudo benches/cluster/hosts.sh PROGRAM WORK [RATE | bandwidths]
#
# PROGRAM is a multimae with the feature mpi, built with MPICH (its mpiexec must be on the path); WORK a
# folder; RATE the bandwidth of each host, by default 1gbit. A delay of 1 ms is set where the kernel has
# netem. With `bandwidths`, two hosts train at several bandwidths instead; bandwidth.py draws the result.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
program=$(realpath "$1") work=$(realpath -m "$2") rate=${3:-1gbit} kind=failures
if [ "$rate" = bandwidths ]; then
    rate=1gbit kind=bandwidths
fi
here=$(dirname "$(realpath "$0")")
hosts=3

for tool in ip tc mpiexec; do
    command -v "$tool" > /dev/null || { echo "hosts.sh: SKIPPED: $tool is missing" >&2; exit 0; }
done
if ! ip netns add multimae-try 2> /dev/null; then
    echo "hosts.sh: SKIPPED: no right to make network namespaces" >&2
    exit 0
fi
ip netns del multimae-try

remove() {
    for host in $(seq "$hosts"); do
        ip netns pids "multimae$host" 2> /dev/null | xargs -r kill -9 || true
        ip netns del "multimae$host" 2> /dev/null || true
    done
    for link in multimae0 $(seq -f mm%g "$hosts"); do ip link del "$link" 2> /dev/null || true; done
}
trap remove EXIT
remove
ip link add multimae0 type bridge
ip addr add 10.77.0.100/24 dev multimae0
ip link set multimae0 up
for host in $(seq "$hosts"); do
    ip netns add "multimae$host"
    ip link add "mm$host" type veth peer name eth0 netns "multimae$host"
    ip link set "mm$host" master multimae0 up
    ip netns exec "multimae$host" ip addr add "10.77.0.$host/24" dev eth0
    ip netns exec "multimae$host" ip link set eth0 up
    ip netns exec "multimae$host" ip link set lo up
    # Both directions of the host's cable.
    tc qdisc add dev "mm$host" root handle 1: tbf rate "$rate" burst 256kb latency 50ms
    ip netns exec "multimae$host" tc qdisc add dev eth0 root handle 1: tbf rate "$rate" burst 256kb latency 50ms
    if ! ip netns exec "multimae$host" tc qdisc add dev eth0 parent 1: netem delay 1ms 2> /dev/null; then
        [ "$host" = 1 ] && echo "hosts.sh: this kernel has no netem: no delay is set" >&2
    fi
done

# What mpiexec takes for ssh: it enters the namespace of the host.
mkdir -p "$work"
cat > "$work/enter" << 'ENTER'
#!/usr/bin/env bash
while [ "${1#-}" != "$1" ]; do shift; done
host=${1##*.}
shift
exec ip netns exec "multimae$host" bash -c "$*"
ENTER
chmod +x "$work/enter"

launcher=(mpiexec -launcher ssh -launcher-exec "$work/enter" -iface multimae0
    -hosts 10.77.0.1,10.77.0.2,10.77.0.3 -genv MULTIMAE_TIMEOUT 20
    # Namespaces share the memory of the machine; hosts do not.
    -genv MPIR_CVAR_NOLOCAL 1 -genv UCX_TLS tcp,self -genv UCX_NET_DEVICES eth0 -genv FI_PROVIDER tcp)
python3 "$here/hosts.py" "$kind" "$program" "$work" "${launcher[@]}"
