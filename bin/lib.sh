# shellcheck shell=bash
# Shared by bin/dev and bin/test: finding what a fresh machine lacks, and installing it where that is allowed.
# To be sourced from bash with `set -euo pipefail`. Everything said goes to stderr: stdout belongs to the program.

# shellcheck disable=SC2034 # for the scripts that source this
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root; fails without a question where that is not allowed.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif has sudo; then
    sudo -n -- "$@"
  else
    return 1
  fi
}

# can_install: whether Debian packages can be installed without a question.
can_install() { has apt-get && as_root true 2>/dev/null; }

# install_packages PACKAGE...: Debian packages, without a question. Refreshes the list of packages only if it must;
# speaks only of failures.
install_packages() {
  say "installing $*"
  local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0) output
  local install=("${get[@]}" install -y --no-install-recommends "$@")
  as_root "${install[@]}" >/dev/null 2>&1 && return
  output=$(as_root "${get[@]}" update 2>&1 && as_root "${install[@]}" 2>&1) && return
  say "$output"
  return 1
}

# need COMMAND SENTENCE PACKAGE...: has the command, or installs the packages, or stops with the sentence.
need() {
  local command=$1 sentence=$2
  shift 2
  has "$command" && return
  can_install || die "$sentence"
  install_packages "$@" || die "$sentence"
  has "$command" || die "$sentence"
}

need_rust() {
  # rustup writes here; a shell that was open before has an older PATH.
  has cargo || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  has cargo || die "The Rust toolchain is missing: install stable Rust from https://rustup.rs, then run this again."
  need cc "A C compiler is missing, which Rust links with: install gcc (Debian: gcc libc6-dev)." gcc libc6-dev
}

# Where the program looks too (src/postgres/binaries.rs).
has_postgres() {
  local dir
  for dir in ${PATH//:/ } /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
    /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
    [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ] && return
  done
  return 1
}

# The server's programs. The program starts a cluster of its own, so the package is kept from making one.
need_postgres() {
  local sentence="PostgreSQL's server programs are missing: install them (Debian: postgresql, Fedora: \
postgresql-server, Homebrew: postgresql), or set DATABASE_URL to a running Postgres."
  has_postgres && return
  can_install || die "$sentence"
  local conf=/etc/postgresql-common/createcluster.conf failed=0
  install_packages postgresql-common || die "$sentence"
  as_root cp -p "$conf" "$conf.inkfleet" || die "$sentence"
  as_root sed -i -E 's/^#?create_main_cluster *=.*/create_main_cluster = false/' "$conf"
  install_packages postgresql || failed=1
  as_root mv "$conf.inkfleet" "$conf"
  if [ "$failed" = 1 ] || ! has_postgres; then die "$sentence"; fi
}

# Queries are checked against the files in .sqlx, never against whatever database the environment names.
export SQLX_OFFLINE=true
