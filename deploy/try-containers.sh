#!/usr/bin/env bash
# Brings the stack up from nothing and tries what it promises: masks through all containers, streamed; SIGTERM drains;
# a part that is killed comes back; nothing but the gateway is reachable. Takes it down again.
#
#   deploy/try-containers.sh [--gpu] [--no-build] [--keep] [PART ...]
#
# --gpu       the stack as it is for a GPU; without it, the one for machines that have none
# --no-build  with the images that are there
# --keep      leave it up afterwards
# PART ...    only these parts, such as: gateway policy segmenter
# DOCKER=podman takes another engine; GATEWAY_PORT another port than 8080.
set -euo pipefail
cd "$(dirname "$0")/.."
DOCKER=${DOCKER:-docker}
export GATEWAY_PORT=${GATEWAY_PORT:-8080} COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-rsagent-try}
PATIENCE=${PATIENCE:-900}  # seconds until something must be there
url=http://127.0.0.1:$GATEWAY_PORT
files=(-f docker-compose.yml -f deploy/compose.cpu.yml) build=1 keep='' parts=()
for word; do
  case $word in
    --gpu) files=(-f docker-compose.yml) ;;
    --no-build) build='' ;;
    --keep) keep=1 ;;
    -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit ;;
    -*) echo "unknown: $word (--help tells)" >&2; exit 2 ;;
    *) parts+=("$word") ;;
  esac
done
work=$(mktemp -d)
passed=0 failed=0

compose() { "$DOCKER" compose "${files[@]}" "$@"; }
now() { date +%s; }
id_of() { compose ps -aq "$1" | head -n1; }
is_up() { [ -n "$(compose ps -q "$1" 2>/dev/null)" ]; }
inspect() { "$DOCKER" inspect -f "$2" "$(id_of "$1")"; }

check() {  # check WHAT COMMAND...: run it and say how it went, and how long it took
  local what=$1 began
  began=$(now)
  shift
  if "$@" >"$work/check" 2>&1; then
    passed=$((passed + 1))
    printf '  ok      %4d s  %s\n' $(($(now) - began)) "$what"
  else
    failed=$((failed + 1))
    printf '  FAILED  %4d s  %s\n' $(($(now) - began)) "$what"
    sed 's/^/          /' "$work/check" | tail -n 8
  fi
}

finish() {
  if [ "$failed" != 0 ]; then compose logs --tail 15 --no-color gateway policy segmenter 2>/dev/null || true; fi
  if [ -z "$keep" ]; then compose down -v --timeout 40 >/dev/null 2>&1 || true; fi
  rm -rf "$work"
}
trap finish EXIT

until_true() {  # until_true COMMAND...: try it each second for as long as PATIENCE allows
  local end=$(($(now) + PATIENCE))
  until "$@" >/dev/null 2>&1; do
    [ "$(now)" -lt "$end" ] || return 1
    sleep 1
  done
}

soon() { PATIENCE=90 until_true "$@" || "$@"; }

ready() { curl -sf -m 5 -o /dev/null "$url/readyz"; }

stream() {  # stream FILE: one request, its events as they come
  curl -sN -m "$PATIENCE" "$url/v1/segment" -H 'Accept: text/event-stream' \
    -F image=@service/rsagent/examples/01.jpg -F 'query=the soccer ball' -F include=thoughts >"$1"
}

has_mask() {  # has_mask FILE: all events of a whole answer, in order, and something found
  tr -d '\r' <"$1" | sed -n 's/^event: //p' | uniq | tr '\n' ' ' >"$1.order"
  grep -q '^accepted .*thought .*action .*mask .*final $' "$1.order" && grep -q '"counts":' "$1"
}

answers() { stream "$work/answer" && { has_mask "$work/answer" || { cat "$work/answer.order"; false; }; }; }

streamed() {  # the first event came well before the last one: nothing between here and the engines collects them
  stream /dev/stdout | while IFS= read -r line; do
    case $line in event:*) printf '%s %s\n' "${EPOCHREALTIME/./}" "${line#event: }" ;; esac
  done | tr -d '\r' >"$work/times"
  awk 'NR == 1 { first = $1 } END { exit !($2 == "final" && $1 > first) }' "$work/times" && ! one_write
}

one_write() { awk 'NR == 1 { first = $1 } END { exit !($1 - first < 10000) }' "$work/times"; }

all_parts() { compose ps --services; }

only_gateway_published() {
  local part found=0
  for part in $(all_parts); do
    [ -n "$("$DOCKER" port "$(id_of "$part")")" ] || continue
    [ "$part" = gateway ] || { echo "$part is published"; return 1; }
    found=1
  done
  [ "$found" = 1 ]
}

