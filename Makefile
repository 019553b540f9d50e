# The entry points. Everything runs without privileges but for installing missing tools.
CARGO ?= cargo
PREFIX ?= /usr/local
TRIPLE = $(or $(TARGET),x86_64-unknown-linux-musl)
CROSS := aarch64-apple-darwin x86_64-apple-darwin x86_64-pc-windows-gnu x86_64-pc-windows-msvc
CROSS_CHECK := $(CARGO) check --locked $(CROSS:%=--target %)
DEBIAN_RUSTC := /usr/bin/rustc
LF := target/release/lf
SHARE = $(DESTDIR)$(PREFIX)/share
TOOLS := dbus-daemon:dbus dbus-send:dbus-bin gnome-keyring-daemon:gnome-keyring secret-tool:libsecret-tools \
	strace:strace perl:perl taskset:util-linux prlimit:util-linux unshare:util-linux setpriv:util-linux setsid:util-linux \
	zsh:zsh fish:fish mandoc:mandoc nsenter:util-linux ip:iproute2 curl:curl \
	systemd-analyze:systemd systemctl:systemd git:git direnv:direnv python3-venv:python3-venv \
	/usr/lib/postgresql/15/bin/postgres:postgresql-15 \
	losetup:mount mkfs.exfat:exfatprogs mount.exfat-fuse:exfat-fuse mkfs.ntfs:ntfs-3g lowntfs-3g:ntfs-3g encfs:encfs
KEYCHAIN_TOOLS := kwalletd5:libkf5wallet-bin keepassxc:keepassxc keepassxc-cli:keepassxc \
	/usr/libexec/gcr-prompter:gcr Xvfb:xvfb xdotool:xdotool
WEB_TOOLS := chromium:chromium firefox-esr:firefox-esr Xvfb:xvfb node:nodejs npm:npm openssl:openssl nginx:nginx-light

.PHONY: build demo test tools check cross-check static static-check audit bench install \
	interop torture power fuzz mutants ub soak readings page

build:
	$(CARGO) build --release --locked

# The main job on real input, with a passphrase from the environment and no keychain.
demo: build
	sh tests/demo.sh $(LF)

test: tools
	$(CARGO) test --locked

check: tools
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) test --locked

# What the tests drive beside lf itself; installs it as root, names it otherwise.
tools:
	sh tests/tools.sh $(TOOLS) $(KEYCHAIN_TOOLS) $(WEB_TOOLS)

