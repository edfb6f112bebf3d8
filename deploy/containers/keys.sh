#!/bin/sh
# Makes the keys that the parts show each other, once: each in a volume that only those mount who may know it.
set -eu
for file in ray/token policy/key grafana/password; do
  [ -s "/run/keys/$file" ] && continue
  python3 -I -c 'import secrets; print(secrets.token_hex(32), end="")' >"/run/keys/$file.new"
  mv "/run/keys/$file.new" "/run/keys/$file"
done
