#!/bin/sh
# Looks for stray accesses, undefined behaviour and data races in the kernels.
#
#   crates/kernels/check-memory.sh [asan|miri]      without a word: both
#
# asan: AddressSanitizer over all tests, on every instruction set that this CPU has; about 4 minutes
#       on two cores, half of them for the build.
# miri: the interpreter over small convolutions with the baseline's instructions, about 15 minutes
#       on one core, and over the operations of every vector type.
#
# Needs rustup. CROSSMOD_CHECK_MEMORY, read at compile time (see src/threads.rs), has every working
# buffer made afresh, exactly as long as asked and full of NaN, and cuts small sizes into tasks too;
# the one skipped test is that buffers are kept. NIGHTLY names another toolchain, for instance
# nightly-2026-05-20, with which the figures in doc/log.md were taken.
set -eu
cd "$(dirname "$0")"
nightly=${NIGHTLY:-nightly}
checks=${1:-asan miri}
export CROSSMOD_CHECK_MEMORY=1
# Apart from the other builds, which the flags would have made again.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-../../target}/memory"

if ! cargo "+$nightly" miri --version >/dev/null 2>&1; then
    rustup toolchain install "$nightly" --profile minimal --component miri,rust-src
fi
for check in $checks; do
    case $check in
    asan)
        # A target is named so that build scripts are not instrumented.
        RUSTFLAGS=-Zsanitizer=address cargo "+$nightly" test --release --lib \
            --target x86_64-unknown-linux-gnu --package crossmod-kernels -- --skip a_buffer_is
        ;;
    miri)
        # Two threads, so that races can be found; rayon's are never joined, hence the leaks. Tree
        # borrows and permissive provenance: what crossbeam's queues, below rayon, can do.
        export RAYON_NUM_THREADS=2
        export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-tree-borrows"
        MIRIFLAGS="$MIRIFLAGS -Zmiri-permissive-provenance"
        cargo "+$nightly" miri test --package crossmod-kernels --lib -- edge_shapes
        # It knows the wide instructions too, AVX-512 even where the CPU has none.
        RUSTFLAGS=-Ctarget-feature=+avx2,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl \
            cargo "+$nightly" miri test --package crossmod-kernels --lib -- every_level_computes
        ;;
    *)
        echo "asan or miri, not $check" >&2
        exit 2
        ;;
    esac
done
