#!/bin/sh
# The service with the head of its Ray cluster beside it: a process talks to Ray through a node of its own machine, and
# a head that lives as long as the service cannot be lost without it. It runs no replicas: the segmenter's containers do.
# The service is the last process started: it gets SIGTERM, drains, and the container ends with it.
set -eu
RSAGENT_POLICY__OPENAI__API_KEY=$(cat "${POLICY_KEY_FILE:?names the file that holds the key of the policy engine}")
export RSAGENT_POLICY__OPENAI__API_KEY
# The name is known on the engines' network alone, so that this is our address there.
address=$(getent hosts "${RAY_HEAD:=ray-head}" | awk '{ print $1; exit }')
ray start --head --node-ip-address="$address" --port=6379 --num-cpus=0 --num-gpus=0 --include-dashboard=false \
  --object-store-memory="${RAY_OBJECT_STORE:-268435456}" --metrics-export-port=8090 --disable-usage-stats >/tmp/ray-start.log 2>&1 \
  || { cat /tmp/ray-start.log >&2; exit 1; }
exec rsagent serve "$@"
