#!/bin/sh
# Builds what tests under wine 8 need beside wine itself, into the folder $1:
#   iphlpapi.dll         the stand-in (wine/iphlpapi), which must be loaded instead of wine's own:
#                        WINEDLLOVERRIDES="iphlpapi=n,b", or beside the program with the same as registry key
#   wiphlpapi.dll        wine's own under another name, for all calls that the stand-in forwards
#   bcryptprimitives.dll for Rust's standard library
# All three go to drive_c/windows/system32 of the prefix, the first one over wine's.
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
export PATH=/usr/bin:/bin:/usr/sbin:/sbin RUSTC_BOOTSTRAP=1
: "${CARGO_TARGET_DIR:=$here/iphlpapi/target}"
export CARGO_TARGET_DIR

for dir in /usr/lib/x86_64-linux-gnu/wine/x86_64-windows /usr/lib/wine/x86_64-windows; do
    if [ -f "$dir/iphlpapi.dll" ]; then wine_dll=$dir/iphlpapi.dll; fi
done
cp "$wine_dll" "$out/wiphlpapi.dll"

cargo build --locked --release --manifest-path "$here/iphlpapi/Cargo.toml" \
    -Zbuild-std=std,panic_abort --target x86_64-pc-windows-gnu

# Exports: our own functions, and every other of wine's as a forwarder.
own=$(sed -n 's/^pub unsafe extern "system" fn \([A-Za-z0-9_]*\).*/\1/p' "$here"/iphlpapi/src/*.rs)
{
    echo 'LIBRARY iphlpapi.dll'
    echo 'EXPORTS'
    for name in $own; do echo "    $name"; done
    x86_64-w64-mingw32-objdump -p "$wine_dll" |
        sed -n '/\[Ordinal\/Name Pointer\] Table/,/^$/s/.*\] \(+base\[ *[0-9]*\] *[0-9a-f]* *\)\{0,1\}\([A-Za-z_][A-Za-z0-9_]*\)$/\2/p' |
        while read -r name; do
            case " $(echo $own) " in
            *" $name "*) ;;
            *) echo "    $name = wiphlpapi.$name" ;;
            esac
        done
} >"$out/iphlpapi.def"

x86_64-w64-mingw32-gcc -O2 -shared -nostartfiles -Wl,-e,DllMain -o "$out/bcryptprimitives.dll" \
    "$here/bcryptprimitives/bcryptprimitives.c" -ladvapi32 -lkernel32

# Without -static-libgcc it is silently not loaded.
x86_64-w64-mingw32-gcc -shared -static-libgcc -o "$out/iphlpapi.dll" "$out/iphlpapi.def" \
    "$CARGO_TARGET_DIR/x86_64-pc-windows-gnu/release/libstandin.a" \
    -lws2_32 -lntdll -luserenv -lkernel32 "$out/bcryptprimitives.dll"
