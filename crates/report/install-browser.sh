#!/usr/bin/env bash
# Installs Chromium on Debian or Ubuntu, for the test of pages in a browser, and says how to run it.
set -euo pipefail

if ! command -v chromium >/dev/null; then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update
  $sudo apt-get install --yes --no-install-recommends chromium
fi
echo "CROSSMOD_TEST_BROWSER=$(command -v chromium) cargo test --release --workspace -- pages_work"
