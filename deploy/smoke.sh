#!/usr/bin/env bash
# The README's first visit, for real: `make serve`, then a shipped picture with a sentence, streamed.
set -euo pipefail
cd "$(dirname "$0")/.."
PORT=${PORT:-8091}
log=$(mktemp)
make serve PORT="$PORT" >"$log" 2>&1 &
server=$!
trap 'kill -TERM $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 240); do
  curl -sf "http://127.0.0.1:$PORT/readyz" >/dev/null && break
  kill -0 $server 2>/dev/null || { cat "$log"; exit 1; }
  sleep 0.5
done
stream=$(PORT=$PORT bash deploy/first-request.sh)
grep -E '^event: ' <<<"$stream" | sort | uniq -c
for event in accepted thought action mask final; do
  grep -q "^event: $event" <<<"$stream" || { echo "no $event event came"; tail -5 "$log"; exit 1; }
done
echo "smoke: a request was streamed through \`make serve\`"
