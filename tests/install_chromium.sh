#!/bin/sh
# Gives the browser tests a Chromium: the one that is there, else the system's package.
# Without one those tests skip and this script says what is missing; with CI set it fails instead.

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done

if command -v apt-get >/dev/null 2>&1; then
    install="apt-get update && apt-get install -y --no-install-recommends chromium"
    if [ "$(id -u)" = 0 ]; then
        root="sh -c"
    elif sudo -n true 2>/dev/null; then
        root="sudo -n sh -c"
    else
        root=
        install="sudo sh -c '$install'"
    fi
    if [ -n "$root" ]; then
        echo "No Chromium found: installing the package chromium."
        DEBIAN_FRONTEND=noninteractive $root "$install" >/dev/null \
            && command -v chromium >/dev/null 2>&1 && exit 0
        echo "The package chromium could not be installed."
    fi
    hint="Install it with: $install"
else
    hint="Install the package chromium with this system's package manager."
fi

echo "The browser tests need Chromium (chromium, chromium-browser or google-chrome). $hint" >&2
if [ -n "$CI" ]; then
    echo "CI is set, so the browser tests must run: giving up." >&2
    exit 1
fi
echo "Until then the browser tests are skipped." >&2
