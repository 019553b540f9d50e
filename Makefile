# The entry points; make help lists them. Everything runs without privileges but for installing missing tools.
CARGO ?= cargo
PREFIX ?= /usr/local
# What lf is called where it is installed. Debian has a file manager of the name lf.
NAME ?= lf
OUT := $(or $(CARGO_TARGET_DIR),target)
TRIPLE = $(or $(TARGET),x86_64-unknown-linux-musl)
TARGETS = $(or $(TARGET),x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf)
MAINTAINER ?= the lf authors <maintainers@localhost>
CROSS := aarch64-apple-darwin x86_64-apple-darwin x86_64-pc-windows-gnu x86_64-pc-windows-msvc
CROSS_CHECK := $(CARGO) check --locked $(CROSS:%=--target %)
DEBIAN_RUSTC := /usr/bin/rustc
LF := $(OUT)/release/lf
INSTALLED = $(DESTDIR)$(PREFIX)
TOOLS := cc:gcc,libc6-dev dbus-daemon:dbus dbus-send:dbus-bin gnome-keyring-daemon:gnome-keyring secret-tool:libsecret-tools \
	strace:strace perl:perl taskset:util-linux prlimit:util-linux unshare:util-linux setpriv:util-linux setsid:util-linux \
	zsh:zsh fish:fish mandoc:mandoc nsenter:util-linux ip:iproute2 curl:curl \
	systemd-analyze:systemd systemctl:systemd git:git direnv:direnv openssl:openssl nginx:nginx-light \
	losetup:mount mkfs.exfat:exfatprogs mount.exfat-fuse:exfat-fuse mkfs.ntfs:ntfs-3g lowntfs-3g:ntfs-3g encfs:encfs
KEYCHAIN_TOOLS := kwalletd5:libkf5wallet-bin keepassxc:keepassxc keepassxc-cli:keepassxc \
	/usr/libexec/gcr-prompter:gcr Xvfb:xvfb xdotool:xdotool
WINE_TOOLS := wine:wine /usr/lib/wine/wine64:wine64 /usr/lib/wine/wineserver64:wine64
WEB_TOOLS := chromium:chromium firefox-esr:firefox-esr Xvfb:xvfb node:nodejs npm:npm openssl:openssl
# What the suites in LARGE need beside these.
LARGE_TOOLS := $(KEYCHAIN_TOOLS) $(WEB_TOOLS) python3-venv:python3-venv /usr/lib/postgresql/15/bin/postgres:postgresql-15
# The suites that drive browsers, the keychains of two desktops, a database server or a fuzzer of HTTP.
LARGE := web keychains cloud openapi

.PHONY: build help demo test tools check cross-check windows windows-check static static-check audit bench dist dist-check \
	deb deb-check install uninstall \
	interop torture power fuzz mutants ub soak readings page

# Builds lf for this machine.
build: export LF_COMMIT = $(shell sh tests/release/source.sh commit)
build: export LF_TARGET = $(shell rustc -vV | sed -n 's/^host: //p')
build:
	@sh tests/tools.sh cc:gcc,libc6-dev
	$(CARGO) build --release --locked

# Lists what make can do.
help:
	@awk '/^# / && !text { text = substr($$0, 3) } /^[a-z-]+:/ && text { sub(/:.*/, ""); printf "%-14s %s\n", $$0, text } \
		!/^#/ { text = "" }' Makefile

# Shows the main job on real input, with a passphrase from the environment and no keychain.
demo: build
	sh tests/demo.sh $(LF)

# Runs the tests that need no large programs, and of the long sweeps a part.
# Before that the tools that they need are installed or named.
test:
	@sh tests/tools.sh $(TOOLS)
	CARGO="$(CARGO)" SHARE=4 LEFT="$(LARGE)" sh tests/all.sh

# What CI runs: format, lints, every test.
check: tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	CARGO="$(CARGO)" sh tests/all.sh

# Installs what the tests need, as root; names it otherwise.
tools:
	sh tests/tools.sh $(TOOLS) $(LARGE_TOOLS)

# Checks that lf compiles for the systems that no test runs on.
# With rustup's targets, or else with Debian's rustc, which brings the source of the standard library.
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

# Builds lf.exe for Windows (x86_64), linked by mingw. With rustup's standard library for it, or else one built from its source.
windows:
	@CARGO="$(CARGO)" sh tests/windows/build.sh

# Runs the tests of keys, gateway and the rest against lf.exe under wine.
# tests/windows/differs.txt says what need not work there, and why. WINDOWS_TESTS="keys audit" takes these suites alone.
windows-check: windows
	sh tests/tools.sh $(TOOLS) $(WINE_TOOLS)
	CARGO="$(CARGO)" sh tests/windows/check.sh $(WINDOWS_TESTS)

# Builds one static file, the same bytes from any directory; TARGET= names another processor.
# x86_64-unknown-linux-musl, aarch64-unknown-linux-musl or armv7-unknown-linux-musleabihf; with the standard library that
# rustup has for it, or else one built from its source.
static:
	@CARGO="$(CARGO)" sh tests/static/build.sh $(TRIPLE)

# Tries the static file where nothing else is, and under the tests of keys, keychain and gateway.
static-check: static
	sh tests/tools.sh $(TOOLS)
	CARGO="$(CARGO)" sh tests/static/check.sh $(TRIPLE)