# Does it compile for the systems that no test runs on? With rustup's targets, or else with Debian's
# rustc, which brings the source of the standard library.
cross-check:
	@missing=; for target in $(CROSS); do \
		ls "$$(rustc --print target-libdir --target $$target)"/libstd-*.rlib >/dev/null 2>&1 || missing="$$missing $$target"; \
	done; \
	if [ -z "$$missing" ]; then \
		set -x; $(CROSS_CHECK); \
	elif [ -x $(DEBIAN_RUSTC) ] && [ -e "$$($(DEBIAN_RUSTC) --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; then \
		set -x; RUSTC=$(DEBIAN_RUSTC) RUSTC_BOOTSTRAP=1 $(CROSS_CHECK) -Zbuild-std=std,panic_unwind; \
	else \
		echo "no standard library for$$missing; install it with: rustup target add$$missing" >&2; \
		echo "or, on Debian: apt-get install --no-install-recommends rustc-web rust-web-src binutils-mingw-w64-x86-64" >&2; \
		exit 1; \
	fi

# One static file, the same bytes from any directory, for TARGET=x86_64-unknown-linux-musl, aarch64-unknown-linux-musl or
# armv7-unknown-linux-musleabihf. With the standard library that rustup has for it, or else one built from its source.
static:
	@CARGO="$(CARGO)" sh tests/static/build.sh $(TRIPLE)

# Does that file do everything where nothing else is? And what the tests of keys, keychain and gateway want?
static-check: static
	sh tests/tools.sh $(TOOLS)
	CARGO="$(CARGO)" sh tests/static/check.sh $(TRIPLE)

# How much there is to read: the lines of each folder of src/; and every crate of a release with its lines, how often
# it says unsafe, what runs at build time, its licence. Fails on too many lines, a licence that nobody agreed to, two
# versions of one crate, a source other than crates.io, one crate too many.
audit:
	@$(CARGO) test --quiet --locked --offline --test architecture -- --nocapture --test-threads=1 there_is_little the_tenants

# Figures with the commands that give them.
bench: build
	sh tests/tools.sh time:time hyperfine:hyperfine taskset:util-linux wrk:wrk curl:curl node:nodejs
	bash tests/bench/figures.sh $(LF)

# The real keytar, built from its npm package, reads our keychain entries and we read its.
interop:
	sh tests/tools.sh node:nodejs npm:npm g++:g++ make:make python3:python3 pkg-config:pkg-config dbus-daemon:dbus \
		gnome-keyring-daemon:gnome-keyring secret-tool:libsecret-tools libsecret-1:libsecret-1-dev
	sh tests/interop/build.sh target/keytar
	KEYTAR=$(CURDIR)/target/keytar/node_modules $(CARGO) test --locked --features interop --test interop

# Every changing command, killed at every system call that matters, and each of those failing in four ways.
# And pairs of commands on two directories, one of them stopped or killed at every call that changes something.
# And the power cut at every call of them; and every allocation failing in turn, in a few commands and a gateway.
# TORTURE=rotate sweeps only the scenarios that have this in their names, and PAIRS=rekey these pairs.
torture:
	sh tests/tools.sh $(TOOLS)
	$(CARGO) test --locked --features torture --test torture --test pairs --test want -- --nocapture --test-threads=1

# The power cuts alone: all that a disk may keep of what was not synced, at every call of every command that changes
# something; and which syncs are needed. POWER_SEED=7 takes other samples where there are too many combinations.
power:
	sh tests/tools.sh $(TOOLS)
	$(CARGO) test --locked --features torture --test torture power_cut -- --nocapture --test-threads=1

# Does a test fail for each change that cargo-mutants makes to what decides about secrets? MUTANTS=src/gateway/guard
# takes a part. What a run has found out is kept, so that another one continues it.
mutants:
	sh tests/tools.sh git:git python3:python3 $(TOOLS)
	$(CARGO) mutants --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-mutants
	CARGO="$(CARGO)" python3 tests/mutants/run.py $(MUTANTS)

# Undefined behaviour: Miri and AddressSanitizer where there is a nightly toolchain, valgrind in any case. It says which.
ub:
	sh tests/tools.sh valgrind:valgrind $(TOOLS)
	CARGO="$(CARGO)" sh tests/ub.sh

# libFuzzer with AddressSanitizer on every parser, a minute each, or on TARGET=envelope alone for TIME=3600 seconds. What
# reaches something new joins tests/fuzz/corpus, which make check runs through the same rules.
fuzz:
	CARGO="$(CARGO)" sh tests/fuzz/run.sh "$(TARGET)" "$(TIME)"

# A day of a gateway in ten rounds: a million requests, a hundred thousand bad connections, a rekey in each round.
# SOAK=2 is two of the rounds.
soak:
	sh tests/tools.sh $(TOOLS)
	$(CARGO) test --release --locked --features soak --test soak -- --nocapture

# What bash, python-dotenv and Node's dotenv read from tests/dotenv/lines.txt, on record for the tests of import.
readings:
	sh tests/tools.sh bash:bash python3-venv:python3-venv node:nodejs npm:npm
	sh tests/dotenv/read.sh target/dotenv

# The gateway's page: its figures, and pictures of every state of it for somebody to look at.
page: build
	sh tests/tools.sh $(WEB_TOOLS)
	sh tests/web/install.sh target/web
	rm -rf target/web/room target/web/pictures && mkdir target/web/room target/web/pictures
	LF=$(CURDIR)/$(LF) ROOM=target/web/room node target/web/figures.mjs
	LF=$(CURDIR)/$(LF) ROOM=target/web/room node target/web/shots.mjs target/web/pictures

install: build
	install -D -m 755 $(LF) $(DESTDIR)$(PREFIX)/bin/lf
	$(LF) man > target/lf.1 && install -D -m 644 target/lf.1 $(SHARE)/man/man1/lf.1
	$(LF) completions bash > target/lf.bash && install -D -m 644 target/lf.bash $(SHARE)/bash-completion/completions/lf
	$(LF) completions zsh > target/lf.zsh && install -D -m 644 target/lf.zsh $(SHARE)/zsh/site-functions/_lf
	$(LF) completions fish > target/lf.fish && install -D -m 644 target/lf.fish $(SHARE)/fish/vendor_completions.d/lf.fish