shut_in() {
  local part
  for part in $(all_parts); do
    [ "$(inspect "$part" '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}')" = 'true [ALL]' ] || { echo "$part: root or capabilities"; return 1; }
    case $(inspect "$part" '{{.Config.User}}') in '' | 0* | root*) echo "$part is root"; return 1 ;; esac
    [ "$(inspect "$part" '{{.HostConfig.Memory}}')" -gt 0 ] || { echo "$part: no memory limit"; return 1; }
  done
  if compose exec -T gateway sh -c 'echo x >/opt/x' 2>/dev/null; then echo "the gateway may write its root"; return 1; fi
}

no_way_out() {  # engines: all their networks are shut off, and a try to get out of them gets nowhere
  local part network
  for part in policy segmenter; do
    for network in $(inspect "$part" '{{range .NetworkSettings.Networks}}{{.NetworkID}} {{end}}'); do
      [ "$("$DOCKER" network inspect -f '{{.Internal}}' "$network")" = true ] || { echo "$part: $network has a way out"; return 1; }
    done
    if compose exec -T "$part" python3 -I -c 'import socket; socket.create_connection(("1.1.1.1", 443), 5)'; then
      echo "$part has a way out"
      return 1
    fi
  done
}

needs_its_key() {  # vLLM answers nobody without the key
  compose exec -T gateway python3 -I -c '
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen("http://policy:8000/v1/models", timeout=10)
except urllib.error.HTTPError as error:
    sys.exit(error.code != 401)
sys.exit("the policy engine answers without a key")'
}

drains() {  # requests under way when SIGTERM comes are answered to their end, and the service ends by itself
  local number pids=()
  for number in 1 2 3 4; do
    stream "$work/drain$number" &
    pids+=($!)
  done
  for number in 1 2 3 4; do until_true grep -q '^event: accepted' "$work/drain$number" || return 1; done
  compose stop gateway
  wait "${pids[@]}" || { echo "a stream was cut"; return 1; }
  for number in 1 2 3 4; do
    grep -qE '^event: (final|error)' "$work/drain$number" || { echo "stream $number has no end"; return 1; }
    echo "stream $number: $(sed -n 's/^event: //p' "$work/drain$number" | tail -n1)"
  done | tee "$work/ends"
  case $(inspect gateway '{{.State.ExitCode}}') in
    0 | 143) ;;
    *) echo "exit status $(inspect gateway '{{.State.ExitCode}}')"; return 1 ;;
  esac
}

restarted() { [ "$(inspect "$1" '{{.RestartCount}}')" -gt "$2" ]; }

comes_back() {  # comes_back PART: all its processes are killed; it is started anew and the stack answers
  local part=$1 before began
  before=$(inspect "$part" '{{.RestartCount}}')
  began=$(now)
  compose exec -T "$part" sh -c 'kill -9 -1' || true
  until_true restarted "$part" "$before" || { echo "it was not started anew"; return 1; }
  until_true ready || { echo "the stack did not become ready again"; return 1; }
  answers || return 1
  echo "$part killed: masks again after $(($(now) - began)) s" >>"$work/figures"
}

scraped() {  # Prometheus finds what it is told to ask
  compose exec -T gateway python3 -I -c '
import json, sys, urllib.request
found = json.load(urllib.request.urlopen("http://prometheus:9090/api/v1/targets", timeout=10))["data"]["activeTargets"]
down = [t["scrapeUrl"] + " " + t["lastError"] for t in found if t["health"] != "up"]
sys.exit("\n".join(down) if down else not found)'
}

"$DOCKER" compose version >/dev/null || { echo "$DOCKER compose is not there" >&2; exit 1; }
compose down -v --timeout 40 >/dev/null 2>&1 || true
if [ -n "$build" ]; then
  echo "building"
  began=$(now)
  compose build ${parts[@]+"${parts[@]}"}
  echo "built after $(($(now) - began)) s" >>"$work/figures"
fi

echo "bringing it up"
began=$(now)
if ! compose up -d --wait --no-build ${parts[@]+"${parts[@]}"}; then
  failed=1
  echo "it did not come up" >&2
  compose ps -a
  exit 1
fi
echo "up and ready after $(($(now) - began)) s" >>"$work/figures"
check "a request through all containers gives a mask" answers
seconds=$(($(now) - began))
echo "compose up to the answer with the first mask: $seconds s ($((seconds / 60)) min $((seconds % 60)) s)" >>"$work/figures"
check "its events are streamed as they happen" streamed
check "only the gateway is published" only_gateway_published
check "no part is root, writes its root, keeps capabilities or has memory without end" shut_in
check "the engines have no way out" no_way_out
check "the policy engine wants its key" needs_its_key
if is_up prometheus; then check "Prometheus reaches all it asks" soon scraped; fi
check "SIGTERM drains" drains
compose start gateway >/dev/null 2>&1
check "it is ready again after that" until_true ready
for part in segmenter policy gateway; do check "the $part, killed, comes back" comes_back "$part"; done

cat "$work/figures"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
