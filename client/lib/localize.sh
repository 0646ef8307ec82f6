#!/bin/sh
# Makes an archive of one object in which only visible names are global. Usage: localize.sh CC... PARTS ARCHIVE
set -eu
while [ $# -gt 2 ]; do
	cc="${cc:-} $1"
	shift
done
object=$2.o
$cc -r -nostdlib -o "$object" -Wl,--whole-archive "$1"
objcopy --localize-hidden "$object"
rm -f "$2"
ar rcsD "$2" "$object"
rm "$object"
