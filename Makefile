# The entry points. Everything runs without privileges but for installing missing tools.
CARGO ?= cargo
PREFIX ?= /usr/local
TARGET ?= x86_64-unknown-linux-musl
LF := target/release/lf

.PHONY: build demo test tools check static bench interop install

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
	sh tests/tools.sh dbus-daemon:dbus dbus-send:dbus-bin gnome-keyring-daemon:gnome-keyring \
		secret-tool:libsecret-tools strace:strace unshare:util-linux setpriv:util-linux

# One static binary. Needs the target's standard library: rustup target add $(TARGET)
static:
	@ls "$$(rustc --print target-libdir --target $(TARGET))"/libstd-*.rlib >/dev/null 2>&1 || \
		{ echo "no standard library for $(TARGET); install it with: rustup target add $(TARGET)" >&2; exit 1; }
	$(CARGO) build --release --locked --target $(TARGET)

# Figures with the commands that give them.
bench: build
	sh tests/tools.sh time:time hyperfine:hyperfine taskset:util-linux
	bash tests/bench.sh $(LF)

# The real keytar, built from its npm package, reads our keychain entries and we read its.
interop:
	sh tests/tools.sh node:nodejs npm:npm g++:g++ make:make python3:python3 pkg-config:pkg-config dbus-daemon:dbus \
		gnome-keyring-daemon:gnome-keyring secret-tool:libsecret-tools libsecret-1:libsecret-1-dev
	sh tests/interop/build.sh target/keytar
	KEYTAR=$(CURDIR)/target/keytar/node_modules $(CARGO) test --locked --features interop --test interop

install: build
	install -D -m 755 $(LF) $(DESTDIR)$(PREFIX)/bin/lf