# Prints how much there is to read: the lines of each folder of src/, and every crate of a release.
# A crate with its lines, how often it says unsafe, what runs at build time, its licence. Fails on too many lines, a
# licence that nobody agreed to, two versions of one crate, a source other than crates.io, one crate too many.
audit:
	@$(CARGO) test --quiet --locked --offline --test architecture -- --nocapture --test-threads=1 there_is_little the_tenants

# Prints figures, with the commands that give them.
bench: build
	sh tests/tools.sh time:time hyperfine:hyperfine taskset:util-linux wrk:wrk curl:curl node:nodejs
	bash tests/bench/figures.sh $(LF)

# Builds the real keytar from npm: it reads our keychain entries, and we read its.
interop:
	sh tests/tools.sh node:nodejs npm:npm g++:g++ make:make python3:python3 pkg-config:pkg-config dbus-daemon:dbus \
		gnome-keyring-daemon:gnome-keyring secret-tool:libsecret-tools libsecret-1:libsecret-1-dev
	sh tests/interop/build.sh target/keytar
	KEYTAR=$(CURDIR)/target/keytar/node_modules $(CARGO) test --locked --features interop --test interop

# Kills every changing command at every system call that matters, and lets each of those fail in four ways.
# And pairs of commands on two directories, one of them stopped or killed at every call that changes something.
# And the power cut at every call of them; and every allocation failing in turn, in a few commands and a gateway.
# TORTURE=rotate sweeps only the scenarios that have this in their names, and PAIRS=rekey these pairs.
torture:
	sh tests/tools.sh $(TOOLS)
	$(CARGO) test --locked --features torture --test torture --test pairs --test want -- --nocapture --test-threads=1

# Cuts the power at every call of every command that changes something.
# With all that a disk may keep of what was not synced; and which syncs are needed. POWER_SEED=7 takes other samples where there are too many combinations.
power:
	sh tests/tools.sh $(TOOLS)
	$(CARGO) test --locked --features torture --test torture power_cut -- --nocapture --test-threads=1

# Checks that a test fails for each change that cargo-mutants makes to what decides about secrets.
# MUTANTS=src/gateway/guard takes a part. What a run has found out is kept, so that another one continues it.
mutants:
	sh tests/tools.sh git:git python3:python3 $(TOOLS)
	$(CARGO) mutants --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-mutants
	CARGO="$(CARGO)" python3 tests/mutants/run.py $(MUTANTS)

# Looks for undefined behaviour: Miri and AddressSanitizer with a nightly toolchain, valgrind in any case.
ub:
	sh tests/tools.sh valgrind:valgrind $(TOOLS)
	CARGO="$(CARGO)" sh tests/ub.sh

# Fuzzes every parser for a minute, or TARGET=envelope alone for TIME=3600 seconds.
# libFuzzer with AddressSanitizer. What reaches something new joins tests/fuzz/corpus, which make check runs through the same rules.
fuzz:
	CARGO="$(CARGO)" sh tests/fuzz/run.sh "$(TARGET)" "$(TIME)"

# Runs a day of a gateway in ten rounds: a million requests, bad connections, a rekey in each round.
# SOAK=2 is two of the rounds.
soak:
	sh tests/tools.sh $(TOOLS)
	$(CARGO) test --release --locked --features soak --test soak -- --nocapture

# Records what bash, python-dotenv and Node's dotenv read, for the tests of import.
readings:
	sh tests/tools.sh bash:bash python3-venv:python3-venv node:nodejs npm:npm
	sh tests/dotenv/read.sh target/dotenv

# Prints what the gateway's page costs, and takes pictures of its every state.
page: build
	sh tests/tools.sh $(WEB_TOOLS)
	sh tests/web/install.sh target/web
	rm -rf target/web/room target/web/pictures && mkdir target/web/room target/web/pictures
	LF=$(CURDIR)/$(LF) ROOM=target/web/room node target/web/figures.mjs
	LF=$(CURDIR)/$(LF) ROOM=target/web/room node target/web/shots.mjs target/web/pictures

# Makes the archives of a release in dist/ of the target directory: programs, texts, sums, bills of materials.
# For each target that can be built here; TARGET= names one. The same source makes the same bytes in any directory.
dist:
	CARGO="$(CARGO)" sh tests/release/dist.sh $(TARGETS)

# Makes the archives twice, here and from a source archive elsewhere, and compares them.
dist-check:
	CARGO="$(CARGO)" sh tests/release/dist-check.sh $(TARGETS)

# Makes Debian packages of the archives; MAINTAINER='Name <address>' is who answers for them.
deb: dist
	sh tests/release/deb.sh "$(MAINTAINER)" $(TARGETS)

# Installs, uses and purges the package of this machine in a bare Debian of its own, as root.
deb-check: deb
	sh tests/release/deb-check.sh $(OUT)/dist/lenserfight-lf_*_$$(dpkg --print-architecture).deb

# Installs lf below PREFIX, which is /usr/local; NAME=lfk installs it under another name.
# DESTDIR= is as usual. Root, who may have no cargo, installs what is built.
install: $(if $(shell [ "$$(id -u)" = 0 ] && [ -x "$(LF)" ] && echo yes),,build)
	sh tests/release/install.sh $(LF) $(INSTALLED) $(NAME)

# Removes what make install has installed with the same PREFIX, NAME and DESTDIR. Keys stay.
uninstall:
	rm -f $(INSTALLED)/bin/$(NAME) $(INSTALLED)/share/man/man1/$(NAME).1
	cd $(INSTALLED)/share && rm -f bash-completion/completions/$(NAME) zsh/site-functions/_$(NAME) fish/vendor_completions.d/$(NAME).fish
