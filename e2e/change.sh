#!/bin/sh
# What a user does to $DATA between the two backups of a story. Keeps a copy of the result in $SECOND, to compare with.
set -eu
cd "$DATA"
echo "one more line" >>notes/007.txt
dd if=/dev/urandom of=big.bin bs=65536 seek=20 count=4 conv=notrunc 2>/dev/null
rm gone.bin notes/old/*
rmdir notes/old
mv pictures photos
chmod 0700 notes
chmod 4711 tool
ln -sfn notes/008.txt pointer
touch -d "2011-11-11 11:11:11.111111111" notes/009.txt
mkdir added
head -c 300000 /dev/urandom >added/file
cp -a "$DATA" "$SECOND"
